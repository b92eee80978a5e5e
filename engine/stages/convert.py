"""Between values and the bytes that Kafka stores, a batch at a time.

    Outgoing ──► Encoded columns ──► frames            frame ──► SinkBatch ──► Columns, for a chain ──► SinkBatch

A slot that cannot be converted ends the batch before it: what stands before goes on, the
rest is the caller's to refuse; or it is skipped, where the caller says so (tolerate.py). Where it cannot be converted
now (a schema registry is away), nothing of the batch goes on: the call raises AgainError, and is made again later.

Used by: engine.stages.work, engine.task.
Not here: the formats (the package `converters`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast, overload

import msgspec

from engine.api.batch import Columns, Run, SinkBatch
from engine.api.column import Repeat, listed, pick
from engine.api.converter import Converter, Decoded, Encoded, Failure, HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header, SinkRecord
from engine.shm.frame import ArrivedSinkFrame, Headers, Payloads, decode_headers, records_in
from engine.stages.outgoing import Outgoing
from engine.stages.tolerate import STRICT, Manner, kept_of, leave_if_it_passes, may_pass
from engine.stages.transform import RecordError, Slots

__all__ = [
    "Converters",
    "DecodedBatch",
    "EncodedColumns",
    "TransformedBatch",
    "columns_of",
    "decode",
    "encode",
    "kept_runs",
    "part_of",
]

Slot = TypeVar("Slot")
Made = TypeVar("Made", Decoded, Encoded)

TIMESTAMP_TYPES = ("NoTimestampType", "CreateTime", "LogAppendTime")


class Converters(NamedTuple):
    """A task's three converters, configured."""

    key: Converter
    value: Converter
    header: HeaderConverter


class EncodedColumns(NamedTuple):
    """A batch as Kafka stores it; None: all slots empty."""

    values: Payloads
    keys: Payloads | None
    headers: list[Headers] | None
    failed: RecordError | None  # columns end before this record
    skipped: Sequence[RecordError] = ()  # columns are without these, in order


class DecodedBatch(NamedTuple):
    """A frame as the connector, or a chain, gets it."""

    batch: SinkBatch
    failed: RecordError | None  # it ends before this record
    skipped: Sequence[RecordError] = ()  # it is without these, in order


def encode(batch: Outgoing, converters: Converters, manner: Manner = STRICT) -> EncodedColumns:
    """Convert a batch up to the first record that fails, or all but those. Raises AgainError when that may pass."""
    count = len(batch.values)
    found: list[RecordError] = []  # of one record's, the first counts: in Kafka Connect's order
    headers: list[Headers] | None = None
    if batch.headers is not None:
        headers, failures = _encode_headers(batch, converters.header, skips=manner.skips)
        found += _told(failures, "HEADER_CONVERTER", converters.header)
    keys: Payloads | None = None
    if batch.keys is not None and batch.key_schemas is not None:
        key = _encoded(converters.key, batch.topic, listed(batch.keys), batch.key_schemas, manner)
        found += _told(key.failures, "KEY_CONVERTER", converters.key)
        keys = _plain(key.payloads)
    value = _encoded(converters.value, batch.topic, listed(batch.values), batch.value_schemas, manner)
    found += _told(value.failures, "VALUE_CONVERTER", converters.value)
    values = _plain(value.payloads)
    if not found:
        return EncodedColumns(values, keys, headers, None)
    failed, skipped = _settled(found, manner)
    kept = kept_of(count, skipped) if failed is None else range(failed.index)
    values = _picked(values, kept)
    keys = keys and _picked(keys, kept)
    headers = headers and _picked(headers, kept)
    return EncodedColumns(values, keys, headers, failed, skipped)


def decode(frame: ArrivedSinkFrame, converters: Converters, manner: Manner = STRICT) -> DecodedBatch:
    """The batch of a frame, up to the first record that cannot be converted, or without those. Raises as `encode`."""
    count = len(frame.values)
    runs = frame.runs
    topic = runs[0].topic
    if len(runs) > 1 and any(run.topic != topic for run in runs):
        raise AssertionError("a frame of several topics")
    keys = Repeat(None, count) if frame.keys is None else frame.keys
    key = _decoded(converters.key, topic, keys, manner)
    value = _decoded(converters.value, topic, frame.values, manner)
    found: list[RecordError] = []
    if key.failures or value.failures:
        found += _told(key.failures, "KEY_CONVERTER", converters.key)
        found += _told(value.failures, "VALUE_CONVERTER", converters.value)
    headers: Sequence[Sequence[Header]] = ()
    if frame.has_headers():
        headers = LazyHeaders(runs, frame.headers.copy(), converters.header)
        if manner.reads_headers:
            headers, failures = headers.read()
            found += _told(failures, "HEADER_CONVERTER", converters.header)
    whole = SinkBatch(
        runs,
        value.values,
        value_schemas=value.schemas,
        keys=key.values,
        key_schemas=key.schemas,
        timestamps=Repeat(None, count) if frame.timestamps is None else frame.timestamps,
        timestamp_type=TIMESTAMP_TYPES[frame.timestamp_type],
        headers=headers,
    )
    if not found:
        return DecodedBatch(whole, None, ())
    failed, skipped = _settled(found, manner)
    kept = kept_of(count, skipped) if failed is None else range(failed.index)
    return DecodedBatch(_left(whole, kept), failed, skipped)


