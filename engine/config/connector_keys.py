"""A connector's keys that the engine itself reads, declared: Kafka Connect's, with its defaults, and ours.

Used by: engine.config.connector (reads them), engine.config.document.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from engine.api.config import Config
from engine.api.java_regex import translated
from engine.config.line import Subscription
from engine.config.worker_keys import WANTED_VERSION, Bytes, MemoryBytes, Milliseconds, Nice, Processes, Stall

__all__ = ["ConnectorConfig", "SinkKeys", "SourceKeys"]

_NOT_BUILT = "Not built yet: only the default is accepted."


class ConnectorConfig(Config, frozen=True, kw_only=True):
    """Keys of every connector. After `read_connector`, what is ours holds the worker's value where none was given."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"exactly.once.support", "transaction.boundary"})

    name: Annotated[str, Meta(description="The connector's name; in TOML, that of its table.")]
    connector_class: Annotated[
        str, Meta(min_length=1, description="The connector's class: its name, an alias, a dotted path, or Java's name.")
    ] = field(name="connector.class")
    connector_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="connector.plugin.version", default=None
    )
    key_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="key.converter.plugin.version", default=None
    )
    value_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="value.converter.plugin.version", default=None
    )
    header_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="header.converter.plugin.version", default=None
    )
    tasks_max: Annotated[int, Meta(ge=1, le=2**31 - 1, description="The most tasks it is split into.")] = field(
        name="tasks.max", default=1
    )
    is_tasks_max_enforced: Annotated[
        bool, Meta(description="Whether a connector that makes more tasks than that fails; else it is warned about.")
    ] = field(name="tasks.max.enforce", default=True)
    key_converter: Annotated[str | None, Meta(description="Absent: the worker's, with the worker's keys for it.")] = (
        field(name="key.converter", default=None)
    )
    value_converter: Annotated[str | None, Meta(description="Absent: the worker's, with the worker's keys for it.")] = (
        field(name="value.converter", default=None)
    )
    header_converter: Annotated[
        str | None, Meta(description="Absent: the worker's, with the worker's keys for it.")
    ] = field(name="header.converter", default=None)
    transforms: Annotated[
        list[str],
        Meta(
            description="Aliases of transforms, in order; `transforms.ALIAS.type` is the class of each, "
            "`transforms.ALIAS.plugin.version` its version."
        ),
    ] = field(default_factory=list)
    predicates: Annotated[
        list[str],
        Meta(
            description="Aliases of predicates; `predicates.ALIAS.type` is the class of each. A transform with "
            "`transforms.NAME.predicate=ALIAS` applies to the records for which it holds, with "
            "`transforms.NAME.negate=true` to the others."
        ),
    ] = field(default_factory=list)
    config_action_reload: Annotated[
        Literal["none", "restart"],
        Meta(
            description="`restart`: when a value of a config provider is no longer good, or the file that holds it has "
            "changed, it is read anew, and the tasks that it concerns start again; `none`: it is read at the start."
        ),
    ] = field(name="config.action.reload", default="restart")
    errors_retry_timeout: Annotated[
        int,
        Meta(
            description="How long (ms) it is tried again to convert or transform records while the error says that it "
            "may pass (RetriableError); -1: without end; 0: not at all, but for a converter with "
            "`errors.tolerance=none`, which is waited for."
        ),
    ] = field(name="errors.retry.timeout", default=0)
    errors_retry_delay_max_ms: Annotated[
        int, Meta(description="The longest pause (ms) between two of these tries; the first is 300 ms, and it doubles.")
    ] = field(name="errors.retry.delay.max.ms", default=60_000)
    errors_tolerance: Annotated[
        Literal["none", "all"],
        Meta(
            description="`none`: the first record that cannot be converted or transformed stops its task; `all`: such "
            "records are skipped, and counted."
        ),
    ] = field(name="errors.tolerance", default="none")
    errors_log_enable: Annotated[bool, Meta(description="Whether each such record is logged.")] = field(
        name="errors.log.enable", default=False
    )
    errors_log_include_messages: Annotated[
        bool,
        Meta(
            description="Whether the log says which record it was: a sink's topic, partition, offset and timestamp; a "
            "source's record as it is, with its values."
        ),
    ] = field(name="errors.log.include.messages", default=False)
    dead_letter_topic: Annotated[
        str,
        Meta(
            description="A topic for records that fail, as they were read; no offset is committed or stored past one "
            "that is not there. It is made if it is missing. Empty: there is none. Of sources it is ours, and used "
            "where errors.tolerance=all."
        ),
    ] = field(name="errors.deadletterqueue.topic.name", default="")
    dead_letter_replication: Annotated[
        int, Meta(le=2**15 - 1, description="Replicas of that topic where it is made, with one partition.")
    ] = field(name="errors.deadletterqueue.topic.replication.factor", default=3)
    dead_letter_headers: Annotated[
        bool, Meta(description="Whether headers (`__connect.errors.*`) tell what happened to the record.")
    ] = field(name="errors.deadletterqueue.context.headers.enable", default=False)

    task_processes: Annotated[Processes | None, Meta(description="Ours. 1 or 2, as the worker's.")] = field(
        name="task.processes", default=None
    )
    stage_processes: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="Ours. Processes of each task in which its transforms and converters run, where they cost "
            "much: slow formats, long chains. 0: they run in the task process, beside the connector.",
        ),
    ] = field(name="stage.processes", default=0)
    task_memory_max: Annotated[MemoryBytes | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.memory.max", default=None
    )
    task_nice: Annotated[Nice | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.nice", default=None
    )
    task_cpu_affinity: Annotated[str | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.cpu.affinity", default=None
    )
    ring_bytes: Annotated[Bytes | None, Meta(description="Ours. As the worker's.")] = field(
        name="ring.bytes", default=None
    )
    stall_timeout_ms: Annotated[Stall | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.stall.timeout.ms", default=None
    )
    stall_kill_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.stall.kill.ms", default=None
    )
    stall_reports_failed: Annotated[bool | None, Meta(description="Ours. As the worker's.")] = field(
        name="task.stall.reports.failed", default=None
    )
    restart_policy: Annotated[Literal["auto", "none"] | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.policy", default=None
    )
    restart_max: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.max", default=None
    )
    restart_max_window_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.max.window.ms", default=None
    )
    restart_circuit_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.circuit.ms", default=None
    )
    restart_backoff_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.backoff.ms", default=None
    )
    restart_backoff_max_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.backoff.max.ms", default=None
    )
    restart_backoff_refused_ms: Annotated[Milliseconds | None, Meta(description="Ours. As the worker's.")] = field(
        name="restart.backoff.refused.ms", default=None
    )

    @property
    def subscription(self) -> Subscription:
        """What a sink reads; of a source, nothing."""
        return Subscription()


