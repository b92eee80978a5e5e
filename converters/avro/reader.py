"""A compiled reader: one function a schema, from bytes to values of Connect.

    record(id long, name string)  ──►  n = b[p]; ...; x1 = ...; x2 = str(b[p:e], "utf-8"); ...; Order(id=x1, name=x2)

What is in the text says source.py. A payload that is refused is read once more by explain.py, which finds the place.

Lengths need no check of their own: a piece that is cut short leaves the position behind the end, where the next read
fails, and a value that ends elsewhere than its payload is refused.

Used by: converter.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from converters.avro import anything
from converters.avro.explain import explain_payload
from converters.avro.nodes import Node
from converters.avro.source import Source
from converters.json import logical
from converters.registry import zigzag
from converters.registry.converter import Column
from converters.registry.wire import HEADER_BYTES
from engine.api.errors import DataError
from engine.api.map_keys import as_key
from engine.api.schema import Schema
from engine.api.structs import INT_RANGES

__all__ = ["EMPTY_ITEMS_MAX", "FAULTS", "AvroReader"]

#: Elements of an array or map that take no bytes, in one value: only a number says how many there are.
EMPTY_ITEMS_MAX = 100_000
#: What bytes that are no value raise.
FAULTS = (
    IndexError, ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error, DataError, RecursionError,
)  # fmt: skip
_INLINE_DEPTH_MAX = 5  # Python nests so many loops in one function, and no more than 20
_more_int, _more_long = zigzag.rest_of(32), zigzag.rest_of(64)


class AvroReader:
    """Reads payloads of one schema."""

    def __init__(self, node: Node, schema: Schema | None) -> None:
        self.schema = schema
        self._node = node
        self._read = _Compiler().compiled(node)

    def read(self, payloads: Sequence[bytes]) -> Column:
        """The values of payloads, which begin with magic byte and id."""
        values: list[Any] = []
        failed: list[int] = []
        self._read(payloads, values.append, failed.append)
        return Column(values, [(index, explain_payload(self._node, payloads[index])) for index in failed])


class _Compiler:
    def __init__(self) -> None:
        self._source = Source(_NAMES)

    def compiled(self, node: Node) -> Callable[[Sequence[bytes], Any, Any], None]:
        body = self._lines(node, "v", 3)
        source = "\n".join(
            [
                "def read(payloads, put, failed):",
                "    for i, b in enumerate(payloads):",
                f"        p = {HEADER_BYTES}",
                "        try:",
                *body,
                "            if p != len(b): wrong()",
                "        except FAULTS:",
                "            failed(i)",
                "            v = None",
                "        put(v)",
            ]
        )
        return self._source.compiled("read", source)  # type: ignore[no-any-return]  # it is one

    def _lines(self, node: Node, target: str, depth: int) -> list[str]:
        """Statements that read a value from `b` at `p` into a variable."""
        if depth > _INLINE_DEPTH_MAX + 3 and node.kind in ("array", "map", "entries", "record", "union", "nullable"):
            name = self._source.new("read_")
            self._source.add("\n".join([f"def {name}(b, p):", *self._lines(node, "v", 1), "    return v, p"]))
            return ["    " * depth + f"{target}, p = {name}(b, p)"]
        lines: list[str] = getattr(self, f"_{node.kind}")(node, target)
        pad = "    " * depth
        result = []
        for line in lines:
            if line.startswith("@"):  # a part: @indent number of part, its target
                indent, part, name = line[1:].split()
                inner = node.parts[int(part)]
                assert inner is not None
                result += self._lines(inner, name, depth + int(indent))
            else:
                result.append(pad + line)
        return result

    def _boolean(self, node: Node, target: str) -> list[str]:
        return [f"{target} = BOOLEANS[b[p]]", "p += 1"]

    def _int(self, node: Node, target: str) -> list[str]:
        more = "more_long" if node.kind == "long" else "more_int"
        lines = ["n = b[p]; p += 1", f"if n > 127: n, p = {more}(b, p, n)", f"{target} = (n >> 1) ^ -(n & 1)"]
        assert node.schema is not None
        rules = {"Date": "date_of", "Time": "time_of", "Timestamp": "timestamp_of"}
        if node.schema.logical in rules:
            lines.append(f"{target} = {rules[node.schema.logical]}({target})")
        elif node.schema.type in ("INT8", "INT16"):
            low, high = INT_RANGES[node.schema.type]
            lines.append(f"if not {low} <= {target} <= {high}: wrong()")
        return lines

    _long = _int

    def _float(self, node: Node, target: str) -> list[str]:
        return [f"{target} = F(b, p)[0]; p += 4"]

    def _double(self, node: Node, target: str) -> list[str]:
        return [f"{target} = D(b, p)[0]; p += 8"]

    def _string(self, node: Node, target: str) -> list[str]:
        return [*_LENGTH, f"{target} = str(b[p:e], 'utf-8'); p = e"]

    def _bytes(self, node: Node, target: str) -> list[str]:
        return [*_LENGTH, f"{target} = {self._of_bytes(node)}; p = e"]

    def _fixed(self, node: Node, target: str) -> list[str]:
        return [f"e = p + {node.size}", "if e > len(b): wrong()", f"{target} = {self._of_bytes(node)}; p = e"]

    def _of_bytes(self, node: Node) -> str:
        if node.schema is not None and node.schema.logical == "Decimal":
            return f"decimal_of(b[p:e], {node.schema.scale})"
        return "b[p:e]"

    def _enum(self, node: Node, target: str) -> list[str]:
        symbols = self._source.new("symbols_", node.symbols)
        return [
            "n = b[p]; p += 1",
            "if n > 127 or n & 1: n, p = length(b, p, n)",
            f"{target} = {symbols}[n >> 1]",
        ]

    def _nullable(self, node: Node, target: str) -> list[str]:
        assert node.null_index is not None
        return [
            "n = b[p]; p += 1",
            f"if n == {node.value_index << 1}:",
            f"@1 0 {target}",
            f"elif n == {node.null_index << 1}: {target} = None",
            "else: wrong()",
        ]

    def _union(self, node: Node, target: str) -> list[str]:
        assert node.schema is not None
        kind = self._source.new("kind_", node.schema.struct_type)
        lines = ["n = b[p]; p += 1", "if n > 127: n, p = more_int(b, p, n)", "if n < 0: wrong()"]
        for index, part in enumerate(node.parts):
            name = self._source.new("x")
            lines.append(f"elif n == {index << 1}:")
            if part is None:
                lines.append(f"    {target} = None")
            else:
                lines += [f"@1 {index} {name}", f"    {target} = {kind}({node.attributes[index]}={name})"]
        return [*lines, "else: wrong()"]

    def _record(self, node: Node, target: str) -> list[str]:
        assert node.schema is not None
        kind = self._source.new("kind_", node.schema.struct_type)
        names = [self._source.new("x") for _ in node.parts]
        arguments = ", ".join(f"{attribute}={name}" for attribute, name in zip(node.attributes, names, strict=True))
        return [*(f"@0 {index} {name}" for index, name in enumerate(names)), f"{target} = {kind}({arguments})"]

    def _array(self, node: Node, target: str) -> list[str]:
        return self._blocks(node, target, "[]", [(0, "item")], "{t}.append({item})")

    def _map(self, node: Node, target: str) -> list[str]:
        return self._blocks(node, target, "{}", [(0, "item")], "{t}[{key}] = {item}", has_text_keys=True)

    def _entries(self, node: Node, target: str) -> list[str]:
        key = node.parts[0]
        is_plain = key is not None and key.kind not in ("array", "map", "entries")
        put = "{t}[{key}] = {item}" if is_plain else "{t}[as_key({key})] = {item}"
        return self._blocks(node, target, "{}", [(0, "key"), (1, "item")], put)

    def _blocks(
        self,
        node: Node,
        target: str,
        empty: str,
        parts: list[tuple[int, str]],
        put: str,
        *,
        has_text_keys: bool = False,
    ) -> list[str]:
        """An array or map: blocks of elements, each with their number in front."""
        new = self._source.new
        names = {"key": new("k"), "item": new("x"), "t": new("t"), "count": new("c")}
        some = [node.parts[index] for index, _ in parts]
        is_empty = not has_text_keys and not sum(part.bytes_min() for part in some if part is not None)
        limit = f"len({names['t']}) + n > EMPTY_MAX" if is_empty else "n > len(b)"
        key = [*_LENGTH, f"{names['key']} = str(b[p:e], 'utf-8'); p = e"] if has_text_keys else []
        return [
            f"{names['t']} = {empty}",
            "while True:",
            "    n = b[p]; p += 1",
            "    if n > 127 or n & 1: n, p = count(b, p, n)",
            "    if not n: break",
            "    n >>= 1",
            f"    if {limit}: wrong()",
            "    for _ in range(n):",
            *(f"        {line}" for line in key),
            *(f"@2 {index} {names[name]}" for index, name in parts),
            f"        {put.format(**names)}",
            f"{target} = {names['t']}",
        ]

    def _anything(self, node: Node, target: str) -> list[str]:
        return [f"{target}, p = anything(b, p, 0)"]


_LENGTH = ("n = b[p]; p += 1", "if n > 127 or n & 1: n, p = length(b, p, n)", "e = p + (n >> 1)")


def _length(b: bytes, p: int, n: int) -> tuple[int, int]:
    """A length, twice; never negative, as Avro writes negative numbers odd."""
    if n > 127:
        n, p = _more_long(b, p, n)
    if n & 1:
        _wrong()
    return n, p


def _count(b: bytes, p: int, n: int) -> tuple[int, int]:
    """How many elements a block has, twice; after a negative number its size in bytes follows."""
    if n > 127:
        n, p = _more_long(b, p, n)
    if n & 1:
        n += 1  # -n, twice
        byte = b[p]
        p += 1
        if byte > 127 or byte & 1:
            _, p = _length(b, p, byte)
    return n, p


def _wrong() -> None:
    raise ValueError


#: What the text of a reader may use.
_NAMES: dict[str, Any] = {
    "more_int": _more_int,
    "more_long": _more_long,
    "length": _length,
    "count": _count,
    "wrong": _wrong,
    "F": struct.Struct("<f").unpack_from,
    "D": struct.Struct("<d").unpack_from,
    "BOOLEANS": (False, True),
    "FAULTS": FAULTS,
    "EMPTY_MAX": EMPTY_ITEMS_MAX,
    "anything": anything.read,
    "as_key": as_key,
    "date_of": logical.date_of,
    "time_of": logical.time_of,
    "timestamp_of": logical.timestamp_of,
    "decimal_of": logical.decimal_of,
}
