"""Which value is a value of which schema, with Kafka Connect's words for what is not.

Used by: engine.api.schema (defaults, `Schema.validate`).
Source: the behaviour of ConnectSchema.validateValue and of the four logical types.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

from msgspec import Struct

from engine.api.declared import as_struct
from engine.api.errors import DataError
from engine.api.schema import Float32, Schema, schema_of
from engine.api.structs import INT_RANGES

__all__ = ["DATE_DAYS", "DAY_MS", "TIMESTAMP_MS", "is_beyond_python", "java_class", "validate"]

_CLASSES: dict[type, str] = {
    str: "java.lang.String",
    bool: "java.lang.Boolean",
    float: "java.lang.Double",
    Float32: "java.lang.Float",
    bytes: "[B",
    list: "java.util.ArrayList",
    dict: "java.util.LinkedHashMap",
    decimal.Decimal: "java.math.BigDecimal",
    datetime.date: "java.util.Date",
    datetime.time: "java.util.Date",
    datetime.datetime: "java.util.Date",
}
_NUMBER_CLASSES = {
    "INT8": "java.lang.Byte",
    "INT16": "java.lang.Short",
    "INT32": "java.lang.Integer",
    "INT64": "java.lang.Long",
    "FLOAT32": "java.lang.Float",
    "FLOAT64": "java.lang.Double",
}
_EXPECTED: dict[str, tuple[type, ...]] = {
    "FLOAT32": (float,),
    "FLOAT64": (float,),
    "BOOLEAN": (bool,),
    "STRING": (str,),
    "BYTES": (bytes, bytearray, memoryview),
    "ARRAY": (list, tuple),
    "MAP": (dict,),
}
DAY_MS = 86_400_000
# Days and milliseconds since the epoch that Python's date and datetime can hold.
DATE_DAYS = (-719_162, 2_932_896)
TIMESTAMP_MS = (-62_135_596_800_000, 253_402_300_799_999)


def validate(schema: Schema | None, value: Any, where: str = "value") -> None:
    """Raises DataError when `value` is no value of `schema`. where: its place in a larger value, for the message."""
    if schema is None:
        raise DataError(f"Invalid schema for {where}: the schema of the elements is not known")
    if value is None:
        if not schema.optional:
            raise DataError(f"Invalid value: null used for required {where}, schema type: {schema.type}")
        return
    if schema.type == "STRUCT":
        value = as_struct(value)
    if not _is_value(schema, value):
        raise DataError(f"Invalid Java object for schema{_named(schema)}: class {java_class(value)} for {where}")
    if schema.type == "STRUCT":
        if schema_of(value) != schema:
            raise DataError("Struct schemas do not match.")
        validate_fields(schema, value)
    elif schema.type == "ARRAY":
        for element in value:
            validate(schema.value_schema, element, f"element of array {where}")
    elif schema.type == "MAP":
        for key, element in value.items():
            validate(schema.key_schema, key, f"key of map {where}")
            validate(schema.value_schema, element, f"value of map {where}")


def validate_fields(schema: Schema, value: Struct) -> None:
    """As `validate`, for the fields of a struct; a field with a default may be None."""
    for field, attribute in zip(schema.fields, value.__struct_fields__, strict=True):
        found = getattr(value, attribute)
        if found is not None or field.schema.default is None:
            validate(field.schema, found, f'field: "{field.name}"')


def java_class(value: Any, schema: Schema | None = None) -> str:
    """The class that Kafka Connect names where it complains about such a value.

    schema: what the value came with, if anything: it tells how wide a number is.
    """
    if schema is not None and schema.logical and is_beyond_python(schema.logical, value):
        return "java.util.Date"
    if schema is not None and schema.type in _NUMBER_CLASSES and _is_instance(schema, value):
        return _NUMBER_CLASSES[schema.type]
    if isinstance(value, int) and not isinstance(value, bool):
        for name, low_high in (("Integer", INT_RANGES["INT32"]), ("Long", INT_RANGES["INT64"])):
            if low_high[0] <= value <= low_high[1]:
                return f"java.lang.{name}"
        return "java.math.BigInteger"
    if isinstance(value, Struct):
        return "org.apache.kafka.connect.data.Struct"
    return _CLASSES.get(type(value), type(value).__qualname__)


def _named(schema: Schema) -> str:
    return f' "{schema.name}" with type {schema.type}' if schema.name else f" with type {schema.type}"


def _is_value(schema: Schema, value: Any) -> bool:
    if not schema.logical:
        return _is_instance(schema, value)
    # Under a logical name the type does not count, but for a list, map or struct nothing can be both.
    return schema.type not in ("ARRAY", "MAP", "STRUCT") and _is_logical(schema.logical, value)


def _is_instance(schema: Schema, value: Any) -> bool:
    if schema.type in INT_RANGES:
        low, high = INT_RANGES[schema.type]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if schema.type == "STRUCT":
        return schema_of(value) is not None
    return isinstance(value, _EXPECTED[schema.type])


def _is_logical(logical: str, value: Any) -> bool:
    if logical == "Decimal":
        return isinstance(value, decimal.Decimal)
    if isinstance(value, datetime.date):  # a datetime is one
        return True
    if isinstance(value, datetime.time):
        return logical == "Time"
    return is_beyond_python(logical, value)


def is_beyond_python(logical: str, value: Any) -> bool:
    """Whether this is an int that stands for what Python's date, time or datetime cannot hold."""
    if logical == "Decimal" or not isinstance(value, int) or isinstance(value, bool):
        return False
    if logical == "Time":
        return not 0 <= value < DAY_MS
    low, high = DATE_DAYS if logical == "Date" else TIMESTAMP_MS
    return not low <= value <= high