def part_of(batch: SinkBatch, begin: int, end: int) -> SinkBatch:
    """Some neighbours of a batch as a batch."""
    if isinstance(batch, TransformedBatch):
        return TransformedBatch(batch.columns.picked(range(begin, end)))
    return _left(batch, range(begin, end))


def _left(batch: SinkBatch, kept: Sequence[int]) -> SinkBatch:
    """A batch without the records whose indexes are not in `kept`, which grows."""

    def of(column: Sequence[Any]) -> Sequence[Any]:
        return column[kept.start : kept.stop] if isinstance(kept, range) else pick(column, kept)

    return SinkBatch(
        kept_runs(batch.runs, kept),
        of(batch.values),
        value_schemas=of(batch.value_schemas),
        keys=of(batch.keys),
        key_schemas=of(batch.key_schemas),
        timestamps=of(batch.timestamps),
        timestamp_type=batch.timestamp_type,
        headers=of(batch.headers),
    )


def kept_runs(runs: Sequence[Run], kept: Sequence[int]) -> list[Run]:
    """Runs without the records whose indexes are not in `kept`, which grows."""
    left = []
    at = begin = 0
    for run in runs:
        end = bisect_left(kept, at + run.count, begin)
        if begin == len(kept):
            break
        if end - begin == run.count:
            left.append(run)
        elif end > begin:
            offsets = [run.offset_column()[index - at] for index in kept[begin:end]]
            column = offsets if offsets[-1] - offsets[0] >= len(offsets) else None
            left.append(Run(run.topic, run.partition, run.epoch, len(offsets), offsets[0], offsets[-1], column))
        at += run.count
        begin = end
    return left


class LazyHeaders(Sequence[Sequence[Header]]):
    """A column of headers that are read and converted when a connector looks at them; most never do."""

    def __init__(
        self, runs: Sequence[Run], raw: msgspec.Raw, converter: HeaderConverter, end: int | None = None
    ) -> None:
        """end: slots of the column; None: those of all runs."""
        self._runs = runs
        self._raw = raw
        self._converter = converter
        self._end = records_in(runs) if end is None else end
        self._read: list[Headers] | None = None

    @classmethod
    def of(cls, runs: Sequence[Run], raw: bytes, converter: HeaderConverter, end: int) -> LazyHeaders:
        """The same, of what `raw` has told to another process."""
        return cls(runs, msgspec.Raw(raw), converter, end)

    @property
    def raw(self) -> bytes:
        """The headers of all records as they stand in the frame."""
        return bytes(self._raw)

    def __len__(self) -> int:
        return self._end

    @overload
    def __getitem__(self, index: int) -> Sequence[Header]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[Header]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            begin, end, step = index.indices(self._end)
            if begin == 0 and step == 1:
                return LazyHeaders(self._runs, self._raw, self._converter, end)
            return [self[position] for position in range(begin, end, step)]
        if not -self._end <= index < self._end:
            raise IndexError(index)
        if self._read is None:
            self._read = decode_headers(self._raw)
        at = index % self._end
        topic = self._runs[0].topic
        return [self._converted(at, topic, key, payload) for key, payload in self._read[at]]

    def picked(self, indexes: Sequence[int]) -> Slots:
        """The slots at these indexes, which are still read when they are looked at."""
        return Slots([(self, index) for index in indexes])

    def read(self) -> tuple[list[Sequence[Header]], list[Failure]]:
        """All of them converted now, and which could not be: their slots are empty."""
        column: list[Sequence[Header]] = []
        failures = []
        topic = self._runs[0].topic
        convert = self._converter.to_connect_header
        for index, headers in enumerate(decode_headers(self._raw)[: self._end]):
            try:
                column.append([convert(topic, key, payload) for key, payload in headers])
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  whatever a plugin raises for a record costs that record
                column.append(())
                failures.append(Failure(index, error))
        return column, failures

    def _converted(self, at: int, topic: str, key: str, payload: bytes | None) -> Header:
        try:
            return self._converter.to_connect_header(topic, key, payload)
        except MemoryError:
            raise
        except Exception as error:  # whatever a plugin raises, it must name its record
            places = [(run.partition, offset) for run in self._runs for offset in run.offset_column()]
            partition, offset = places[at]
            raise DataError(
                f'header "{key}" of the record at topic {topic}, partition {partition}, offset {offset} could not be '
                f"converted: {error.whole() if isinstance(error, DataError) else error}"
            ) from error


