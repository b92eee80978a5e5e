"""A batch becomes groups of rows: those of one table that have the same columns, in the order of their records.

    topics ──► tables        values, keys ──► shapes ──► columns, the key's first

A shape is what tells the columns: the schema of a struct, the names of a map without one. Where records may concern
the same row (upserts, deletes), a group is of neighbours; otherwise it is all records of one shape.

Used by: lines.py, writing.py, sink.py.
Not here: what the table has (tables.py), text (texts.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from msgspec import Struct

from connectors.postgres.config import KAFKA_COLUMNS, NAME_BYTES_MAX, PostgresSinkConfig, Target
from engine.api.batch import SinkBatch
from engine.api.column import Column, MapColumn, Repeat, StructColumn, fields_of, has_null, pick
from engine.api.errors import DataError
from engine.api.schema import INT32, INT64, STRING, Schema, schema_of

__all__ = ["Group", "groups_of"]

Shape = Hashable
#: Shapes that are no columns.
NULL = "null"
OTHER = "other"


class Group(Struct):
    """Rows of one table with the same columns."""

    target: Target
    indexes: Sequence[int]  # of the records in the batch
    names: tuple[str, ...] = ()  # of columns, the key's first
    columns: Sequence[Column] = ()
    schemas: tuple[Schema | None, ...] = ()
    keys: tuple[str, ...] = ()  # the names that tell a row; they are the first of `names`, or among them
    gone: Sequence[bool] | None = None  # which rows are to be deleted; None: none
    error: DataError | None = None  # why none of these records can be a row

    @property
    def is_delete(self) -> bool:
        """Whether there is nothing but rows to be deleted."""
        return self.gone is not None and all(self.gone)

    def picked(self, at: Sequence[int]) -> Group:
        """These rows alone, of a group without deletes and error."""
        columns = [pick(column, at) for column in self.columns]
        return Group(self.target, pick(self.indexes, at), self.names, columns, self.schemas, self.keys)

    def split(self) -> tuple[Group, Group]:
        """The rows that are to be written, which cannot be, and those that are to be deleted."""
        gone = [at for at, is_gone in enumerate(self.gone or ()) if is_gone]
        live = [at for at, is_gone in enumerate(self.gone or ()) if not is_gone]
        width = len(self.keys)
        deletes = Group(
            self.target,
            pick(self.indexes, gone),
            self.names[:width],
            [pick(column, gone) for column in self.columns[:width]],
            self.schemas[:width],
            self.keys,
            [True] * len(gone),
        )
        return Group(self.target, pick(self.indexes, live), error=self.error), deletes


class _Part(Struct, frozen=True):
    """Records of one table."""

    indexes: Sequence[int]
    values: Column
    value_schemas: Sequence[Schema | None]
    keys: Column
    key_schemas: Sequence[Schema | None]

    def picked(self, at: Sequence[int]) -> _Part:
        columns = (self.indexes, self.values, self.value_schemas, self.keys, self.key_schemas)
        return _Part(*(pick(column, at) for column in columns))


class _Named(Struct, frozen=True):
    """Columns with their names."""

    names: tuple[str, ...]
    columns: Sequence[Column]
    schemas: tuple[Schema | None, ...]

    def only(self, names: Sequence[str]) -> _Named:
        """Those of these names, in their order. Raises KeyError for one that is not here."""
        at = {name: index for index, name in enumerate(self.names)}
        found = [at[name] for name in names]
        return _Named(tuple(names), [self.columns[i] for i in found], tuple(self.schemas[i] for i in found))


_NONE = _Named((), (), ())


def groups_of(batch: SinkBatch, indexes: Sequence[int], settings: PostgresSinkConfig) -> list[Group]:
    """What these records of a batch are as rows, in the order in which they are to be written."""
    groups = []
    for target, part in _parts(batch, indexes, settings):
        for shapes, at in _shaped(part, settings):
            one = part if at is None else part.picked(at)
            group = Group(target, one.indexes)
            try:
                _fill(group, one, shapes, batch, settings)
            except DataError as error:
                group.error = error
            groups.append(group)
    return groups


def _parts(batch: SinkBatch, indexes: Sequence[int], settings: PostgresSinkConfig) -> Iterator[tuple[Target, _Part]]:
    whole = _Part(range(len(batch)), batch.values, batch.value_schemas, batch.keys, batch.key_schemas)
    topics = batch.topics
    if len(indexes) != len(batch):
        whole, topics = whole.picked(indexes), pick(topics, indexes)
    if isinstance(topics, Repeat):
        yield settings.target(topics.value), whole
        return
    found: dict[Target, list[int]] = defaultdict(list)
    targets = {topic: settings.target(topic) for topic in {*topics}}
    for at, topic in enumerate(topics):
        found[targets[topic]].append(at)
    for target, places in found.items():
        yield target, whole if len(found) == 1 else whole.picked(places)


def _shaped(part: _Part, settings: PostgresSinkConfig) -> Iterator[tuple[tuple[Shape, Shape], Sequence[int] | None]]:
    """The shapes of value and key, and which records have them; None: all."""
    values = _shapes(part.values, part.value_schemas)
    keys: Column = Repeat(NULL, len(part.indexes))
    if settings.pk_mode == "record_key":
        keys = _shapes(part.keys, part.key_schemas)
    if isinstance(values, Repeat) and isinstance(keys, Repeat):
        yield (values.value, keys.value), None
        return
    both = [*zip(values, keys, strict=True)]
    if not settings.is_ordered:
        found: dict[tuple[Shape, Shape], list[int]] = defaultdict(list)
        for at, shapes in enumerate(both):
            found[shapes].append(at)
        yield from found.items()
        return
    if settings.insert_mode == "upsert" and settings.delete_enabled:
        _join_deletes(both)
    for shapes, slots in groupby(enumerate(both), key=itemgetter(1)):
        yield shapes, [at for at, _ in slots]


def _join_deletes(shapes: list[tuple[Shape, Shape]]) -> None:
    """Let deletes go with the rows before them: the last word on a key is found within one group."""
    before = shapes[0]
    for at, (value, key) in enumerate(shapes):
        if value == NULL and before[1] == key and before[0] != OTHER:
            shapes[at] = before
        before = shapes[at]


def _shapes(values: Column, schemas: Sequence[Schema | None]) -> Column:
    """The shape of each slot: a struct's schema, the names of a map."""
    if isinstance(values, MapColumn):
        return Repeat(frozenset(values.columns), len(values))
    if isinstance(values, StructColumn):
        return Repeat(values.schema, len(values))
    if isinstance(values, Repeat):
        return Repeat(_shape(values.value, schemas[0]), len(values)) if len(values) else values
    if isinstance(schemas, Repeat) and schemas.value is not None and schemas.value.type == "STRUCT":
        if not has_null(values):
            return Repeat(schemas.value, len(values))
        return [NULL if value is None else schemas.value for value in values]
    found = [*map(_shape, values, schemas)]
    return Repeat(found[0], len(found)) if found and found.count(found[0]) == len(found) else found


