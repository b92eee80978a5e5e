"""Parts of records, as columns: a field of a column of structs or maps is a column again.

    SinkBatch ──► Shaped (records of one shape) ──► column(value.customer.name) ──► ["Ann", "Bob", None]

Records of one shape have the same schemas, and a value or none: what is looked up by name is looked up once for all.

Used by: changes.py, codecs.py, plans.py, tables.py, times.py, writer.py.
Not here: what a part becomes in Cassandra (codecs.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from msgspec import Struct

from connectors.cassandra.mapping import Path
from engine.api.batch import SinkBatch
from engine.api.column import Column, MapColumn, Repeat, StructColumn, Utf8Column, has_null, listed, pick
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import Field, Schema

__all__ = ["Odd", "Shaped", "column_of", "fields_of", "lacks_any", "schema_at", "shapes_of"]


class Odd(Struct, frozen=True):
    """Stands in a slot whose value cannot be looked into; whoever takes it for a value fails, and finds why."""

    reason: str


def lacks_any(column: Column) -> bool:
    """Whether a slot holds None; text that is still UTF-8 stays so."""
    return has_null(column.encoded if isinstance(column, Utf8Column) else column)


class Shaped(Struct, frozen=True):
    """Neighbours or others of one topic that have the same shape, as columns of n slots each."""

    topic: str
    indexes: Sequence[int]  # in their batch
    partitions: Sequence[int]
    offsets: Sequence[int]
    timestamps: Sequence[int | None]
    keys: Column
    key_schema: Schema | None
    values: Column
    value_schema: Schema | None
    headers: Sequence[Sequence[Header]]
    is_tombstone: bool  # no record has a value

    def __len__(self) -> int:
        return len(self.indexes)


def shapes_of(batch: SinkBatch) -> Iterator[Shaped]:
    """The records of a batch, in their topics' and their own order but for those of different shapes."""
    topics = batch.topics
    if isinstance(topics, Repeat):
        yield from _of_topic(topics.value, batch, range(len(batch)))
        return
    begin = 0
    for topic, neighbours in groupby(topics):
        end = begin + sum(1 for _ in neighbours)
        yield from _of_topic(topic, batch, range(begin, end))
        begin = end


def _of_topic(topic: str, batch: SinkBatch, indexes: range) -> Iterator[Shaped]:
    if not indexes:
        return
    schemas = (batch.value_schemas, batch.key_schemas)
    values: Column = batch.values.encoded if isinstance(batch.values, Utf8Column) else batch.values
    if all(isinstance(column, Repeat) for column in schemas) and (
        isinstance(values, Repeat | MapColumn | StructColumn) or not has_null(values[indexes.start : indexes.stop])
    ):
        yield _shaped(topic, batch, indexes)
        return
    shapes: dict[tuple[bool, int, int], list[int]] = {}
    values = listed(values)
    for index in indexes:
        shape = (values[index] is None, id(schemas[0][index]), id(schemas[1][index]))
        shapes.setdefault(shape, []).append(index)
    for found in shapes.values():
        yield _shaped(topic, batch, found)


def _shaped(topic: str, batch: SinkBatch, indexes: Sequence[int]) -> Shaped:
    def taken(column: Sequence[Any]) -> Sequence[Any]:
        if len(indexes) == len(column):
            return column
        return column[indexes.start : indexes.stop] if isinstance(indexes, range) else pick(column, indexes)

    first = indexes[0]
    return Shaped(
        topic,
        indexes,
        taken(batch.partitions),
        taken(batch.offsets),
        taken(batch.timestamps),
        taken(batch.keys),
        batch.key_schemas[first],
        taken(batch.values),
        batch.value_schemas[first],
        taken(batch.headers),
        _is_null(batch.values, first),
    )


def _is_null(column: Column, at: int) -> bool:
    return not isinstance(column, MapColumn | StructColumn) and column[at] is None


