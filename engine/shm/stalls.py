"""What it means that a line does not go on although it should: in which way, where, since when; one word of the board.

    word    bits 24 to 63: since when, monotonic ms │ 16 to 23: the stage process, from 1 │ 15: shown as failed │
            14: the pump's │ 8 to 13: way │ 0 to 7: act

What waits for the world outside is no stall (waits.py), and a source that finds nothing is none.

Used by: engine.supervisor (writes), engine.control, engine.metrics, engine.display (read).
Not here: what is judged a stall (engine.supervisor.stalls).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from engine.shm.acts import Act, act_of, stage_name, stage_number
from engine.shm.board import Row, State, Word

__all__ = ["Stall", "Way", "pack", "stall_of", "unpack"]

MS_NS = 1_000_000
#: The supervisor's loop turns fifty times a second; forking a line takes it much less than this.
UNWATCHED_NS = 4_000_000_000
_ACT_BITS = 8
_STAGE_AT = 16
_SINCE_AT = 24
_STAGE_MASK = 0xFF
_FAILED, _PUMP = 1 << 15, 1 << 14
_WAY_MASK = 0x3F


class Way(IntEnum):
    """How it shows."""

    CALL = 1  # a call has not returned
    HELD = 2  # a signal has stopped the process
    DELIVERY = 3  # records wait in a source's ring, and Kafka gets none
    TAKING = 4  # records wait in a sink's ring, and the task takes none
    FETCHING = 5  # a sink's lag grows, and its pump gets nothing
    UNWATCHED = 6  # the supervisor's loop does not turn: nobody knows; told by readers, never written


class Stall(NamedTuple):
    """One stall, as the board has it."""

    way: Way
    bank: str  # "task", "pump" or a stage process
    act: Act  # what it is in
    since_ns: int  # monotonic, to a millisecond
    is_failed: bool = False  # clients are to read FAILED

    def seconds(self, now_ns: int) -> float:
        """How long it has lasted."""
        return max(0, now_ns - self.since_ns) / 1e9

    @property
    def sentence(self) -> str:
        """What is wrong; "for 12 s" goes behind it."""
        if self.way == Way.CALL:
            return f"{self.act.label} has not returned"
        return _SENTENCES[self.way].format(bank=self.bank)


_SENTENCES = {
    Way.HELD: "a signal has stopped the {bank} process",
    Way.DELIVERY: "records wait in the ring, and none has reached Kafka",
    Way.TAKING: "records wait in the ring, and none was taken",
    Way.FETCHING: "there is more to read, and nothing was fetched",
    Way.UNWATCHED: "the supervisor has not looked after it",
}


def pack(stall: Stall | None) -> int:
    """The word for a stall; 0: there is none."""
    if stall is None:
        return 0
    flags = (_FAILED if stall.is_failed else 0) | (_PUMP if stall.bank == "pump" else 0)
    if (number := stage_number(stall.bank)) is not None:
        flags |= (number + 1) << _STAGE_AT
    return (stall.since_ns // MS_NS) << _SINCE_AT | flags | stall.way << _ACT_BITS | stall.act


def unpack(word: int) -> Stall | None:
    """The stall that a word stands for; None: none."""
    if not word:
        return None
    stage = word >> _STAGE_AT & _STAGE_MASK
    bank = stage_name(stage - 1) if stage else "pump" if word & _PUMP else "task"
    return Stall(
        Way(word >> _ACT_BITS & _WAY_MASK),
        bank,
        Act(word & ((1 << _ACT_BITS) - 1)),
        (word >> _SINCE_AT) * MS_NS,
        bool(word & _FAILED),
    )


def stall_of(row: Row, now_ns: int) -> Stall | None:
    """The stall of a line, if it is in one, or nobody has looked after it lately."""
    stall = unpack(row.get(Word.STALL))
    seen_ns = row.lease_ns
    is_over = row.get(Word.STATE) in (State.DONE, State.FAILED, State.STOPPED)
    if stall is None and not is_over and 0 < seen_ns < now_ns - UNWATCHED_NS:
        return Stall(Way.UNWATCHED, "task", act_of(row, "task"), seen_ns)
    return stall
