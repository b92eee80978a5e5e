"""Values of Connect and JSON, by the conventions of Confluent's JSON Schemas, a value at a time.

    Date       19723                  MAP with other keys than text   [{"key": 1, "value": "a"}]
    Decimal    "AJY=", or 1.50        a STRUCT for oneOf              what its one field holds

Used by: converter.py, from_connect.py, to_connect.py.
Not here: whole columns, which go the way of JSON without a registry where that writes the same.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec import Raw

from converters.json import logical
from converters.json_schema import names
from engine.api.errors import DataError
from engine.api.java_scalars import double_text, float_text, round_to_float32
from engine.api.map_keys import as_key
from engine.api.schema import Schema, schema_of
from engine.api.structs import INT_RANGES
from engine.api.validation import java_class

__all__ = ["Trees"]

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_CLASSES: dict[str, tuple[type, ...]] = {"BOOLEAN": (bool,), "STRING": (str,), "ARRAY": (list, tuple), "MAP": (dict,)}
_JSON_CLASSES: dict[str, type] = {"BOOLEAN": bool, "STRING": str, "ARRAY": list, "MAP": dict}
_LOGICAL: dict[str, Callable[[int], Any]] = {
    "Date": logical.date_of,
    "Time": logical.time_of,
    "Timestamp": logical.timestamp_of,
}


class Trees:
    """The rules of one configured converter."""

    def __init__(self, *, is_decimal_numeric: bool) -> None:
        self._is_decimal_numeric = is_decimal_numeric

    def tree(self, schema: Schema | None, value: Any, path: str = "$") -> Any:
        """What to encode for a value. Raises DataError that tells the place."""
        if schema is None:
            raise _at(path, "a value without a schema")
        if value is None:
            value = schema.default
            if value is None:
                if schema.optional:
                    return None
                raise _at(path, "null value for a field that is required and has no default value")
        if schema.logical is not None:
            return self._logical_tree(schema, value, path)
        if schema.type in ("FLOAT32", "FLOAT64"):
            _check(schema, value, (float,), path)
            text = float_text(value) if schema.type == "FLOAT32" else double_text(value)
            return Raw(text.encode() if math.isfinite(value) else f'"{text}"'.encode())
        if schema.type in INT_RANGES:
            _check_int(schema, value, path)
            return value
        if schema.type == "BYTES":
            _check(schema, value, (bytes, bytearray, memoryview), path)
            return bytes(value)
        if schema.type == "STRUCT":
            return self._struct_tree(schema, value, path)
        _check(schema, value, _CLASSES[schema.type], path)
        if schema.type == "ARRAY":
            return [self.tree(schema.value_schema, one, f"{path}[{at}]") for at, one in enumerate(value)]
        if schema.type == "MAP":
            return self._map_tree(schema, value, path)
        return value

    def value(self, schema: Schema | None, tree: Any, path: str = "$") -> Any:
        """The value of JSON, in which numbers with a point are Decimals. Raises DataError as `tree`."""
        if schema is None:
            raise _at(path, "a value without a schema")
        if tree is None:
            if schema.default is not None:
                return schema.default
            if schema.optional:
                return None
            raise _at(path, f"Invalid null value for required {schema.type} field")
        if schema.type == "STRUCT":
            return self._struct(schema, tree, path)
        if schema.type == "MAP" and not names.is_text_keyed(schema):
            return self._pairs(schema, tree, path)
        if schema.type not in _JSON_CLASSES:
            return self._scalar(schema, tree, path)
        if not isinstance(tree, _JSON_CLASSES[schema.type]):
            raise _wrong(schema, tree, path)
        if isinstance(tree, list):
            return [self.value(schema.value_schema, one, f"{path}[{at}]") for at, one in enumerate(tree)]
        if isinstance(tree, dict):
            return {key: self.value(schema.value_schema, one, f"{path}.{key}") for key, one in tree.items()}
        return tree

    def _scalar(self, schema: Schema, tree: Any, path: str) -> Any:
        if schema.logical == "Decimal":
            return self._decimal(schema, tree, path)
        if schema.type in INT_RANGES:
            number = _whole(tree)
            _check_int(schema, number, path)
            try:
                return _LOGICAL[schema.logical](number) if schema.logical is not None else number
            except DataError as error:
                raise _at(path, str(error)) from error
        return _octets(schema, tree, path) if schema.type == "BYTES" else _float(schema, tree, path)

    def _logical_tree(self, schema: Schema, value: Any, path: str) -> Any:
        try:
            if schema.logical == "Decimal":
                unscaled = logical.decimal_from(schema, value)
                return Raw(f"{value:f}".encode()) if self._is_decimal_numeric else base64.b64encode(unscaled).decode()
            if schema.logical == "Date":
                return logical.days_from(value)
            return logical.milliseconds_from(schema, value)
        except DataError as error:
            raise _at(path, str(error)) from error

    def _struct_tree(self, schema: Schema, value: Any, path: str) -> Any:
        if schema_of(value) != schema:
            raise _at(path, "Mismatching schema.")
        pairs = [
            (field, getattr(value, name)) for field, name in zip(schema.fields, value.__struct_fields__, strict=True)
        ]
        if schema.name != names.ONE_OF:
            return {field.name: self.tree(field.schema, one, f"{path}.{field.name}") for field, one in pairs}
        for field, one in pairs:
            if one is not None:
                return self.tree(field.schema, one, path)
        if schema.optional:
            return None
        raise _at(path, "no field of the oneOf has a value")

    def _map_tree(self, schema: Schema, value: Any, path: str) -> Any:
        if names.is_text_keyed(schema):
            if not all(isinstance(key, str) for key in value):
                raise _at(path, "a key that is no text")
            return {key: self.tree(schema.value_schema, one, f"{path}.{key}") for key, one in value.items()}
        return [
            {
                "key": self.tree(schema.key_schema, key, f"{path}[{at}].key"),
                "value": self.tree(schema.value_schema, one, f"{path}[{at}].value"),
            }
            for at, (key, one) in enumerate(value.items())
        ]

    def _decimal(self, schema: Schema, tree: Any, path: str) -> Decimal:
        if isinstance(tree, str):
            try:
                return logical.decimal_of(_octets(schema, tree, path), schema.scale)
            except DataError as error:
                raise error if error.path else _at(path, str(error)) from error
        if not isinstance(tree, int | float | Decimal) or isinstance(tree, bool):
            raise _wrong(schema, tree, path)
        number = tree if isinstance(tree, Decimal) else Decimal(str(tree))
        scaled = number.scaleb(schema.scale)
        if scaled != scaled.to_integral_value():
            raise _at(path, f"{number} has more digits than the scale {schema.scale} of its schema")
        return Decimal(f"{int(scaled)}E{-schema.scale}")

    def _struct(self, schema: Schema, tree: Any, path: str) -> Any:
        kind = schema.struct_type
        if schema.name == names.ONE_OF:
            for field, name in zip(schema.fields, kind.__struct_fields__, strict=True):
                try:
                    found = self.value(field.schema, tree, path)
                except DataError:
                    continue
                if isinstance(tree, dict) and field.schema.type == "STRUCT" and not _is_known(field.schema, tree):
                    continue
                return kind(**{name: found})
            raise _at(path, f"Did not find matching oneof field for data: {str(tree)[:200]}")
        if not isinstance(tree, dict):
            raise _wrong(schema, tree, path)
        fields = zip(schema.fields, kind.__struct_fields__, strict=True)
        return kind(
            **{name: self.value(field.schema, tree.get(field.name), f"{path}.{field.name}") for field, name in fields}
        )

    def _pairs(self, schema: Schema, tree: Any, path: str) -> Any:
        if not isinstance(tree, list) or not all(isinstance(one, dict) and len(one) == 2 for one in tree):
            raise _at(path, "Maps with non-string fields should be encoded as JSON array of objects")
        return {
            as_key(self.value(schema.key_schema, one.get("key"), f"{path}[{at}].key")): self.value(
                schema.value_schema, one.get("value"), f"{path}[{at}].value"
            )
            for at, one in enumerate(tree)
        }


def _is_known(schema: Schema, tree: dict[str, Any]) -> bool:
    return set(tree) <= {field.name for field in schema.fields}


def _whole(tree: Any) -> Any:
    return int(tree) if isinstance(tree, Decimal) and tree == tree.to_integral_value() and abs(tree) < 2**64 else tree


def _float(schema: Schema, tree: Any, path: str) -> float:
    if isinstance(tree, str) and tree in _FLOATS:
        return _FLOATS[tree]
    if not isinstance(tree, int | float | Decimal) or isinstance(tree, bool):
        raise _wrong(schema, tree, path)
    try:
        number = float(tree)
    except OverflowError:
        number = math.inf
    rounded = round_to_float32(number) if schema.type == "FLOAT32" else number
    if math.isinf(rounded):
        raise _at(path, f"{str(tree)[:40]} is too large for {schema.type}")
    return rounded


def _octets(schema: Schema, tree: Any, path: str) -> bytes:
    if not isinstance(tree, str):
        raise _wrong(schema, tree, path)
    try:
        return base64.b64decode(tree, validate=True)
    except (binascii.Error, ValueError):
        raise _at(path, f"{tree[:40]!r} is no base64") from None


def _check_int(schema: Schema, value: Any, path: str) -> None:
    _check(schema, value, (int,), path)
    low, high = INT_RANGES[schema.type]
    if isinstance(value, bool) or not low <= value <= high:
        raise _at(path, f"{str(value)[:40]}, expected {schema.type}: {low} to {high}")


def _check(schema: Schema, value: Any, classes: tuple[type, ...], path: str) -> None:
    if not isinstance(value, classes):
        raise _wrong(schema, value, path)


def _wrong(schema: Schema, value: Any, path: str) -> DataError:
    return _at(path, f"Invalid type for {schema.type}: class {java_class(value)}")


def _at(path: str, told: str) -> DataError:
    """The error of a place, which begins with `$`."""
    return DataError(told).within(path.removeprefix("$"))
