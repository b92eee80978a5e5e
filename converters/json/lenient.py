"""A JSON tree to a value under a schema, with Kafka Connect's coercions.

    INT32 of "12"  ──►  0       INT8 of 300  ──►  44       STRING of 12  ──►  None       INT32 of 1.9  ──►  1

Scalars are never checked, only cast; shapes are. Used for what the strict decoder refuses: it is right or wrong in
the same way as Kafka Connect, one record at a time.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from converters.json import logical
from converters.json.reading import MISSING
from engine.api import validation
from engine.api.errors import DataError
from engine.api.java_scalars import round_to_float32
from engine.api.map_keys import as_key
from engine.api.schema import Schema

__all__ = ["to_value"]

_BASE64_GROUPS = re.compile(r"(?:[\0- ]*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==))*[\0- ]*\Z")
_BASE64_GROUP = re.compile(r"[A-Za-z0-9+/=]{4}")
_BITS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64}


def to_value(schema: Schema | None, node: Any, *, replace_null: bool) -> Any:
    """The value of a tree. replace_null: whether a null becomes the default. Raises DataError."""
    if schema is None:
        return _schemaless(node)
    if node is None:
        if schema.default is not None and replace_null:
            return schema.default
        if schema.optional:
            return None
        raise DataError(f"Invalid null value for required {schema.type} field")
    if schema.logical:
        return _LOGICAL[schema.logical](schema, node)
    return _TYPES[schema.type](schema, node, replace_null)


def node_type(node: Any) -> str:
    """What Kafka Connect calls a node in its messages."""
    if node is MISSING:
        return "MISSING"
    for kind, name in (
        (bool, "BOOLEAN"),
        (int | Decimal, "NUMBER"),
        (str, "STRING"),
        (list, "ARRAY"),
        (dict, "OBJECT"),
    ):
        if isinstance(node, kind):
            return name
    return "NULL"


def _schemaless(node: Any) -> Any:
    if node is None or node is MISSING:
        return None
    if isinstance(node, list):
        return [*map(_schemaless, node)]
    if isinstance(node, dict):
        return {name: _schemaless(member) for name, member in node.items()}
    if isinstance(node, Decimal):
        return float(node)
    if isinstance(node, int) and not isinstance(node, bool):
        return _wrapped(node, 64)
    return node


def _wrapped(number: int, bits: int) -> int:
    """The lowest `bits` of a number in two's complement, as Java casts."""
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half


def _whole(node: Any) -> int:
    if isinstance(node, bool) or not isinstance(node, int | Decimal):
        return 0
    if isinstance(node, Decimal) and not -1 < node.adjusted() < 400:
        return 0  # a fraction below 1; or so many zeros at the end that none of its lowest 64 bits is set
    return int(node)


def _integer(schema: Schema, node: Any, replace_null: bool) -> int:
    bits = _BITS[schema.type]
    whole = _wrapped(_whole(node), 64)
    return whole if bits == 64 else _wrapped(_wrapped(whole, 32), bits)


def _float64(schema: Schema, node: Any, replace_null: bool) -> float:
    if isinstance(node, bool) or not isinstance(node, int | Decimal):
        return 0.0
    try:
        return float(node)
    except OverflowError:  # a whole number with more than 308 digits
        return float("inf") if node > 0 else float("-inf")


def _float32(schema: Schema, node: Any, replace_null: bool) -> float:
    return round_to_float32(_float64(schema, node, replace_null))


def _boolean(schema: Schema, node: Any, replace_null: bool) -> bool:
    return node is True


def _string(schema: Schema, node: Any, replace_null: bool) -> str | None:
    return node if isinstance(node, str) else None


def _bytes(schema: Schema, node: Any, replace_null: bool) -> bytes | None:
    try:
        return base64_bytes(node)
    except ValueError as error:
        raise DataError("Invalid bytes field") from error


def base64_bytes(node: Any) -> bytes | None:
    """The bytes of base64 text with padding; None of anything else. Raises ValueError."""
    if not isinstance(node, str):
        return None
    if not _BASE64_GROUPS.match(node):
        raise ValueError("no base64 text")
    return b"".join(map(binascii.a2b_base64, _BASE64_GROUP.findall(node)))


def _array(schema: Schema, node: Any, replace_null: bool) -> list[Any]:
    elements = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    result = []
    for index, element in enumerate(elements):
        try:
            result.append(to_value(schema.value_schema, element, replace_null=replace_null))
        except DataError as error:
            error.within(f"[{index}]")
            raise
    return result


