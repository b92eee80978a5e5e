"""Values as Java prints them (`String.valueOf`), a column at a time.

    {"id": 1, "paid": True, "note": None}      {id=1, paid=true, note=null}
    [1, 2.5, "a"]                              [1, 2.5, a]
    Order(id=1, note=None)                     Struct{id=1}

Neighbours are mostly alike: dicts with the same keys, or structs of one class. Those are printed by columns, with
joined row by row; whatever is not alike is printed value by value, with the same result.

The order of a map is that of its dict. Java's prints an address for bytes (`[B@1b2c3d`), which no one can use; here
it is `[B@0`.

Used by: FileStreamSink, StringConverter.
Not here: numbers and dates (java_scalars.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any, NamedTuple

import msgspec
import orjson
from msgspec import Struct

from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column, fields_of, mapped
from engine.api.errors import DataError
from engine.api.java_scalars import PLAIN_BELOW, PLAIN_FROM, date_text, double_text, epoch_ms, float_text
from engine.api.schema import Float32, Schema, schema_of
from engine.api.validation import DAY_MS, is_beyond_python

__all__ = ["block", "encode", "lines", "text", "texts"]

Column = Sequence[Any]
TOO_DEEP = "A value is nested too deep to be printed"
_BOOLEANS = {True: "true", False: "false"}
_NONE = type(None)
_SEVERAL: Any = object()  # schemas of a column that are not all one


class _Table(NamedTuple):
    """What is alike in each row, and what is not: `{a=` 1 `, b=` 2 `}`."""

    labels: Sequence[str]  # in front of each column
    columns: Sequence[Column]  # texts
    end: str


def block(values: Column, schemas: Sequence[Schema | None]) -> bytes:
    """The text of each value in UTF-8, each followed by a newline; as one piece, the fastest way.

    Raises DataError for a value that is nested too deep.
    """
    if isinstance(values, Utf8Column):
        return b"\n".join([*lines(values, schemas), b""])
    schema = _one_schema(schemas) if len(values) else None
    try:
        table = None if schema is _SEVERAL else _table(values, schema)
    except RecursionError as error:
        raise DataError(TOO_DEEP) from error
    return encode("\n".join([*texts(values, schemas), ""]) if table is None else _whole(table))


def lines(values: Column, schemas: Sequence[Schema | None]) -> Sequence[bytes]:
    """The text of each value in UTF-8; a null is `null`. n values in, n lines out."""
    if isinstance(values, Utf8Column):
        return [encode("null" if value is None else value) for value in values]
    found = texts(values, schemas)
    try:
        return [line.encode() for line in found]
    except UnicodeEncodeError:
        return [encode(line) for line in found]


def encode(line: str) -> bytes:
    """UTF-8 as Java writes it: half a surrogate pair becomes a question mark."""
    return line.encode("utf-8", "replace")


def texts(values: Column, schemas: Sequence[Schema | None]) -> Sequence[str]:
    """The text of each value; n values in, n texts out. Raises DataError for a value that is nested too deep."""
    if not len(values):
        return []
    schema = _one_schema(schemas)
    try:
        if schema is _SEVERAL:
            return [text(value, own) for value, own in zip(values, schemas, strict=True)]
        return _column(values, schema)
    except RecursionError as error:
        raise DataError(TOO_DEEP) from error


def text(value: Any, schema: Schema | None = None) -> str:
    """The text of one value. schema: tells 32-bit floats, and dates that are carried as an int."""
    if type(value) is str:
        return value
    printer = _PRINTERS.get(type(value))
    if printer is None:
        printer = _printer_of_base(value)
    return printer(value, schema)


def _one_schema(schemas: Sequence[Schema | None]) -> Any:
    if isinstance(schemas, Repeat):
        return schemas.value
    first = schemas[0]
    return first if all(schema is first for schema in schemas) else _SEVERAL


def _column(values: Column, schema: Schema | None, kinds: set[type] | None = None) -> Column:
    """The text of each value. kinds: the classes of the values, where they are known."""
    if isinstance(values, Repeat):
        return mapped(partial(text, schema=schema), values)
    if isinstance(values, MapColumn | StructColumn):
        table = _table(values, schema)
        return [*map(text, values, repeat(schema))] if table is None else _rows(table)
    if not isinstance(values, list | tuple):
        values = [*values]
    kinds = kinds or set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is str:
            return values
        if kind is int and (schema is None or schema.logical is None):
            return _ints(values)
        if kind is bool:
            return [*map(_BOOLEANS.__getitem__, values)]
        if kind is float:
            return _floats(values, is_narrow=schema is not None and schema.type == "FLOAT32")
        table = _table(values, schema)
        if table is not None:
            return _rows(table)
    elif len(kinds) == 2 and _NONE in kinds:
        return _filled(values, schema, kinds - {_NONE}, "", "null")
    return [*map(text, values, repeat(schema))]


def _filled(values: Column, schema: Schema | None, kinds: set[type], label: str, null: str) -> Column:
    """`label` and the text of each value, and `null` for each None. kinds: of the others."""
    dense = [value for value in values if value is not None]
    rest = iter(_column(dense, schema, kinds))
    return [null if value is None else label + next(rest) for value in values]


def _floats(values: Column, *, is_narrow: bool) -> Column:
    if is_narrow:
        return [*map(float_text, values)]
    if min(values) >= PLAIN_FROM and max(values) < PLAIN_BELOW:
        # Printed alike everywhere, but for a NaN, which slips through comparisons and is no number of JSON.
        # bench/micro/test_java_text.py::floats: JSON's writer takes a third of the time of `repr`
        found = orjson.dumps(values)
        if b"null" not in found:
            return found[1:-1].decode().split(",")
    return [*map(double_text, values)]


def _ints(values: Column) -> Column:
    try:
        return orjson.dumps(values)[1:-1].decode().split(",")
    except TypeError:  # one is beyond 64 bits
        return [*map(str, values)]


def _table(values: Column, schema: Schema | None) -> _Table | None:
    """Dicts with the same keys, or structs of one class, as columns; None of anything else."""
    if isinstance(values, MapColumn):
        return _table_of_columns(values.columns, schema)
    if isinstance(values, StructColumn):
        return _table_of_fields(values.schema, values.columns)
    first: Any = values[0] if len(values) else None
    if type(first) is dict:
        return _table_of_maps(values, first, schema) if set(map(type, values)) == {dict} else None
    if schema_of(first) is None or set(map(type, values)) != {type(first)}:
        return None
    return _table_of_structs(values, schema_of(first))


def _rows(table: _Table) -> Column:
    # bench/micro/test_java_text.py::maps: half the time of a `%` template for each row
    pieces = chain.from_iterable(zip(map(repeat, table.labels), table.columns, strict=True))
    return [*map("".join, zip(*pieces, repeat(table.end)))]  # not `strict`: repeats have no length


def _whole(table: _Table) -> str:
    """All rows, each with a newline, joined at once."""
    # bench/micro/test_java_text.py::maps: a third faster than rows that are joined in turn
    row: list[Any] = [*chain.from_iterable(zip(table.labels, table.columns, strict=True)), table.end + "\n"]
    pieces = row * len(table.columns[0])
    for index, column in enumerate(table.columns):
        pieces[2 * index + 1 :: len(row)] = column
    return "".join(pieces)


def _table_of_maps(values: Sequence[dict[Any, Any]], first: dict[Any, Any], schema: Schema | None) -> _Table | None:
    keys = [*first]
    # No map has more keys than the first if all of them are among the first's: then none has fewer, or it shows here.
    if [*chain.from_iterable(values)] != keys * len(values) or set(map(type, keys)) != {str}:
        return None
    return _table_of_columns(dict(zip(keys, zip(*map(dict.values, values), strict=True), strict=True)), schema)


def _table_of_columns(columns: Mapping[str, Column], schema: Schema | None) -> _Table | None:
    if not columns:
        return None
    element = None if schema is None else schema.value_schema
    labels = [f", {key}=" for key in columns]
    labels[0] = "{" + labels[0].removeprefix(", ")
    return _folded(labels, [_column(column, element) for column in columns.values()], "}")


def _table_of_structs(values: Sequence[Struct], schema: Schema | None) -> _Table | None:
    assert schema is not None
    if not schema.fields:
        return None
    return _table_of_fields(schema, fields_of(type(values[0]))(values))


def _table_of_fields(schema: Schema, found: Sequence[Column]) -> _Table | None:
    labels: list[str] = []
    columns: list[Column] = []
    for field, column in zip(schema.fields, found, strict=True):
        if isinstance(column, Repeat) and column.value is None:
            continue
        label = f"{',' if labels else 'Struct{'}{field.name}="
        kinds = {type(column.value)} if isinstance(column, Repeat) else set(map(type, column))
        if _NONE not in kinds:
            labels.append(label)
            columns.append(_column(column, field.schema, kinds))
        elif not labels:
            return None  # which field is the first to be printed differs from row to row
        else:
            labels.append("")
            columns.append(_filled(column, field.schema, kinds - {_NONE}, label, ""))
    return _folded(labels, columns, "}") if labels else None


def _folded(labels: Sequence[str], columns: Sequence[Column], end: str) -> _Table:
    """A table in which what is the same in all rows is part of the label behind it; one column is left at least."""
    kept_labels: list[str] = []
    kept: list[Column] = []
    before = ""
    for label, column in zip(labels, columns, strict=True):
        before += label
        if isinstance(column, Repeat):
            before += column.value
            continue
        kept_labels.append(before)
        kept.append(column)
        before = ""
    return _Table(kept_labels, kept, before + end) if kept else _Table(labels, columns, end)


def _print_float(value: float, schema: Schema | None) -> str:
    return float_text(value) if schema is not None and schema.type == "FLOAT32" else double_text(value)


def _print_int(value: int, schema: Schema | None) -> str:
    if schema is None or schema.logical is None or not is_beyond_python(schema.logical, value):
        return str(value)
    return date_text(value * DAY_MS if schema.logical == "Date" else value)


def _print_list(value: Sequence[Any], schema: Schema | None) -> str:
    return "[" + ", ".join(_elements(value, schema and schema.value_schema)) + "]"


def _print_map(value: dict[Any, Any], schema: Schema | None) -> str:
    keys = _elements(value, schema and schema.key_schema)
    values = _elements(value.values(), schema and schema.value_schema)
    return "{" + ", ".join(f"{key}={element}" for key, element in zip(keys, values, strict=True)) + "}"


def _elements(values: Any, schema: Schema | None) -> Iterator[str]:
    return map(text, values, repeat(schema))


def _print_struct(value: Struct) -> str:
    schema = schema_of(value)
    assert schema is not None, type(value)
    found = zip(schema.fields, msgspec.structs.astuple(value), strict=True)
    parts = [f"{field.name}={text(member, field.schema)}" for field, member in found if member is not None]
    return "Struct{" + ",".join(parts) + "}"


def _print_date(value: Any, schema: Schema | None) -> str:
    return date_text(epoch_ms(value))


_PRINTERS: dict[type, Callable[[Any, Schema | None], str]] = {
    type(None): lambda value, schema: "null",
    bool: lambda value, schema: _BOOLEANS[value],
    int: _print_int,
    float: _print_float,
    Float32: lambda value, schema: float_text(value),
    list: _print_list,
    tuple: _print_list,
    dict: _print_map,
    bytes: lambda value, schema: "[B@0",
    datetime.datetime: _print_date,
    datetime.date: _print_date,
    datetime.time: _print_date,
}


def _printer_of_base(value: Any) -> Callable[[Any, Schema | None], str]:
    if schema_of(value) is not None:
        return lambda struct, schema: _print_struct(struct)
    if isinstance(value, bytearray | memoryview):
        return _PRINTERS[bytes]
    for base, printer in _PRINTERS.items():
        if isinstance(value, base):
            return printer
    return lambda other, schema: str(other)
