"""Which message of a file a payload holds: a list of indexes behind the schema's id.

    00                 the first message               04 00 02       the third message in the first

Used by: reader.py, writer.py.
Source: the wire format of Confluent's serializers.
"""

from __future__ import annotations

from engine.api.errors import DataError

__all__ = ["read_indexes", "written_indexes"]

#: Messages within each other.
COUNT_MAX = 64


def read_indexes(payload: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """The indexes that stand at a position, and where they end. Raises DataError."""
    count, at = _number(payload, at)
    if count == 0:
        return (0,), at
    if not 0 < count <= COUNT_MAX:
        raise DataError(f"{count} message indexes", expected=f"at most {COUNT_MAX}")
    indexes = []
    for _ in range(count):
        index, at = _number(payload, at)
        indexes.append(index)
    return tuple(indexes), at


def written_indexes(indexes: tuple[int, ...]) -> bytes:
    """The bytes of indexes."""
    if indexes == (0,):
        return b"\0"
    return b"".join(map(_zigzag, (len(indexes), *indexes)))


def _number(payload: bytes, at: int) -> tuple[int, int]:
    rest = shift = 0
    while True:
        if at >= len(payload) or shift > 28:
            raise DataError("the message indexes behind the schema id are not whole")
        byte = payload[at]
        at += 1
        rest |= (byte & 127) << shift
        if byte < 128:
            return (rest >> 1) ^ -(rest & 1), at
        shift += 7


def _zigzag(number: int) -> bytes:
    rest = number << 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)
