"""Structs to JSON, column by column: nobody makes the structs.

    price   [1.5, 2.0]        ──►  1.5        2.0         one encoding of all
    name    [b"a", b"b"]      ──►  a          b           texts that are bytes, and need no escapes, stay what they are
                                   {"price":1.5,"name":"a"}      what stands between is the same in all rows

The values of rows of 7 columns, three of them text: 0.9 us, where structs that are made and encoded took 1.4 to 1.6.

Used by: encode.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, TypeGuard

import msgspec
import orjson

from converters.json.escapes import mended
from converters.json.wire import Wire
from engine.api.column import DigitColumn, Repeat, StructColumn, Utf8Column
from engine.api.java_scalars import PLAIN_BELOW, PLAIN_FROM
from engine.api.schema import Schema

__all__ = ["RowWriter", "needs_mending"]

Column = Sequence[Any]
#: Of a row: the same text in all rows, or a text for each.
Piece = bytes | Sequence[bytes]

#: What stands in JSON as it stands in UTF-8, as far as single bytes tell: no quotes, nothing beyond the basic plane.
_PLAIN = bytes(byte for byte in range(0x20, 0xF0) if byte not in b'"\\')
_BITS = {f"INT{bits}": bits for bits in (8, 16, 32, 64)}
_TRUTHS = {True: b"true", False: b"false"}
#: What JSON has in the place of a NaN.
_NAN = b"null"
#: First bytes of characters beyond it.
_BEYOND_BASIC = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")


class RowWriter:
    """Rows of one converter."""

    def __init__(self, wire: Wire, encoder: msgspec.json.Encoder) -> None:
        self._wire = wire
        self._encoder = encoder

    def rows(self, schema: Schema | None, column: Column, before: bytes, behind: bytes) -> list[bytes] | None:
        """Each struct as JSON, between `before` and `behind`; None: these are no columns of structs of this schema.

        Raises as `Wire.column`, and UnicodeEncodeError.
        """
        if schema is None or not _is_of_columns(column, schema):
            return None
        pieces: list[Iterable[bytes]] = []
        constant = before
        for piece in self._structs(schema, column):
            if isinstance(piece, bytes):
                constant += piece
            else:
                pieces += [repeat(constant, len(column)), piece]
                constant = b""
        if not pieces:
            return [constant + behind] * len(column)
        pieces.append(repeat(constant + behind, len(column)))
        return [*map(b"".join, zip(*pieces, strict=True))]

    def _structs(self, schema: Schema, column: StructColumn) -> Iterator[Piece]:
        opening = b"{"
        for field, values in zip(schema.fields, column.columns, strict=True):
            yield opening + mended(self._encoder.encode(field.name)) + b":"
            yield from self._values(field.schema, values)
            opening = b","
        yield b"}" if schema.fields else b"{}"

    def _values(self, schema: Schema, column: Column) -> Iterator[Piece]:
        if isinstance(column, Repeat) and column:
            yield self._texts(self._wire.column(schema, [column.value]))[0]
        elif _is_of_columns(column, schema):
            yield from self._structs(schema, column)
        elif isinstance(column, Utf8Column) and schema.type == "STRING" and _is_plain(column.encoded):
            yield from (b'"', column.encoded, b'"')  # type: ignore[misc]  # none is None
        elif isinstance(column, DigitColumn) and not schema.logical and column.bits <= _BITS.get(schema.type, 0):
            yield column.encoded
        elif not schema.logical and schema.type in _AT_ONCE and (texts := _AT_ONCE[schema.type](column)):
            yield texts
        else:
            yield self._texts(self._wire.column(schema, column))

    def _texts(self, column: Column) -> list[bytes]:
        block = self._encoder.encode_lines(column)
        lines = block.split(b"\n")
        lines.pop()
        return [*map(mended, lines)] if needs_mending(block) else lines


def _is_of_columns(column: Column, schema: Schema) -> TypeGuard[StructColumn]:
    """Whether it holds structs of this schema that nobody has made yet."""
    if not isinstance(column, StructColumn) or schema.type != "STRUCT":
        return False
    return column.schema.struct_type is schema.struct_type


def _truths(column: Column) -> list[bytes]:
    """Each as JSON; none: they are not all what they should be."""
    return [*map(_TRUTHS.__getitem__, column)] if set(map(type, column)) == {bool} else []


def _floats(column: Column) -> list[bytes]:
    """The same for floats that Java and every encoder write alike."""
    if not isinstance(column, list) or set(map(type, column)) != {float}:
        return []
    if min(column) < PLAIN_FROM or max(column) >= PLAIN_BELOW:
        return []
    text = orjson.dumps(column)
    return text[1:-1].split(b",") if _NAN not in text else []


def needs_mending(block: bytes) -> bool:
    """Whether a text may have escapes that Kafka Connect writes in another way."""
    # bench/micro/test_converters.py::envelope_out: one byte is found ten times as fast as two
    if not block.isascii() and any(map(block.__contains__, _BEYOND_BASIC)):
        return True
    return b"\\" in block and b"\\u" in block


def _is_plain(cells: Sequence[bytes | None]) -> bool:
    """Whether they are texts that JSON has as they are: no nulls, and nothing that is escaped, or no UTF-8."""
    try:
        text = b" ".join(cells)  # type: ignore[arg-type]  # one that is None is none of bytes
    except TypeError:
        return False
    if text.translate(None, _PLAIN):
        return False
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


_AT_ONCE: dict[str, Callable[[Column], list[bytes]]] = {"BOOLEAN": _truths, "FLOAT64": _floats}
