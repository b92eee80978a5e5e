"""What the ledger keeps in memory that all processes map: a page for each task, an entry for each partition.

    page of task 0    entry │ entry │ ... │ the rest
    page of task 1    ...
    entry             topic, partition │ the pump's tally │ the task's tally │ flushed, committed

A tally counts the records of one border: those met for the first time, with the sum of their offsets, and those met
again, which lie below the highest offset of all lives. So what a restart repeats is told apart from what is new.

A process may be killed between any two stores. A tally therefore stands twice: the copy that is not in use is
written, then one word says that it is the one in use (the way of double-buffered superblocks in file systems).

Each word has one writer: a tally its bank, all else the pump.

Used by: engine.ledger.
Not here: what must add up (source.py, sink.py, reckoning.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from engine.shm import segment
from engine.shm.board import Board

__all__ = [
    "ENTRIES_MAX",
    "PAGE_BYTES",
    "Entry",
    "Ledger",
    "Page",
    "Tally",
    "highest",
    "highest_refused",
    "ledger_bytes",
    "sum_of",
]

Place = tuple[str, int]  # topic, partition

ENTRY_BYTES = 576
ENTRIES_MAX = 1024  # of a page; the last takes all partitions for which there is no room
PAGE_BYTES = ENTRIES_MAX * ENTRY_BYTES
NAME_BYTES = 256
TALLY_WORDS = 7
#: Sums are kept as the shared words are.
MASK = (1 << 64) - 1

PARTITION, PUMP, TASK, FLUSHED, COMMITTED, ELSEWHERE, HELD = 32, 33, 48, 63, 64, 65, 66
#: What the last entry of a full page is called.
REST: Place = ("(other partitions)", 0)


def ledger_bytes(rows_max: int) -> int:
    """Size of the segment for the pages of `rows_max` tasks; memory is taken for those that are used only."""
    return rows_max * PAGE_BYTES


def sum_of(first: int, last: int, count: int, offsets: Sequence[int] | None) -> int:
    """The sum of the `count` offsets of a run, modulo 2**64; None: they follow each other."""
    return (sum(offsets) if offsets is not None else (first + last) * count // 2) & MASK


class Tally(Struct):
    """The records of one partition at one border, over all lives of the line."""

    records: int = 0  # met for the first time
    total: int = 0  # sum of their offsets, modulo 2**64
    again: int = 0  # met before
    dropped: int = 0  # of `records`, what transforms let go
    high: int = 0  # the offset after the highest that was met
    skipped: int = 0  # of `records`, what failed and was left out
    refused: int = 0  # the offset after the highest that the connector has refused, which is counted as skipped

    def take(
        self,
        first: int,
        last: int,
        count: int,
        offsets: Sequence[int] | None,
        dropped: int = 0,
        skipped: Sequence[int] = (),
    ) -> None:
        """Count a run. offsets: of the `count` records, growing; None: they follow each other. skipped: among them."""
        known = 0
        if first < self.high:
            known = count if last < self.high else self._known(first, offsets)
        self.again += known
        if known < count:
            self.records += count - known
            fresh = offsets and offsets[known:]
            self.total = self.total + sum_of(first + known, last, count - known, fresh) & MASK
            fresh_skipped = sum([offset >= self.high for offset in skipped]) if skipped else 0
            self.skipped += fresh_skipped
            self.dropped += min(dropped, count - known - fresh_skipped) if dropped else 0
            self.high = last + 1

    def _known(self, first: int, offsets: Sequence[int] | None) -> int:
        return self.high - first if offsets is None else bisect_left(offsets, self.high)


class Entry:
    """One partition's entry."""

    def __init__(self, memory: memoryview) -> None:
        self._name = memory[:NAME_BYTES]
        self._words = segment.words(memory)

    @property
    def is_rest(self) -> bool:
        """Whether it stands for all partitions for which the page had no room."""
        return self.place == REST

    @property
    def place(self) -> Place | None:
        """Topic and partition; None: nobody's yet."""
        number = self._words[PARTITION]
        if not number:
            return None
        size = int.from_bytes(self._name[:2], "little")
        return bytes(self._name[2 : 2 + size]).decode(), number - 2

    def claim(self, place: Place) -> None:
        """Write whose entry it is (pump)."""
        text = place[0].encode()
        self._name[2 : 2 + len(text)] = text
        self._name[:2] = len(text).to_bytes(2, "little")
        self._words[PARTITION] = place[1] + 2  # published last; a partition that nobody knows is -1

    def read(self, side: int) -> Tally:
        """The tally of a side, PUMP or TASK, as it was last written whole."""
        at = side + 1 + self._words[side] * TALLY_WORDS
        return Tally(*self._words[at : at + TALLY_WORDS])

    def write(self, side: int, tally: Tally) -> None:
        """Write one's own tally; a reader, or the next life, sees all of it or none of it."""
        words = self._words
        turn = 1 - words[side]
        at = side + 1 + turn * TALLY_WORDS
        words[at] = tally.records
        words[at + 1] = tally.total
        words[at + 2] = tally.again
        words[at + 3] = tally.dropped
        words[at + 4] = tally.high
        words[at + 5] = tally.skipped
        words[at + 6] = tally.refused
        words[side] = turn

    def get(self, word: int) -> int:
        """FLUSHED, COMMITTED (an offset; 0: none yet), ELSEWHERE (1: others have gone on here meanwhile), or HELD.

        HELD is 1 from an assignment until the task has let go: if another task has the partition then, both may put.
        """
        return self._words[word]

    def set(self, word: int, value: int) -> None:
        """Write one of these (pump)."""
        self._words[word] = value


