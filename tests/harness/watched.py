"""The memory that two banks share, watched: every store is a step, has one writer, and keeps what must hold.

    row of the board    counters only grow; stored <= acknowledged <= produced; committed, flushed <= put
    ring's cursors      only grow; 0 <= tail - head <= capacity
    ledger's entries    one writer a word

Used by: tests.harness.banks, where a test steps the banks with `Steps`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from engine.ledger.entries import Entry, Page
from engine.shm.board import (
    SINK_STAGES,
    SOURCE_STAGES,
    STAGE_PROCESS_WORDS,
    STAGE_PROCESS_WORDS_AT,
    STAGE_PROCESSES_MAX,
    STAGE_WORDS_AT,
    Board,
    Row,
    Stage,
    Word,
)
from engine.shm.channel import Channel, PumpSide, StageEnd, StageSide, TaskSide
from engine.shm.ring import HEAD, TAIL, RingReader, RingWriter
from tests.harness.claims import Wrong
from tests.harness.steps import Steps

__all__ = ["WatchedBoard", "WatchedPage", "WatchedPumpSide", "WatchedStageSide", "WatchedTaskSide"]

Ring = TypeVar("Ring", RingReader, RingWriter)

#: Pairs of stages: never more records at the first than at the second.
ORDER = {
    "source": ((Stage.STORE, Stage.ACKNOWLEDGE), (Stage.ACKNOWLEDGE, Stage.PRODUCE)),
    "sink": ((Stage.COMMIT, Stage.PUT), (Stage.FLUSH, Stage.PUT)),
}
#: Written in every turn, and of no consequence to anybody who comes after: no step of their own.
GAUGES = {
    *(Word.TASK_BEAT_NS, Word.PUMP_BEAT_NS, Word.TASK_ACT, Word.PUMP_ACT),
    *(Word.RING_USED_BYTES, Word.PARTITIONS, Word.PAUSED, Word.QUEUED, Word.LAG),
    *(Word.KILLER_FIRST, Word.KILLER_SECOND, Word.KILLER_THIRD),
    *(Word.HAND_PLACE, Word.HAND_LAST, Word.HAND_RECORDS, Word.SUSPECT_PLACE, Word.SUSPECT_LAST),
    *(Word.PART_RECORDS, Word.LONE_DEATHS, Word.BEGUN),
    *range(STAGE_PROCESS_WORDS_AT, STAGE_PROCESS_WORDS_AT + STAGE_PROCESSES_MAX * STAGE_PROCESS_WORDS),
}
RECORDS_AT = {STAGE_WORDS_AT + 4 * stage: stage for stage in (*SOURCE_STAGES, *SINK_STAGES)}


class Words:
    """64-bit words; who looks at them is told of each store."""

    __slots__ = ("_name", "_steps", "_words", "_writers")

    def __init__(self, words: Any, steps: Steps, name: str, writers: dict[int, str]) -> None:
        """writers: who has written each word, over all lives."""
        self._words = words
        self._steps = steps
        self._name = name
        self._writers = writers

    def __getitem__(self, key: Any) -> Any:
        return self._words[key]

    def __setitem__(self, key: int, value: int) -> None:
        actor = self._steps.actor
        if actor:
            self._steps.at(self._name)
            writer = self._writers.setdefault(key, actor)
            if writer != actor:
                raise Wrong(f"word {key} of the {self._name} is written by {actor}, it is {writer}'s")
        self._words[key] = value


class RowWords(Words):
    """A row's."""

    __slots__ = ("_order",)

    def __init__(self, words: Any, steps: Steps, writers: dict[int, str], type: str) -> None:
        super().__init__(words, steps, "board", writers)
        self._order = ORDER[type]

    def __setitem__(self, key: int, value: int) -> None:
        if key in GAUGES:
            self._words[key] = value
            return
        if key >= STAGE_WORDS_AT:
            before = self._words[key]
            if value < before:
                raise Wrong(f"counter {key} falls from {before} to {value}")
        super().__setitem__(key, value)
        if key in RECORDS_AT:
            for less, more in self._order:
                low, high = (self._words[STAGE_WORDS_AT + 4 * stage] for stage in (less, more))
                if low > high:
                    raise Wrong(f"{less.name} {low} is ahead of {more.name} {high}")


