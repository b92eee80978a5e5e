"""Text in JSON with the escapes that Kafka Connect writes.

    U+1F600  ──►  \\uD83D\\uDE00        U+001F  ──►  \\u001F        other characters beyond ASCII stay as they are

Used by: encode.py (mends what the encoder wrote), wire.py (writes what the encoder refuses).
"""

from __future__ import annotations

import re

__all__ = ["escaped", "mended"]

_SPECIAL = re.compile(r'[\0-\x1f"\\\U00010000-\U0010ffff\ud800-\udfff]')
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_TO_MEND = re.compile(rb"\\u|[\xf0-\xf4]")
_ESCAPES = re.compile(r"\\u[0-9a-f]{4}|\\.|[\U00010000-\U0010ffff]")


def mended(line: bytes) -> bytes:
    """A line of JSON with the escapes that Kafka Connect writes."""
    if not _TO_MEND.search(line):
        return line
    return _ESCAPES.sub(_mend, line.decode()).encode()


def escaped(text: str) -> bytes:
    """A text as JSON, with the escapes that Kafka Connect writes; half a surrogate pair is escaped as well."""
    return f'"{_SPECIAL.sub(_escape_of, text)}"'.encode()


def _mend(match: re.Match[str]) -> str:
    found = match.group()
    if found[0] == "\\":
        return "\\u" + found[2:].upper() if len(found) == 6 else found
    units = found.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04X}" for at in (0, 2))


def _escape_of(match: re.Match[str]) -> str:
    character = match.group()
    short = _SHORT.get(character)
    if short is not None:
        return short
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04X}" for at in range(0, len(units), 2))
