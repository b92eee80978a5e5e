"""Rows of many changes, read at once.

A row of pgoutput is nearly an array of msgpack: a number of columns, and for each a letter, a length and a text. Two
bytes of each kind are put right, and msgspec reads all rows in C:

    N  0002  t 00000002 42  n        what the server says
    dc 0002  c6 00000002 42  6e      an array of two, bytes, and a small number: the letter n

`t` and two zeros stand nowhere but where a text begins, since no text of PostgreSQL has a zero character in it and no
text here is so long that its length could be taken for one; larger messages are read byte by byte.

Used by: capturing.py.
Not here: all else that is said (pgoutput.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connectors.postgres.source.pgoutput import Row, read_row, read_update

__all__ = ["read_rows", "read_updates"]

#: Texts of larger messages may be longer than two bytes of length can say.
MESSAGE_BYTES_MAX = 0xFFFF
#: Array and number of its members: with four bytes, with two. Of rows with more columns no number is one byte.
_ARRAY_32, _ARRAY_16 = b"\xdd", b"\xdc"
COLUMNS_MAX = 127
_TEXT, _BIN_32 = b"t\0\0", b"\xc6\0\0"
#: Between the two rows of an update: `N` and the number of columns, as three small numbers.
BETWEEN = 3
_TEXTS = msgspec.msgpack.Decoder(list[list[bytes]])
_CELLS = msgspec.msgpack.Decoder(list[list[bytes | int]])


def read_rows(messages: Sequence[bytes], at: int) -> Sequence[Row]:
    """The row with which each of these ends.

    at: where it begins, behind the letter that says which it is.
    """
    if not messages or max(map(len, messages)) > MESSAGE_BYTES_MAX:
        return [read_row(message, at)[0] for message in messages]
    return _decoded(_ARRAY_16, [message[at:] for message in messages])


def read_updates(messages: Sequence[bytes], at: int) -> Sequence[tuple[Row, Row]]:
    """The old and the new row of each of these, which all are of one table."""
    count = int.from_bytes(messages[0][at : at + 2]) if messages else 0
    if not messages or max(map(len, messages)) > MESSAGE_BYTES_MAX or count > COLUMNS_MAX:
        return [read_update(message, at) for message in messages]
    head = _ARRAY_16 + (2 * count + BETWEEN).to_bytes(2)
    rows = _decoded(head, [message[at + 2 :] for message in messages])
    return [(row[:count], row[count + BETWEEN :]) for row in rows]


def _decoded(head: bytes, rows: list[bytes]) -> Sequence[Row]:
    block = head.join([_ARRAY_32 + len(rows).to_bytes(4), *rows]).replace(_TEXT, _BIN_32)
    try:
        return _TEXTS.decode(block)
    except msgspec.ValidationError:
        return _CELLS.decode(block)  # there are nulls
