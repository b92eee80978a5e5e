"""A stage process's loop: take a batch, let the stages work on it, give back what they made of it.

    (task) ──► work ──► convert, transform ──► done ──► (task)

Batches are dealt in turn, so the number of the next one is known: anything else is lost or exchanged, and nothing of
it goes on. A batch that cannot be done whole here (a record is bad, or a converter must wait) goes back with nothing
made of it: the task works on it itself, and decides. An error that is no record's ends the process.

Used by: engine.stage.main.
Not here: what is done to a batch (engine.stages.work), whose turn it is (engine.task.crew).
"""

from __future__ import annotations

from collections.abc import Callable

from engine.clock import Clock
from engine.ledger.errors import LedgerError
from engine.shm.acts import Act
from engine.shm.board import Row, StageWord
from engine.shm.channel import StageSide

__all__ = ["StageBank", "Worker"]

#: The bell is rung for all that may end such a wait.
IDLE_SECONDS = 0.5
#: A full ring is looked at again after so long, should the bell be late.
FULL_SECONDS = 0.01

#: What is done to a batch: its message in; out come how many records it had, and the message of what became of it.
#: None: it cannot be done whole here.
Worker = Callable[[memoryview, Callable[[Act], None]], tuple[int, bytes] | None]
#: Goes back in the place of what was made.
NOTHING_MADE = b""


class StageBank:
    """Steps one stage process."""

    def __init__(
        self,
        worker: Worker,
        close: Callable[[], None],
        side: StageSide,
        row: Row,
        clock: Clock,
        number: int,
        stages: int,
    ) -> None:
        """close: gives back what the worker has. number: which of the line's `stages` stage processes, from 0."""
        self._worker = worker
        self._close = close
        self._side = side
        self._row = row
        self._clock = clock
        self._number = number
        self._stages = stages
        self._next = number  # number of the batch that comes next
        self.failure: Exception | None = None
        self.is_over = False

    def start(self) -> None:
        """Say that it is ready."""
        self._note(Act.CONVERT)

    def ask_to_stop(self) -> None:
        """End: what was not collected is done again."""
        self.is_over = True

    def fail(self, error: Exception) -> None:
        """End with this reason."""
        self.failure = error
        self.is_over = True

    def stop(self) -> None:
        """Give back what the transforms took; once, whatever happened before."""
        self._note(Act.STOP)
        self._close()

    def step(self) -> float:
        """Work on one batch; returns how long (seconds) nothing but the bell can give it more."""
        begun_ns = self._clock.monotonic_ns()
        self._row.stage_set(self._number, StageWord.BEAT_NS, begun_ns)
        if not self._side.done.flush():
            self._side.task_bell.ring()  # the task takes it piece by piece
            return FULL_SECONDS
        parcel = self._side.work.get()
        if parcel is None:
            return IDLE_SECONDS
        if parcel.number != self._next:
            raise LedgerError(
                f"ledger: batch {parcel.number} was dealt to stage process {self._number}, {self._next} was its next; "
                "nothing from there on is made safe"
            )
        self._next += self._stages
        records, made = self._worker(parcel.payload, self._note) or (parcel.records, NOTHING_MADE)
        number = parcel.number
        del parcel
        self._side.work.release()
        self._side.done.put(number, records, made)
        self._side.done.flush()
        self._side.task_bell.ring()
        self._count(records, self._clock.monotonic_ns() - begun_ns)
        return 0.0

    def _note(self, act: Act) -> None:
        self._row.stage_set(self._number, StageWord.ACT, act)

    def _count(self, records: int, busy_ns: int) -> None:
        for word, more in ((StageWord.BATCHES, 1), (StageWord.RECORDS, records), (StageWord.BUSY_NS, busy_ns)):
            self._row.stage_set(self._number, word, self._row.stage_get(self._number, word) + more)
