"""Between values and the bytes that Kafka stores, a batch at a time.

    Outgoing ──► Encoded columns ──► frames            frame ──► SinkBatch ──► Columns, for a chain ──► SinkBatch

A slot that cannot be converted ends the batch before it: what stands before goes on, the
rest is the caller's to refuse. Where it cannot be converted now (a schema registry is away), nothing of the batch goes
on: the call raises RetriableError, and is made again later.

Used by: engine.stages.work, engine.task.
Not here: the formats (the package `converters`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast, overload

import msgspec

from engine.api.batch import Columns, Run, SinkBatch
from engine.api.column import Repeat
from engine.api.converter import Converter, Failure, HeaderConverter
from engine.api.errors import DataError, RetriableError
from engine.api.record import Header, SinkRecord
from engine.mending import Kind, kind_of
from engine.shm.frame import ArrivedSinkFrame, Headers, Payloads, decode_headers
from engine.stages.outgoing import Outgoing
from engine.stages.transform import RecordError, Slots

__all__ = ["Converters", "EncodedColumns", "TransformedBatch", "columns_of", "cut_runs", "decode", "encode"]

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


def encode(batch: Outgoing, converters: Converters) -> EncodedColumns:
    """Convert a batch up to the first record that fails. Raises RetriableError when that may pass."""
    count = len(batch.values)
    value = converters.value.from_connect(batch.topic, batch.values, batch.value_schemas)
    failures = [*value.failures]
    keys: Payloads | None = None
    if batch.keys is not None and batch.key_schemas is not None:
        key = converters.key.from_connect(batch.topic, batch.keys, batch.key_schemas)
        failures += key.failures
        keys = _plain(key.payloads)
    failed = _first(failures)
    headers: list[Headers] | None = None
    if batch.headers is not None:
        headers, header_failed = _encode_headers(batch, converters.header)
        failed = min((bad for bad in (failed, header_failed) if bad), default=None, key=lambda bad: bad.index)
    _leave_if_it_passes(failed)
    values = _plain(value.payloads)
    if failed is not None:
        count = failed.index
        values = values[:count]
        keys = keys and keys[:count]
        headers = headers and headers[:count]
    return EncodedColumns(values, keys, headers, failed)


def decode(frame: ArrivedSinkFrame, converters: Converters) -> tuple[SinkBatch, RecordError | None]:
    """The batch of a frame, up to the first record that cannot be converted. Raises RetriableError as `encode`."""
    count = len(frame.values)
    runs = frame.runs
    topic = runs[0].topic
    if any(run.topic != topic for run in runs):
        raise AssertionError("a frame of several topics")
    value = converters.value.to_connect(topic, frame.values)
    key = converters.key.to_connect(topic, Repeat(None, count) if frame.keys is None else frame.keys)
    failed = _first([*value.failures, *key.failures])
    _leave_if_it_passes(failed)
    headers: Sequence[Sequence[Header]] = ()
    if frame.has_headers():
        headers = LazyHeaders(runs, frame.headers.copy(), converters.header)
    end = count if failed is None else failed.index
    whole = failed is None
    batch = SinkBatch(
        runs if whole else cut_runs(runs, end),
        value.values if whole else value.values[:end],
        value_schemas=value.schemas if whole else value.schemas[:end],
        keys=key.values if whole else key.values[:end],
        key_schemas=key.schemas if whole else key.schemas[:end],
        timestamps=Repeat(None, end) if frame.timestamps is None else frame.timestamps[:end],
        timestamp_type=TIMESTAMP_TYPES[frame.timestamp_type],
        headers=headers if whole else headers[:end],
    )
    return batch, failed


def cut_runs(runs: Sequence[Run], count: int) -> list[Run]:
    """The first `count` records of runs."""
    kept = []
    for run in runs:
        if count <= 0:
            break
        if run.count > count:
            offsets = run.offset_column()[:count]
            columns = run.offsets and run.offsets[:count]
            run = Run(run.topic, run.partition, run.epoch, count, run.first_offset, offsets[-1], columns)
        kept.append(run)
        count -= run.count
    return kept


class LazyHeaders(Sequence[Sequence[Header]]):
    """A column of headers that are read and converted when a connector looks at them; most never do."""

    def __init__(
        self, runs: Sequence[Run], raw: msgspec.Raw, converter: HeaderConverter, end: int | None = None
    ) -> None:
        """end: slots of the column; None: those of all runs."""
        self._runs = runs
        self._raw = raw
        self._converter = converter
        self._end = sum(run.count for run in runs) if end is None else end
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


def _first(failures: Sequence[Failure]) -> RecordError | None:
    if not failures:
        return None
    first = min(failures, key=lambda failure: failure.index)
    return RecordError(first.index, first.error)


def _leave_if_it_passes(failed: RecordError | None) -> None:
    if failed is not None and kind_of(failed.error) == Kind.OUTSIDE:
        raise RetriableError(str(failed.error)) from failed.error


def _encode_headers(batch: Outgoing, converter: HeaderConverter) -> tuple[list[Headers], RecordError | None]:
    assert batch.headers is not None
    column: list[Headers] = []
    for index, headers in enumerate(batch.headers):
        try:
            column.append([(header.key, converter.from_connect_header(batch.topic, header)) for header in headers])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  as for values: it costs the record
            return column, RecordError(index, error)
    return column, None
