"""Whether a file may be used as the store: looked at before a run, changed by no look.

    nothing there            will be made
    a store of our format    good
    anything else            refused, with what to do; its bytes stay as they are

SQLite itself would begin anew in an empty file, throw away what waits in the log beside one, and rewrite the journal
of a file that is not ours: so it is asked only afterwards, and read-only.

Used by: engine.plan.
Not here: reading and writing offsets (store.py).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from engine.api.errors import ConnectError
from engine.offsets.store import APPLICATION, BUSY_SECONDS, FORMAT, store_error

__all__ = ["check_store"]

_OURS = "source_offsets"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BEGIN_ANEW = "or name another file; sources begin anew there"


def check_store(path: Path) -> None:
    """Make sure that `path` can be a store, or will be: it, or its folder, is made where there is none.

    Raises OSError when it cannot be made, read or written; ConnectError, which says what to do, when what is there
    cannot be used. Takes as long as reading the whole file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_there = path.exists()
    # Opened first, as this says more of why it cannot be than SQLite does.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    if not is_there:
        path.unlink()  # an empty file would look like one that was used
        return
    if path.stat().st_size == 0:
        _check_empty(path)
        return
    try:
        with closing(_read_only(path)) as database:
            _check_tables(path, database)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) not in _DAMAGED:
            raise store_error(error, f"the offset store {path} cannot be read") from error
        raise ConnectError(
            f"the offset store {path} is damaged ({error}) and was left as it is: put a copy of the file back, "
            f"with its -wal file if it had one, {_BEGIN_ANEW}"
        ) from error


def _check_empty(path: Path) -> None:
    """A file that was just made is empty; one that was used is not."""
    traces = [path.with_suffix(".board"), path.with_name(path.name + "-wal")]
    found = [str(trace) for trace in traces if trace.exists() and trace.stat().st_size]
    if found:
        raise ConnectError(
            f"the offset store {path} is empty, though it was used before ({found[0]} is there): put a copy of the "
            f"file back, or delete it and {' and '.join(found)} for sources to begin anew"
        )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _check_tables(path: Path, database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if tables and application != APPLICATION and _OURS not in tables:
        raise ConnectError(f"{path} is an SQLite file of another program, and was left as it is: name another file")
    if version > FORMAT:
        raise ConnectError(
            f"the offset store {path} is of format {version}, this Millrace knows {FORMAT}: a later one has written "
            f"it, and it was left as it is; use the later one, {_BEGIN_ANEW}"
        )
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(str(found).split()))
