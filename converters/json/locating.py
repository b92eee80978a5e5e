"""Where inside a value the part is that cannot be written.

    {"items": [{"price": 1}, {"price": "x"}]}  ──►  $.items[1].price

Columns are written without a thought of places, because a place costs and is rarely asked for. When one value has
failed, its parts are tried in turn, from the outermost inwards: at each level only the first bad part is looked into.

Used by: encode.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import astuple

from converters.json.wire import Wire
from engine.api.declared import as_struct
from engine.api.errors import DataError
from engine.api.schema import Schema, schema_of

__all__ = ["located"]


def located(wire: Wire, schema: Schema | None, value: Any, error: DataError) -> DataError:
    """The error of the innermost part that is bad, with the path to it. error: what the whole value failed with."""
    path = ""
    while True:
        for step, inner_schema, inner in _parts(schema, value):
            try:
                wire.column(inner_schema, [inner])
            except DataError as found:
                schema, value, error = inner_schema, inner, found
                path += step
                break
        else:
            return error.within(path)


def _parts(schema: Schema | None, value: Any) -> Iterator[tuple[str, Schema | None, Any]]:
    """What a value is made of: the step to each part, its schema, and the part."""
    value = as_struct(value)
    if schema is not None and schema.type == "STRUCT" and schema_of(value) == schema:
        for field, member in zip(schema.fields, astuple(value), strict=True):
            yield f".{field.name}", field.schema, member
    elif isinstance(value, list | tuple) and (schema is None or schema.type == "ARRAY"):
        for index, element in enumerate(value):
            yield f"[{index}]", schema and schema.value_schema, element
    elif isinstance(value, dict) and (schema is None or schema.type == "MAP"):
        for key, element in value.items():
            yield f".{key}" if isinstance(key, str) else f"[{key!r}]", schema and schema.value_schema, element
