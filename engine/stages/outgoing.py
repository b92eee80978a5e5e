"""Records of one topic on their way to Kafka, as columns; and how they are made of what a connector returns.

    SourceBatch ─┐
    [SourceRecord, ...] ─┴─► [Outgoing, ...]     neighbours of one topic together, order kept

Used by: engine.task.source.
Not here: bytes (convert.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.api.batch import Repeat, SourceBatch
from engine.api.declared import with_schemas
from engine.api.record import Header, SourceRecord
from engine.api.schema import Schema
from engine.offsets.store import encode_part
from engine.shm.frame import SourceOffset

__all__ = ["Outgoing", "gather", "last_offsets", "records_of", "with_declared"]


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


def gather(polled: SourceBatch | Sequence[SourceRecord]) -> list[Outgoing]:
    """Columns of what was polled."""
    if isinstance(polled, SourceBatch):
        return [_of_batch(polled)]
    batches = []
    first = 0
    for topic, neighbours in groupby(polled, key=lambda record: record.topic):
        records = list(neighbours)
        batches.append(_of_records(topic, first, records))
        first += len(records)
    return batches


def last_offsets(polled: SourceBatch | Sequence[SourceRecord]) -> list[SourceOffset]:
    """Where to go on after all of it: the last offset of each source partition."""
    if isinstance(polled, SourceBatch):
        if polled.source_partition is None or not polled.source_offsets:
            return []
        return [SourceOffset(encode_part(polled.source_partition), encode_part(polled.source_offsets[-1]))]
    last = {
        encode_part(record.source_partition): record.source_offset
        for record in polled
        if record.source_partition is not None and record.source_offset is not None
    }
    return [SourceOffset(partition, encode_part(offset)) for partition, offset in last.items()]


def _of_batch(batch: SourceBatch) -> Outgoing:
    count = len(batch)
    return Outgoing(
        topic=batch.topic,
        values=batch.values,
        value_schemas=Repeat(batch.value_schema, count),
        keys=batch.keys,
        key_schemas=None if batch.keys is None else Repeat(batch.key_schema, count),
        partitions=batch.partitions,
        timestamps=batch.timestamps,
        headers=batch.headers,
    )


def _of_records(topic: str, first: int, records: Sequence[SourceRecord]) -> Outgoing:
    keys = [record.key for record in records]
    key_schemas = [record.key_schema for record in records]
    has_keys = any(key is not None for key in keys) or any(schema is not None for schema in key_schemas)
    return Outgoing(
        topic=topic,
        first=first,
        values=[record.value for record in records],
        value_schemas=_shared([record.value_schema for record in records]),
        keys=keys if has_keys else None,
        key_schemas=_shared(key_schemas) if has_keys else None,
        partitions=_unless_empty([record.partition for record in records]),
        timestamps=_unless_empty([record.timestamp for record in records]),
        headers=[record.headers for record in records] if any(record.headers for record in records) else None,
    )


def _unless_empty(column: list[int | None]) -> list[int | None] | None:
    return None if all(slot is None for slot in column) else column


def _shared(schemas: list[Schema | None]) -> Sequence[Schema | None]:
    first = schemas[0]
    return Repeat(first, len(schemas)) if all(schema is first for schema in schemas) else schemas


def records_of(polled: SourceBatch | Sequence[SourceRecord]) -> Iterable[SourceRecord]:
    """The same, a record at a time."""
    return polled.records() if isinstance(polled, SourceBatch) else polled


def with_declared(polled: SourceBatch | Sequence[SourceRecord]) -> SourceBatch | Sequence[SourceRecord]:
    """The same with values for instances of declared classes, and their schemas; without such it is what it was."""
    if isinstance(polled, SourceBatch):
        return _batch_with_declared(polled)
    given = [record.value for record in polled], [record.value_schema for record in polled]
    given_keys = [record.key for record in polled], [record.key_schema for record in polled]
    found, found_keys = with_schemas(*given), with_schemas(*given_keys)
    if all(new is old for new, old in zip((*found, *found_keys), (*given, *given_keys), strict=True)):
        return polled
    return [
        replace(record, value=value, value_schema=schema, key=key, key_schema=key_schema)
        for record, value, schema, key, key_schema in zip(polled, *found, *found_keys, strict=True)
    ]


def _batch_with_declared(batch: SourceBatch) -> SourceBatch | Sequence[SourceRecord]:
    count = len(batch)
    if not count:
        return batch
    values, schemas = with_schemas(batch.values, Repeat(batch.value_schema, count))
    keys, key_schemas = with_schemas(batch.keys or Repeat(None, count), Repeat(batch.key_schema, count))
    if isinstance(schemas, Repeat) and isinstance(key_schemas, Repeat):
        batch = replace(batch, values=values, value_schema=schemas.value, key_schema=key_schemas.value)
        return batch if batch.keys is None else replace(batch, keys=keys)
    return with_declared([*batch.records()])  # of several schemas, which only records can have
