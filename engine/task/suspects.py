"""The record that kills a sink's process: found by halving over its restarts, and then not tried again.

    a life dies with n records in hand ──► the next puts parts of n/2, each flushed before the next
                                           ──► ... ──► one record, alone in hand at DEATHS_MAX deaths ──► it has failed

What a process has in hand stands on the board, so that its death needs no last word. Where a part that covers the
suspects has passed, all goes on as before; nothing is said of a record that dies alone fewer times, since whoever
kills processes may have hit a good one.

With stage processes nothing is in hand here, and nothing is found.

Used by: engine.task.sink.
Not here: what is done about a record that has failed (tolerance.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from engine.api.batch import Run, SinkBatch
from engine.api.errors import DataError
from engine.ledger.entries import MASK
from engine.mending import Kind
from engine.shm import frame
from engine.shm.board import Measure, Row, Stage, Word
from engine.shm.frame import ArrivedSinkFrame, Headers
from engine.stages.convert import kept_runs
from engine.stages.transform import RecordError
from engine.stages.work import Inbound
from engine.task.incoming import Coming

__all__ = ["Suspects", "parts_of"]

#: A record is to blame once so many processes have died with nothing else in hand.
DEATHS_MAX = 3
#: And so many in a row, without a put that has returned, are no fault of records any more.
BLAMED_MAX = 5
#: So long a commit is waited for.
COMMIT_NS = 10_000_000_000
#: Suspects that have not come again after so many records are somebody else's by now.
RECORDS_MAX = 100_000


class Suspects:
    """What the lives before have died of, as far as that is known."""

    def __init__(self, row: Row, *, is_on: bool = True) -> None:
        """is_on: else nothing is ever in hand."""
        self._row = row
        self._is_on = is_on
        self._seen = 0
        self._has_refused = False
        self._committed = self._await_until_ns = 0
        count = row.get(Word.HAND_RECORDS)
        row.set(Word.HAND_RECORDS, 0)
        if is_on and count and row.get(Word.ENDED_AS) == Kind.CRASH:
            self._narrow(count)

    @property
    def part_records(self) -> int:
        """The most that is taken in hand at once; 0: whatever comes."""
        return self._row.get(Word.PART_RECORDS)

    def take(self, runs: Sequence[Run]) -> None:
        """These records are taken in hand; of a batch of several partitions the last is remembered."""
        if not self._is_on:
            return
        row, run = self._row, runs[-1]
        row.set(Word.HAND_PLACE, _number_of(run))
        row.set(Word.HAND_LAST, run.last_offset)
        row.set(Word.HAND_RECORDS, sum(one.count for one in runs))

    def lay_down(self) -> None:
        """They are to be tried again later, or by another life: whoever dies meanwhile does not die of them."""
        self._row.set(Word.HAND_RECORDS, 0)

    def put_has_returned(self) -> None:
        """So it is not all records that kill."""
        self._row.set(Word.BLAMED, 0)

    def let_go(self, now_ns: int) -> None:
        """They have passed."""
        row = self._row
        if self._has_refused:
            self._has_refused = False
            self._committed, self._await_until_ns = self._commits(), now_ns + COMMIT_NS
        self._seen += row.get(Word.HAND_RECORDS)
        row.set(Word.HAND_RECORDS, 0)
        if row.get(Word.PART_RECORDS) and (self._are_passed() or self._seen > RECORDS_MAX):
            row.set(Word.PART_RECORDS, 0)
            row.set(Word.LONE_DEATHS, 0)

    def waits(self, now_ns: int) -> bool:
        """Whether a record that has failed is to be committed first: else the next death brings it again."""
        if self._commits() > self._committed:
            self._await_until_ns = 0
        return now_ns < self._await_until_ns

    def refused(self, *, skips: bool) -> Inbound | None:
        """What becomes of the record in hand, where it is to blame; None: it is worked on. skips: it costs itself."""
        row = self._row
        deaths = row.get(Word.LONE_DEATHS)
        if deaths < DEATHS_MAX or row.get(Word.HAND_RECORDS) != 1 or not self._is_suspect():
            return None
        error = DataError(f"{deaths} processes have died with this record alone in hand")
        failed = RecordError(0, error, stage="TASK_PUT")
        row.set(Word.BLAMED, row.get(Word.BLAMED) + 1)
        self._has_refused = True
        nothing = SinkBatch([], [], value_schemas=[], keys=[], key_schemas=[], timestamps=[])
        if skips and row.get(Word.BLAMED) <= BLAMED_MAX:
            return Inbound(nothing, 1, 0, None, [], None, 0, [failed])
        return Inbound(nothing, 1, 0, failed, [])

    def split(self, coming: Coming) -> list[Coming]:
        """What was read, in parts as small as they have to be."""
        records = self.part_records
        return [coming] if not records else parts_of(coming, records)

    def _narrow(self, count: int) -> None:
        row = self._row
        is_again = row.get(Word.PART_RECORDS) == 1 and self._is_suspect()
        row.set(Word.LONE_DEATHS, 0 if count > 1 else row.get(Word.LONE_DEATHS) + 1 if is_again else 1)
        row.set(Word.SUSPECT_PLACE, row.get(Word.HAND_PLACE))
        row.set(Word.SUSPECT_LAST, row.get(Word.HAND_LAST))
        row.set(Word.PART_RECORDS, (count + 1) // 2)
        row.set(Word.NARROWED, row.get(Word.NARROWED) + 1)

    def _commits(self) -> int:
        return self._row.measured(Stage.COMMIT, Measure.RECORDS)

    def _is_suspect(self) -> bool:
        row = self._row
        is_place = row.get(Word.HAND_PLACE) == row.get(Word.SUSPECT_PLACE)
        return is_place and row.get(Word.HAND_LAST) == row.get(Word.SUSPECT_LAST)

    def _are_passed(self) -> bool:
        row = self._row
        is_place = row.get(Word.HAND_PLACE) == row.get(Word.SUSPECT_PLACE)
        return is_place and row.get(Word.HAND_LAST) >= row.get(Word.SUSPECT_LAST)


def parts_of(coming: Coming, records: int) -> list[Coming]:
    """A frame as several of at most so many records, each of one partition; the last one gives the memory back."""
    message = coming.message
    if not isinstance(message, ArrivedSinkFrame):
        return [coming]
    bounds = [0]
    for run in message.runs:
        end = bounds[-1] + run.count
        bounds += [*range(bounds[-1] + records, end, records), end]
    headers = frame.decode_headers(message.headers) if message.has_headers() else None
    parts = [Coming(_part(message, headers, begin, end), coming.raw, is_last=False) for begin, end in pairwise(bounds)]
    parts[-1].is_last = coming.is_last
    return parts


def _part(message: ArrivedSinkFrame, headers: list[Headers] | None, begin: int, end: int) -> ArrivedSinkFrame:
    at = index = 0
    while begin >= at + message.runs[index].count:
        at += message.runs[index].count
        index += 1
    before = None
    if message.before is not None:
        records, total = message.before[index]
        earlier = message.runs[index].offset_column()[: begin - at]
        before = [(records + len(earlier), total + sum(earlier) & MASK)]
    part = ArrivedSinkFrame(
        kept_runs(message.runs, range(begin, end)),
        message.size_bytes * (end - begin) // len(message.values),
        message.values[begin:end],
        message.keys and message.keys[begin:end],
        message.timestamps and message.timestamps[begin:end],
        message.timestamp_type,
        before=before,
    )
    if headers is not None:
        part.headers = msgspec.Raw(frame.encode(headers[begin:end]))
    return part


def _number_of(run: Run) -> int:
    """A partition as one word: which of all topics it is, is as good as sure."""
    return zlib.crc32(run.topic.encode()) << 31 | run.partition
