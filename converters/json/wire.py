"""Columns of values to columns that encode as the JSON Kafka Connect writes.

    FLOAT64   [1.5, 1e10]           ──►  [1.5, Raw("1.0E10")]
    Date      [date(2024, 1, 1)]    ──►  [19723]
    STRUCT    [Order(day=date(...)] ──►  [Order(day=19723)]     a copy; the value itself stays as it was

A column that encodes as it is comes back as the same object, which is the usual case: then only the classes of its
values have been looked at, a column at a time. One bad value fails the column; the caller then goes on value by value.

Used by: encode.py, schemas.py.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain, compress, islice, repeat
from operator import is_
from typing import Any

from msgspec import Raw, Struct

from converters.json import logical
from converters.json.escapes import escaped
from engine.api.column import Repeat, StructColumn, Utf8Column, fields_of, structs_of
from engine.api.declared import as_struct
from engine.api.errors import DataError
from engine.api.java_scalars import PLAIN_BELOW, PLAIN_FROM, double_text, float32_digits, float_text
from engine.api.schema import Float32, Schema, schema_of
from engine.api.structs import INT_RANGES, is_odd_name
from engine.api.validation import java_class

__all__ = ["Wire"]

Column = Sequence[Any]

_CLASSES: dict[str, type | tuple[type, ...]] = {
    "BOOLEAN": bool,
    "STRING": str,
    "BYTES": (bytes, bytearray, memoryview),
    "ARRAY": (list, tuple),
    "MAP": dict,
}
_INT64 = INT_RANGES["INT64"]
_AS_THEY_ARE = frozenset({str, bool, bytes, type(None)})
_PLAIN = _AS_THEY_ARE | {int, float, list, dict}


class Wire:
    """The rules of one configured converter."""

    def __init__(self, *, replace_null: bool, is_decimal_numeric: bool, escape: bool = False) -> None:
        """escape: write every text here, for values that hold half a surrogate pair; an encoder refuses those."""
        self._replace_null = replace_null
        self._is_decimal_numeric = is_decimal_numeric
        self._escape = escape
        self._rules: dict[str, Callable[[Schema, Column], Column]] = {
            "FLOAT32": self._float32,
            "FLOAT64": self._float64,
            "BOOLEAN": self._of_class,
            "STRING": self._strings,
            "BYTES": self._bytes,
            "ARRAY": self._arrays,
            "MAP": self._maps,
            "STRUCT": self._structs,
            "Decimal": self._decimals,
            "Date": lambda schema, column: [*map(logical.days_from, column)],
            "Time": lambda schema, column: [logical.milliseconds_from(schema, value) for value in column],
            "Timestamp": lambda schema, column: [logical.milliseconds_from(schema, value) for value in column],
        } | dict.fromkeys(INT_RANGES, self._ints)

    def column(self, schema: Schema | None, column: Column) -> Column:
        """What to encode for each value. Raises DataError for the first that is no value of the schema."""
        if schema is None:
            return self._schemaless(column)
        if isinstance(column, Repeat) and column:
            (found,) = self.column(schema, [column.value])
            return column if found is column.value else Repeat(found, len(column))
        if isinstance(column, Utf8Column):
            column = [*column]
        rule = self._rules[schema.logical or schema.type]
        if isinstance(column, StructColumn) or None not in column:
            return rule(schema, column) if column else column
        default = schema.default if self._replace_null else None
        if default is not None:
            return rule(schema, [default if value is None else value for value in column])
        if not schema.optional:
            raise DataError("Conversion error: null value for field that is required and has no default value")
        is_there = [value is not None for value in column]
        dense = [*compress(column, is_there)]
        known = rule(schema, dense) if dense else dense
        if known is dense:
            return column
        rest = iter(known)
        return [next(rest) if there else None for there in is_there]

    def _ints(self, schema: Schema, column: Column) -> Column:
        low, high = INT_RANGES[schema.type]
        if set(map(type, column)) == {int} and min(column) >= low and max(column) <= high:
            return column
        for value in column:
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise _wrong(schema, value)
        return [*map(int, column)]

    def _float64(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, float)
        return _javas_floats(column)

    def _float32(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, float)
        return _javas_floats([*map(float32_digits, column)])

    def _of_class(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, _CLASSES[schema.type])
        return column

    def _strings(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, str)
        return [Raw(escaped(value)) for value in column] if self._escape else column

    def _bytes(self, schema: Schema, column: Column) -> Column:
        if set(map(type, column)) == {bytes}:
            return column
        for value in column:
            if not isinstance(value, bytes | bytearray | memoryview):
                raise DataError(f"Invalid type for bytes type: class {java_class(value)}")
        return [*map(bytes, column)]

    def _decimals(self, schema: Schema, column: Column) -> Column:
        if not self._is_decimal_numeric:
            return [base64.b64encode(logical.decimal_from(schema, value)).decode() for value in column]
        for value in column:
            if not isinstance(value, Decimal):
                logical.decimal_from(schema, value)  # it knows what to say
        return [Raw(str(value).encode()) for value in column]

    def _arrays(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, _CLASSES["ARRAY"])
        elements = [*chain.from_iterable(column)]
        return _regrouped(column, elements, self.column(schema.value_schema, elements))

    def _maps(self, schema: Schema, column: Column) -> Column:
        _check(schema, column, dict)
        keys = [*chain.from_iterable(column)]
        values = [*chain.from_iterable(map(dict.values, column))]
        found = self.column(schema.value_schema, values)
        if schema.key_schema is None or schema.key_schema.type != "STRING":
            return _pairs(column, self.column(schema.key_schema, keys), found)
        if None in keys and schema.key_schema.optional:
            column = [{"null" if key is None else key: value for key, value in map_.items()} for map_ in column]
            keys = [*chain.from_iterable(column)]
        _check(schema.key_schema, keys, str)
        if found is values:
            return column
        rest = iter(found)
        return [dict(zip(map_, rest, strict=False)) for map_ in column]

    def _structs(self, schema: Schema, column: Column) -> Column:
        kind = schema.struct_type
        columns: Sequence[Column]
        if isinstance(column, StructColumn) and column.schema.struct_type is kind:
            columns = column.columns  # nobody has to make structs to look into them
        else:
            if set(map(type, column)) != {kind}:
                column = _structs_of(schema, column)
            columns = fields_of(kind)(column)
        found = [self.column(field.schema, values) for field, values in zip(schema.fields, columns, strict=True)]
        names = [field.name for field in schema.fields]
        if any(map(is_odd_name, names)):
            return [dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)]
        return column if all(map(is_, found, columns)) else structs_of(kind)(found)

    def _schemaless(self, column: Column) -> Column:
        types = [*map(type, column)]
        if self._escape or not _PLAIN.issuperset(types):
            return [*map(self._schemaless_value, column)]
        return self._schemaless_plain(column, types)

    def _schemaless_plain(self, column: Column, types: list[type]) -> Column:
        kinds = set(types)
        if kinds <= _AS_THEY_ARE:
            return column
        for kind, rule in ((float, _javas_floats), (list, self._schemaless_lists), (dict, self._schemaless_maps)):
            if kind in kinds:
                these = [*compress(column, map(is_, types, repeat(kind)))]
                found = rule(these)
                if found is not these:
                    rest = iter(found)
                    column = [next(rest) if here is kind else old for old, here in zip(column, types, strict=True)]
        if int in kinds:
            numbers = [*compress(column, map(is_, types, repeat(int)))]
            if min(numbers) < _INT64[0] or max(numbers) > _INT64[1]:
                raise _no_schema(max(numbers, key=abs))
        return column

    def _schemaless_lists(self, column: Column) -> Column:
        elements = [*chain.from_iterable(column)]
        return _regrouped(column, elements, self._schemaless(elements))

    def _schemaless_maps(self, column: Column) -> Column:
        keys = [*column[0]]
        if keys and set(map(type, keys)) == {str} and [*chain.from_iterable(column)] == keys * len(column):
            return self._schemaless_maps_alike(column, keys)
        values = [*chain.from_iterable(map(dict.values, column))]
        found = self._schemaless(values)
        if set(map(type, chain.from_iterable(column))) <= {str}:
            if found is values:
                return column
            rest = iter(found)
            return [dict(zip(map_, rest, strict=False)) for map_ in column]
        rest = iter(found)
        result: list[Any] = []
        for map_ in column:
            members = [*islice(rest, len(map_))]
            if all(isinstance(key, str) for key in map_):
                result.append(dict(zip(map_, members, strict=True)))
            else:
                result.append([*zip(self._schemaless([*map_]), members, strict=True)])
        return result

    def _schemaless_maps_alike(self, column: Column, keys: list[str]) -> Column:
        # bench/micro/test_converters.py::schemaless_out: a member at a time, because that is of one class mostly
        members = [*zip(*map(dict.values, column), strict=True)]
        found = [*map(self._schemaless, members)]
        if all(map(is_, found, members)):
            return column
        return [dict(zip(keys, row, strict=True)) for row in zip(*found, strict=True)]

    def _schemaless_value(self, value: Any) -> Any:
        """One value of a class that not every column has."""
        if isinstance(value, Float32):
            return _raw_number(float_text(value))
        if isinstance(value, str) and self._escape:
            return Raw(escaped(value))
        if isinstance(value, bytearray | memoryview):
            return bytes(value)
        if isinstance(value, list | tuple):
            return [*self._schemaless([*value])]
        if isinstance(value, dict):
            return self._schemaless_maps([dict(value)])[0]
        if isinstance(value, Struct) and schema_of(value) is not None:
            raise DataError("Mismatching schema.")
        if value is None or isinstance(value, bool):
            return value
        for kind in (int, float, str, bytes):
            if isinstance(value, kind):
                return self._schemaless_plain([kind(value)], [kind])[0]  # type: ignore[arg-type]  # of its own class
        raise _no_schema(value)


def _javas_floats(column: Column) -> Column:
    if min(column) >= PLAIN_FROM and max(column) < PLAIN_BELOW and not math.isnan(sum(column)):
        return column  # in this range Python writes what Java does; a NaN would be the sum
    sizes = [*map(abs, column)]
    plain = [PLAIN_FROM <= size < PLAIN_BELOW or not size for size in sizes]
    if all(plain):
        return column
    pairs = zip(column, plain, strict=True)
    return [number if is_plain else _raw_number(double_text(number)) for number, is_plain in pairs]


def _raw_number(text: str) -> Raw:
    return Raw(text.encode() if text[-1].isdigit() else f'"{text}"'.encode())


def _regrouped(column: Column, elements: Column, found: Column) -> Column:
    """The lists of a column with what was found for their elements, which came one after the other."""
    if found is elements:
        return column
    rest = iter(found)
    return [[*islice(rest, len(elements))] for elements in column]


def _pairs(column: Column, keys: Column, values: Column) -> Column:
    rest = zip(keys, values, strict=True)
    return [[*islice(rest, len(map_))] for map_ in column]


def _structs_of(schema: Schema, column: Column) -> Column:
    """The column with values for instances of declared classes."""
    by_class = {type(value): value for value in column}
    if any(schema_of(value) is None for value in by_class.values()):
        column = [*map(as_struct, column)]
        by_class = {type(value): value for value in column}
    for value in by_class.values():
        own = schema_of(value)
        if own is None:
            raise _wrong(schema, value)
        if own != schema:
            raise DataError("Mismatching schema.")
    return column


def _check(schema: Schema, column: Column, kind: type | tuple[type, ...]) -> None:
    kinds = set(map(type, column))
    if kinds != {kind} and not all(issubclass(found, kind) for found in kinds):
        raise _wrong(schema, next(value for value in column if not isinstance(value, kind)))


def _wrong(schema: Schema, value: Any) -> DataError:
    return DataError(f"Invalid type for {schema.type}: class {java_class(value)}")


def _no_schema(value: Any) -> DataError:
    return DataError(f"Java class class {java_class(value)} does not have corresponding schema type.")