def _shape(value: Any, schema: Schema | None) -> Shape:
    if value is None:
        return NULL
    if isinstance(value, dict):
        return frozenset(value)
    if isinstance(value, Struct):
        return schema if schema is not None else schema_of(value)
    return OTHER


def _fill(
    group: Group, part: _Part, shapes: tuple[Shape, Shape], batch: SinkBatch, settings: PostgresSinkConfig
) -> None:
    """Give the group its columns. Raises DataError where its records are no rows."""
    value_shape, key_shape = shapes
    live = part
    if value_shape == NULL or (settings.is_ordered and has_null(part.values)):
        if not settings.delete_enabled:
            raise DataError(
                "the value is null", expected="a struct or map; delete.enabled=true with pk.mode=record_key deletes"
            )
        group.gone = [value is None for value in part.values]
        live = part.picked([at for at, is_gone in enumerate(group.gone) if not is_gone])
    value = _NONE if value_shape == NULL else _named(live.values, value_shape, "value")
    if group.gone is not None and value_shape != NULL:
        value = _Named(value.names, [_spread(column, group.gone) for column in value.columns], value.schemas)
    key = _key(group, part, key_shape, value, batch, settings)
    chosen = settings.fields or value.names
    rest = [name for name in value.names if name in chosen and name not in key.names]
    if bad := [name for name in (*key.names, *rest) if not _is_name(name)]:
        expected = f"names without zero characters, of at most {NAME_BYTES_MAX} bytes of UTF-8"
        raise DataError(f"{bad[0]!r} is the name of no column", expected=expected)
    others = value.only(rest)
    group.names = (*key.names, *others.names)
    group.columns = (*key.columns, *others.columns)
    group.schemas = (*key.schemas, *others.schemas)
    group.keys = key.names
    if not group.names:
        raise DataError("no field of it is to be written", expected="a field that fields.whitelist names")


