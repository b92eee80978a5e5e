"""The accounts of a sink's two banks.

    pump   fetched ──► in frames                       a frame says, for each of its runs, how many records of that
                          │                            partition and epoch went before it, and the sum of their offsets
    task                  ▼
           arrived ──► converted ──► transformed ──► put     the task's own count must be what the next frame says
                            └► skipped   └► dropped, skipped

What differs is an error before it is put, so that nothing of it is flushed or committed.

Used by: engine.pump.sink, engine.task.sink, engine.task.sink_counts.
Not here: what is kept in shared memory, and how (entries.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Self

from msgspec import Struct

from engine.api.batch import Run
from engine.config.line import LineSpec
from engine.ledger.entries import (
    COMMITTED,
    ELSEWHERE,
    FLUSHED,
    HELD,
    MASK,
    PUMP,
    TASK,
    Entry,
    Ledger,
    Page,
    Tally,
    highest,
    highest_refused,
    sum_of,
)
from engine.ledger.errors import Complaint, described
from engine.shm.board import Board, Row, Word
from engine.shm.frame import records_in

__all__ = ["PumpAccount", "TaskAccount", "ranges"]

Place = tuple[str, int]  # topic, partition
Record = tuple[str, int, int]  # topic, partition, offset
Before = tuple[int, int]  # records that went before in this epoch, and the sum of their offsets


class Kept(Struct):
    """A partition's entry, and one's own tally of it."""

    entry: Entry
    tally: Tally
    is_rest: bool  # the entry's; asked once, as it is read from the entry's name
    new_from: int = -1  # the connector was given none of this and later offsets before, by any life; -1: none at all


class Course(Struct):
    """How far one epoch of a partition has come at a border."""

    epoch: int
    records: int = 0
    total: int = 0

    def move(self, run: Run) -> None:
        """Count a run of this epoch."""
        self.records += run.count
        self.total = self.total + sum_of(run.first_offset, run.last_offset, run.count, run.offsets) & MASK


class _Account:
    """What both banks do: tallies of partitions, in shared memory, over all lives."""

    side: ClassVar[int]
    missing: ClassVar[Word]  # where this side counts what it has found
    doubled: ClassVar[Word]

    def __init__(self, page: Page, siblings: Sequence[Page], row: Row) -> None:
        """siblings: the pages of the connector's other tasks, which may have had a partition before."""
        self._page = page
        self._siblings = siblings
        self._row = row
        self._complaint = Complaint(row, self.missing, self.doubled)
        self._kept: dict[Place, Kept] = {}
        self._courses: dict[Place, Course] = {}

    @classmethod
    def of(cls, spec: LineSpec, board: Board, index: int) -> Self | None:
        """The account of the line that has this row; None: the ledger is switched off."""
        if spec.ledger < 0:
            return None
        ledger = Ledger(spec.ledger, board)
        return cls(ledger.page(index), ledger.siblings(index), board.row(index))

    def _keep(self, place: Place, entry: Entry) -> Kept:
        """Take up a partition's tally where any life of any task has left it."""
        if entry.is_rest:
            shared = next((kept for kept in self._kept.values() if kept.is_rest), None)
            kept = shared or Kept(entry, entry.read(self.side), is_rest=True)
        else:
            kept = Kept(entry, entry.read(self.side), is_rest=False)
            kept.tally.high = max(kept.tally.high, highest(self._siblings, place, self.side))
            kept.tally.refused = max(kept.tally.refused, highest_refused(self._siblings, place, self.side))
        self._kept[place] = kept
        return kept

    def _tally(self, run: Run, dropped: int = 0, skipped: Sequence[int] = ()) -> int:
        """Count a run; returns how many of its records were met before."""
        kept = self._kept.get((run.topic, run.partition))
        if kept is None:
            return 0
        again = kept.tally.again
        kept.tally.take(run.first_offset, run.last_offset, run.count, run.offsets, dropped, skipped)
        if kept.is_rest:
            kept.tally.high = 0
        kept.entry.write(self.side, kept.tally)
        return kept.tally.again - again

    def _course(self, place: Place, epoch: int) -> Course:
        course = self._courses.get(place)
        if course is None or course.epoch != epoch:
            course = self._courses[place] = Course(epoch)
        return course


