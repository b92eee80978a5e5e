"""Values to text, as headers carry them (Kafka Connect's `Values.convertToString`).

    to_text({"a": 1.5, "b": None})  ──►  {"a":1.5,"b":null}         to_text("a")    ──►  a
    to_text(date(2024, 1, 31))      ──►  2024-01-31                 to_text(["a"])  ──►  ["a"]

Used by: converters.simple_header.
Source: the behaviour of Kafka Connect's Values (its reference, section 6.9).
Not here: text to values (values.py), text as Java prints it (java_text.py).
"""

from __future__ import annotations

import base64
import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine.api.errors import DataError
from engine.api.java_dates import iso_text
from engine.api.java_scalars import double_text, epoch_ms, float_text
from engine.api.schema import Float32, Schema, schema_of
from engine.api.validation import DAY_MS, is_beyond_python, java_class

__all__ = ["to_text"]


def to_text(value: Any, schema: Schema | None = None) -> str | None:
    """The text of a value; a text is its own, None has none. Raises DataError for a class that headers do not carry.

    schema: tells 32-bit floats, and dates that are carried as an int.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    try:
        return _text(value, schema)
    except RecursionError as error:
        raise DataError("A value is nested too deep to be written as text") from error


def _text(value: Any, schema: Schema | None) -> str:
    """The text of a value within a list, map or struct."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, datetime.date | datetime.time):
        return iso_text(epoch_ms(value))
    if isinstance(value, int):
        return _int_text(value, schema)
    if isinstance(value, float):
        is_narrow = isinstance(value, Float32) or (schema is not None and schema.type == "FLOAT32")
        return float_text(value) if is_narrow else double_text(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f'"{base64.b64encode(value).decode()}"'
    return _container_text(value, schema)


def _int_text(value: int, schema: Schema | None) -> str:
    if schema is None or schema.logical is None or not is_beyond_python(schema.logical, value):
        return str(value)
    return iso_text(value * DAY_MS if schema.logical == "Date" else value)


def _container_text(value: Any, schema: Schema | None) -> str:
    elements = schema and schema.value_schema
    if isinstance(value, list | tuple):
        return "[" + ",".join([_text(element, elements) for element in value]) + "]"
    if isinstance(value, dict):
        keys = schema and schema.key_schema
        return "{" + ",".join([f"{_text(key, keys)}:{_text(found, elements)}" for key, found in value.items()]) + "}"
    own = schema_of(value) if isinstance(value, Struct) else None
    if own is None:
        raise DataError(f"Failed to serialize unexpected value type {java_class(value)}: {value}")
    fields = [f"{_text(field.name, None)}:{_text(own.get(value, field.name), field.schema)}" for field in own.fields]
    return "{" + ",".join(fields) + "}"