class Page:
    """One task's entries."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._known: dict[Place, Entry] = {}

    def entries(self) -> Iterator[tuple[Place, Entry]]:
        """Every entry in use."""
        for index in range(ENTRIES_MAX):
            entry = self._entry(index)
            place = entry.place
            if place is None:
                return
            yield place, entry

    def find(self, place: Place) -> Entry | None:
        """The entry of a partition, or that of the rest where the page is full; None: it has none."""
        known = self._known.get(place)
        if known is None:
            found = dict(self.entries())
            self._known.update(found)
            known = found.get(place) or found.get(REST)
        return known

    def open(self, place: Place) -> Entry:
        """The entry of a partition, made if there is none (pump)."""
        found = self.find(place)
        if found is None:
            used = sum(1 for _ in self.entries())
            found = self._entry(used)
            found.claim(place if used < ENTRIES_MAX - 1 else REST)
            self._known[place] = found
        return found

    def _entry(self, index: int) -> Entry:
        return Entry(self._memory[index * ENTRY_BYTES : (index + 1) * ENTRY_BYTES])


def highest(pages: Iterable[Page], place: Place, side: int) -> int:
    """The offset after the highest that a side has met in any of these pages."""
    return max((tally.high for tally in _tallies(pages, place, side)), default=0)


def highest_refused(pages: Iterable[Page], place: Place, side: int) -> int:
    """The offset after the highest that is counted as refused in any of these pages."""
    return max((tally.refused for tally in _tallies(pages, place, side)), default=0)


def _tallies(pages: Iterable[Page], place: Place, side: int) -> Iterator[Tally]:
    found = (page.find(place) for page in pages)
    return (entry.read(side) for entry in found if entry is not None)


class Ledger:
    """All pages, mapped; any process may make one from the descriptor."""

    def __init__(self, descriptor: int, board: Board) -> None:
        self._memory = memoryview(segment.map_shared(descriptor))
        self._board = board

    def page(self, index: int) -> Page:
        """The page of the task that has this row of the board."""
        return Page(self._memory[index * PAGE_BYTES : (index + 1) * PAGE_BYTES])

    def clear(self, index: int) -> None:
        """Forget all of a page, whose row another task may have (supervisor)."""
        self._memory[index * PAGE_BYTES : (index + 1) * PAGE_BYTES] = bytes(PAGE_BYTES)

    def siblings(self, index: int) -> list[Page]:
        """The pages of the connector's other tasks."""
        connector = self._board.row(index).identity.connector
        return [
            self.page(row.index)
            for row in self._board.rows()
            if row.index != index and row.identity.connector == connector
        ]