class PumpAccount(_Account):
    """fetched -> in frames; flushed -> committed."""

    side = PUMP
    missing, doubled = Word.PUMP_MISSING, Word.PUMP_DOUBLED

    def __init__(self, page: Page, siblings: Sequence[Page], row: Row) -> None:
        super().__init__(page, siblings, row)
        self._fetched: dict[Place, list[int]] = {}  # records, sum, first, last: of what one fetch brought and is wanted

    def assigned(self, starts: Mapping[Place, int]) -> None:
        """These partitions come, and begin at these offsets."""
        for place, start in starts.items():
            entry = self._page.open(place)
            pages = [self._page, *self._siblings]
            handled, consumed = (highest(pages, place, side) for side in (TASK, PUMP))
            if entry.is_rest or handled < min(start, consumed) or self._is_held_by_others(place):
                entry.set(ELSEWHERE, 1)  # what was consumed here is put by others, or put by them as well
            entry.set(HELD, 1)
            self._keep(place, entry)
            self._courses.pop(place, None)

    def let_go(self, places: Iterable[Place]) -> None:
        """The task has flushed what it had put of these, and puts no more of them."""
        for place in places:
            if place in self._kept:
                self._kept[place].entry.set(HELD, 0)

    def _is_held_by_others(self, place: Place) -> bool:
        """Whether another task, frozen or late, may still put what it was given of a partition."""
        found = (page.find(place) for page in self._siblings)
        return any(entry is not None and entry.get(HELD) for entry in found)

    def fetched(self, place: Place, run: Run) -> None:
        """A slice of what was fetched, without what is in frames already."""
        offsets = run.offsets
        if offsets is not None and any(map(int.__ge__, offsets, offsets[1:])):
            where = described(place, run.first_offset, run.last_offset)
            raise self._complaint.differs("in what was fetched", where, len(set(offsets)), len(offsets))
        total = sum_of(run.first_offset, run.last_offset, run.count, offsets)
        found = self._fetched.setdefault(place, [0, 0, run.first_offset, run.last_offset])
        found[0] += run.count
        found[1] = found[1] + total & MASK
        found[3] = run.last_offset

    def before(self, runs: Iterable[Run]) -> list[Before]:
        """What went before each run of a new frame, which then counts as well."""
        told = []
        for run in runs:
            course = self._course((run.topic, run.partition), run.epoch)
            told.append((course.records, course.total))
            course.move(run)
        return told

    def framed(self, runs: Iterable[Run], values: int) -> None:
        """A frame is ready for the ring. values: slots of its column."""
        count = 0
        for run in runs:
            count += run.count
            self._tally(run)
            found = self._fetched.get((run.topic, run.partition))
            if found is not None:
                found[0] -= run.count
                found[1] = found[1] - sum_of(run.first_offset, run.last_offset, run.count, run.offsets) & MASK
        if count != values:
            raise self._complaint.differs("in a frame", ranges(runs), count, values)

    def settle(self) -> None:
        """All of one fetch is in frames. Raises LedgerError when it is not all, or more."""
        fetched, self._fetched = self._fetched, {}
        for place, (records, total, first, last) in fetched.items():
            if records or total:
                where = described(place, first, last)
                raise self._complaint.differs("between fetched and consumed", where, records, 0)

    def flushed(self, place: Place, offset: int, position: int) -> None:
        """The task says that all before `offset` is safe; position: after the last record that it was given."""
        kept = self._kept.get(place)
        if offset > position:
            where = described(place, position, offset - 1)
            raise self._complaint.differs("between put and flushed", where, 0, offset - position)
        if kept is not None:
            kept.entry.set(FLUSHED, offset)

    def committing(self, place: Place, offset: int, safe: int) -> None:
        """`offset` is about to be committed; safe: all before it is flushed."""
        if offset > safe:
            where = described(place, safe, offset - 1)
            raise self._complaint.differs("between flushed and committed", where, 0, offset - safe)

    def committed(self, place: Place, offset: int) -> None:
        """The group has this offset."""
        kept = self._kept.get(place)
        if kept is not None:
            kept.entry.set(COMMITTED, offset)


