"""What a bank waits for while the world outside does not let it go on: causes, and the one word of the board they fit.

    word    bits 8 to 63: since when, in monotonic ms │ bits 0 to 7: the cause, 0 for none

One store says both, so that no reader sees the cause of one wait with the beginning of another. Each bank of a line
has its word, and it stays when the bank ends: what a line waited for in its last life is seen while it comes back.

Used by: engine.patience (writes), engine.kafka, engine.offsets (name the cause of an error), engine.metrics,
engine.display, engine.report (read).
Not here: how long something is borne and when it is told (engine.patience).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from engine.api.errors import ConnectError, DeliveryTimeoutError, RetriableError, UnreachableError
from engine.shm.board import Row, State, Word

__all__ = [
    "KAFKA",
    "Cause",
    "FinalError",
    "OutsideError",
    "Trouble",
    "Wait",
    "cause_of",
    "gravest",
    "pack",
    "unpack",
    "waits_of",
]

MS_NS = 1_000_000
CAUSE_BITS = 8


class Cause(IntEnum):
    """What is waited for. Of two that are so at once the one with the lower number tells more."""

    NOTHING = 0
    STORE = 1
    CREDENTIALS = 2
    DENIED = 3
    REPLICAS = 4
    LEADER = 5
    BROKER = 6
    ACKNOWLEDGEMENTS = 7
    QUOTA = 8
    PUT = 9
    FLUSH = 10
    POLL = 11
    START = 12
    CONVERT = 13

    @property
    def label(self) -> str:
        """As metrics, the report and the display name it."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """As the log tells it, behind "waits: "."""
        return _SENTENCES[self]


#: What Kafka, and the way to it, can be waited for.
KAFKA = (Cause.CREDENTIALS, Cause.DENIED, Cause.REPLICAS, Cause.LEADER, Cause.BROKER, Cause.ACKNOWLEDGEMENTS)
_SENTENCES = {
    Cause.NOTHING: "nothing",
    Cause.STORE: "the offset store cannot be written",
    Cause.CREDENTIALS: "Kafka refuses who this client says it is, or the client refuses Kafka's certificate",
    Cause.DENIED: "this user is denied a topic or a group",
    Cause.REPLICAS: "too few replicas are in sync (min.insync.replicas), or none leads",
    Cause.LEADER: "a partition has no leader, or a group no coordinator, for now",
    Cause.BROKER: "no broker can be reached",
    Cause.ACKNOWLEDGEMENTS: "Kafka acknowledges nothing",
    Cause.QUOTA: "Kafka throttles this client (quota)",
    Cause.PUT: "the connector's put asks to be called again",
    Cause.FLUSH: "the connector's flush asks to be called again",
    Cause.POLL: "the connector's poll asks to be called again",
    Cause.START: "the connector cannot start yet",
    Cause.CONVERT: "a converter cannot convert yet",
}


class Trouble(NamedTuple):
    """Something that was heard of and may pass."""

    cause: Cause
    why: str  # in the words of who noticed it


class OutsideError(RetriableError):
    """The world outside does not let a call succeed now; says what is to be waited for."""

    def __init__(self, text: str, cause: Cause) -> None:
        self.cause = cause
        super().__init__(text)


class FinalError(ConnectError):
    """Going on would do harm, or what was done would be done again: a person must look first."""


def cause_of(error: RetriableError | UnreachableError, other: Cause = Cause.START) -> Cause:
    """What is waited for after this error. other: where it does not say."""
    if isinstance(error, OutsideError):
        return error.cause
    if isinstance(error, UnreachableError):
        return Cause.BROKER
    return Cause.ACKNOWLEDGEMENTS if isinstance(error, DeliveryTimeoutError) else other


class Wait(NamedTuple):
    """One wait, as the board has it."""

    cause: Cause
    since_ns: int  # monotonic, to a millisecond

    def seconds(self, now_ns: int) -> float:
        """How long it has lasted."""
        return max(0, now_ns - self.since_ns) / 1e9


def pack(wait: Wait | None) -> int:
    """The word for a wait."""
    return 0 if wait is None else (wait.since_ns // MS_NS) << CAUSE_BITS | wait.cause


def unpack(word: int) -> Wait | None:
    """The wait that a word stands for; None: none, or one that this version does not know."""
    number = word & ((1 << CAUSE_BITS) - 1)
    if not number or number > max(Cause):
        return None
    return Wait(Cause(number), (word >> CAUSE_BITS) * MS_NS)


def waits_of(row: Row) -> list[Wait]:
    """What the banks of a line wait for, or waited for when it failed or was stopped; one that is done has nothing."""
    if row.get(Word.STATE) == State.DONE:
        return []
    found = (unpack(row.get(word)) for word in (Word.TASK_WAIT, Word.PUMP_WAIT))
    return [wait for wait in found if wait is not None]


def gravest(row: Row) -> Wait | None:
    """Of what both banks of a line wait for, what tells most."""
    return min(waits_of(row), default=None)
