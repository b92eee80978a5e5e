"""A batch of records as columns: the unit in which everything moves.

A column is a sequence with one slot a record. One that is the same all along is a
`Repeat`, stored once; offsets that follow each other are a `range`. So a batch of
2,000 records of one topic holds two or three real lists. Those and others: column.py.

    keys      Repeat(None, 3)
    values    ["a", "b", "c"]
    offsets   range(17, 20)

`SourceBatch` and `SinkBatch` are what connectors give and take, `Columns` is what transforms change in between.

Used by: connectors and transforms (the fast way; the simple way is records), stages.
Not here: how a batch crosses processes (engine.shm.frame).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, overload

from msgspec import Struct

from engine.api.column import Column, Repeat, pick, uniform
from engine.api.record import Header, SinkRecord, SourceRecord
from engine.api.schema import Schema

__all__ = [
    "COLUMN_NAMES",
    "Columns",
    "Run",
    "SinkBatch",
    "SourceBatch",
]


class Columns(Struct, kw_only=True):
    """Records between connector and converter, as columns of n slots each: what a chain of transforms changes.

    A transform puts other columns in the place of those that are here; what a column holds it never changes, since
    others may hold the same. To drop records or to multiply them, it picks: `columns.pick([0, 2, 2, 3])`.

    A slot of a schema column is None where a value has no schema. The last seven tell where records come from, and
    are only picked; those of the other kind of connector are empty.
    """

    topics: Sequence[str]
    partitions: Sequence[int | None]  # None: the producer's partitioner chooses
    timestamps: Sequence[int | None]  # milliseconds
    keys: Column
    key_schemas: Sequence[Schema | None]
    values: Column
    value_schemas: Sequence[Schema | None]
    headers: Sequence[Sequence[Header]]
    origins: Sequence[int]  # for each record its index in what came to this transform; grows, repeats where multiplied
    offsets: Sequence[int] = ()  # sinks
    original_topics: Sequence[str] = ()  # sinks
    original_partitions: Sequence[int] = ()  # sinks
    timestamp_type: str = "CreateTime"  # sinks
    source_partitions: Sequence[Mapping[str, Any] | None] = ()  # sources
    source_offsets: Sequence[Mapping[str, Any] | None] = ()  # sources
    is_sink: bool = False

    def __len__(self) -> int:
        return len(self.origins)

    def unused(self) -> tuple[str, ...]:
        """The columns that are empty in this kind of connector."""
        return COLUMN_NAMES[-2:] if self.is_sink else COLUMN_NAMES[-5:-2]

    def pick(self, indexes: Sequence[int]) -> None:
        """Leave the records at these indexes, which do not fall; one that is named twice is there twice."""
        for name in COLUMN_NAMES:
            column = getattr(self, name)
            if len(column):
                setattr(self, name, pick(column, indexes))

    def picked(self, indexes: Sequence[int]) -> Columns:
        """These records alone; the columns here stay as they are."""
        others = copy.copy(self)
        others.pick(indexes)
        return others

    def put(self, records: Sequence[SourceRecord | SinkRecord], indexes: Sequence[int]) -> None:
        """Put records in the place of those at these indexes, which do not fall; all others go.

        Where a record comes from, no transform can change: that is picked.
        """
        self.pick(indexes)
        self.topics = uniform([record.topic for record in records])
        self.partitions = uniform([record.partition for record in records])
        self.timestamps = uniform([record.timestamp for record in records])
        self.keys = uniform([record.key for record in records])
        self.key_schemas = uniform([record.key_schema for record in records])
        self.values = [record.value for record in records]
        self.value_schemas = uniform([record.value_schema for record in records])
        self.headers = [record.headers for record in records]

    def records(self) -> Iterator[Any]:
        """The same as `SinkRecord`s or `SourceRecord`s. Raises DataError at one whose headers cannot be converted."""
        shared: list[Sequence[Any]] = [self.topics, self.values, self.value_schemas, self.keys, self.key_schemas]
        shared += [self.partitions, self.timestamps, self.headers]
        if self.is_sink:
            kind = self.timestamp_type
            places = (self.offsets, self.original_topics, self.original_partitions)
            for topic, value, value_schema, key, key_schema, partition, timestamp, headers, offset, *original in zip(
                *shared, *places, strict=True
            ):
                yield SinkRecord(
                    topic=topic,
                    partition=partition,
                    offset=offset,
                    value=value,
                    value_schema=value_schema,
                    key=key,
                    key_schema=key_schema,
                    timestamp=timestamp,
                    timestamp_type=kind,
                    headers=headers,
                    original_topic=original[0],
                    original_partition=original[1],
                    original_offset=offset,
                )
            return
        for topic, value, value_schema, key, key_schema, partition, timestamp, headers, source, offset in zip(
            *shared, self.source_partitions, self.source_offsets, strict=True
        ):
            yield SourceRecord(
                topic=topic,
                value=value,
                value_schema=value_schema,
                key=key,
                key_schema=key_schema,
                partition=partition,
                timestamp=timestamp,
                headers=headers,
                source_partition=source,
                source_offset=offset,
            )


#: The fields of `Columns` that have a slot for each record, but for those of the other kind of connector.
COLUMN_NAMES = (
    "topics",
    "partitions",
    "timestamps",
    "keys",
    "key_schemas",
    "values",
    "value_schemas",
    "headers",
    "origins",
    "offsets",
    "original_topics",
    "original_partitions",
    "source_partitions",
    "source_offsets",
)


class SourceBatch(Struct, kw_only=True):
    """Records on their way into Kafka, as columns of n slots each.

    topic is one for the batch; a connector with several topics returns several batches, or records.

    A batch without records may have one offset all the same: where to go on though nothing has come, such as how far a
    log was looked through. It is stored as soon as Kafka has all that was given before, and `commit` is called then; so
    return one every few seconds at most.
    """

    topic: str
    values: Column
    value_schema: Schema | None = None
    keys: Column | None = None  # None: no record has a key
    key_schema: Schema | None = None
    partitions: Column | None = None  # None: the producer's partitioner chooses for all
    timestamps: Column | None = None  # milliseconds; None: when they are produced
    headers: Sequence[Sequence[Header]] | None = None
    source_partition: Mapping[str, Any] | None = None
    source_offsets: Sequence[Mapping[str, Any] | None] | None = None  # only the last is looked at while all goes well
    value_schemas: Sequence[Schema | None] | None = (
        None  # of each value, where some have none, as nulls; else value_schema
    )

    def __len__(self) -> int:
        return len(self.values)

    def records(self) -> Iterator[SourceRecord]:
        """The same batch as records, in order."""
        for index, value in enumerate(self.values):
            yield SourceRecord(
                topic=self.topic,
                value=value,
                value_schema=self.value_schema if self.value_schemas is None else self.value_schemas[index],
                key=None if self.keys is None else self.keys[index],
                key_schema=self.key_schema,
                partition=None if self.partitions is None else self.partitions[index],
                timestamp=None if self.timestamps is None else self.timestamps[index],
                headers=() if self.headers is None else self.headers[index],
                source_partition=self.source_partition,
                source_offset=None if self.source_offsets is None else self.source_offsets[index],
            )


class Run(Struct, frozen=True, array_like=True):
    """Neighbours in a batch that come from one partition. Crosses the ring as a msgpack array.

    offsets is None where they follow each other from first_offset on.
    """

    topic: str
    partition: int
    epoch: int  # of this partition's assignment or seek
    count: int
    first_offset: int
    last_offset: int
    offsets: list[int] | None = None

    def offset_column(self) -> Sequence[int]:
        """The offset of each of the `count` records."""
        return range(self.first_offset, self.last_offset + 1) if self.offsets is None else self.offsets


class SinkBatch(Sequence[SinkRecord]):
    """Records out of Kafka, as columns of n slots each; it also reads as a sequence of n `SinkRecord`s.

    offsets, original_topics and original_partitions are those of the records as consumed; so are topics and
    partitions, unless transforms have changed them: then there are no runs.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        values: Column,
        *,
        value_schemas: Sequence[Schema | None],
        keys: Column,
        key_schemas: Sequence[Schema | None],
        timestamps: Sequence[int | None],
        timestamp_type: str = "CreateTime",
        headers: Sequence[Sequence[Header]] = (),
    ) -> None:
        self.runs = runs
        self.values = values
        self.value_schemas = value_schemas
        self.keys = keys
        self.key_schemas = key_schemas
        self.timestamps = timestamps
        self.timestamp_type = timestamp_type
        self.headers: Sequence[Sequence[Header]] = headers or Repeat((), len(values))

    @property
    def topics(self) -> Sequence[str]:
        """The topic of each record."""
        if len({run.topic for run in self.runs}) == 1:
            return Repeat(self.runs[0].topic, len(self))
        return [*chain.from_iterable(repeat(run.topic, run.count) for run in self.runs)]

    @property
    def partitions(self) -> Sequence[int]:
        """The partition of each record."""
        if len(self.runs) == 1:
            return Repeat(self.runs[0].partition, len(self))
        return [*chain.from_iterable(repeat(run.partition, run.count) for run in self.runs)]

    @property
    def offsets(self) -> Sequence[int]:
        """The offset of each record in its partition."""
        if len(self.runs) == 1:
            return self.runs[0].offset_column()
        return [*chain.from_iterable(map(Run.offset_column, self.runs))]

    @property
    def original_topics(self) -> Sequence[str]:
        """The topic of each record as consumed."""
        return self.topics

    @property
    def original_partitions(self) -> Sequence[int]:
        """The partition of each record as consumed."""
        return self.partitions

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> SinkRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SinkRecord]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return self._record([column[index] for column in self._columns()])

    def __iter__(self) -> Iterator[SinkRecord]:
        return map(self._record, zip(*self._columns(), strict=True))

    def _columns(self) -> tuple[Column, ...]:
        places = self.topics, self.partitions, self.offsets
        values = self.values, self.value_schemas, self.keys, self.key_schemas
        return (*places, *values, self.timestamps, self.headers)

    def _record(self, slots: Sequence[Any]) -> SinkRecord:
        topic, partition, offset, value, value_schema, key, key_schema, timestamp, headers = slots
        return SinkRecord(
            topic=topic,
            partition=partition,
            offset=offset,
            value=value,
            value_schema=value_schema,
            key=key,
            key_schema=key_schema,
            timestamp=timestamp,
            timestamp_type=self.timestamp_type,
            headers=headers,
            original_topic=topic,
            original_partition=partition,
            original_offset=offset,
        )