class SinkKeys(ConnectorConfig, frozen=True, kw_only=True):
    """Keys of sinks."""

    topics: Annotated[
        list[str], Meta(description="Topics to read. Exactly one of this and `topics.regex` is given.")
    ] = field(default_factory=list)
    topics_regex: Annotated[str, Meta(description="Java's pattern of topics to read, matched against whole names.")] = (
        field(name="topics.regex", default="")
    )
    is_tasks_max_by_partitions: Annotated[
        bool,
        Meta(
            description="Ours. Whether it gets no more tasks than can have a partition: as many as the largest "
            "of its topics has with the assignor `range`, else as all have together; at least one. Kafka is asked when "
            "the connector starts."
        ),
    ] = field(name="tasks.max.by.partitions", default=False)
    lost_range_policy: Annotated[Literal["stop", "continue"] | None, Meta(description="Ours. As the worker's.")] = (
        field(name="lost.range.policy", default=None)
    )

    @property
    def subscription(self) -> Subscription:
        """What the sink reads."""
        if self.topics_regex:
            return Subscription(pattern=translated(self.topics_regex))
        return Subscription(topics=tuple(dict.fromkeys(filter(None, self.topics))))


class SourceKeys(ConnectorConfig, frozen=True, kw_only=True):
    """Keys of sources."""

    exactly_once_support: Annotated[
        Literal["required", "requested"], Meta(description=f"Sources deliver at least once. {_NOT_BUILT}")
    ] = field(name="exactly.once.support", default="requested")
    transaction_boundary: Annotated[
        Literal["interval", "poll", "connector"], Meta(description="Without effect: there are no transactions yet.")
    ] = field(name="transaction.boundary", default="poll")
    transaction_boundary_interval_ms: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Without effect: there are no transactions yet.")
    ] = field(name="transaction.boundary.interval.ms", default=None)
    offsets_storage_topic: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Without effect: offsets are kept in the worker's store."),
    ] = field(name="offsets.storage.topic", default=None)
    topic_creation_groups: Annotated[
        list[str],
        Meta(
            description="Refused, as are all keys that begin with `topic.creation.`, unless the worker has "
            "topic.creation.enable=false: topics are not created with settings of their own yet."
        ),
    ] = field(name="topic.creation.groups", default_factory=list)
