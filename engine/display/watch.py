"""The board seen again and again: what each task has moved, and how fast.

    board ──► look ──► look ──► ...      a rate is the growth over the last 3 seconds

Used by: engine.display.main.
Not here: how it looks (picture.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from engine.clock import Clock
from engine.shm.board import Board, HeaderWord, Measure, Row, Stage, State, Word
from engine.shm.stalls import Stall, stall_of
from engine.shm.waits import Wait, gravest

__all__ = ["Look", "Meter", "TaskLook", "Watch"]

SECOND_NS = 1_000_000_000
WINDOW_NS = 3 * SECOND_NS
#: Rates of so many past seconds are remembered, one a second.
HISTORY = 16
OVER = (State.DONE, State.FAILED, State.STOPPED)


class TaskLook(Struct, frozen=True):
    """One task, at one moment; or several tasks of one connector together."""

    connector: str
    title: str
    type: str
    states: tuple[State, ...]  # of each task
    is_held: bool
    records: int  # a source's that Kafka has acknowledged, a sink's that were put
    record_rate: float  # a second
    byte_rate: float
    lag: int | None  # None: a source
    ring_fill: float  # 0 to 1
    restarts: int
    history: tuple[float, ...]  # record rates of the last seconds, oldest first
    reason: str
    wait: Wait | None = None  # for what is outside
    wait_seconds: float = 0.0
    stall: Stall | None = None
    stall_seconds: float = 0.0


class Look(Struct, frozen=True):
    """All of them."""

    seconds: float
    is_last: bool  # rates are those of the whole run
    tasks: tuple[TaskLook, ...]


class Meter:
    """The rate of a growing count over the last WINDOW_NS."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()  # (when, count), oldest first

    def rate(self, now_ns: int, count: int) -> float:
        """Growth a second, with this count of now. 0 at the first sight."""
        seen = self._seen
        if seen and count < seen[-1][1]:
            seen.clear()
        seen.append((now_ns, count))
        # The oldest kept is the newest that is a whole window away.
        while len(seen) > 2 and now_ns - seen[1][0] >= WINDOW_NS:
            seen.popleft()
        began_ns, began = seen[0]
        return (count - began) * SECOND_NS / (now_ns - began_ns) if now_ns > began_ns else 0.0


class Watch:
    """Looks at a board; keeps what it needs to tell rates."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._tasks: dict[int, _Task] = {}  # by index of their rows

    def look(self) -> Look:
        """What is so now."""
        now_ns = self._clock.monotonic_ns()
        return Look(self._seconds(now_ns), is_last=False, tasks=tuple(task.look(now_ns) for task in self._all()))

    def last_look(self) -> Look:
        """What is so at the end, with the rates of the whole run."""
        now_ns = self._clock.monotonic_ns()
        return Look(self._seconds(now_ns), is_last=True, tasks=tuple(task.last_look(now_ns) for task in self._all()))

    def _seconds(self, now_ns: int) -> float:
        header = self._board.header
        return ((header[HeaderWord.FINISHED_NS] or now_ns) - header[HeaderWord.STARTED_NS]) / SECOND_NS

    def _all(self) -> Sequence[_Task]:
        rows = {row.index: row for row in self._board.rows()}
        for index in self._tasks.keys() - rows.keys():
            del self._tasks[index]
        for index, row in rows.items():
            if index not in self._tasks or self._tasks[index].identity != row.identity:
                self._tasks[index] = _Task(row)
        return [self._tasks[index] for index in sorted(self._tasks)]


class _Task:
    """One row, watched."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.identity = row.identity
        is_source = self.identity.type == "source"
        self._moved = Stage.ACKNOWLEDGE if is_source else Stage.PUT
        # A sink's task does not see bytes where it puts, but where it converts.
        self._sized = Stage.ACKNOWLEDGE if is_source else Stage.CONVERT
        self._records = Meter()
        self._bytes = Meter()
        self._history: deque[float] = deque(maxlen=HISTORY)
        self._noted = (0, 0)  # when the last rate of the history was noted, and at which count

    def look(self, now_ns: int) -> TaskLook:
        records = self._row.measured(self._moved, Measure.RECORDS)
        size = self._row.measured(self._sized, Measure.BYTES)
        self._note(now_ns, records)
        return self._seen(now_ns, records, self._records.rate(now_ns, records), self._bytes.rate(now_ns, size))

    def last_look(self, now_ns: int) -> TaskLook:
        records = self._row.measured(self._moved, Measure.RECORDS)
        size = self._row.measured(self._sized, Measure.BYTES)
        began_ns = self._row.get(Word.FIRST_RECORD_NS)
        ended_ns = self._row.get(Word.STATE_SINCE_NS) if self._row.get(Word.STATE) in OVER else now_ns
        seconds = (ended_ns - began_ns) / SECOND_NS
        if not began_ns or seconds <= 0:
            return self._seen(now_ns, records, 0.0, 0.0)
        return self._seen(now_ns, records, records / seconds, size / seconds)

    def _note(self, now_ns: int, records: int) -> None:
        noted_ns, noted = self._noted
        if now_ns - noted_ns < SECOND_NS:
            return
        if noted_ns:
            self._history.append(max(0, records - noted) * SECOND_NS / (now_ns - noted_ns))
        self._noted = (now_ns, records)

    def _seen(self, now_ns: int, records: int, record_rate: float, byte_rate: float) -> TaskLook:
        row, identity = self._row, self.identity
        wait = gravest(row)
        stall = stall_of(row, now_ns)
        return TaskLook(
            connector=identity.connector,
            title=f"{identity.connector}/{identity.task}",
            type=identity.type,
            states=(State(row.get(Word.STATE)),),
            is_held=bool(row.get(Word.HELD)),
            records=records,
            record_rate=record_rate,
            byte_rate=byte_rate,
            lag=None if identity.type == "source" else row.get(Word.LAG),
            ring_fill=row.get(Word.RING_USED_BYTES) / (row.get(Word.RING_BYTES) or 1),
            restarts=row.get(Word.RESTARTS),
            history=tuple(self._history),
            reason=row.reason,
            wait=wait,
            wait_seconds=0.0 if wait is None else wait.seconds(now_ns),
            stall=stall,
            stall_seconds=0.0 if stall is None else stall.seconds(now_ns),
        )
