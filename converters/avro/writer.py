"""A compiled writer: one function a schema, from values of Connect to bytes.

    record(id long, name string)  ──►  join((prefix, V[x1] if ... else long(x1), V[len(x2 := ...)], x2, ...))

What is in the text says source.py. Every scalar's class is looked at where it is written, so nothing is cast without a
word; a value that is refused is looked at once more by explain.py.

Used by: converter.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from converters.avro import anything
from converters.avro.explain import explain_value
from converters.avro.nodes import Node
from converters.avro.reader import FAULTS
from converters.avro.source import Source
from converters.json import logical
from converters.registry import zigzag
from converters.registry.converter import Column
from engine.api.schema import Schema, schema_of
from engine.api.structs import INT_RANGES

__all__ = ["AvroWriter"]

#: Numbers whose bytes are kept ready: from 0 on.
_SMALL = 8_192
_VARINTS = tuple(zigzag.written(number) for number in range(_SMALL))


class AvroWriter:
    """Writes values of one schema."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._write = _Compiler().compiled(node)

    def write(self, values: Sequence[Any], prefix: bytes) -> Column:
        """The payloads of values, none of which is None; each begins with `prefix`."""
        payloads: list[Any] = []
        failed: list[int] = []
        self._write(values, prefix, payloads.append, failed.append)
        return Column(payloads, [(index, explain_value(self._node, values[index])) for index in failed])


class _Compiler:
    def __init__(self) -> None:
        self._source = Source(_NAMES)

    def compiled(self, node: Node) -> Callable[[Sequence[Any], bytes, Any, Any], None]:
        if node.kind == "record":
            statements, pieces = self._fields(node, "v")
        else:
            statements, pieces = [], self._pieces(node, "v")
        source = "\n".join(
            [
                "def write(values, prefix, put, failed):",
                "    for i, v in enumerate(values):",
                "        try:",
                *(f"            {line}" for line in statements),
                f"            found = join((prefix, {', '.join(pieces)}))",
                "        except FAULTS:",
                "            failed(i)",
                "            found = None",
                "        put(found)",
            ]
        )
        return self._source.compiled("write", source)  # type: ignore[no-any-return]  # it is one

    def _function(self, statements: Sequence[str], result: str) -> str:
        name = self._source.new("write_")
        lines = [f"def {name}(v):", *(f"    {line}" for line in statements), f"    return {result}"]
        self._source.add("\n".join(lines))
        return name

    def _whole(self, node: Node, v: str) -> str:
        """One expression for all of a value."""
        pieces = self._pieces(node, v)
        return pieces[0] if len(pieces) == 1 else f"join(({', '.join(pieces)}))"

    def _pieces(self, node: Node, v: str) -> list[str]:
        """Expressions whose bytes, one after the other, are the value in a variable."""
        found: list[str] = getattr(self, f"_{node.kind}")(node, v)
        return found

    def _boolean(self, node: Node, v: str) -> list[str]:
        return [f"(b'\\1' if {v} is True else b'\\0' if {v} is False else wrong())"]

    def _int(self, node: Node, v: str) -> list[str]:
        schema = node.schema
        assert schema is not None
        if schema.logical == "Date":
            return [f"INT32(days_from({v}))"]
        if schema.logical is not None:
            kept = self._source.new("schema_", schema)
            return [f"{schema.type}(milliseconds_from({kept}, {v}))"]
        small = min(_SMALL, INT_RANGES[schema.type][1] + 1)
        return [f"(V[{v}] if {v}.__class__ is int and 0 <= {v} < {small} else {schema.type}({v}))"]

    _long = _int

    def _float(self, node: Node, v: str) -> list[str]:
        form = "F" if node.kind == "float" else "D"
        return [f"{form}({v} if {v}.__class__ is float else floating({v}))"]

    _double = _float

    def _string(self, node: Node, v: str) -> list[str]:
        x = self._source.new("x")
        return [f"(V[len({x})] if len({x} := {v}.encode()) < {_SMALL} else length(len({x})))", x]

    def _bytes(self, node: Node, v: str) -> list[str]:
        x = self._source.new("x")
        return [f"(V[len({x})] if len({x} := {self._octets(node, v)}) < {_SMALL} else length(len({x})))", x]

    def _fixed(self, node: Node, v: str) -> list[str]:
        is_decimal = node.schema is not None and node.schema.logical == "Decimal"
        return [f"sized({self._octets(node, v)}, {node.size}, {is_decimal})"]

    def _octets(self, node: Node, v: str) -> str:
        if node.schema is not None and node.schema.logical == "Decimal":
            return f"decimal_from({self._source.new('schema_', node.schema)}, {v})"
        return f"({v} if {v}.__class__ is bytes else octets({v}))"

    def _enum(self, node: Node, v: str) -> list[str]:
        written = {symbol: zigzag.written(index) for index, symbol in enumerate(node.symbols)}
        return [f"{self._source.new('symbols_', written)}[{v}]"]

    def _constant(self, node: Node, v: str) -> list[str]:
        return [self._source.new("constant_", node.constant)] if node.constant else []

    def _anything(self, node: Node, v: str) -> list[str]:
        return [f"anything({v})"]

    def _nullable(self, node: Node, v: str) -> list[str]:
        pieces = [self._source.new("branch_", zigzag.written(node.value_index)), *self._pieces(node.inner, v)]
        assert node.schema is not None
        if node.null_index is None or not node.schema.optional:
            return pieces
        null = self._source.new("null_", zigzag.written(node.null_index))
        value = " + ".join(pieces) if len(pieces) <= 2 else f"join(({', '.join(pieces)}))"
        return [f"({null} if {v} is None else {value})"]

    def _union(self, node: Node, v: str) -> list[str]:
        statements = [self._checked(node, "v")]
        null = "wrong()"
        for index, (attribute, part) in enumerate(zip(node.attributes, node.parts, strict=True)):
            branch = self._source.new("branch_", zigzag.written(index))
            if part is None:
                null = f"{branch} if v is None else wrong()"
            elif attribute is not None:
                x = self._source.new("x")
                statements += [f"{x} = v.{attribute}", f"if {x} is not None: return {branch} + {self._whole(part, x)}"]
        return [f"{self._function(statements, null)}({v})"]

    def _record(self, node: Node, v: str) -> list[str]:
        statements, pieces = self._fields(node, "v")
        result = f"join(({', '.join(pieces)},))" if pieces else "b''"
        return [f"{self._function(statements, result)}({v})"]

    def _fields(self, node: Node, v: str) -> tuple[list[str], list[str]]:
        """Statements and the pieces after them, for a record in a variable."""
        statements = [self._checked(node, v)]
        pieces = []
        for attribute, part in zip(node.attributes, node.parts, strict=True):
            assert part is not None
            x = self._source.new("x")
            if attribute is not None:
                statements.append(f"{x} = {v}.{attribute}")
                if part.default is not None:
                    statements.append(f"if {x} is None: {x} = {self._source.new('default_', part.default)}")
            pieces += self._pieces(part, x)
        return statements, pieces

    def _checked(self, node: Node, v: str) -> str:
        assert node.schema is not None
        kind, schema = self._source.new("kind_", node.schema.struct_type), self._source.new("schema_", node.schema)
        is_null = f"{v} is not None and " if node.schema.optional and node.kind == "union" else ""
        return f"if {is_null}{v}.__class__ is not {kind}: check_struct({v}, {schema})"

    def _array(self, node: Node, v: str) -> list[str]:
        item = self._whole(node.inner, "z")
        statements = ["if v.__class__ is not list: listed(v)", "if not v: return b'\\0'"]
        result = f"join((length(len(v)), *[{item} for z in v], b'\\0'))"
        return [f"{self._function(statements, result)}({v})"]

    def _map(self, node: Node, v: str) -> list[str]:
        key = self._pieces(Node("string"), "k")
        pieces = ", ".join([*key, *self._pieces(node.inner, "z")])
        return self._pairs(f"join(({pieces}))", v)

    def _entries(self, node: Node, v: str) -> list[str]:
        key, value = node.parts
        assert key is not None
        assert value is not None
        pieces = ", ".join([*self._pieces(key, "k"), *self._pieces(value, "z")])
        return self._pairs(f"join(({pieces}))", v)

    def _pairs(self, pair: str, v: str) -> list[str]:
        statements = ["if not isinstance(v, dict): mapped(v)", "if not v: return b'\\0'"]
        result = f"join((length(len(v)), *[{pair} for k, z in v.items()], b'\\0'))"
        return [f"{self._function(statements, result)}({v})"]


