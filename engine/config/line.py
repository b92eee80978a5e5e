"""A line's specification: all that its two processes need to know, settled before they are forked.

Plain values only: made by `engine.plan` out of files, defaults and the probe's answer,
kept by the supervisor for every restart, inherited by the children as it is.

Used by: engine.plan (makes), supervisor (keeps), task and pump (read).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

__all__ = [
    "INTERNAL",
    "DeadLetterSpec",
    "Errors",
    "Limits",
    "LineSpec",
    "PluginSpec",
    "Restarts",
    "Stalls",
    "StepSpec",
    "Subscription",
    "Timing",
]


#: Topics of Kafka's own: a consumer of Java leaves them out of a pattern, too.
INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})


class PluginSpec(Struct, frozen=True):
    """A plugin to be made: where its class is, and the keys it gets."""

    path: str  # "package.module:Class"
    config: Mapping[str, str] = {}
    name: str = ""  # a transform's alias
    reads_timestamps: bool = True  # a transform, or predicate, that may look at the timestamps of records
    reads_headers: bool = True  # or at their headers


class StepSpec(Struct, frozen=True):
    """A transform of a chain, and to which records it applies."""

    transform: PluginSpec
    predicate: PluginSpec | None = None  # None: to all
    negate: bool = False  # to those for which the predicate does not hold

    @property
    def reads_timestamps(self) -> bool:
        """Whether one of the two may look at the timestamps of records."""
        return any(spec.reads_timestamps for spec in self.plugins())

    @property
    def reads_headers(self) -> bool:
        """Whether one of the two may look at the headers of records."""
        return any(spec.reads_headers for spec in self.plugins())

    def plugins(self) -> tuple[PluginSpec, ...]:
        """The transform, and the predicate if it has one."""
        return (self.transform,) if self.predicate is None else (self.transform, self.predicate)


class Subscription(Struct, frozen=True):
    """What a sink reads: a list of topics, or a pattern (Java's, matched against whole names)."""

    topics: tuple[str, ...] = ()
    pattern: str = ""

    def includes(self, topic: str) -> bool:
        """Whether a topic of this name is read."""
        if self.pattern:
            return topic not in INTERNAL and re.fullmatch(self.pattern, topic) is not None
        return topic in self.topics

    def tasks_useful(self, counts: Mapping[str, int], settings: Mapping[str, Any]) -> int:
        """How many tasks can have a partition. counts: of topics, also of others. settings: of the consumer."""
        wanted = [count for topic, count in counts.items() if self.includes(topic)]
        # The assignor `range` gives the first partitions of every topic to the same members.
        is_range = str(settings.get("partition.assignment.strategy", "range")).startswith("range")
        return max(wanted, default=0) if is_range else sum(wanted)


class Timing(Struct, frozen=True):
    """Intervals and time budgets, in seconds."""

    commit_interval: float = 60.0  # offset.flush.interval.ms
    commit_timeout: float = 5.0  # offset.flush.timeout.ms
    revocation_timeout: float = 60.0  # a sink's flush before its partitions are given up
    broker_timeout: float = 15.0  # to find a broker, a topic, a group's offsets
    stop_timeout: float = 5.0  # task.shutdown.graceful.timeout.ms
    retry_backoff: float = 3.0  # before a call that raised RetriableError is made again
    lease: float = 45.0  # whoever stands still for longer does nothing more (task.lease.ms)


class Restarts(Struct, frozen=True):
    """When a line that has failed is started again (engine.mending): how often without progress, and how soon."""

    count_max: int = 5  # restart.max
    backoff_ms: int = 200  # restart.backoff.ms
    backoff_ms_max: int = 10_000  # restart.backoff.max.ms
    policy: str = "auto"  # restart.policy
    window_ms: int = 0  # restart.max.window.ms; 0: what is long ago counts as well
    refused_ms: int = 0  # restart.backoff.refused.ms; 0: who was refused does not try again by itself
    circuit_ms: int = 0  # restart.circuit.ms; 0: an open circuit stays so
    error_max: int = 0  # as count_max, for exceptions; 0 in a run that ends: who waits for it is told at once
    record_max: int = 0  # and for a record that cannot be taken on


class Limits(Struct, frozen=True):
    """What a task's processes may take of the machine (engine.limits)."""

    memory_bytes: int | None = None  # task.memory.max; None: as much as there is
    nice: int = 0  # task.nice
    cpus: tuple[int, ...] = ()  # task.cpu.affinity; empty: any
    cgroup: str = ""  # folder of the one that keeps memory_bytes (engine.supervisor.cgroups); empty: RLIMIT_DATA does


class Stalls(Struct, frozen=True):
    """What is done about a line that does not go on, in seconds."""

    timeout: float = 4.0  # told after so long (task.stall.timeout.ms)
    kill: float = 600.0  # ended after so long (task.stall.kill.ms); 0: never
    reports_failed: bool = False  # clients read FAILED meanwhile (task.stall.reports.failed)


class DeadLetterSpec(Struct, frozen=True):
    """Where records go that fail (errors.deadletterqueue.*)."""

    topic: str
    replication: int  # of the topic, where it is made
    has_context: bool  # whether headers tell what happened
    kafka: Mapping[str, str | int | float | bool]  # settings of a producer for it, in librdkafka's names
    admin: Mapping[str, str | int | float | bool] = {}  # and of the client that makes it


class Errors(Struct, frozen=True):
    """What becomes of records that fail in transforms and converters (errors.*)."""

    is_tolerant: bool = False  # they are skipped; else the first one ends the task
    retry_ms: int = 0  # time for what may pass; -1: no end; 0: none
    retry_pause_ms_max: int = 60_000
    are_logged: bool = False
    logs_records: bool = False  # which record it was
    dead_letters: DeadLetterSpec | None = None

    @property
    def are_told(self) -> bool:
        """Whether somebody hears of each record."""
        return self.are_logged or self.dead_letters is not None

    @property
    def looks_at_all(self) -> bool:
        """Whether every part of a record must have been converted before it is put."""
        return self.is_tolerant or self.are_told or self.retry_ms != 0


class LineSpec(Struct, frozen=True, kw_only=True):
    """One task, ready to be forked."""

    connector: str
    task: int
    type: str  # "source" or "sink"
    plugin: str  # as configured, for people
    task_path: str
    environments: tuple[str, ...] = ()  # folders that its task process puts on its path before it loads plugins
    task_config: Mapping[str, str]
    key_converter: PluginSpec
    value_converter: PluginSpec
    header_converter: PluginSpec
    transforms: tuple[StepSpec, ...] = ()
    wants_commit_record: bool = False  # the task's class overrides it: an answer for each record
    wants_timestamps: bool = True  # sinks: the task or a transform reads them
    wants_headers: bool = True  # as well
    kafka: Mapping[str, str | int | float | bool]  # settings of this line's client, in librdkafka's names
    subscription: Subscription = Subscription()
    targets: tuple[
        tuple[str, str], ...
    ] = ()  # sources: topics that keys of theirs name and records keep, after the key
    start_at: str = "earliest"  # sinks: where a partition begins that was never committed
    fetch_records_max: int | None = None  # sinks: the most records of one `put`; None: the pump decides
    store: str = ""  # path of the SQLite store
    store_lock: int = -1  # descriptor of the lock that keeps a second worker away
    ledger: int = -1  # descriptor of the ledger's memory; -1: it is switched off
    is_bulk: bool = False
    is_embedded: bool = False  # Kafka is the mock cluster, which forgets
    ring_bytes: int = 8 * 1024 * 1024
    record_bytes_max: int = 1024 * 1024  # sources: the largest key and value together
    processes: int = 2  # 1: both banks in one process
    stage_processes: int = 0  # in which its transforms and converters run; 0: beside the connector
    given: tuple[str, ...] = ()  # sizes that the user has set himself: worker.memory.max leaves them as they are
    timing: Timing = Timing()
    restarts: Restarts = Restarts()
    limits: Limits = Limits()
    stalls: Stalls = Stalls()
    errors: Errors = Errors()
    passes_lost_ranges: bool = False  # sinks: go on behind records that are gone (lost.range.policy=continue)
    tracks_topics: bool = False  # note which topics are used (topic.tracking.enable)
    secrets: tuple[str, ...] = ()  # values that no log may show

    @property
    def title(self) -> str:
        """How people call the line: connector and task."""
        return f"{self.connector}/{self.task}"

    def plugin_paths(self) -> set[str]:
        """The classes that its task process loads."""
        specs = [self.key_converter, self.value_converter, self.header_converter]
        specs += [spec for step in self.transforms for spec in step.plugins()]
        return {self.task_path, *(spec.path for spec in specs)}