def _map(schema: Schema, node: Any, replace_null: bool) -> dict[Any, Any]:
    keys, values = schema.key_schema, schema.value_schema
    if keys is None or keys.type == "STRING":
        if not isinstance(node, dict):
            raise DataError(f"Maps with string fields should be encoded as JSON objects, but found {node_type(node)}")
        return {name: _member(values, node, name, replace_null=replace_null) for name in node}
    if not isinstance(node, list):
        raise DataError(
            f"Maps with non-string fields should be encoded as JSON array of tuples, but found {node_type(node)}"
        )
    result: dict[Any, Any] = {}
    for index, entry in enumerate(node):
        try:
            _entry(keys, values, entry, result, replace_null=replace_null)
        except DataError as error:
            error.within(f"[{index}]")
            raise
    return result


def _entry(keys: Schema, values: Schema | None, entry: Any, into: dict[Any, Any], *, replace_null: bool) -> None:
    if not isinstance(entry, list):
        raise DataError(f"Found invalid map entry instead of array tuple: {node_type(entry)}")
    if len(entry) != 2:
        raise DataError(f"Found invalid map entry, expected length 2 but found :{len(entry)}")
    key = as_key(to_value(keys, entry[0], replace_null=replace_null))
    try:
        into[key] = to_value(values, entry[1], replace_null=replace_null)
    except TypeError as error:
        raise DataError(f"A key of type {keys.type} cannot be the key of a dict") from error


def _member(schema: Schema | None, node: dict[str, Any], name: str, *, replace_null: bool) -> Any:
    try:
        return to_value(schema, node.get(name), replace_null=replace_null)
    except DataError as error:
        error.within(f".{name}")
        raise


def _struct(schema: Schema, node: Any, replace_null: bool) -> Any:
    if not isinstance(node, dict):
        raise DataError(f"Structs should be encoded as JSON objects, but found {node_type(node)}")
    values = []
    for field in schema.fields:
        value = _member(field.schema, node, field.name, replace_null=replace_null)
        # A null may come out of a cast; unlike the casts themselves, a struct looks at what is put into it.
        validation.validate(field.schema, value, f'field: "{field.name}"')
        values.append(value)
    kind = schema.struct_type
    return kind(**dict(zip(kind.__struct_fields__, values, strict=True)))


def _decimal(schema: Schema, node: Any) -> Decimal:
    if isinstance(node, int | Decimal) and not isinstance(node, bool):
        return Decimal(node)
    if isinstance(node, str):
        try:
            return logical.decimal_of(base64_bytes(node) or b"", schema.scale)
        except (ValueError, DataError) as error:
            raise DataError("Invalid bytes for Decimal field") from error
    raise DataError(
        f"Invalid type for Decimal, underlying representation should be numeric or bytes but was {node_type(node)}"
    )


def _date(schema: Schema, node: Any) -> Any:
    return logical.date_of(_int32(node, "Date"))


def _time(schema: Schema, node: Any) -> Any:
    return logical.time_of(_int32(node, "Time"))


def _timestamp(schema: Schema, node: Any) -> Any:
    if isinstance(node, int) and not isinstance(node, bool):
        return logical.timestamp_of(_wrapped(node, 64))
    raise DataError(
        f"Invalid type for Timestamp, underlying representation should be integral but was {node_type(node)}"
    )


def _int32(node: Any, name: str) -> int:
    if isinstance(node, int) and not isinstance(node, bool) and -(2**31) <= node < 2**31:
        return node
    raise DataError(f"Invalid type for {name}, underlying representation should be integer but was {node_type(node)}")


_LOGICAL: dict[str, Callable[[Schema, Any], Any]] = {
    "Decimal": _decimal,
    "Date": _date,
    "Time": _time,
    "Timestamp": _timestamp,
}
_TYPES: dict[str, Callable[[Schema, Any, bool], Any]] = {
    "INT8": _integer,
    "INT16": _integer,
    "INT32": _integer,
    "INT64": _integer,
    "FLOAT32": _float32,
    "FLOAT64": _float64,
    "BOOLEAN": _boolean,
    "STRING": _string,
    "BYTES": _bytes,
    "ARRAY": _array,
    "MAP": _map,
    "STRUCT": _struct,
}