def column_of(records: Shaped, path: Path) -> Column:
    """A part of each record. Raises DataError where no record can have it: its schema has no such field."""
    if path.root == "header":
        return _headers(records.headers, path.steps[0])
    if path.root in ("value", "key"):
        is_value = path.root == "value"
        column, schema = (records.values, records.value_schema) if is_value else (records.keys, records.key_schema)
        for step in path.steps:
            column, schema = _field(column, schema, step)
        return column
    alone: Mapping[str, Column] = {
        "timestamp": records.timestamps,
        "topic": Repeat(records.topic, len(records)),
        "partition": records.partitions,
        "offset": records.offsets,
    }
    return alone[path.root]


def schema_at(records: Shaped, path: Path) -> Schema | None:
    """The schema of a part; None where it has none."""
    if path.root == "header":
        found = (header.schema for headers in records.headers for header in headers if header.key == path.steps[0])
        return next(found, None)
    schema = {"value": records.value_schema, "key": records.key_schema}.get(path.root)
    for step in path.steps:
        if schema is None:
            return None
        field = schema.field(step) if schema.type == "STRUCT" else None
        within = None if field is None else field.schema
        schema = schema.value_schema if schema.type == "MAP" else within
    return schema


def fields_of(records: Shaped, root: str) -> tuple[str, ...]:
    """The names of all fields that values, or keys, have."""
    column, schema = (
        (records.values, records.value_schema) if root == "value" else (records.keys, records.key_schema)
    )  # fmt: skip
    if schema is not None and schema.type == "STRUCT":
        return tuple(field.name for field in schema.fields)
    if isinstance(column, MapColumn):
        return tuple(column.columns)
    slots = [column.value] if isinstance(column, Repeat) else column
    names: dict[str, None] = {}
    for slot in slots:
        if isinstance(slot, Mapping):
            names.update(dict.fromkeys(slot))
    return tuple(names)


def _field(column: Column, schema: Schema | None, name: str) -> tuple[Column, Schema | None]:
    if isinstance(column, Repeat):
        inner, within = _field([column.value], schema, name)
        return Repeat(inner[0], len(column)), within
    if schema is None or schema.type == "MAP":
        return _members(column, name), None if schema is None else schema.value_schema
    if schema.type != "STRUCT":
        raise DataError(f"a {schema.type} has no field {name}", expected="a struct or a map")
    field = schema.field(name)
    if field is None:
        names = ", ".join(field.name for field in schema.fields)
        raise DataError(f"its schema has no field {name}", expected=f"one of {names}")
    found = _slots_of(column, schema, field)
    default = field.schema.default
    if default is not None and lacks_any(found):
        found = [default if slot is None else slot for slot in found]
    return found, field.schema


def _slots_of(column: Column, schema: Schema, field: Field) -> Column:
    if isinstance(column, StructColumn):
        return column.columns[field.index]
    get = attrgetter(schema.attribute(field.name))
    return [None if slot is None else get(slot) for slot in column] if lacks_any(column) else [*map(get, column)]


def _members(column: Column, name: str) -> Column:
    if isinstance(column, MapColumn):
        return column.columns.get(name, Repeat(None, len(column)))
    try:
        return [slot.get(name) for slot in column]
    except AttributeError:
        return [_member(slot, name) for slot in column]


def _member(slot: Any, name: str) -> Any:
    if slot is None or isinstance(slot, Odd):
        return slot
    if isinstance(slot, Mapping):
        return slot.get(name)
    return Odd(f"a {type(slot).__name__} has no field {name}; expected a map")


def _headers(column: Sequence[Sequence[Header]], name: str) -> Column:
    if isinstance(column, Repeat):
        return Repeat(_last(column.value, name), len(column))
    return [_last(headers, name) for headers in column]


def _last(headers: Sequence[Header], name: str) -> Any:
    return next((header.value for header in reversed(headers) if header.key == name), None)
