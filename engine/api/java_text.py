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
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import msgspec
from msgspec import Struct

from engine.api.batch import Repeat, Utf8Column
from engine.api.java_scalars import PLAIN_BELOW, PLAIN_FROM, date_text, double_text, epoch_ms, float_text
from engine.api.schema import Float32, Schema, schema_of
from engine.api.validation import DAY_MS

__all__ = ["block", "lines", "text", "texts"]

Column = Sequence[Any]
_ENCODER = msgspec.json.Encoder()
_BOOLEANS = {True: "true", False: "false"}


def block(values: Column, schemas: Sequence[Schema | None]) -> bytes:
    """The text of each value in UTF-8, each followed by a newline; as one piece, the fastest way."""
    if isinstance(values, Utf8Column):
        return b"\n".join([*lines(values, schemas), b""])
    joined = "\n".join([*texts(values, schemas), ""])
    return encode(joined)


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
    """The text of each value; n values in, n texts out."""
    if not len(values):
        return []
    if isinstance(schemas, Repeat):
        return _column(values, schemas.value)
    first = schemas[0]
    if all(schema is first for schema in schemas):
        return _column(values, first)
    return [text(value, schema) for value, schema in zip(values, schemas, strict=True)]


def text(value: Any, schema: Schema | None = None) -> str:
    """The text of one value. schema: tells 32-bit floats, and dates that are carried as an int."""
    if type(value) is str:
        return value
    printer = _PRINTERS.get(type(value))
    if printer is None:
        printer = _printer_of_base(value)
    return printer(value, schema)


def _column(values: Column, schema: Schema | None) -> Column:
    """The text of each value."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is str:
            return values
        if kind is int and (schema is None or schema.logical is None):
            return _numbers(values)
        if kind is bool:
            return [*map(_BOOLEANS.__getitem__, values)]
        if kind is float:
            return _floats(values, is_narrow=schema is not None and schema.type == "FLOAT32")
        if kind is dict:
            return _maps(values, schema)
        if issubclass(kind, Struct) and hasattr(kind, "__connect_schema__"):
            return _structs(values, kind)
    return [*map(text, values, repeat(schema))]


def _floats(values: Column, *, is_narrow: bool) -> Column:
    if is_narrow:
        return [*map(float_text, values)]
    if not math.isnan(sum(values)) and min(values) >= PLAIN_FROM and max(values) < PLAIN_BELOW:
        return _numbers(values)  # printed alike everywhere; no NaN is among them, because it would be the sum
    return [*map(double_text, values)]


def _numbers(values: Column) -> Column:
    # bench/micro/test_converters.py::schemaless_text: JSON's writer takes a third of the time of `repr`
    return _ENCODER.encode(values)[1:-1].decode().split(",")


def _joined(separators: Sequence[str], columns: Sequence[Column], end: str) -> Column:
    # The same benchmark: half the time of a `%` template for each row.
    pieces = chain.from_iterable(zip(map(repeat, separators), columns, strict=True))
    return [*map("".join, zip(*pieces, repeat(end)))]  # not `strict`: repeats have no length


def _maps(values: Sequence[dict[Any, Any]], schema: Schema | None) -> Column:
    keys = tuple(values[0])
    is_uniform = [*map(tuple, values)].count(keys) == len(values) if keys else False
    if not is_uniform or any(type(key) is not str for key in keys):
        return [*map(text, values, repeat(schema))]
    element = None if schema is None else schema.value_schema
    columns = [_column(column, element) for column in zip(*map(dict.values, values), strict=True)]
    first, *others = keys
    return _joined([f"{{{first}=", *(f", {key}=" for key in others)], columns, "}")


def _structs(values: Sequence[Struct], kind: type[Struct]) -> Column:
    schema: Schema = kind.__connect_schema__  # type: ignore[attr-defined]
    if not schema.fields:
        return ["Struct{}"] * len(values)
    raw = [*zip(*map(msgspec.structs.astuple, values), strict=True)]
    fields = schema.fields
    if any(None in column for column in raw):
        labelled = [_labelled(field.name, column, field.schema) for field, column in zip(fields, raw, strict=True)]
        return ["Struct{" + ",".join(filter(None, row)) + "}" for row in zip(*labelled, strict=True)]
    columns = [_column(column, field.schema) for field, column in zip(fields, raw, strict=True)]
    first, *others = fields
    return _joined([f"Struct{{{first.name}=", *(f",{field.name}=" for field in others)], columns, "}")


def _labelled(name: str, column: Column, schema: Schema) -> Column:
    """`name=text` for each value, None for a null: a struct does not print those."""
    return [None if value is None else f"{name}={text(value, schema)}" for value in column]


def _print_float(value: float, schema: Schema | None) -> str:
    return float_text(value) if schema is not None and schema.type == "FLOAT32" else double_text(value)


def _print_int(value: int, schema: Schema | None) -> str:
    if schema is None or schema.logical is None or schema.logical == "Decimal":
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
    return str(_structs([value], type(value))[0])


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