class TaskAccount(_Account):
    """arrived -> converted -> transformed, or dropped -> put."""

    side = TASK
    missing, doubled = Word.TASK_MISSING, Word.TASK_DOUBLED

    def __init__(self, page: Page, siblings: Sequence[Page], row: Row) -> None:
        super().__init__(page, siblings, row)
        self._arrived: tuple[Sequence[Run], dict[Place, Course]] = (), {}  # what came last, and how far that goes

    def opened(self, places: Collection[Place]) -> None:
        """These partitions come."""
        for place in places:
            entry = self._page.find(place)
            if entry is not None:
                self._keep(place, entry)
            self._courses.pop(place, None)
        self._arrived = (), {}

    def arrived(self, runs: Sequence[Run], before: Sequence[Before], values: int) -> None:
        """A frame has come through the ring; before: as the pump has told, for each run that is wanted."""
        self._same("in a frame", runs, records_in(runs), values)
        seen: dict[Place, Course] = {}
        for run, (records, total) in zip(runs, before, strict=True):
            place = run.topic, run.partition
            course = seen.get(place)
            if course is None:
                known = self._course(place, run.epoch)
                course = seen[place] = Course(known.epoch, known.records, known.total)
            if course.records != records or course.total != total:
                where = f"topic {place[0]}, partition {place[1]}, before offset {run.first_offset}"
                raise self._complaint.differs("between consumed and put", where, records, course.records)
            course.move(run)
        self._arrived = runs, seen

    def handled(self, runs: Sequence[Run]) -> None:
        """The connector has taken these, but for what was dropped."""
        whole, seen = self._arrived
        if runs is whole:
            self._courses.update(seen)
            return
        for run in runs:
            self._course((run.topic, run.partition), run.epoch).move(run)

    def given(self, runs: Iterable[Run]) -> None:
        """The connector is about to get these, for the first time since they have come through the ring."""
        for run in runs:
            kept = self._kept.get((run.topic, run.partition))
            if kept is not None and (kept.new_from < 0 or run.first_offset < kept.tally.high):
                kept.new_from = kept.tally.high

    def refused(self, records: Iterable[Record]) -> None:
        """The connector has not taken these, of all that it was handed; each is told once in a life.

        Of what lives before have handed over, they have counted nothing behind `Tally.refused`; what lies before it
        counts as taken, or was counted. So each counts once, whoever is killed, if they are refused in their order.
        """
        for topic, partition, offset in records:
            kept = self._kept.get((topic, partition))
            if kept is None or not (kept.is_rest or offset < kept.tally.high):
                continue
            if kept.is_rest or 0 <= kept.new_from <= offset or offset >= kept.tally.refused:
                self._refuse(kept, offset)

    def refused_late(self, runs: Sequence[Run]) -> None:
        """These were handed to the connector by lives before, which it has not outlived: it has not taken them."""
        for run in runs:
            kept = self._kept.get((run.topic, run.partition))
            if kept is not None and run.last_offset < kept.tally.high:
                for offset in run.offset_column():
                    self._refuse(kept, offset)

    def _refuse(self, kept: Kept, offset: int) -> None:
        kept.tally.skipped += 1
        if not kept.is_rest:
            kept.tally.refused = max(kept.tally.refused, offset + 1)
        kept.entry.write(self.side, kept.tally)

    def converted(self, runs: Sequence[Run], values: int) -> None:
        """The converter has given so many values for these runs, those that it could not give included."""
        self._same("between consumed and converted", runs, records_in(runs), values)

    def transformed(self, runs: Sequence[Run], origins: Sequence[int], records: int) -> None:
        """The chain has left so many records, which had these places in the batch."""
        self._same("between converted and transformed", runs, len(origins), records)
        if not isinstance(origins, range) and any(map(int.__gt__, origins, origins[1:])):
            raise self._complaint.differs("between converted and transformed", ranges(runs), records, records)

    def putting(
        self, runs: Sequence[Run], origins: Sequence[int] | None, records: int, skipped: Sequence[int] = ()
    ) -> None:
        """So many records are handed to the connector. origins: as for `transformed`; None: all there are.

        skipped: those that were left out because they failed, by their places in the batch, which grow.
        """
        count = records_in(runs) if origins is None else len(origins)
        self._same("between transformed and put", runs, count, records)
        at = again = dropped_all = 0
        for run in runs:
            dropped = 0
            left_out: list[int] = []
            if origins is not None:
                begin, end = bisect_left(origins, at), bisect_left(origins, at + run.count)
                # Of one record there may be several; it is put when all of them are.
                dropped = run.count - (end - begin if isinstance(origins, range) else len(set(origins[begin:end])))
                here = skipped[bisect_left(skipped, at) : bisect_left(skipped, at + run.count)] if skipped else ()
                left_out = [run.offset_column()[index - at] for index in here]
                dropped -= len(left_out)
            at += run.count
            dropped_all += dropped
            again += self._tally(run, dropped, left_out)
        if again:
            self._row.set(Word.REPEATED, self._row.get(Word.REPEATED) + again)
        if dropped_all:
            self._row.set(Word.DROPPED, self._row.get(Word.DROPPED) + dropped_all)

    def _same(self, border: str, runs: Sequence[Run], expected: int, found: int) -> None:
        if expected != found:
            raise self._complaint.differs(border, ranges(runs), expected, found)


def ranges(runs: Iterable[Run]) -> str:
    """The partitions and offsets of runs, for a message."""
    return "; ".join(described((run.topic, run.partition), run.first_offset, run.last_offset) for run in runs)
