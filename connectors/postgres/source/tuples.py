"""Rows of many changes of one table, read at once.

A row of pgoutput is nearly what msgpack writes: for each column a letter, a length and a text. A byte before each text
is put right, and msgspec reads the cells of all rows in C:

    t 00000002 42  n        what the server says
    c6 00000002 42  6e      bytes, and a small number: the letter n

`t` and two zeros stand nowhere but where a text begins, since no text of PostgreSQL has a zero character in it and no
text here is so long that its length could be taken for one; larger messages are read byte by byte.

Used by: capturing.py.
Not here: all else that is said (pgoutput.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import msgspec

from connectors.postgres.source.pgoutput import Row, read_row, read_update

__all__ = ["Texts", "read_columns", "read_rows", "read_updates"]

#: A column, as in a `Row`.
Texts = Sequence[bytes | int]

#: Texts of larger messages may be longer than two bytes of length can say.
MESSAGE_BYTES_MAX = 0xFFFF
#: How many columns are one byte that msgpack takes for a number.
COLUMNS_MAX = 127
#: Between the two rows of an update: `N` and the number of columns, as three small numbers.
BETWEEN = 3
_COUNT_BYTES = 2
_ARRAY = b"\xdd"  # with four bytes of length
_TEXT, _BYTES = b"t\0\0", b"\xc6\0\0"
_TEXTS = msgspec.msgpack.Decoder(list[bytes])
_CELLS = msgspec.msgpack.Decoder(list[bytes | int])


def read_columns(messages: Sequence[bytes], at: int) -> Sequence[Texts]:
    """The columns of the rows with which these end, of which there is at least one.

    at: where a row begins, behind the letter that says which it is.
    """
    if max(map(len, messages)) > MESSAGE_BYTES_MAX:
        return [*zip(*[read_row(message, at)[0] for message in messages], strict=True)]
    return _columns(messages, at + _COUNT_BYTES, _width(messages[0], at))


def read_rows(messages: Sequence[bytes], at: int) -> Sequence[Row]:
    """The same as rows, of which there may be none."""
    if not messages or not _width(messages[0], at):
        return [()] * len(messages)
    return [*zip(*read_columns(messages, at), strict=True)]


def read_updates(messages: Sequence[bytes], at: int) -> Sequence[tuple[Row, Row]]:
    """The old and the new row of each of these, of which there may be none."""
    width = _width(messages[0], at) if messages else 0
    if not width or width > COLUMNS_MAX or max(map(len, messages)) > MESSAGE_BYTES_MAX:
        return [read_update(message, at) for message in messages]
    columns = _columns(messages, at + _COUNT_BYTES, 2 * width + BETWEEN)
    olds, news = (zip(*part, strict=True) for part in (columns[:width], columns[width + BETWEEN :]))
    return [*zip(olds, news, strict=True)]


def _width(message: bytes, at: int) -> int:
    return int.from_bytes(message[at : at + _COUNT_BYTES])


def _columns(messages: Sequence[bytes], at: int, width: int) -> Sequence[Texts]:
    """Cells from `at` on, so many of each message."""
    head = _ARRAY + (width * len(messages)).to_bytes(4)
    block = b"".join([head, *map(itemgetter(slice(at, None)), messages)]).replace(_TEXT, _BYTES)
    cells: Texts
    try:
        cells = _TEXTS.decode(block)
    except msgspec.ValidationError:
        cells = _CELLS.decode(block)  # there are nulls
    return [cells[column::width] for column in range(width)]
