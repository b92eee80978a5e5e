"""Columns of Python values as plain data, exactly; what crosses between a task process and its stage processes.

    column ──► Packer.column ──► tree ──► marshal ──► bytes ──► Unpacker.column ──► column
                   │ schemas by number, each told once ──────────────► ▲

A column is taken apart by the types of its values: structs and dicts of the same keys into a column for each field,
lists into their lengths and one long column, and so on down to columns of what is written as it is: None, bool, int,
float, str and bytes. So a type is looked up once a column, not once a value, and nothing is changed on the way without
being told: what cannot be carried exactly is refused by its class.

Columns of plain values are msgpack, which is written in a third of the time (docs/decisions/stages.md). What it does
not write exactly (integers of more than 64 bits, text that is no UTF-8), and all that is around columns, is marshal:
both ends are forked from one interpreter, and it makes values only, and runs nothing.

Used by: engine.stages.crossing.
Not here: which columns a message has (crossing.py), how bytes cross (engine.shm.parcels).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import chain, islice
from operator import itemgetter
from types import NoneType
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column, fields_of, structs_of, uniform
from engine.api.schema import Float32, Schema

__all__ = ["NotCarriedError", "Packer", "Tree", "Unpacker"]

#: What a packed column is: a code, and what belongs to it; plain data all the way down.
Tree = tuple[Any, ...]

(
    PLAIN,
    REPEAT,
    RANGE,
    UTF8,
    MAPS,
    STRUCTS,
    FIELDS,
    RECORDS,
    DICTS,
    LISTS,
    TUPLES,
    FLOATS,
    DATES,
    TIMES,
    DATETIMES,
    DECIMALS,
    MIXED,
    PACKED,
) = range(18)
PLAIN_TYPES = frozenset({NoneType, bool, int, float, str, bytes})
#: Lists in lists and maps in maps, at most; marshal and Python's own stack have limits as well.
DEPTH_MAX = 150
#: Fields of a dict that is taken apart into columns.
NAMES_MAX = 200
#: Schemas that both ends remember; with the next one they begin anew.
SCHEMAS_MAX = 1000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_decode_datetimes = msgspec.msgpack.Decoder(list[datetime]).decode


class NotCarriedError(Exception):
    """A value that cannot cross to a stage process as it is; says which."""


class Packer:
    """Takes columns apart; one for each direction of a stage process, with the other end's `Unpacker`."""

    def __init__(self) -> None:
        self._numbers: dict[Schema | None, int] = {None: -1}
        self._news: list[Tree] = []
        self._is_fresh = True

    def seal(self, body: Any) -> bytes:
        """A message of plain data and packed columns, with the schemas that the other end does not know."""
        sealed = marshal.dumps((self._is_fresh, self._news, body), 2)
        self._is_fresh, self._news = False, []
        if len(self._numbers) > SCHEMAS_MAX:
            self._numbers = {None: -1}
            self._is_fresh = True
        return sealed

    def column(self, column: Sequence[Any], depth: int = 0) -> Tree:
        """A column of values. Raises NotCarriedError for a value that cannot be carried exactly."""
        if isinstance(column, Repeat):
            return REPEAT, self.column([column.value], depth), len(column)
        if isinstance(column, range):
            return RANGE, column.start, column.stop, column.step
        if isinstance(column, Utf8Column):
            return UTF8, self.column(column.encoded, depth)
        if isinstance(column, MapColumn):
            names = tuple(column.columns)
            return MAPS, names, len(column), [self.column(field, depth + 1) for field in column.columns.values()]
        if isinstance(column, StructColumn):
            fields = [self.column(field, depth + 1) for field in column.columns]
            return FIELDS, self.number(column.schema), len(column), fields
        if type(column) is not list:
            column = [*column]  # once: slots may be made when they are looked at
        kinds = _kinds(column)
        if kinds <= PLAIN_TYPES:
            return _plain(column)
        if depth > DEPTH_MAX:
            raise NotCarriedError(f"a value of more than {DEPTH_MAX} levels")
        if len(kinds) == 1:
            return self._of_kind(kinds.pop(), column, depth + 1)
        return self._mixed(column, depth)

    def schemas(self, column: Sequence[Schema | None]) -> Tree:
        """A column of schemas."""
        column = uniform(column)
        if isinstance(column, Repeat):
            return REPEAT, self.number(column.value), len(column)
        return PLAIN, [self.number(schema) for schema in column]

    def number(self, schema: Schema | None) -> int:
        """The number by which the other end knows a schema; -1: None."""
        number = self._numbers.get(schema)
        if number is None and schema is not None:
            told = self._told(schema)  # which may give numbers to its parts
            number = self._numbers[schema] = len(self._numbers) - 1
            self._news.append((number, told))
        assert number is not None
        return number

    def _told(self, schema: Schema) -> Tree:
        return (
            *(schema.type, schema.optional, schema.name, schema.version, schema.doc),
            None if schema.parameters is None else [*schema.parameters.items()],
            None if schema.default is None else self.column([schema.default]),
            [(field.name, self.number(field.schema)) for field in schema.fields],
            *(self.number(schema.key_schema), self.number(schema.value_schema)),
        )

    def _of_kind(self, kind: type[Any], column: Sequence[Any], depth: int) -> Tree:
        if issubclass(kind, Struct):
            return self._structs(kind, column, depth)
        if kind is dict:
            return self._dicts(column, depth)
        if kind is list or kind is tuple:
            code = LISTS if kind is list else TUPLES
            return code, [*map(len, column)], self.column([*chain.from_iterable(column)], depth)
        if kind is Float32:
            return FLOATS, [*map(float, column)]
        if kind is Decimal:
            return DECIMALS, [*map(str, column)]
        if kind is date:
            return DATES, [*map(date.toordinal, column)]
        if kind is datetime and all(value.tzinfo is UTC and not value.fold for value in column):
            return DATETIMES, _encode(column)
        if kind is time and all(value.tzinfo is None and not value.fold for value in column):
            return TIMES, [*map(time.isoformat, column)]
        what = f"a {kind.__name__} that is not in UTC" if kind is datetime else f"a value of {_named(kind)}"
        raise NotCarriedError(what)

    def _structs(self, kind: type[Struct], column: Sequence[Any], depth: int) -> Tree:
        schema: Schema | None = getattr(kind, "__connect_schema__", None)
        if schema is None or schema.struct_type is not kind:
            raise NotCarriedError(f"a value of {_named(kind)}, which no schema has made,")
        fields = [self.column(field, depth) for field in fields_of(kind)(column)]
        return STRUCTS, self.number(schema), len(column), fields

    def _dicts(self, column: Sequence[dict[Any, Any]], depth: int) -> Tree:
        names = tuple(column[0])
        is_alike = len(names) <= NAMES_MAX and set(map(type, names)) <= {str}
        if is_alike and all(map(names.__eq__, map(tuple, column))):
            fields = [self.column([*map(itemgetter(name), column)], depth) for name in names]
            return RECORDS, names, len(column), fields
        keys = self.column([*chain.from_iterable(column)], depth)
        values = self.column([*chain.from_iterable(map(dict.values, column))], depth)
        return DICTS, [*map(len, column)], keys, values

    def _mixed(self, column: Sequence[Any], depth: int) -> Tree:
        """A column of several types, each in a column of its own: the plain ones together."""
        groups: dict[type[Any] | None, list[Any]] = {}
        numbers: dict[type[Any] | None, int] = {}
        where = bytearray()
        for value in column:
            kind = None if type(value) in PLAIN_TYPES else type(value)
            if kind not in groups:
                if len(groups) > 255:
                    raise NotCarriedError("a column of more than 255 types")
                groups[kind] = []
                numbers[kind] = len(numbers)
            groups[kind].append(value)
            where.append(numbers[kind])
        return MIXED, bytes(where), [self.column(group, depth) for group in groups.values()]


