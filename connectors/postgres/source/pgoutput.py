"""What the server's plugin `pgoutput` says, version 1 of its protocol.

    B begin   R what a table is like   I insert  U update  D delete  T truncate   C commit

A transaction comes whole, after its commit, in the order of commits. A row is one text a column. `NULL` stands for one
that has none, `UNCHANGED` for a large value (TOAST) that an update has not touched and the server does not say.

Used by: tuples.py, capturing.py, gathering.py, transactions.py, changes.py, replication.py, slots.py.
Not here: many rows at once (tuples.py).
Source: PostgreSQL's manual, "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

__all__ = [
    "BEGIN",
    "COMMIT",
    "DELETE",
    "INSERT",
    "NEW",
    "NULL",
    "RELATION",
    "TRUNCATE",
    "UNCHANGED",
    "UPDATE",
    "RelationColumn",
    "RelationMessage",
    "Row",
    "lsn_of",
    "lsn_text",
    "oid_of",
    "read_begin",
    "read_commit",
    "read_relation",
    "read_row",
    "read_truncate",
    "read_update",
]

BEGIN, COMMIT, RELATION = ord("B"), ord("C"), ord("R")
INSERT, UPDATE, DELETE, TRUNCATE = ord("I"), ord("U"), ord("D"), ord("T")
#: Before a row: it is the new one.
NEW = ord("N")
#: In a row, in the place of a text.
NULL, UNCHANGED = ord("n"), ord("u")

Row = Sequence[bytes | int]

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_CELL = struct.Struct(">BI")
_COUNT = struct.Struct(">H")
_OID = struct.Struct(">I")
_TYPE = struct.Struct(">Ii")
#: Moments are counted in microseconds from 2000 on.
_EPOCH_US = 946_684_800_000_000
_TEXT = ord("t")


class RelationColumn(NamedTuple):
    """A column, as of now."""

    name: str
    is_key: bool  # of the replica identity
    oid: int  # of its type
    modifier: int  # of the type


class RelationMessage(Struct, frozen=True):
    """What a table is like from here on."""

    oid: int
    schema: str
    table: str
    identity: str  # `d`efault, `n`othing, `f`ull, `i`ndex
    columns: tuple[RelationColumn, ...]


def lsn_text(lsn: int) -> str:
    """A place in the log as PostgreSQL writes it: 0/16B3748."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_of(text: str) -> int:
    """The place that a text names. Raises ValueError."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(text)
    return (int(high, 16) << 32) + int(low, 16)


def read_begin(message: bytes, at: int) -> tuple[int, int, int]:
    """Where a transaction's commit stands in the log, when it was (milliseconds since 1970), and its number.

    at: where the message begins, as in all that follows.
    """
    lsn, microseconds, transaction = _BEGIN.unpack_from(message, at + 1)
    return lsn, (microseconds + _EPOCH_US) // 1000, transaction


def read_commit(message: bytes, at: int) -> int:
    """The place behind the commit."""
    _, _, end, _ = _COMMIT.unpack_from(message, at + 1)
    return int(end)


def read_relation(message: bytes, at: int) -> RelationMessage:
    """What a table is like."""
    (oid,) = _OID.unpack_from(message, at + 1)
    schema, at = _string(message, at + 5)
    table, at = _string(message, at)
    identity = chr(message[at])
    (count,) = _COUNT.unpack_from(message, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = message[at]
        name, at = _string(message, at + 1)
        columns.append(RelationColumn(name, bool(flags & 1), *_TYPE.unpack_from(message, at)))
        at += _TYPE.size
    return RelationMessage(oid, schema or "pg_catalog", table, identity, tuple(columns))


def oid_of(message: bytes, at: int) -> int:
    """The number of the table that an insert, update or delete is of."""
    return int(_OID.unpack_from(message, at + 1)[0])


def read_row(message: bytes, at: int) -> tuple[Row, int]:
    """A row, and where it ends. at: behind the letter that says which it is."""
    (count,) = _COUNT.unpack_from(message, at)
    at += 2
    row: list[bytes | int] = []
    add, cell_at = row.append, _CELL.unpack_from
    for _ in range(count):
        kind = message[at]
        if kind == _TEXT:
            _, length = cell_at(message, at)
            at += 5
            add(message[at : at + length])
            at += length
        else:
            add(kind)
            at += 1
    return row, at


def read_update(message: bytes, at: int) -> tuple[Row, Row]:
    """The old row, or its key with `NULL` for all else, and the new one. at: as for `read_row`, of the old one."""
    old, at = read_row(message, at)
    return old, read_row(message, at + 1)[0]


def read_truncate(message: bytes, at: int) -> list[int]:
    """The tables that were emptied."""
    (count,) = _OID.unpack_from(message, at + 1)
    return [_OID.unpack_from(message, at + 6 + 4 * number)[0] for number in range(count)]


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1