class WatchedBoard(Board):
    """A board whose rows are watched."""

    def __init__(self, descriptor: int, steps: Steps, type: str) -> None:
        """type: of all its lines, "source" or "sink"."""
        super().__init__(descriptor)
        self._steps = steps
        self._type = type
        self._writers: dict[int, str] = {}

    def row(self, index: int) -> Row:
        row = super().row(index)
        if not isinstance(row.words, RowWords):
            words: Any = RowWords(row.words, self._steps, self._writers, self._type)
            row.words = words
        return row


class WatchedPage(Page):
    """A task's page of the ledger."""

    def __init__(self, page: Page, steps: Steps, writers: dict[int, str]) -> None:
        super().__init__(page._memory)
        self._steps = steps
        self._writers = writers

    def _entry(self, index: int) -> Entry:
        entry = super()._entry(index)
        words: Any = Words(entry._words, self._steps, "ledger", self._writers)
        entry._words = words
        return entry


class Cursors:
    """The control words of one end of a ring."""

    __slots__ = ("_capacity_bytes", "_name", "_steps", "_words")

    def __init__(self, words: Any, steps: Steps, name: str, capacity_bytes: int) -> None:
        self._words = words
        self._steps = steps
        self._name = name
        self._capacity_bytes = capacity_bytes

    def __getitem__(self, key: int) -> int:
        return int(self._words[key])

    def __setitem__(self, key: int, value: int) -> None:
        act = "publish" if key == TAIL else "release"
        self._steps.at(f"before {act} {self._name}")
        if value < self._words[key]:
            raise Wrong(f"a cursor of the {self._name} ring goes back")
        self._words[key] = value
        used = self._words[TAIL] - self._words[HEAD]
        if not 0 <= used <= self._capacity_bytes:
            raise Wrong(f"{used} bytes of {self._capacity_bytes} used")
        self._steps.at(f"after {act} {self._name}")


def _watched(ring: Ring, steps: Steps, name: str) -> Ring:
    control: Any = Cursors(ring._control, steps, name, ring.capacity_bytes)
    ring._control = control
    return ring


class WatchedTaskSide(TaskSide):
    """The channel as the task process has it."""

    def __init__(self, channel: Channel, steps: Steps) -> None:
        super().__init__(channel)
        self._steps = steps
        _watched(self.up, steps, "up")
        _watched(self.down, steps, "down")

    def data_writer(self, *, is_checked: bool = False) -> RingWriter:
        return _watched(super().data_writer(is_checked=is_checked), self._steps, "data")

    def data_reader(self, *, is_checked: bool = False) -> RingReader:
        return _watched(super().data_reader(is_checked=is_checked), self._steps, "data")

    def stage_ends(self, *, is_checked: bool = False) -> list[StageEnd]:
        ends = super().stage_ends(is_checked=is_checked)
        for number, end in enumerate(ends):
            _watched(end.work._ring, self._steps, f"work {number}")
            _watched(end.done._ring, self._steps, f"done {number}")
        return ends


class WatchedStageSide(StageSide):
    """The channel as a stage process has it."""

    def __init__(self, channel: Channel, number: int, steps: Steps, *, is_checked: bool = False) -> None:
        super().__init__(channel, number, is_checked=is_checked)
        _watched(self.work._ring, steps, f"work {number}")
        _watched(self.done._ring, steps, f"done {number}")


class WatchedPumpSide(PumpSide):
    """The channel as the pump has it."""

    def __init__(self, channel: Channel, steps: Steps) -> None:
        super().__init__(channel)
        self._steps = steps
        _watched(self.up, steps, "up")
        _watched(self.down, steps, "down")

    def data_reader(self, *, is_checked: bool = False) -> RingReader:
        return _watched(super().data_reader(is_checked=is_checked), self._steps, "data")

    def data_writer(self, *, is_checked: bool = False) -> RingWriter:
        return _watched(super().data_writer(is_checked=is_checked), self._steps, "data")
