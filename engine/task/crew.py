"""A task's stage processes, as it sees them: batches are dealt to them in turn, and collected in the same turn.

    deal 0 ──► stage 0 ──┐            so what comes back is in the order in which it was dealt,
    deal 1 ──► stage 1 ──┼──► collect 0, 1, 2 ...   whoever was ready first
    deal 2 ──► stage 0 ──┘

Nobody waits: what has no room yet is kept and tried again first, what is not done yet is collected later. A batch that
comes back says its number and how many records came; anything else than what was dealt is an error of the ledger. One
that comes back empty could not be done whole, and is done by the task.

Used by: engine.task.source, engine.task.sink.
Not here: what is done to a batch (engine.stages), the other end (engine.stage).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from engine.ledger.errors import Complaint
from engine.shm.board import Row, Word
from engine.shm.channel import StageEnd
from engine.shm.parcels import Parcel
from engine.stages.carrying import Packer, Unpacker

__all__ = ["DEALT_PER_STAGE", "Crew"]

#: Batches that are under way at each stage process: one that it works on, one that waits, one that is to be collected.
DEALT_PER_STAGE = 3


class _Dealt(NamedTuple):
    number: int
    records: int


class Crew:
    """All stage processes of a task."""

    def __init__(self, ends: Sequence[StageEnd], row: Row) -> None:
        self._ends = ends
        self._packers = [Packer() for _ in ends]
        self._unpackers = [Unpacker() for _ in ends]
        self._dealt: deque[_Dealt] = deque()  # and not collected
        self._next = 0  # number of the next batch that is dealt
        self._unsent: deque[StageEnd] = deque()  # whose batches wait for room
        self._complaint = Complaint(row, Word.TASK_MISSING, Word.TASK_DOUBLED)

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be dealt now."""
        return bool(self._unsent) or len(self._dealt) >= self.batches_max

    @property
    def batches_max(self) -> int:
        """Batches that are under way, at most."""
        return DEALT_PER_STAGE * len(self._ends)

    @property
    def packer(self) -> Packer:
        """For the next batch that is dealt."""
        return self._packers[self._next % len(self._ends)]

    @property
    def unpacker(self) -> Unpacker:
        """For the next batch that is collected."""
        return self._unpackers[self._dealt[0].number % len(self._ends)]

    def deal(self, records: int, message: bytes | memoryview) -> None:
        """Give a batch of so many records to whose turn it is. message: stays as it is until it is collected."""
        end = self._ends[self._next % len(self._ends)]
        end.work.put(self._next, records, message)
        self._dealt.append(_Dealt(self._next, records))
        self._next += 1
        self._unsent.append(end)
        self.send()

    def send(self) -> None:
        """Write what waits for room, in order."""
        while self._unsent:
            end = self._unsent[0]
            is_sent = end.work.flush()
            end.bell.ring()
            if not is_sent:
                return
            self._unsent.popleft()

    def collect(self) -> Parcel | None:
        """The next batch in turn, if it is done; it is given back by `release`. Raises LedgerError."""
        self.send()
        dealt = self._dealt[0]
        done = self._ends[dealt.number % len(self._ends)].done.get()
        if done is None:
            return None
        if done.number != dealt.number:
            where = f"batch {dealt.number}, where batch {done.number} was collected"
            raise self._complaint.differs("between dealt and collected", where, dealt.records, dealt.records)
        if done.records != dealt.records:
            where = f"batch {dealt.number}"
            raise self._complaint.differs("between dealt and collected", where, dealt.records, done.records)
        return done

    def release(self) -> None:
        """Done with what was collected."""
        end = self._ends[self._dealt.popleft().number % len(self._ends)]
        end.done.release()
        end.bell.ring()  # it may wait for room
