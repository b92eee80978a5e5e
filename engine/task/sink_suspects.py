"""The record that kills a sink's process, in a converter, a transform, `put` or `flush`: see suspects.py.

    frame ──► parts of one partition ──► put ──► flush ──► the next part

A death in `flush` is due to one of all records that were put since the last flush: those are flushed frame by frame in
the next life, then part by part.

Used by: engine.task.sink.
Not here: what is done about a record that has failed (tolerance.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from engine.api.batch import Run, SinkBatch
from engine.ledger.entries import MASK
from engine.shm import frame
from engine.shm.board import Measure, Row, Stage, Word
from engine.shm.frame import ArrivedSinkFrame, Headers, records_in
from engine.stages.convert import kept_runs
from engine.stages.transform import RecordError
from engine.stages.work import Inbound
from engine.task.incoming import Coming
from engine.task.suspects import SAFE_NS, Hand, Suspects

__all__ = ["SinkSuspects", "parts_of"]

#: Goes with the last offset of records of several partitions.
MANY = 1 << 63


class SinkSuspects(Suspects):
    """One sink task's."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self._taken: Hand | None = None
        self._away: Hand | None = None  # at stage processes
        self._unflushed: Hand | None = None  # put, and not flushed
        self._has_put = False
        self._has_refused = False
        self._await_put = self._await_until_ns = 0
        self._given_up = row.get(Word.GIVEN_UP)

    def take(self, runs: Sequence[Run]) -> None:
        """These records are worked on or put; of a batch of several partitions the last is remembered, and that."""
        self._taken = _hand_of(runs)
        self._tell_all()

    def deal(self, runs: Sequence[Run]) -> None:
        """Stage processes have these."""
        away = _hand_of(runs)
        if away != self._away:
            self._away = away
            self._tell_all()

    def lay_down(self) -> None:
        """They are to be tried again later, or by another life: whoever dies meanwhile does not die of them."""
        self._taken = None
        self._tell_all()

    def put_has_returned(self) -> None:
        """Something was put; nothing is known before it is flushed."""
        self._has_put = True

    def let_go(self) -> None:
        """They are put, which may show only when they are flushed."""
        taken, before = self._taken, self._unflushed
        if taken is not None:
            self._unflushed = taken if before is None else _both(before, taken)
        self._taken = self._unflushed if self.part_records else None
        self._tell_all()

    def flush_begins(self) -> None:
        """All that was put since the last flush is in hand."""
        self._taken = self._unflushed
        self._tell_all()

    def flushed(self, now_ns: int, put: int) -> None:
        """They have passed. put: records, over all lives."""
        hand, self._unflushed = self._unflushed, None
        if hand is not None:
            if self._has_put:
                self._has_put = False
                self._row.set(Word.BLAMED, 0)
            if self._has_refused:
                self._has_refused = False
                self._await_put, self._await_until_ns = put, now_ns + SAFE_NS
            self._passed(hand.records, are_suspects=self._covers(hand))
        self.lay_down()

    def waits(self, now_ns: int) -> bool:
        """Whether what was taken is to be flushed, and what has failed committed, before anything else is taken.

        Else the next death brings it again.
        """
        if not self.part_records:
            return False
        if self._unflushed is not None:
            return True
        if now_ns < self._await_until_ns and not self._are_committed():
            return True
        self._await_until_ns = 0
        self._end()
        return False

    def refused(self, *, skips: bool) -> Inbound | None:
        """What becomes of the record in hand, where it is to blame; None: it is worked on. skips: it costs itself."""
        error = self._blame("this record")
        if error is None:
            return None
        failed = RecordError(0, error, stage="TASK_PUT")
        self._has_refused = True
        nothing = SinkBatch([], [], value_schemas=[], keys=[], key_schemas=[], timestamps=[])
        if skips and self._is_believed():
            return Inbound(nothing, 1, 0, None, [], None, 0, [failed])
        return Inbound(nothing, 1, 0, failed, [])

    def split(self, coming: Coming) -> list[Coming]:
        """What was read, in parts as small as they have to be."""
        records = self.part_records
        return [coming] if not records else parts_of(coming, records)

    def _tell_all(self) -> None:
        taken, away = self._taken, self._away
        if taken is not None and away is not None:
            self._tell((_both(taken, away),))
        else:
            one = taken or away
            self._tell(() if one is None else (one,))

    def _are_committed(self) -> bool:
        """Whether all records are that were to be, but for those whose partitions went (engine.pump.commits)."""
        row = self._row
        lost = row.get(Word.WRITTEN_OFF) + row.get(Word.GIVEN_UP) - self._given_up
        return row.measured(Stage.COMMIT, Measure.RECORDS) >= self._await_put - lost

    def _covers(self, hand: Hand) -> bool:
        """Whether it has the last suspect and with it all of them, as far as can be told.

        Those of other partitions may come long after that one: where there are any, nobody knows when all have passed.
        """
        row = self._row
        last = row.get(Word.SUSPECT_LAST)
        return hand.place == row.get(Word.SUSPECT_PLACE) and hand.last % MANY >= last


def _hand_of(runs: Sequence[Run]) -> Hand | None:
    """A partition becomes one number: which of all topics it is, is as good as sure."""
    if not runs:
        return None
    last = runs[-1]
    place = zlib.crc32(last.topic.encode()) << 31 | last.partition
    if len(runs) == 1:
        return Hand(place, last.last_offset, last.count)
    are_many = any((run.topic, run.partition) != (last.topic, last.partition) for run in runs)
    return Hand(place, last.last_offset + MANY * are_many, records_in(runs))


def _both(before: Hand, after: Hand) -> Hand:
    """All of what was put one after the other."""
    are_many = before.last >= MANY or after.last >= MANY or before.place != after.place
    return Hand(after.place, after.last % MANY + MANY * are_many, before.records + after.records)


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
