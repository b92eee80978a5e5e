"""What a source has converted, as frames that fit into its ring.

    columns of one topic ──► records ──► frames, each small enough, their records numbered ──► outbox
    offsets ──► with the last frame of a poll, or in frames of their own

Used by: engine.task.source.
Not here: where offsets end before a bad record (source.py), the ring (engine.shm.ring).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from operator import attrgetter
from typing import Any

from engine.api.errors import RecordTooLargeError
from engine.ledger.source import TaskAccount
from engine.shm import frame
from engine.shm.frame import End, Headers, Payloads, SourceFrame, SourceOffset
from engine.stages.tolerate import kept_of
from engine.stages.transform import RecordError
from engine.stages.work import Converted, Outbound
from engine.task.outbox import Outbox

__all__ = ["Framing", "Letter", "is_along", "payload_bytes", "record_bytes"]

#: Of a dead letter: value, key, timestamp, headers.
Letter = tuple[bytes | None, bytes | None, int | None, Headers]

#: Frames aim at this size, so that a ring holds many and the pump always has one.
FRAME_BYTES_AIM = 512 * 1024
#: Room in a frame for everything that is not keys and values, per record and in all.
OVERHEAD_BYTES = 4096
RECORD_OVERHEAD_BYTES = 48
HEADER_OVERHEAD_BYTES = 16
#: Offsets that go with the last records of a poll; more take frames of their own.
OFFSETS_BYTES_ALONG = 3072
OFFSET_OVERHEAD_BYTES = 16


class Framing:
    """A source's frames."""

    def __init__(
        self, outbox: Outbox, frame_bytes_max: int, record_bytes_max: int, polled: int, account: TaskAccount | None
    ) -> None:
        """outbox: where frames wait for room in the ring. polled: records of lives before."""
        self._outbox = outbox
        self._frame_bytes_max = frame_bytes_max
        self._record_bytes_max = record_bytes_max
        self._account = account
        self.sequence = 0  # number of the next record, of all that this life of the task has written
        self.polled = polled  # records of all lives, up to the batch that frames are made of
        self.too_large: RecordTooLargeError | None = None  # a record that no frame takes; nothing goes on past it

    def records(self, columns: tuple[Any, ...], size: int, offsets: list[SourceOffset]) -> int:
        """Queue records, and their offsets with the last frame.

        columns: topic, values, keys, partitions, timestamps, headers. size: bytes of keys and values.
        Returns how many records are in frames: all before one that is too large, if there is one.
        """
        return self._split(columns, size, _headers_bytes(columns[-1]), offsets)

    def letters(self, topic: str, letters: Iterator[Letter], count: int) -> None:
        """Queue `count` dead letters, which fit; each is made when there is room for it."""
        first = self.sequence
        self.sequence += count
        self._outbox.say_all(self._letters(topic, letters, first, self.polled, self._counts()))

    def _letters(
        self, topic: str, letters: Iterator[Letter], first: int, polled: int, counts: tuple[int, int, int]
    ) -> Iterator[bytes]:
        dropped, added, skipped = counts
        for sequence, (value, key, timestamp, headers) in enumerate(letters, first):
            yield frame.encode(
                SourceFrame(
                    topic,
                    1,
                    payload_bytes([value], [key]),
                    polled,
                    [value],
                    [key],
                    None,
                    None if timestamp is None else [timestamp],
                    [headers],
                    sequence=sequence,
                    dropped=dropped,
                    added=added,
                    skipped=skipped,
                    is_letter=True,
                )
            )

    def fitting(self, done: Outbound) -> Outbound:
        """Without the records that no frame takes; these are skipped, as those are that Kafka refuses."""
        batches = [self._fitting(batch) for batch in done.batches]
        return done._replace(batches=batches)

    def _fitting(self, batch: Converted) -> Converted:
        columns = batch.columns
        values, keys, headers = columns.values, columns.keys, columns.headers
        if self.fits(payload_bytes(values, keys) + _headers_bytes(headers)):
            return batch
        each = zip(values, keys or repeat(None), headers or repeat(()), strict=False)
        sizes = [record_bytes(value, key, [*own]) for value, key, own in each]
        kept = [index for index, size in enumerate(sizes) if self.fits(size)]
        places = kept_of(batch.expected, columns.skipped)
        larger = [
            RecordError(places[index], self._larger(size, batch.topic), stage="KAFKA_PRODUCE")
            for index, size in enumerate(sizes)
            if not self.fits(size)
        ]
        left = columns._replace(
            values=[values[index] for index in kept],
            keys=keys and [keys[index] for index in kept],
            headers=headers and [headers[index] for index in kept],
            skipped=sorted([*columns.skipped, *larger], key=attrgetter("index")),
        )
        partitions, timestamps = batch.partitions, batch.timestamps
        return batch._replace(
            columns=left,
            partitions=partitions and [partitions[index] for index in kept],
            timestamps=timestamps and [timestamps[index] for index in kept],
        )

    def fits(self, size: int) -> bool:
        """Whether a frame takes a record of so many bytes, its headers included."""
        is_carried = size + OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES <= self._frame_bytes_max
        return is_carried and size <= self._record_bytes_max

    def _larger(self, size: int, topic: str) -> RecordTooLargeError:
        return RecordTooLargeError(
            f"a record of {size} bytes for topic {topic} is larger than this task can carry "
            f"({self._record_bytes_max} bytes): raise producer.override.max.request.size (the ring follows)"
        )

    def offsets(self, offsets: list[SourceOffset], *, is_urgent: bool = False) -> None:
        """Queue offsets in frames without records: they are stored once Kafka has all that was queued before.

        is_urgent: then at once, and not at the next interval.
        """
        limit = min(self._frame_bytes_max, FRAME_BYTES_AIM) - OVERHEAD_BYTES
        begin = size = 0
        for index, offset in enumerate(offsets):
            one = _offsets_bytes([offset])
            if size + one > limit and index > begin:
                self._slice(offsets[begin:index], is_last=False)
                begin, size = index, 0
            size += one
        if offsets:
            self._slice(offsets[begin:], is_last=True, is_urgent=is_urgent)

    def end(self, *, is_complete: bool, is_failed: bool) -> None:
        """Queue the last message."""
        self._outbox.say(End(self.polled, is_complete, is_failed, *self._counts()))

    def _slice(self, offsets: list[SourceOffset], *, is_last: bool, is_urgent: bool = False) -> None:
        dropped, added, skipped = self._counts()
        going = SourceFrame(
            "",
            0,
            0,
            self.polled,
            [],
            offsets=offsets,
            sequence=self.sequence,
            is_last=is_last,
            dropped=dropped,
            added=added,
            skipped=skipped,
            is_urgent=is_urgent,
        )
        self._outbox.say(going)

    def _counts(self) -> tuple[int, int, int]:
        """What transforms have dropped and added so far, and what was skipped."""
        account = self._account
        return (0, 0, 0) if account is None else (account.dropped, account.added, account.skipped)

    def _split(self, columns: tuple[Any, ...], size: int, headers_size: int, offsets: list[SourceOffset]) -> int:
        """As `records`; headers_size: what the headers take in a frame."""
        topic, values, keys, partitions, timestamps, headers = columns
        count = len(values)
        limit = self._frame_bytes_max
        bound = size + headers_size + OVERHEAD_BYTES + count * RECORD_OVERHEAD_BYTES
        fits_alone = count == 1 and self.fits(size + headers_size)
        if bound <= min(limit, FRAME_BYTES_AIM) or fits_alone:
            whole = self._frame(topic, values, keys, partitions, timestamps, headers, offsets, size)
            self._outbox.say(whole)
            return count
        if count == 1:
            self.too_large = self._larger(size + headers_size, topic)
            return 0
        middle = count // 2
        written = 0
        for begin, end in ((0, middle), (middle, count)):
            piece = [column and column[begin:end] for column in (values, keys, partitions, timestamps, headers)]
            sizes = payload_bytes(piece[0], piece[1]), _headers_bytes(piece[4])
            written += self._split((topic, *piece), *sizes, offsets if end == count else [])
            if written < end:
                break
        return written

    def _frame(
        self,
        topic: str,
        values: Any,
        keys: Any,
        partitions: Any,
        timestamps: Any,
        headers: Any,
        offsets: list[SourceOffset],
        size: int,
    ) -> SourceFrame:
        sequence = self.sequence
        self.sequence += len(values)
        dropped, added, skipped = self._counts()
        return SourceFrame(
            topic,
            len(values),
            size,
            self.polled,
            values,
            keys,
            partitions,
            timestamps,
            headers,
            offsets,
            sequence,
            dropped=dropped,
            added=added,
            skipped=skipped,
        )


def is_along(offsets: list[SourceOffset]) -> bool:
    """Whether these offsets are so few that they go with the last records of a poll."""
    return _offsets_bytes(offsets) <= OFFSETS_BYTES_ALONG


def payload_bytes(values: Payloads, keys: Payloads | None) -> int:
    """Bytes of values and keys."""
    return sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys or ())))


def record_bytes(value: bytes | None, key: bytes | None, headers: Headers) -> int:
    """Bytes of one record, its headers included."""
    return payload_bytes([value], [key]) + _headers_bytes([headers])


def _offsets_bytes(offsets: list[SourceOffset]) -> int:
    return sum(len(offset.partition) + len(offset.offset) + OFFSET_OVERHEAD_BYTES for offset in offsets)


def _headers_bytes(column: list[Headers] | None) -> int:
    return sum(
        len(key) + len(value or b"") + HEADER_OVERHEAD_BYTES for headers in column or () for key, value in headers
    )
