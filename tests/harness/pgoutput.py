"""What the server says over a slot, made by hand: messages of pgoutput, with the stream's head before them.

    [begin(100), insert(5, [b"1", NULL]), commit(100, 108)]

Used by: tests/unit/connectors.
"""

from __future__ import annotations

import struct

from connectors.postgres.source.pgoutput import Row
from connectors.postgres.source.replication import AT

__all__ = ["HEAD", "begin", "change", "commit", "delete", "insert", "row", "update"]

HEAD = b"w" + bytes(AT - 1)
EPOCH_MS = 946_684_800_000


def begin(lsn: int, commit_ms: int = EPOCH_MS, transaction: int = 9) -> bytes:
    return HEAD + b"B" + struct.pack(">QqI", lsn, (commit_ms - EPOCH_MS) * 1000, transaction)


def commit(lsn: int, end: int) -> bytes:
    return HEAD + b"C" + struct.pack(">BQQq", 0, lsn, end, 0)


def change(kind: bytes, oid: int, body: bytes) -> bytes:
    return HEAD + kind + struct.pack(">I", oid) + body


def insert(oid: int, new: Row) -> bytes:
    return change(b"I", oid, b"N" + row(new))


def update(oid: int, new: Row, old: Row | None = None, form: bytes = b"O") -> bytes:
    return change(b"U", oid, (b"" if old is None else form + row(old)) + b"N" + row(new))


def delete(oid: int, old: Row, form: bytes = b"K") -> bytes:
    return change(b"D", oid, form + row(old))


def row(cells: Row) -> bytes:
    """A text, or the letter that stands in its place, for each column."""
    told = [bytes([cell]) if isinstance(cell, int) else b"t" + struct.pack(">I", len(cell)) + cell for cell in cells]
    return struct.pack(">H", len(cells)) + b"".join(told)
