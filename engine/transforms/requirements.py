"""What transforms ask of the values that come to them, in Kafka Connect's words.

Used by: engine.transforms.
"""

from __future__ import annotations

from typing import Any

from engine.api.errors import DataError
from engine.api.schema import Schema, schema_of
from engine.api.validation import java_class

__all__ = ["class_of", "require_map", "require_struct", "require_struct_schema"]

#: Java's classes of values under a schema.
_CLASSES = {
    "INT8": "java.lang.Byte",
    "INT16": "java.lang.Short",
    "INT32": "java.lang.Integer",
    "INT64": "java.lang.Long",
    "FLOAT32": "java.lang.Float",
}
_LOGICAL_CLASSES = {"Decimal": "java.math.BigDecimal"}


def class_of(value: Any, schema: Schema | None = None) -> str:
    """The class that Kafka Connect would name. An int without a schema is a long, as JSON brings it."""
    if value is None:
        return "null"
    if schema is None:
        found = java_class(value)
        return "java.lang.Long" if found == "java.lang.Integer" else found
    if schema.logical:
        return _LOGICAL_CLASSES.get(schema.logical, "java.util.Date")
    return _CLASSES.get(schema.type) or java_class(value)


def require_map(value: Any, purpose: str) -> dict[Any, Any]:
    """The value. Raises DataError when it is no map, a None included."""
    if not isinstance(value, dict):
        raise DataError(f"Only Map objects supported in absence of schema for [{purpose}], found: {class_of(value)}")
    return value


def require_struct(value: Any, schema: Schema | None, purpose: str) -> Any:
    """The value. Raises DataError when it is no struct, a None included."""
    if schema_of(value) is None:
        raise DataError(f"Only Struct objects supported for [{purpose}], found: {class_of(value, schema)}")
    return value


def require_struct_schema(schema: Schema) -> Schema:
    """The schema. Raises DataError when it is not that of a struct."""
    if schema.type != "STRUCT":
        raise DataError("Cannot list fields on non-struct type")
    return schema
