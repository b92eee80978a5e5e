"""Which message of a file a payload holds: a list of indexes behind the schema's id.

    00                 the first message               04 00 02       the third message in the first

Used by: reader.py, writer.py.
Source: the wire format of Confluent's serializers.
"""

from __future__ import annotations

from converters.registry import zigzag
from engine.api.errors import DataError

__all__ = ["read_indexes", "written_indexes"]

#: Messages within each other.
COUNT_MAX = 64
_BITS = 32


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
    return b"".join(map(zigzag.written, (len(indexes), *indexes)))


def _number(payload: bytes, at: int) -> tuple[int, int]:
    try:
        return zigzag.read(payload, at, _BITS)
    except (IndexError, ValueError):
        raise DataError("the message indexes behind the schema id are not whole") from None
