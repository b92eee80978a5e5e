"""Values without a schema: a record of Avro with a field for each type, of which one is set.

    12    ──►  {"boolean": null, "bytes": null, ..., "int": 12, ...}          None  ──►  every field is null

Used by: reader.py, writer.py, explain.py.
Source: the record `io.confluent.connect.avro.Anything`, as Confluent's converter registers it.
"""

from __future__ import annotations

import struct
from typing import Any

from converters.registry import zigzag
from engine.api.errors import DataError
from engine.api.map_keys import as_key
from engine.api.schema import Float32, schema_of
from engine.api.structs import INT_RANGES
from engine.api.validation import java_class

__all__ = ["DEPTH_MAX", "NAME", "SCHEMA", "read", "write"]

NAME = "io.confluent.connect.avro.Anything"
#: Lists and maps within each other.
DEPTH_MAX = 200


def _optional(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Anything",
    "namespace": "io.confluent.connect.avro",
    "fields": [
        *(_optional(name, name) for name in ("boolean", "bytes", "double", "float", "int", "long", "string")),
        _optional("array", {"type": "array", "items": "Anything"}),
        _optional(
            "map",
            {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "MapEntry",
                    "fields": [{"name": "key", "type": "Anything"}, {"name": "value", "type": "Anything"}],
                },
            },
        ),
    ],
}
_FIELDS = 9
_BOOLEAN, _BYTES, _DOUBLE, _FLOAT, _INT, _LONG, _STRING, _ARRAY, _MAP = range(_FIELDS)
_FLOATS = struct.Struct("<f")
_DOUBLES = struct.Struct("<d")
_BITS = 64  # of lengths and counts; an int is told by its value


def write(value: Any, depth: int = 0) -> bytes:
    """The encoding of a value. Raises DataError for one that has no type here."""
    if value is None:
        return bytes(_FIELDS)
    if depth > DEPTH_MAX:
        raise DataError(f"lists and maps are nested more than {DEPTH_MAX} times")
    field, body = _body(value, depth)
    return bytes(field) + b"\x02" + body + bytes(_FIELDS - 1 - field)


def _body(value: Any, depth: int) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return _BOOLEAN, b"\x01" if value else b"\x00"
    if isinstance(value, int):
        for field, name in ((_INT, "INT32"), (_LONG, "INT64")):
            low, high = INT_RANGES[name]
            if low <= value <= high:
                return field, zigzag.written(value)
    elif isinstance(value, Float32):
        return _FLOAT, _FLOATS.pack(value)
    elif isinstance(value, float):
        return _DOUBLE, _DOUBLES.pack(value)
    elif isinstance(value, str | bytes | bytearray | memoryview):
        body = value.encode() if isinstance(value, str) else bytes(value)
        return _STRING if isinstance(value, str) else _BYTES, zigzag.written(len(body)) + body
    elif isinstance(value, list | tuple):
        return _ARRAY, _block([write(element, depth + 1) for element in value])
    elif isinstance(value, dict):
        return _MAP, _block([write(key, depth + 1) + write(one, depth + 1) for key, one in value.items()])
    elif schema_of(value) is not None:
        raise DataError("a struct has a schema; expected a value without one")
    raise DataError(f"Unknown Java type for schemaless data: class {java_class(value)}")


def _block(elements: list[bytes]) -> bytes:
    return b"".join((zigzag.written(len(elements)), *elements, b"\0")) if elements else b"\0"


def read(b: bytes, p: int, depth: int) -> tuple[Any, int]:
    """The value at a position, and where it ends; as in Java's, of several fields the first that is set counts."""
    if depth > DEPTH_MAX:
        raise DataError(f"lists and maps are nested more than {DEPTH_MAX} times")
    found: Any = None
    for field in range(_FIELDS):
        branch = b[p]
        p += 1
        if branch == 0:
            continue
        if branch != 2:
            raise DataError(f"branch {branch >> 1} of a union of two")
        value, p = _field(b, p, field, depth)
        if found is None:
            found = value
    return found, p


def _field(b: bytes, p: int, field: int, depth: int) -> tuple[Any, int]:
    if field == _BOOLEAN:
        return (False, True)[b[p]], p + 1
    if field in (_DOUBLE, _FLOAT):
        form = _DOUBLES if field == _DOUBLE else _FLOATS
        (number,) = form.unpack_from(b, p)
        return Float32(number) if field == _FLOAT else number, p + form.size
    if field in (_INT, _LONG):
        number, p = zigzag.read(b, p, _BITS)
        low, high = INT_RANGES["INT32" if field == _INT else "INT64"]
        if not low <= number <= high:
            raise DataError(f"{number} is no {'int' if field == _INT else 'long'}")
        return number, p
    if field in (_BYTES, _STRING):
        size, p = zigzag.read(b, p, _BITS)
        end = p + size
        if size < 0 or end > len(b):
            raise DataError(f"{size} bytes, of which {len(b) - p} are there")
        return (str(b[p:end], "utf-8") if field == _STRING else b[p:end]), end
    return _elements(b, p, depth, is_map=field == _MAP)


def _elements(b: bytes, p: int, depth: int, *, is_map: bool) -> tuple[Any, int]:
    elements: list[Any] = []
    while True:
        count, p = zigzag.read(b, p, _BITS)
        if not count:
            break
        if count < 0:
            count = -count
            _, p = zigzag.read(b, p, _BITS)
        if count > len(b):
            raise DataError(f"{count} elements in {len(b)} bytes")
        for _ in range(count):
            element, p = read(b, p, depth + 1)
            if is_map:
                value, p = read(b, p, depth + 1)
                elements.append((as_key(element), value))
            else:
                elements.append(element)
    return (dict(elements) if is_map else elements), p
