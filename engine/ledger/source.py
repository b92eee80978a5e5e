"""The accounts of a source's two banks.

    task   polled ──► transformed ──► converted ──► in frames        every record in a frame has a number, without gaps
                 └► dropped, added       └► skipped    │
    pump                                               ▼
                               arrived ──► produced ──► acknowledged ──► stored

The pump knows which number must come next, at arrival and at acknowledgement. Where a frame's records go to a partition
in one go, Kafka's offset there must have grown by at least as many.

Used by: engine.task.source, engine.pump.source, engine.pump.delivery.
Not here: what is kept in shared memory, and how (entries.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from engine.api.batch import SourceBatch
from engine.api.record import SourceRecord
from engine.config.line import LineSpec
from engine.ledger.entries import PUMP, Entry, Ledger, Page, Tally
from engine.ledger.errors import Complaint, described
from engine.shm.board import Board, Row, Word
from engine.shm.frame import SourceFrame

__all__ = ["PumpAccount", "TaskAccount"]

logger = logging.getLogger("millrace.ledger")

Polled = SourceBatch | Sequence[SourceRecord]
#: Stands for the partitions that Kafka's client picks by the records' keys.
PICKED = -1


class TaskAccount:
    """polled -> transformed, dropped, or several added -> converted -> in frames."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._complaint = Complaint(row, Word.TASK_MISSING, Word.TASK_DOUBLED)

    @classmethod
    def of(cls, spec: LineSpec, row: Row) -> TaskAccount | None:
        """The account of the line that has this row; None: the ledger is switched off."""
        return None if spec.ledger < 0 else cls(row)

    def transformed(self, polled: Polled, origins: Sequence[int], records: int, end: int, skipped: int = 0) -> None:
        """The chain has left so many of the first `end` records, which had these places among what was polled.

        skipped: how many of those that are not left have failed.
        """
        border = "between polled and transformed"
        self._same(border, polled, 0, len(origins), records)
        if isinstance(origins, range):
            kept = records
        else:
            kept = len(set(origins))
            if any(map(int.__gt__, origins, origins[1:])):
                raise self._complaint.differs(border, _range(polled, 0, len(polled) - 1), records, records)
        self._row.set(Word.DROPPED, self._row.get(Word.DROPPED) + end - kept - skipped)
        self._row.set(Word.ADDED, self._row.get(Word.ADDED) + records - kept)

    def gathered(self, polled: Polled, records: int, columns: int) -> None:
        """What is left stands in columns of so many slots."""
        self._same("between transformed and converted", polled, 0, records, columns)

    def converted(self, polled: Polled, first: int, expected: int, values: int) -> None:
        """The converter has given so many values. first: index of the first of them among what was polled."""
        self._same("between transformed and converted", polled, first, expected, values)

    def framed(self, polled: Polled, first: int, expected: int, framed: int) -> None:
        """So many records are in frames."""
        self._same("between converted and in frames", polled, first, expected, framed)

    @property
    def dropped(self) -> int:
        """Records that were dropped so far, over all lives."""
        return self._row.get(Word.DROPPED)

    @property
    def added(self) -> int:
        """Records that were made of others, beyond the first of each, so far, over all lives."""
        return self._row.get(Word.ADDED)

    @property
    def skipped(self) -> int:
        """Records that failed and were left out so far, over all lives."""
        return self._row.get(Word.SKIPPED)

    def _same(self, border: str, polled: Polled, first: int, expected: int, found: int) -> None:
        if expected != found:
            last = min(first + max(expected, 1), len(polled)) - 1
            raise self._complaint.differs(border, _range(polled, first, last), expected, found)


