"""JSON text to a tree, with the leniency of the parser that Kafka Connect uses.

    b'{"a":1} trailing'  ──►  {"a": 1}         b"007"  ──►  7         b""  ──►  MISSING
    b"1.50"  ──►  Decimal("1.50")              b"\\xff\\xfe1\\x00..."  ──►  as UTF-16

Only the first value is read; what follows is ignored, but a number must end at white space. Objects are dicts (the
last of equal names wins), whole numbers ints of any size, other numbers Decimals without a negative zero.

Used by: converters.json, for schemas and for records that the strict fast decoder refuses. It is twenty times slower.
Not here: what the tree means (lenient.py).
"""

from __future__ import annotations

import decimal
import json.decoder
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

__all__ = ["DEPTH_MAX", "MISSING", "NUMBER_CHARS_MAX", "STRING_CHARS_MAX", "parse"]


class _Missing:
    """What is read where there is nothing but white space."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
# The limits of the parser that Kafka Connect uses; of depth it takes 1,000 levels, which Python's stack does not.
NUMBER_CHARS_MAX = 1000
STRING_CHARS_MAX = 20_000_000
DEPTH_MAX = 400

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?)0*([0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_END = "\0"  # no JSON has it outside of strings, nor raw within them
_scan_string: Callable[[str, int, bool], tuple[str, int]] = json.decoder.scanstring  # type: ignore[attr-defined]


def parse(payload: bytes) -> Any:
    """The first value in `payload`, or MISSING. Raises ValueError for what is no JSON."""
    text = _decoded(payload) + _END
    at = _skip(text, 0)
    if at == len(text) - 1:
        return MISSING
    try:
        value, end = _value(text, at, 0)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH_MAX}") from None
    if text[at] in "-0123456789" and text[end] not in " \t\n\r" and end != len(text) - 1:
        raise ValueError(f"a number at {at} goes on with {text[end]!r}")
    if text[at] in _LITERALS and (text[end].isalnum() or text[end] in "_$"):
        raise ValueError(f"a literal at {at} goes on with {text[end]!r}")
    return value


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches the empty string too


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    first = text[at]
    if first == '"':
        found, end = _scan_string(text, at + 1, True)
        if len(found) > STRING_CHARS_MAX:
            raise ValueError(f"a text of {len(found)} characters at {at}, more than {STRING_CHARS_MAX}")
        return found, end
    if first == "{":
        return _object(text, at, depth)
    if first == "[":
        return _array(text, at, depth)
    if first in _LITERALS:
        word, value = _LITERALS[first]
        if text.startswith(word, at):
            return value, at + len(word)
        raise ValueError(f"no literal at {at}")
    return _number(text, at)


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    if depth == DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    result: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text[at] == "}":
        return result, at + 1
    while True:
        if text[at] != '"':
            raise ValueError(f"no member name at {at}")
        name, at = _scan_string(text, at + 1, True)
        at = _skip(text, at)
        if text[at] != ":":
            raise ValueError(f"no colon at {at}")
        result[name], at = _value(text, _skip(text, at + 1), depth + 1)
        at = _skip(text, at)
        if text[at] == "}":
            return result, at + 1
        if text[at] != ",":
            raise ValueError(f"an object does not go on at {at}")
        at = _skip(text, at + 1)


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    if depth == DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    result: list[Any] = []
    at = _skip(text, at + 1)
    if text[at] == "]":
        return result, at + 1
    while True:
        value, at = _value(text, at, depth + 1)
        result.append(value)
        at = _skip(text, at)
        if text[at] == "]":
            return result, at + 1
        if text[at] != ",":
            raise ValueError(f"an array does not go on at {at}")
        at = _skip(text, at + 1)


def _number(text: str, at: int) -> tuple[int | Decimal, int]:
    match = _NUMBER.match(text, at)
    if match is None:
        raise ValueError(f"no value at {at}")
    if match.end() - at > NUMBER_CHARS_MAX:
        raise ValueError(f"a number of more than {NUMBER_CHARS_MAX} characters at {at}")
    sign, whole, fraction, exponent = match.groups()
    if fraction is None and exponent is None:
        if text[match.end()] == ".":
            raise ValueError(f"no digit after the point at {match.end()}")
        return int(sign + whole), match.end()
    try:
        number = Decimal(f"{sign}{whole}{fraction or ''}{exponent or ''}")
    except decimal.InvalidOperation:
        raise ValueError(f"an exponent out of range at {at}") from None
    return (number or abs(number)), match.end()


def _decoded(payload: bytes) -> str:
    encoding, start = _encoding(payload)
    # Half a surrogate pair is no UTF-8; in the others it gets through, as it does in Java.
    errors = "strict" if encoding == "utf-8" else "surrogatepass"
    try:
        return payload[start:].decode(encoding, errors)
    except UnicodeDecodeError as error:
        # It counts only if reading gets there; the mark in its place ends whatever stands before.
        return payload[start : start + error.start].decode(encoding, errors) + _END


def _encoding(payload: bytes) -> tuple[str, int]:
    """The Unicode encoding as its first four bytes tell, and the length of the byte order mark."""
    if len(payload) >= 4:
        for mark, encoding in (
            (b"\0\0\xfe\xff", "utf-32-be"),
            (b"\xff\xfe\0\0", "utf-32-le"),
            (b"\xfe\xff", "utf-16-be"),
            (b"\xff\xfe", "utf-16-le"),
            (b"\xef\xbb\xbf", "utf-8"),
        ):
            if payload.startswith(mark):
                return encoding, len(mark)
        if payload[:3] == b"\0\0\0":
            return "utf-32-be", 0
        if payload[1:4] == b"\0\0\0":
            return "utf-32-le", 0
    if len(payload) >= 2:
        if payload[0] == 0:
            return "utf-16-be", 0
        if payload[1] == 0:
            return "utf-16-le", 0
    return "utf-8", 0