def _key(
    group: Group, part: _Part, shape: Shape, value: _Named, batch: SinkBatch, settings: PostgresSinkConfig
) -> _Named:
    """The columns that tell a row."""
    names = tuple(settings.pk_fields)
    if settings.pk_mode == "kafka":
        places = (batch.original_topics, batch.original_partitions, batch.offsets)
        picked = [pick(column, group.indexes) for column in places]
        return _Named(names or KAFKA_COLUMNS, picked, (STRING, INT32, INT64))
    if settings.pk_mode == "record_value":
        return _chosen(value, names, "value")
    if settings.pk_mode == "none":
        return _NONE
    if shape == NULL:
        raise DataError("the record has no key", expected="a key, as pk.mode=record_key says")
    if shape != OTHER:
        return _chosen(_named(part.keys, shape, "key"), names, "key")
    if len(names) != 1:
        raise DataError(
            f"the key is no struct or map, and pk.fields names {len(names)} columns",
            expected="pk.fields with the one column of the key",
        )
    schemas = {*part.key_schemas}
    return _Named(names, [part.keys], (schemas.pop() if len(schemas) == 1 else None,))


def _chosen(found: _Named, names: tuple[str, ...], of: str) -> _Named:
    missing = [name for name in names if name not in found.names]
    if missing:
        raise DataError(
            f"the {of} has no field {', '.join(missing)}, which pk.fields names",
            expected=f"of {', '.join(found.names)}",
        )
    return found.only(names) if names else found


def _named(values: Column, shape: Shape, of: str) -> _Named:
    """The fields of structs or maps of one shape, as columns."""
    if isinstance(values, MapColumn):
        return _unknown(values.columns)
    if isinstance(shape, Schema):
        return _of_structs(values, shape)
    if not isinstance(shape, frozenset):
        raise DataError(
            f"the {of} is no struct or map", expected="a struct or map (HoistField makes a struct of any value)"
        )
    names = [*values[0]] if len(values) else []
    odd = [name for name in names if not isinstance(name, str)]
    if odd:
        raise DataError(f"{odd[0]!r} is the name of no column", expected="a map whose keys are texts")
    return _unknown({name: [value[name] for value in values] for name in names})


def _unknown(columns: Mapping[str, Column]) -> _Named:
    return _Named(tuple(columns), [*columns.values()], (None,) * len(columns))


def _of_structs(values: Column, schema: Schema) -> _Named:
    columns = [*values.columns] if isinstance(values, StructColumn) else fields_of(schema.struct_type)(values)
    for field in schema.fields:
        default = field.schema.default
        if default is not None and has_null(columns[field.index]):
            columns[field.index] = [default if slot is None else slot for slot in columns[field.index]]
    names = tuple(field.name for field in schema.fields)
    return _Named(names, columns, tuple(field.schema for field in schema.fields))


def _spread(column: Column, gone: Sequence[bool]) -> Column:
    """The same column with a null for each row that is to be deleted."""
    slots = iter(column)
    return [None if is_gone else next(slots) for is_gone in gone]


def _is_name(name: str) -> bool:
    try:
        return "\0" not in name and len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:
        return False