class TransformedBatch(SinkBatch):
    """A batch that a chain has changed; topics and partitions are those the chain gave the records."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        super().__init__(
            (),
            columns.values,
            value_schemas=columns.value_schemas,
            keys=columns.keys,
            key_schemas=columns.key_schemas,
            timestamps=columns.timestamps,
            timestamp_type=columns.timestamp_type,
            headers=columns.headers,
        )

    @property
    def topics(self) -> Sequence[str]:
        return self.columns.topics

    @property
    def partitions(self) -> Sequence[int]:
        return cast("Sequence[int]", self.columns.partitions)

    @property
    def offsets(self) -> Sequence[int]:
        return self.columns.offsets

    @property
    def original_topics(self) -> Sequence[str]:
        return self.columns.original_topics

    @property
    def original_partitions(self) -> Sequence[int]:
        return self.columns.original_partitions

    @overload
    def __getitem__(self, index: int) -> SinkRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SinkRecord]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [*self.columns.picked(range(*index.indices(len(self)))).records()]
        return next(self.columns.picked([index]).records())

    def __iter__(self) -> Iterator[SinkRecord]:
        return cast("Iterator[SinkRecord]", self.columns.records())


def columns_of(batch: SinkBatch) -> Columns:
    """A batch as a chain takes it."""
    topics, partitions = batch.topics, batch.partitions
    return Columns(
        topics=topics,
        partitions=partitions,
        timestamps=batch.timestamps,
        keys=batch.keys,
        key_schemas=batch.key_schemas,
        values=batch.values,
        value_schemas=batch.value_schemas,
        headers=batch.headers,
        origins=range(len(batch)),
        offsets=batch.offsets,
        original_topics=topics,
        original_partitions=partitions,
        timestamp_type=batch.timestamp_type,
        is_sink=True,
    )


def _plain(column: Sequence[bytes | None]) -> list[bytes | None]:
    return column if isinstance(column, list) else list(column)


def _picked(column: list[Slot], kept: Sequence[int]) -> list[Slot]:
    return column[: len(kept)] if isinstance(kept, range) else [column[index] for index in kept]


def _told(failures: Sequence[Failure], stage: str, converter: Converter | HeaderConverter) -> list[RecordError]:
    return [RecordError(failure.index, failure.error, stage=stage, plugin=type(converter)) for failure in failures]


def _settled(found: Sequence[RecordError], manner: Manner) -> tuple[RecordError | None, Sequence[RecordError]]:
    """The record that ends the batch, or those that are skipped. Raises AgainError for what is waited for."""
    firsts: dict[int, RecordError] = {}
    for one in found:
        firsts.setdefault(one.index, one)
    failures = [firsts[index] for index in sorted(firsts)]
    if not manner.skips:
        del failures[1:]
    if manner.converters_wait:
        leave_if_it_passes(failures)
    return (None, failures) if manner.skips else (failures[0], ())


def _decoded(converter: Converter, topic: str, payloads: Sequence[bytes | None], manner: Manner) -> Decoded:
    try:
        return converter.to_connect(topic, payloads)
    except MemoryError:
        raise
    except Exception as error:  # whatever a plugin raises costs those records for which it does
        if not manner.skips and not may_pass(error):
            raise
        one_by_one, failures = _one_by_one(
            error, len(payloads), manner, lambda index: converter.to_connect(topic, [payloads[index]])
        )
    values = [None if one is None else one.values[0] for one in one_by_one]
    return Decoded(values, [None if one is None else one.schemas[0] for one in one_by_one], failures)


def _encoded(
    converter: Converter, topic: str, values: Sequence[Any], schemas: Sequence[Any], manner: Manner
) -> Encoded:
    try:
        return converter.from_connect(topic, values, schemas)
    except MemoryError:
        raise
    except Exception as error:  # as above
        if not manner.skips and not may_pass(error):
            raise
        one_by_one, failures = _one_by_one(
            error,
            len(values),
            manner,
            lambda index: converter.from_connect(topic, [values[index]], [schemas[index]]),
        )
    return Encoded([None if one is None else one.payloads[0] for one in one_by_one], failures)


def _one_by_one(
    error: Exception, count: int, manner: Manner, convert: Callable[[int], Made]
) -> tuple[list[Made | None], list[Failure]]:
    """What a converter makes of each slot alone, where it raised `error` for all of them.

    What may pass is not asked for again here, once for each: each call may wait until its time is over.
    """
    if may_pass(error):
        if manner.converters_wait:
            leave_if_it_passes([RecordError(0, error)])
        return [None] * count, [Failure(index, error) for index in range(count)]
    made: list[Made | None] = []
    failures = []
    for index in range(count):
        try:
            one = convert(index)
        except MemoryError:
            raise
        except Exception as alone:  # noqa: BLE001  as above
            made.append(None)
            failures.append(Failure(index, alone))
            continue
        made.append(one)
        failures += [Failure(index, failure.error) for failure in one.failures]
    return made, failures


def _encode_headers(batch: Outgoing, converter: HeaderConverter, *, skips: bool) -> tuple[list[Headers], list[Failure]]:
    """skips: a slot that fails is empty; else the column ends with it."""
    assert batch.headers is not None
    column: list[Headers] = []
    failures = []
    for index, headers in enumerate(batch.headers):
        try:
            column.append([(header.key, converter.from_connect_header(batch.topic, header)) for header in headers])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  as for values: it costs the record
            failures.append(Failure(index, error))
            column.append([])
            if not skips:
                break
    return column, failures