class PumpAccount:
    """arrived -> produced -> acknowledged -> stored."""

    def __init__(self, page: Page, row: Row) -> None:
        self._page = page
        self._row = row
        self._complaint = Complaint(row, Word.PUMP_MISSING, Word.PUMP_DOUBLED)
        self._arriving = 0  # number of the record that comes next off the ring
        self._acknowledging = 0  # and of the one that is acknowledged next
        self._kept: dict[tuple[str, int], tuple[Entry, Tally]] = {}

    @classmethod
    def of(cls, spec: LineSpec, board: Board, index: int) -> PumpAccount | None:
        """The account of the line that has this row; None: the ledger is switched off."""
        if spec.ledger < 0:
            return None
        return cls(Ledger(spec.ledger, board).page(index), board.row(index))

    def arrived(self, frame: SourceFrame) -> None:
        """A frame has come through the ring."""
        if frame.sequence != self._arriving:
            raise self._complaint.differs(
                "between converted and produced", _before(frame), frame.sequence, self._arriving
            )
        if frame.count != len(frame.values):
            raise self._complaint.differs("in a frame", _of(frame), frame.count, len(frame.values))
        self._arriving += frame.count

    def rewound(self) -> None:
        """All that is not acknowledged comes again."""
        self._arriving = self._acknowledging

    def produced(self, frame: SourceFrame, records: int) -> None:
        """So many records of a frame were handed to Kafka's client."""
        if records != frame.count:
            raise self._complaint.differs("between converted and produced", _of(frame), frame.count, records)

    def answered(self, frame: SourceFrame, pending: int, indexes: int) -> None:
        """All answers for a frame are here.

        pending: answers still awaited; below 0: there were more. indexes: sum of the indexes of the records that were
        answered one by one; -1: they were not.
        """
        if pending < 0:
            raise self._complaint.differs("between produced and acknowledged", _of(frame), 0, -pending)
        if indexes >= 0 and indexes != frame.count * (frame.count - 1) // 2:
            raise self._complaint.differs("between produced and acknowledged", _of(frame), 0, 0)

    def placed(self, frame: SourceFrame, partition: int, count: int, last: int | None) -> None:
        """Kafka has the last of `count` records of a frame, which it got in one go, at offset `last`.

        last: None when Kafka did not say: it had them already, from a request whose answer was lost.
        Raises LedgerError when it has fewer than these.
        """
        if frame.is_letter:
            return
        place = frame.topic, partition
        entry, tally = self._keep(place)
        if last is None:
            tally.high += count if tally.high else 0  # they lie behind the highest known one, no nearer than that
        else:
            self._grow(place, tally, count, last)
        tally.records += count
        entry.write(PUMP, tally)

    def _grow(self, place: tuple[str, int], tally: Tally, count: int, last: int) -> None:
        """Move the highest known offset of a partition to `last`, if `count` records fit in between."""
        grown = last + 1 - tally.high
        if grown <= 0:
            logger.warning(
                "%s: Kafka has acknowledged these before, and gives their offsets again: the topic was made anew, or "
                "its log was cut off; what was there is gone",
                described(place, last, tally.high - 1),
            )
        elif tally.high and grown < count:
            where = described(place, tally.high, last)
            raise self._complaint.differs("between produced and acknowledged", where, count, grown)
        tally.high = last + 1

    def acknowledged(self, frame: SourceFrame, *, is_placed: bool, skipped: int = 0) -> None:
        """Kafka has all of a frame. is_placed: `placed` has told of its records. skipped: but for so many of them."""
        if frame.sequence != self._acknowledging:
            raise self._complaint.differs(
                "between produced and acknowledged", _before(frame), frame.sequence, self._acknowledging
            )
        self._acknowledging += frame.count
        if frame.counted and not is_placed:
            entry, tally = self._keep((frame.topic, PICKED))
            tally.records += frame.count - skipped
            entry.write(PUMP, tally)

    def stored(self, polled: int, dropped: int, added: int, skipped: int, records: int) -> None:
        """The stored offsets cover so many records polled, of these dropped, made of them, skipped, and in Kafka.

        All over all lives.
        """
        self._row.cover(polled, dropped, added, records, skipped)

    def _keep(self, place: tuple[str, int]) -> tuple[Entry, Tally]:
        kept = self._kept.get(place)
        if kept is None:
            entry = self._page.open(place)
            kept = self._kept[place] = entry, entry.read(PUMP)
        return kept


def _range(polled: Polled, first: int, last: int) -> str:
    """Where in the source some of what was polled comes from."""
    records = list(polled.records() if isinstance(polled, SourceBatch) else polled)
    begin, end = records[first], records[max(last, first)]
    return (
        f"for topic {begin.topic}, source partition {begin.source_partition}, "
        f"source offsets {begin.source_offset} to {end.source_offset}"
    )


def _of(frame: SourceFrame) -> str:
    return f"{_numbers(frame.sequence, frame.count)} of this life of the task, for topic {frame.topic}{_offsets(frame)}"


def _before(frame: SourceFrame) -> str:
    return f"before {_numbers(frame.sequence, frame.count)} of this life of the task, for topic {frame.topic}"


def _numbers(first: int, count: int) -> str:
    return f"records {first + 1} to {first + count}" if count else f"the offsets after record {first}"


def _offsets(frame: SourceFrame) -> str:
    offsets = "".join(f", source offset {one.partition.decode()} {one.offset.decode()}" for one in frame.offsets[:1])
    return offsets and f", before{offsets[1:]}"
