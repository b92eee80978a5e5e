"""What the strict decoder leaves to do: dates, decimals, 32-bit floats and defaults.

    Order(day=19723, note=None)  ──►  Order(day=date(2024, 1, 1), note="none")

The decoder makes instances of a schema's class with the types of JSON in them; here these are replaced, a column at
a time, in the instances themselves, which nobody else has seen yet. Schemas without any of this cost nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain, compress, islice
from operator import attrgetter
from typing import Any

import msgspec

from converters.json import logical
from engine.api.errors import DataError
from engine.api.java_scalars import round_to_float32
from engine.api.schema import LOGICAL_BASES, Schema
from engine.api.structs import is_odd_name

__all__ = ["finisher", "is_direct"]

Column = Sequence[Any]
Finisher = Callable[[Column], Column]

# Not in it: ints for what these cannot hold, which are the same before and after.
_FINISHED = (datetime.date, datetime.time, Decimal)


def is_direct(schema: Schema, *, replace_null: bool) -> bool:
    """Whether the strict decoder can read values of `schema` at all."""
    if schema.default is not None and (not replace_null or _is_odd_default(schema)):
        return False  # a missing member gets the default of the class
    if schema.logical and (LOGICAL_BASES[schema.logical] != schema.type or not _has_scale(schema)):
        return False
    if schema.type == "MAP" and (schema.key_schema is None or _is_odd_key(schema.key_schema)):
        return False
    if any(is_odd_name(field.name) for field in schema.fields):
        return False
    parts = [schema.key_schema, schema.value_schema, *(field.schema for field in schema.fields)]
    return all(is_direct(part, replace_null=replace_null) for part in parts if part is not None)


def _is_odd_default(schema: Schema) -> bool:
    """Whether a struct class copies a default that has been finished: what is copied cannot be told from the rest."""
    return isinstance(schema.default, list | dict) and _finisher_of_values(schema) is not None


def _is_odd_key(schema: Schema) -> bool:
    return schema.type != "STRING" or schema.optional or schema.default is not None or schema.logical is not None


def _has_scale(schema: Schema) -> bool:
    if schema.logical != "Decimal":
        return True
    try:
        return isinstance(schema.scale, int)
    except DataError:
        return False


def finisher(schema: Schema) -> Finisher | None:
    """What to do with a column of decoded values; None: nothing. It raises DataError for a value out of range."""
    inner = _finisher_of_values(schema)
    if inner is None and schema.default is None:
        return None
    default = schema.default
    finished = _FINISHED if schema.logical else ()

    def finish(column: Column) -> Column:
        if inner is None:
            return [default if value is None else value for value in column] if None in column else column
        if default is None and None not in column:
            return inner(column) if column else column
        # A class puts its default where a member is missing, and that is finished: of another class than what is not.
        is_raw = [value is not None and not isinstance(value, finished) for value in column]
        rest = iter(inner([*compress(column, is_raw)]) if any(is_raw) else ())
        return [
            next(rest) if raw else default if value is None else value
            for value, raw in zip(column, is_raw, strict=True)
        ]

    return finish


def _finisher_of_values(schema: Schema) -> Finisher | None:
    if schema.logical:
        return _logical(schema)
    if schema.type == "FLOAT32":
        return lambda column: [*map(round_to_float32, column)]
    if schema.type == "STRUCT":
        return _structs(schema)
    inner = None if schema.value_schema is None else finisher(schema.value_schema)
    if inner is None:
        return None
    return _lists(inner) if schema.type == "ARRAY" else _maps(inner)


def _logical(schema: Schema) -> Finisher:
    if schema.logical == "Decimal":
        scale = schema.scale
        return lambda column: [logical.decimal_of(unscaled, scale) for unscaled in column]
    rule = {"Date": logical.date_of, "Time": logical.time_of, "Timestamp": logical.timestamp_of}[schema.logical or ""]
    return lambda column: [*map(rule, column)]


def _structs(schema: Schema) -> Finisher | None:
    attributes = schema.struct_type.__struct_fields__
    found = [(attribute, finisher(field.schema)) for attribute, field in zip(attributes, schema.fields, strict=True)]
    rules = [(attribute, rule) for attribute, rule in found if rule is not None]
    if not rules:
        return None
    put = msgspec.structs.force_setattr  # the instances are new; frozen begins when they are handed out

    def finish(column: Column) -> Column:
        for attribute, rule in rules:
            values = [*map(attrgetter(attribute), column)]
            finished = rule(values)
            if finished is not values:
                for value, new in zip(column, finished, strict=True):
                    put(value, attribute, new)
        return column

    return finish


def _lists(inner: Finisher) -> Finisher:
    def finish(column: Column) -> Column:
        rest = iter(inner([*chain.from_iterable(column)]))
        return [[*islice(rest, len(elements))] for elements in column]

    return finish


def _maps(inner: Finisher) -> Finisher:
    def finish(column: Column) -> Column:
        rest = iter(inner([*chain.from_iterable(map(dict.values, column))]))
        return [dict(zip(map_, rest, strict=False)) for map_ in column]

    return finish
