"""What is wrong with a payload or value that a compiled function has refused, and where: `$.items[3].price`.

Slow, and asked of bad records only.

Used by: reader.py, writer.py.
"""

from __future__ import annotations

import struct
from typing import Any

from converters.avro import anything
from converters.avro.nodes import Node
from converters.json import logical
from converters.registry.wire import HEADER_BYTES
from engine.api.errors import DataError
from engine.api.java_scalars import round_to_float32
from engine.api.schema import Schema, schema_of
from engine.api.structs import INT_RANGES
from engine.api.validation import java_class

__all__ = ["explain_payload", "explain_value"]


class _FoundError(Exception):
    """The place, which begins with `$`, and what is wrong there."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(text)
        self.path = path

    def told(self) -> DataError:
        """For the record."""
        return DataError(str(self)).within(self.path.removeprefix("$"))


def explain_payload(node: Node, payload: bytes) -> DataError:
    """Why these bytes are no value of the schema."""
    walk = _Walk(payload)
    try:
        walk.step(node, "$")
        left = len(payload) - walk.at
        return DataError(f"{left} bytes follow after the end of the value", expected="none")
    except _FoundError as error:
        return error.told()
    except RecursionError:
        return DataError("the value is nested too deeply")


class _Walk:
    """One payload, and how far it has been read."""

    def __init__(self, payload: bytes) -> None:
        self._bytes = payload
        self.at = HEADER_BYTES

    def step(self, node: Node, path: str) -> None:
        """Read one value. Raises _FoundError at the first thing that is wrong."""
        if node.kind == "anything":
            try:
                _, self.at = anything.read(self._bytes, self.at, 0)
            except (DataError, IndexError, ValueError, struct.error, TypeError) as error:
                raise _FoundError(path, f"no value without a schema: {error}") from None
        elif node.kind == "record":
            for name, part in zip(node.names, node.parts, strict=True):
                assert part is not None
                self.step(part, f"{path}.{name}")
        elif node.kind in ("nullable", "union"):
            self._branch(node, path)
        elif node.kind in ("array", "map", "entries"):
            self._blocks(node, path)
        else:
            self._scalar(node, path)

    def _branch(self, node: Node, path: str) -> None:
        index = self._number(path, 32, "the branch of a union")
        if node.kind == "nullable":
            if index == node.null_index:
                return
            part = node.inner if index == node.value_index else None
            count = 2
        else:
            count = len(node.parts)
            part = node.parts[index] if 0 <= index < count else None
            if part is None and 0 <= index < count:
                return
        if part is None:
            raise _FoundError(path, f"branch {index} of a union, expected one of {count}")
        self.step(part, path)

    def _blocks(self, node: Node, path: str) -> None:
        number = 0
        while True:
            count = self._number(path, 64, "the number of elements")
            if not count:
                return
            if count < 0:
                count = -count
                self._size(path, "the size of a block")
            if count > max(len(self._bytes), 100_000):
                raise _FoundError(path, f"{count} elements in a value of {len(self._bytes)} bytes")
            for _ in range(count):
                if node.kind == "map":
                    size = self._size(path, "the length of a key")
                    place = f"{path}.{self._take(path, size, 'a key').decode(errors='replace')}"
                else:
                    place = f"{path}[{number}]"
                for part in node.parts:
                    assert part is not None
                    self.step(part, place)
                number += 1

    def _scalar(self, node: Node, path: str) -> None:
        schema = node.schema
        if node.kind in ("int", "long"):
            number = self._number(path, 32 if node.kind == "int" else 64, f"an {node.kind}")
            self._check_number(schema, number, path)
        elif node.kind == "boolean":
            found = self._take(path, 1, "a boolean")[0]
            if found > 1:
                raise _FoundError(path, f"the byte {found}, expected 0 or 1 for a boolean")
        elif node.kind in ("float", "double"):
            self._take(path, 4 if node.kind == "float" else 8, f"a {node.kind}")
        elif node.kind == "enum":
            index = self._number(path, 32, "an enum")
            if not 0 <= index < len(node.symbols):
                raise _FoundError(path, f"symbol {index} of an enum, expected one of {len(node.symbols)}")
        elif node.kind == "fixed":
            self._take(path, node.size, f"a fixed of {node.size} bytes")
        else:
            size = self._size(path, f"the length of {node.kind}")
            found_bytes = self._take(path, size, node.kind)
            if node.kind == "string":
                try:
                    found_bytes.decode()
                except UnicodeDecodeError as error:
                    raise _FoundError(path, f"expected UTF-8: {error}") from None
            elif schema is not None and schema.logical == "Decimal" and not found_bytes:
                raise _FoundError(path, "no bytes, expected the digits of a decimal")

    def _check_number(self, schema: Schema | None, number: int, path: str) -> None:
        if schema is not None and schema.type in ("INT8", "INT16"):
            low, high = INT_RANGES[schema.type]
            if not low <= number <= high:
                raise _FoundError(path, f"{number}, expected {schema.type}: {low} to {high}")
        if schema is not None and schema.logical == "Time":
            try:
                logical.time_of(number)
            except DataError as error:
                raise _FoundError(path, str(error)) from None

    def _number(self, path: str, bits: int, what: str) -> int:
        rest = shift = 0
        while True:
            byte = self._take(path, 1, what)[0]
            rest |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                break
        if rest >> bits or shift > 63:
            raise _FoundError(path, f"a number of more than {bits} bits, expected {what}")
        return (rest >> 1) ^ -(rest & 1)

    def _size(self, path: str, what: str) -> int:
        size = self._number(path, 64, what)
        if size < 0:
            raise _FoundError(path, f"{size}, expected {what}")
        return size

    def _take(self, path: str, size: int, what: str) -> bytes:
        end = self.at + size
        if end > len(self._bytes):
            left = len(self._bytes) - self.at
            raise _FoundError(path, f"the payload ends: {size} bytes of {what} are expected, {left} are left")
        found = self._bytes[self.at : end]
        self.at = end
        return found


def explain_value(node: Node, value: Any) -> DataError:
    """Why a value cannot be written under the schema."""
    try:
        _look(node, value, "$")
    except _FoundError as error:
        return error.told()
    except RecursionError:
        return DataError("the value is nested too deeply")
    return DataError(f"the value cannot be written as {node.kind}")


def _look(node: Node, value: Any, path: str) -> None:
    if node.kind == "constant":
        return
    if node.kind == "anything":
        try:
            anything.write(value)
        except (DataError, UnicodeEncodeError) as error:
            raise _FoundError(path, str(error)) from None
    elif value is None:
        if not _takes_null(node):
            raise _FoundError(path, "Found null value for non-optional schema")
    elif node.kind == "nullable":
        _look(node.inner, value, path)
    elif node.kind in ("record", "union"):
        _look_into_struct(node, value, path)
    elif node.kind == "array":
        if not isinstance(value, list | tuple):
            raise _wrong(node, value, path)
        for index, element in enumerate(value):
            _look(node.inner, element, f"{path}[{index}]")
    elif node.kind in ("map", "entries"):
        _look_into_map(node, value, path)
    else:
        _look_at_scalar(node, value, path)


def _takes_null(node: Node) -> bool:
    if node.default is not None:
        return True
    if node.kind == "nullable":
        return node.null_index is not None and node.schema is not None and node.schema.optional
    return node.kind == "union" and None in node.parts


def _look_into_map(node: Node, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(node, value, path)
    for index, (key, element) in enumerate(value.items()):
        place = f"{path}.{key}" if node.kind == "map" else f"{path}[{index}]"
        if node.kind == "map" and not isinstance(key, str):
            raise _FoundError(path, f"a key of class {java_class(key)}, expected text")
        for part, one in zip(node.parts, (element,) if node.kind == "map" else (key, element), strict=True):
            assert part is not None
            _look(part, one, place)


def _look_into_struct(node: Node, value: Any, path: str) -> None:
    if schema_of(value) != node.schema:
        raise _FoundError(path, f"Mismatching struct schema: class {java_class(value)}")
    for attribute, name, part in zip(node.attributes, node.names, node.parts, strict=True):
        if attribute is None or part is None:
            continue
        found = getattr(value, attribute)
        if node.kind == "record":
            _look(part, found, f"{path}.{name}")
        elif found is not None:
            _look(part, found, f"{path}.{name}")
            return


def _look_at_scalar(node: Node, value: Any, path: str) -> None:
    schema = node.schema
    assert schema is not None
    try:
        if schema.logical == "Decimal":
            value = logical.decimal_from(schema, value)
        elif schema.logical == "Date":
            value = logical.days_from(value)
        elif schema.logical is not None:
            value = logical.milliseconds_from(schema, value)
    except DataError as error:
        raise _FoundError(path, str(error)) from None
    classes: dict[str, tuple[type, ...]] = {
        "boolean": (bool,), "int": (int,), "long": (int,), "float": (float,), "double": (float,), "string": (str,),
        "enum": (str,), "bytes": (bytes, bytearray, memoryview), "fixed": (bytes, bytearray, memoryview),
    }  # fmt: skip
    if not isinstance(value, classes[node.kind]) or (isinstance(value, bool) and node.kind != "boolean"):
        raise _wrong(node, value, path)
    told = _out_of_bounds(node, schema, value)
    if told:
        raise _FoundError(path, told)


def _out_of_bounds(node: Node, schema: Schema, value: Any) -> str:
    """What is wrong with a value of the right class; empty: nothing."""
    if node.kind in ("int", "long"):
        low, high = INT_RANGES[schema.type]
        return "" if low <= value <= high else f"{value}, expected {schema.type}: {low} to {high}"
    if node.kind == "enum" and value not in node.symbols:
        return f"{value!r} is no symbol of the enum, which has {', '.join(node.symbols)[:200]}"
    if node.kind == "fixed" and len(value) != node.size:
        return f"{len(value)} bytes, expected {node.size}"
    if (
        node.kind == "float"
        and value not in (float("inf"), float("-inf"))
        and abs(round_to_float32(value)) == float("inf")
    ):
        return f"{value} is too large for FLOAT32"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"half a surrogate pair is no UTF-8: {error}"
    return ""


def _wrong(node: Node, value: Any, path: str) -> _FoundError:
    kind = node.schema.type if node.schema is not None else node.kind
    return _FoundError(path, f"Invalid type for {kind}: class {java_class(value)}")
