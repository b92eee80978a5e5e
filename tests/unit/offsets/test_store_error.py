"""What SQLite says is the world's fault, which may pass, or the file's, which does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.api.errors import ConnectError
from engine.offsets.store import OffsetStore, store_error
from engine.shm.waits import Cause, OutsideError


def test_a_store_that_others_keep_busy_is_waited_for(tmp_path: Path) -> None:
    store = OffsetStore(tmp_path / "offsets.millrace.db")
    store.write("orders", [(b"1", b"{}")])
    store.close()
    with (
        closing(sqlite3.connect(tmp_path / "offsets.millrace.db", isolation_level=None)) as one,
        closing(sqlite3.connect(tmp_path / "offsets.millrace.db", isolation_level=None, timeout=0)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            other.execute("BEGIN IMMEDIATE")
    error = store_error(caught.value, "the offset store cannot be written")
    assert isinstance(error, OutsideError)
    assert error.cause == Cause.STORE


def test_a_store_that_is_wrong_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "offsets.millrace.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ConnectError) as caught:
        OffsetStore(tmp_path / "offsets.millrace.db")
    assert not isinstance(caught.value, OutsideError)
