"""What the server's plugin says is read to the byte."""

from __future__ import annotations

import struct

import pytest

from connectors.postgres.source import pgoutput
from connectors.postgres.source.pgoutput import NULL, UNCHANGED, RelationColumn, RelationMessage, lsn_of, lsn_text
from connectors.postgres.source.replication import AT
from tests.harness.pgoutput import HEAD, begin, commit, update


def test_places_in_the_log_are_written_as_postgresql_does() -> None:
    assert lsn_text(0x1_0000_00AB) == "1/AB"
    assert lsn_of("16/B3748") == 0x16_000B_3748
    assert lsn_of(lsn_text(2**63)) == 2**63
    with pytest.raises(ValueError, match="12"):
        lsn_of("12")


def test_a_transaction_has_a_place_a_moment_and_a_number() -> None:
    assert pgoutput.read_begin(begin(77, 946_684_801_500), AT) == (77, 946_684_801_500, 9)
    assert pgoutput.read_commit(commit(77, 99), AT) == 99


def test_a_table_is_told_with_its_columns() -> None:
    message = HEAD + b"R" + struct.pack(">I", 5) + b"public\0t\0d" + struct.pack(">H", 2)
    message += b"\1id\0" + struct.pack(">Ii", 20, -1) + "\0größe\0".encode() + struct.pack(">Ii", 1700, 655_366)
    assert pgoutput.read_relation(message, AT) == RelationMessage(
        5, "public", "t", "d", (RelationColumn("id", True, 20, -1), RelationColumn("größe", False, 1700, 655_366))
    )


def test_rows_are_texts_and_letters() -> None:
    change = update(5, [b"", UNCHANGED], [b"1", NULL])
    assert pgoutput.oid_of(change, AT) == 5
    assert pgoutput.read_update(change, AT + 6) == ([b"1", NULL], [b"", UNCHANGED])
    assert pgoutput.read_row(change, AT + 6) == ([b"1", NULL], AT + 6 + 9)


def test_a_truncate_names_its_tables() -> None:
    assert pgoutput.read_truncate(HEAD + b"T" + struct.pack(">IBII", 2, 0, 5, 6), AT) == [5, 6]
