"""Records of one topic on their way to Kafka, as columns; and how they are made of what a connector returns.

    SourceBatch ─────────┐
    [SourceRecord, ...] ─┴─► Columns ──► [Outgoing, ...]     neighbours of one topic together, order kept

Used by: engine.task.dealing, engine.task.source, engine.task.source_suspects, engine.stages.work.
Not here: bytes (convert.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from msgspec import Struct

from engine.api.batch import Columns, SourceBatch
from engine.api.column import Repeat, StructColumn, uniform
from engine.api.declared import with_schemas
from engine.api.record import Header, SourceRecord
from engine.api.schema import Schema
from engine.offsets.store import encode_part
from engine.shm.frame import SourceOffset

__all__ = ["Outgoing", "Places", "columns_of", "gather", "last_offsets", "records_of"]


class Outgoing(Struct, kw_only=True):
    """Columns of n slots each; None: all slots empty."""

    topic: str
    first: int = 0  # index of the first record in what it was made of
    values: Sequence[Any]
    value_schemas: Sequence[Schema | None]
    keys: Sequence[Any] | None
    key_schemas: Sequence[Schema | None] | None
    partitions: Sequence[int | None] | None
    timestamps: Sequence[int | None] | None
    headers: Sequence[Sequence[Header]] | None


def columns_of(polled: SourceBatch | Sequence[SourceRecord]) -> Columns:
    """What was polled as a chain takes it: with values for instances of declared classes, and their schemas."""
    columns = _columns_of_batch(polled) if isinstance(polled, SourceBatch) else _columns_of_records(polled)
    columns.values, columns.value_schemas = with_schemas(columns.values, columns.value_schemas)
    columns.keys, columns.key_schemas = with_schemas(columns.keys, columns.key_schemas)
    return columns


def gather(columns: Columns) -> list[Outgoing]:
    """Columns of one topic each."""
    topics = uniform(columns.topics)
    if isinstance(topics, Repeat):
        return [_outgoing(topics.value, columns)] if len(columns) else []
    batches = []
    first = 0
    for topic, neighbours in groupby(topics):
        count = len([*neighbours])
        batches.append(_outgoing(topic, columns.picked(range(first, first + count)), first))
        first += count
    return batches


def last_offsets(polled: SourceBatch | Sequence[SourceRecord]) -> list[SourceOffset]:
    """Where to go on after all of it: the last offset of each source partition."""
    if isinstance(polled, SourceBatch):
        if (
            polled.source_partition is None
            or not polled.source_offsets
            or (offset := polled.source_offsets[-1]) is None
        ):
            return []
        return [SourceOffset(encode_part(polled.source_partition), encode_part(offset))]
    last = {
        encode_part(record.source_partition): record.source_offset
        for record in polled
        if record.source_partition is not None and record.source_offset is not None
    }
    return [SourceOffset(partition, encode_part(offset)) for partition, offset in last.items()]


class Places:
    """Where to go on when only some of what was polled is done."""

    def __init__(self, polled: SourceBatch | Sequence[SourceRecord]) -> None:
        self._each = _places_of(polled)
        self._last = {place: index for index, place in enumerate(self._each)}

    def between(self, begin: int, end: int) -> list[SourceOffset]:
        """Where to go on after the records from `begin` to `end`, when those before are done and none of the others.

        Several may have one offset, which may be behind all of them: it counts once the last of them is done.
        """
        told = {
            place[0]: place[1]
            for place in self._each[begin:end]
            if place is not None and self._last[place] < end  # the last one stays, of each partition
        }
        return [SourceOffset(*place) for place in told.items()]


def _places_of(polled: SourceBatch | Sequence[SourceRecord]) -> list[tuple[bytes, bytes] | None]:
    """Source partition and offset of each record, as they are stored; None: it lacks one of them."""
    if not isinstance(polled, SourceBatch):
        return [_place(encode_part(one.source_partition), one.source_partition, one.source_offset) for one in polled]
    partition = encode_part(polled.source_partition)
    return [_place(partition, polled.source_partition, offset) for offset in polled.source_offsets or ()]


def _place(encoded: bytes, partition: object, offset: Mapping[str, Any] | None) -> tuple[bytes, bytes] | None:
    return None if partition is None or offset is None else (encoded, encode_part(offset))


def _columns_of_batch(batch: SourceBatch) -> Columns:
    count = len(batch)
    nothing = Repeat(None, count)
    return Columns(
        topics=Repeat(batch.topic, count),
        partitions=nothing if batch.partitions is None else batch.partitions,
        timestamps=nothing if batch.timestamps is None else batch.timestamps,
        keys=nothing if batch.keys is None else batch.keys,
        key_schemas=nothing if batch.keys is None else Repeat(batch.key_schema, count),
        values=batch.values,
        value_schemas=batch.value_schemas or Repeat(batch.value_schema, count),
        headers=Repeat((), count) if batch.headers is None else batch.headers,
        origins=range(count),
        source_partitions=Repeat(batch.source_partition, count),
        source_offsets=batch.source_offsets or nothing,
    )


def _columns_of_records(records: Sequence[SourceRecord]) -> Columns:
    headers = [record.headers for record in records]
    return Columns(
        topics=uniform([record.topic for record in records]),
        partitions=uniform([record.partition for record in records]),
        timestamps=uniform([record.timestamp for record in records]),
        keys=uniform([record.key for record in records]),
        key_schemas=uniform([record.key_schema for record in records]),
        values=[record.value for record in records],
        value_schemas=uniform([record.value_schema for record in records]),
        headers=headers if any(headers) else Repeat((), len(headers)),
        origins=range(len(records)),
        source_partitions=[record.source_partition for record in records],
        source_offsets=[record.source_offset for record in records],
    )


def _outgoing(topic: str, columns: Columns, first: int = 0) -> Outgoing:
    has_keys = _unless_empty(columns.keys) is not None or _unless_empty(columns.key_schemas) is not None
    headers = columns.headers
    return Outgoing(
        topic=topic,
        first=first,
        values=columns.values,
        value_schemas=columns.value_schemas,
        keys=columns.keys if has_keys else None,
        key_schemas=columns.key_schemas if has_keys else None,
        partitions=_unless_empty(columns.partitions),
        timestamps=_unless_empty(columns.timestamps),
        headers=headers if any(headers.value if isinstance(headers, Repeat) else headers) else None,
    )


def _unless_empty(column: Sequence[Any]) -> Sequence[Any] | None:
    """The column; None: all its slots hold None."""
    if isinstance(column, Repeat):
        return None if column.value is None else column
    if isinstance(column, StructColumn):
        return column  # none of its slots does, and none needs to be made to see that
    return None if all(slot is None for slot in column) else column


def records_of(polled: SourceBatch | Sequence[SourceRecord]) -> Iterable[SourceRecord]:
    """The same, a record at a time."""
    return polled.records() if isinstance(polled, SourceBatch) else polled