class Unpacker:
    """Puts together again what a `Packer` has taken apart."""

    def __init__(self) -> None:
        self._schemas: dict[int, Schema | None] = {-1: None}

    def open(self, sealed: bytes | memoryview) -> Any:
        """The message that was sealed; what it brings of schemas is learned."""
        is_fresh, news, body = marshal.loads(sealed)  # noqa: S302  written by the other end of a ring of this line
        if is_fresh:
            self._schemas = {-1: None}
        for number, told in news:
            self._schemas[number] = self._learned(told)
        return body

    def column(self, tree: Tree) -> Sequence[Any]:
        """The column; as it was: a `Repeat`, a `range`, a `Utf8Column`, a `MapColumn`, a `StructColumn` or a list."""
        code, *parts = tree
        if code == PLAIN:
            plain: list[Any] = parts[0]
            return plain
        return self._UNPACK[code](self, *parts)

    def schemas(self, tree: Tree) -> Sequence[Schema | None]:
        """The column of schemas."""
        code, *parts = tree
        if code == REPEAT:
            return Repeat(self._schemas[parts[0]], parts[1])
        return [*map(self._schemas.__getitem__, parts[0])]

    def schema(self, number: int) -> Schema | None:
        """The schema of this number."""
        return self._schemas[number]

    def _learned(self, told: Tree) -> Schema:
        kind, optional, name, version, doc, parameters, default, fields, key, value = told
        attributes: dict[str, Any] = {
            "optional": optional,
            "name": name,
            "version": version,
            "doc": doc,
            "parameters": None if parameters is None else dict(parameters),
            "default": None if default is None else self.column(default)[0],
        }
        if kind == "STRUCT":
            return Schema.struct([(field, self._of_field(number)) for field, number in fields], **attributes)
        return Schema(kind, **attributes, key_schema=self._schemas[key], value_schema=self._schemas[value])

    def _of_field(self, number: int) -> Schema:
        schema = self._schemas[number]
        assert schema is not None
        return schema

    def _repeat(self, tree: Tree, count: int) -> Sequence[Any]:
        return Repeat(self.column(tree)[0], count)

    def _utf8(self, tree: Tree) -> Sequence[Any]:
        return Utf8Column(self.column(tree))

    def _maps(self, names: tuple[str, ...], count: int, fields: list[Tree]) -> Sequence[Any]:
        return MapColumn(dict(zip(names, map(self.column, fields), strict=True)), count)

    def _fields(self, number: int, count: int, fields: list[Tree]) -> Sequence[Any]:
        return StructColumn(self._of_field(number), [*map(self.column, fields)], count)

    def _structs(self, number: int, count: int, fields: list[Tree]) -> Sequence[Any]:
        kind = self._of_field(number).struct_type
        if not fields:
            return [kind() for _ in range(count)]
        return structs_of(kind)(map(self.column, fields))

    def _records(self, names: tuple[str, ...], count: int, fields: list[Tree]) -> Sequence[Any]:
        return [*self._maps(names, count, fields)]

    def _dicts(self, lengths: list[int], keys: Tree, values: Tree) -> Sequence[Any]:
        pairs = zip(self.column(keys), self.column(values), strict=True)
        return [dict(islice(pairs, length)) for length in lengths]

    def _lists(self, lengths: list[int], tree: Tree) -> Sequence[Any]:
        values = iter(self.column(tree))
        return [[*islice(values, length)] for length in lengths]

    def _tuples(self, lengths: list[int], tree: Tree) -> Sequence[Any]:
        return [*map(tuple, self._lists(lengths, tree))]

    def _mixed(self, where: bytes, trees: list[Tree]) -> Sequence[Any]:
        groups = [iter(self.column(tree)) for tree in trees]
        return [next(groups[number]) for number in where]

    _UNPACK: ClassVar[dict[int, Callable[..., Sequence[Any]]]] = {
        REPEAT: _repeat,
        RANGE: lambda _, *parts: range(*parts),
        UTF8: _utf8,
        MAPS: _maps,
        FIELDS: _fields,
        STRUCTS: _structs,
        RECORDS: _records,
        DICTS: _dicts,
        LISTS: _lists,
        TUPLES: _tuples,
        FLOATS: lambda _, column: [*map(Float32, column)],
        DATES: lambda _, column: [*map(date.fromordinal, column)],
        TIMES: lambda _, column: [*map(time.fromisoformat, column)],
        DATETIMES: lambda _, encoded: _decode_datetimes(encoded),
        DECIMALS: lambda _, column: [*map(Decimal, column)],
        MIXED: _mixed,
        PACKED: lambda _, encoded: _decode(encoded),
    }


def _kinds(column: Sequence[Any]) -> set[type[Any]]:
    kinds = [*map(type, column)]
    # To count one takes two thirds of the time that a set takes.
    return {kinds[0]} if kinds and kinds.count(kinds[0]) == len(kinds) else set(kinds)


def _plain(column: list[Any]) -> Tree:
    try:
        return PACKED, _encode(column)
    except (OverflowError, ValueError):  # what msgpack has no form for
        return PLAIN, column


def _named(kind: type[Any]) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