def _whole(low: int, high: int) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            _wrong()
        return zigzag.written(value)

    return write


def _floating(value: Any) -> float:
    if not isinstance(value, float):
        _wrong()
    return value  # type: ignore[no-any-return]  # it is one


def _octets(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        _wrong()
    return bytes(value)


def _sized(value: bytes, size: int, is_decimal: bool) -> bytes:
    if is_decimal and len(value) < size:
        return value.rjust(size, b"\xff" if value[0] > 127 else b"\0")
    if len(value) != size:
        _wrong()
    return value


def _listed(value: Any) -> None:
    if not isinstance(value, list | tuple):
        _wrong()


def _mapped(value: Any) -> None:
    _wrong()


def _check_struct(value: Struct, schema: Schema) -> None:
    if schema_of(value) != schema:
        _wrong()


def _wrong() -> Any:
    raise ValueError


#: What the text of a writer may use.
_NAMES: dict[str, Any] = {
    "V": _VARINTS,
    "join": b"".join,
    "length": zigzag.written,
    "wrong": _wrong,
    "F": struct.Struct("<f").pack,
    "D": struct.Struct("<d").pack,
    "floating": _floating,
    "octets": _octets,
    "listed": _listed,
    "mapped": _mapped,
    "check_struct": _check_struct,
    "FAULTS": FAULTS,
    "anything": anything.write,
    "days_from": logical.days_from,
    "milliseconds_from": logical.milliseconds_from,
    "decimal_from": logical.decimal_from,
    "sized": _sized,
    **{name: _whole(low, high) for name, (low, high) in INT_RANGES.items()},
}
