"""The words between the herder and the process of a connector that watches something.

    herder ── Watch(attempt, spec) ──► supervisor ──► the connector's process: made, initialize, start, task_configs
           ◄── Watched(attempt) ─────────────────────── whenever the connector asks, or fails

What it says are configurations of tasks; lines are made of them by a plan, as of any others.

Used by: engine.herder.herder, engine.connector_lines, engine.supervisor.watchers, engine.watcher, engine.inquiry.
Not here: commands, and the other intentions (model.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from engine.config.line import Restarts

__all__ = ["PortSpec", "Watch", "WatchSpec", "Watched"]


class PortSpec(Struct, frozen=True):
    """What answers to a connector's questions take (engine.inquiry)."""

    store: str  # path of the worker's
    worker_properties: Mapping[str, str]  # those that are the connector's to know
    kafka: Mapping[str, str | int | float | bool]  # settings of its client, in librdkafka's names
    seconds: float  # for an answer from Kafka


class WatchSpec(Struct, frozen=True, kw_only=True):
    """A connector, ready to be forked."""

    connector: str
    path: str  # of its class
    properties: Mapping[str, str]  # variables resolved
    tasks_max: int
    environments: tuple[str, ...] = ()  # folders that are put on its path
    call_seconds: float = 30.0  # no call of it takes longer (probe.timeout.ms)
    restarts: Restarts = Restarts()
    port: PortSpec
    secrets: tuple[str, ...] = ()  # values that no log may show


class Watch(Struct, frozen=True, tag=True, tag_field="kind"):
    """Let this process be there for a connector, and no other. Answered by Watched, also by one that runs already."""

    name: str
    attempt: int  # of the plan that asks for it; comes back
    spec: WatchSpec | None  # None: there shall be none
    is_again: bool = False  # start it anew, whatever it is


class Watched(Struct, frozen=True, tag=True, tag_field="kind"):
    """What the connector's process says."""

    name: str
    attempt: int = 0
    task_configs: tuple[Mapping[str, str], ...] = ()  # variables resolved
    failure: str = ""  # the connector has failed: it started badly, raised an error, or ended too often
