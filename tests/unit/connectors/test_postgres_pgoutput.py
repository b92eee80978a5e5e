"""What the server's plugin says is read to the byte."""

from __future__ import annotations

import struct

import pytest

from connectors.postgres.source import pgoutput
from connectors.postgres.source.pgoutput import UNCHANGED, RelationColumn, RelationMessage, lsn_of, lsn_text

HEAD = b"w" + bytes(24)
AT = len(HEAD)


def row(*cells: bytes | None) -> bytes:
    """As the protocol writes it; UNCHANGED for what is not told."""
    told = [
        b"n" if cell is None else b"u" if cell == UNCHANGED else b"t" + struct.pack(">I", len(cell)) + cell
        for cell in cells
    ]
    return struct.pack(">H", len(cells)) + b"".join(told)


def test_places_in_the_log_are_written_as_postgresql_does() -> None:
    assert lsn_text(0x1_0000_00AB) == "1/AB"
    assert lsn_of("16/B3748") == 0x16_000B_3748
    assert lsn_of(lsn_text(2**63)) == 2**63
    with pytest.raises(ValueError, match="12"):
        lsn_of("12")


def test_a_transaction_has_a_place_a_moment_and_a_number() -> None:
    begin = HEAD + b"B" + struct.pack(">QqI", 77, 1_500_000, 9)
    assert pgoutput.read_begin(begin, AT) == (77, 946_684_801_500, 9)
    assert pgoutput.read_commit(HEAD + b"C" + struct.pack(">BQQq", 0, 77, 99, 0), AT) == 99


def test_a_table_is_told_with_its_columns() -> None:
    message = HEAD + b"R" + struct.pack(">I", 5) + b"public\0t\0d" + struct.pack(">H", 2)
    message += b"\1id\0" + struct.pack(">Ii", 20, -1) + "\0größe\0".encode() + struct.pack(">Ii", 1700, 655_366)
    assert pgoutput.read_relation(message, AT) == RelationMessage(
        5, "public", "t", "d", (RelationColumn("id", True, 20, -1), RelationColumn("größe", False, 1700, 655_366))
    )


@pytest.mark.parametrize(
    ("body", "old", "new"),
    [
        (b"N" + row(b"1", None), None, [b"1", None]),
        (b"K" + row(b"1", None) + b"N" + row(b"2", b"x"), [b"1", None], [b"2", b"x"]),
        (b"O" + row(b"1", b"big") + b"N" + row(b"1", UNCHANGED), [b"1", b"big"], [b"1", b"big"]),
        (b"K" + row(b"1", None) + b"N" + row(b"2", UNCHANGED), [b"1", None], [b"2", UNCHANGED]),
        (b"O" + row(b"", b"x"), [b"", b"x"], None),
    ],
)
def test_a_change_is_told_with_the_row_before_and_after(
    body: bytes, old: list[bytes | None] | None, new: list[bytes | None] | None
) -> None:
    change = pgoutput.read_change(HEAD + b"U" + struct.pack(">I", 5) + body, AT)
    assert change == (5, old, new)


def test_a_truncate_names_its_tables() -> None:
    assert pgoutput.read_truncate(HEAD + b"T" + struct.pack(">IBII", 2, 0, 5, 6), AT) == [5, 6]
