"""The words between whoever asks (REST, files), the herder, and whoever carries out (the supervisor, a probe, a store).

    command  ──► Herder.ask  ──► intentions
    event    ──► Herder.hear ──► intentions: Plan, Alter, Run, Watch, Hold, Again, Keep, Drop, Remind, RemindOnChange,
                              Reply

All of them are values: whoever drives the herder sends what it intends to where it belongs, and brings back what came
of it.

Used by: engine.herder.herder, engine.control.
Not here: when which is intended (herder.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from engine.config.freshness import FileVersion
from engine.config.line import LineSpec, Restarts
from engine.herder.watching import Watch, Watched, WatchSpec
from engine.mending import Circuit, Kind

__all__ = [
    "INITIAL_STATES",
    "Again",
    "Alter",
    "AlterOffsets",
    "Altered",
    "Command",
    "Config",
    "Configure",
    "ConnectorView",
    "Create",
    "Delete",
    "Drop",
    "Due",
    "Event",
    "Hold",
    "Info",
    "Intention",
    "Keep",
    "Kept",
    "Message",
    "PartitionOffset",
    "Patch",
    "Plan",
    "Planned",
    "Refusal",
    "Remind",
    "RemindOnChange",
    "Reply",
    "Restart",
    "RestartTask",
    "Restarting",
    "Run",
    "SetTarget",
    "Settled",
    "State",
    "TargetState",
    "Watch",
]

Config = Mapping[str, str]


class TargetState(StrEnum):
    """What a connector is asked to be (Kafka Connect's word and spelling)."""

    STARTED = "STARTED"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"


#: What a file or a request names as `initial_state`.
INITIAL_STATES = {
    "RUNNING": TargetState.STARTED,
    "PAUSED": TargetState.PAUSED,
    "STOPPED": TargetState.STOPPED,
}


class State(StrEnum):
    """What a connector is, as its status says."""

    UNASSIGNED = "UNASSIGNED"  # not looked at yet
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


# Commands: each is answered by one Reply with its ticket.


class Create(Struct, frozen=True):
    """Make a connector that is not there yet."""

    name: str
    config: Config
    target: TargetState = TargetState.STARTED


class Configure(Struct, frozen=True):
    """Give a connector this configuration, whole; make it if it is not there."""

    name: str
    config: Config


class Patch(Struct, frozen=True):
    """Change some keys of a connector; None takes one away."""

    name: str
    changes: Mapping[str, str | None]


class Delete(Struct, frozen=True):
    """End a connector and forget it; its offsets stay."""

    name: str


class SetTarget(Struct, frozen=True):
    """Pause, resume or stop."""

    name: str
    target: TargetState


class Restart(Struct, frozen=True):
    """Start a connector again, or what of it and its tasks is asked for.

    failed_tasks: those that have failed, as the board says; read with only_failed.
    """

    name: str
    with_tasks: bool = False
    only_failed: bool = False
    failed_tasks: frozenset[int] = frozenset()

    @property
    def is_plain(self) -> bool:
        """Whether it is Kafka Connect's older way: the connector alone, answered when it is done."""
        return not (self.with_tasks or self.only_failed)


class RestartTask(Struct, frozen=True):
    """Start one task again."""

    name: str
    task: int


class AlterOffsets(Struct, frozen=True):
    """Set offsets of a stopped connector, or forget them."""

    name: str
    offsets: tuple[PartitionOffset, ...] | None = None  # None: forget all that there are


class PartitionOffset(Struct, frozen=True, array_like=True):
    """How far a partition is to be; of a source as its connector has it, of a sink by topic and number."""

    partition: Mapping[str, Any] | None
    offset: Mapping[str, Any] | None  # None: as if nothing had been read


Command = Create | Configure | Patch | Delete | SetTarget | Restart | RestartTask | AlterOffsets


# Events.


class Planned(Struct, frozen=True):
    """What a probe has found for a configuration."""

    attempt: int
    problems: tuple[str, ...] = ()  # of the configuration: it is refused
    failure: str = ""  # of the connector: it was made, and failed to start or to say its tasks
    failure_kind: Kind = Kind.CONFIG  # of either
    restarts: Restarts | None = None  # the connector's policy, where its keys could be read
    has_class: bool = True  # else its keys could not be looked at: the one problem says why
    infos: bytes = b""  # ConfigInfos as JSON, if they were asked for
    type: str = "unknown"  # "source" or "sink"
    version: str | None = None  # of the plugin
    task_configs: tuple[Config, ...] = ()  # as the connector gave them, variables not resolved
    lines: tuple[LineSpec, ...] = ()
    watch: WatchSpec | None = None  # the connector watches: its own process is to say its tasks
    reload_ms: int | None = None  # a config provider says that its values are good for so long
    files: Mapping[str, FileVersion] = {}  # that hold such values, as they were


class Settled(Struct, frozen=True, tag=True, tag_field="kind"):
    """Of a connector no line runs but those of this Run."""

    name: str
    generation: int
    problem: str = ""  # why not all of them do


class Altered(Struct, frozen=True):
    """What came of an Alter."""

    attempt: int
    outcome: Message | Refusal


class Due(Struct, frozen=True):
    """What was to be reminded of: the configuration of that generation is to be looked at again.

    attempt: the plan that has failed; when another has been made since, nothing is due. 0: it does not matter.
    """

    name: str
    generation: int
    attempt: int = 0


Event = Planned | Settled | Altered | Due | Watched


# Intentions.


class Plan(Struct, frozen=True, tag=True, tag_field="kind"):
    """Have a probe look at a configuration. wants_tasks: start the connector there, and ask for its tasks."""

    attempt: int
    name: str
    config: Config
    wants_tasks: bool
    task_configs: tuple[Config, ...] | None = None  # of one that watches: as its own process gave them, or as kept


class Alter(Struct, frozen=True, tag=True, tag_field="kind"):
    """Have offsets of a connector set that has no lines, once it agrees to them. offsets: None: all are forgotten."""

    attempt: int
    name: str
    config: Config
    offsets: tuple[PartitionOffset, ...] | None


class Run(Struct, frozen=True, tag=True, tag_field="kind"):
    """Let these lines run, and no others of the connector; those that run so already go on. Answered by Settled."""

    name: str
    generation: int
    lines: tuple[LineSpec, ...]
    is_held: bool = False  # paused from the start


class Hold(Struct, frozen=True, tag=True, tag_field="kind"):
    """Let a connector's lines pause, or go on; for good, until it is said otherwise."""

    name: str
    is_held: bool


class Again(Struct, frozen=True, tag=True, tag_field="kind"):
    """Start tasks of a connector again."""

    name: str
    tasks: frozenset[int]


class Kept(Struct, frozen=True):
    """What of a connector outlives this process, and the worker."""

    name: str
    config: Config
    target: TargetState
    has_tasks: bool = False  # a paused one has some only if it was started before
    type: str = "unknown"
    version: str | None = None
    task_configs: tuple[Config, ...] = ()


class Keep(Struct, frozen=True):
    """Store a connector, before it is answered."""

    kept: Kept


class Drop(Struct, frozen=True):
    """Forget a connector in the store."""

    name: str


class Remind(Struct, frozen=True):
    """Bring Due back after so long. why: what is to be told of it now; half of the time is chance then."""

    after_ms: int
    due: Due
    why: str = ""


class RemindOnChange(Struct, frozen=True):
    """Bring Due back when one of these files is no longer what it was, in place of what was watched for it before."""

    files: Mapping[str, FileVersion]
    due: Due


class Info(Struct, frozen=True):
    """An answer: the connector as it is now."""

    view: ConnectorView
    is_new: bool = False


class Restarting(Struct, frozen=True):
    """An answer: these are started again, and shown so."""

    name: str
    has_connector: bool
    tasks: frozenset[int]


class Message(Struct, frozen=True):
    """An answer: what has been done, in words."""

    text: str


class Refusal(Struct, frozen=True):
    """An answer: no. status: HTTP's."""

    status: int
    message: str


class Reply(Struct, frozen=True):
    """Answer a command. answer: None: done, and there is nothing to say."""

    ticket: int
    answer: Info | Restarting | Message | Refusal | None = None


Intention = Plan | Alter | Run | Watch | Hold | Again | Keep | Drop | Remind | RemindOnChange | Reply


class ConnectorView(Struct, frozen=True):
    """A connector for readers."""

    name: str
    config: Config
    type: str
    version: str | None
    target: TargetState
    state: State
    trace: str  # why it failed; empty: it has not
    task_configs: tuple[Config, ...]
    generation: int
    failure_kind: Kind = Kind.NOTHING
    restarts: int = 0  # of the connector itself, in a row, because it had failed
    circuit: Circuit = Circuit.CLOSED
