"""What cannot be a store is refused before anything runs, with what to do; not a byte of it is changed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engine.api.errors import ConnectError
from engine.offsets.check import check_store
from engine.offsets.store import APPLICATION, FORMAT, OffsetStore

RECORDS = 500
LATE = 5
#: Writes offsets and is killed, so that the write-ahead log is left beside the file.
WRITES_AND_DIES = """
import os, signal, sys
from engine.offsets.store import OffsetStore
store = OffsetStore(sys.argv[1])
for number in range(int(sys.argv[2])):
    store.write("orders", [(b"late-%d" % number, b'{"at":%d}' % number)])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A store with RECORDS offsets in it, and the board of a run beside it."""
    path = tmp_path / "offsets.millrace.db"
    store = OffsetStore(path)
    store.write("orders", [(b"%d" % number, b'{"at":%d}' % number) for number in range(RECORDS)])
    store.worker_id()
    store.close()
    path.with_suffix(".board").write_bytes(b"of the last run")
    return path


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file; but SQLite's index of its log, which it makes anew whenever it reads."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def refusal(path: Path) -> str:
    """Why it is refused; nothing has changed meanwhile."""
    before = bytes_of(path.parent)
    with pytest.raises(ConnectError) as caught:
        check_store(path)
    after = bytes_of(path.parent)
    assert {name: after[name] for name in before} == before
    assert all(not after[name] for name in after.keys() - before), "only an empty log may be made by reading"
    return str(caught.value)


def spoil_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" + path.read_bytes()[21:])


def spoil_middle(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4200] + b"\xff" * 8000 + whole[12_200:])


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def test_a_good_store_is_good_and_stays_as_it_is(used: Path) -> None:
    before = used.read_bytes()
    check_store(used)
    assert used.read_bytes() == before


def test_a_store_that_is_not_there_will_be_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "offsets.millrace.db"
    check_store(path)
    assert list(path.parent.iterdir()) == []
    OffsetStore(path).close()
    check_store(path)


@pytest.mark.parametrize("spoil", [spoil_header, spoil_middle, cut_short])
def test_a_damaged_store_is_refused(spoil: Callable[[Path], None], used: Path) -> None:
    spoil(used)
    said = refusal(used)
    for words in (str(used), "is damaged", "left as it is", "put a copy of the file back", "name another file"):
        assert words in said


def test_a_damaged_store_keeps_the_log_beside_it(used: Path) -> None:
    write_and_die(used)
    assert used.with_name(used.name + "-wal").stat().st_size > 0
    spoil_middle(used)
    assert "is damaged" in refusal(used)


def test_a_store_of_a_later_format_is_refused(used: Path) -> None:
    with closing(sqlite3.connect(used)) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    said = refusal(used)
    for words in (f"format {FORMAT + 1}", f"knows {FORMAT}", "use the later one", "name another file"):
        assert words in said


def test_a_store_from_before_formats_were_counted_is_taken_and_marked(used: Path) -> None:
    with closing(sqlite3.connect(used)) as database:
        database.execute("PRAGMA user_version = 0")
        database.execute("PRAGMA application_id = 0")
    check_store(used)
    store = OffsetStore(used)
    assert len(store.offsets("orders")) == RECORDS
    store.close()
    with closing(sqlite3.connect(used)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (FORMAT,)
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION,)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "offsets.millrace.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    assert "another program" in refusal(path)


def test_a_store_that_was_emptied_after_it_was_used_is_refused(used: Path) -> None:
    used.write_bytes(b"")
    said = refusal(used)
    for words in (
        "is empty, though it was used before",
        "put a copy of the file back",
        str(used.with_suffix(".board")),
    ):
        assert words in said
    used.with_suffix(".board").unlink()
    check_store(used)


def test_a_store_that_was_deleted_begins_anew(used: Path) -> None:
    used.unlink()
    check_store(used)


def test_an_emptied_store_keeps_the_log_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "offsets.millrace.db"
    write_and_die(path)
    path.write_bytes(b"")
    assert f"{path}-wal" in refusal(path)


def test_what_a_killed_process_has_stored_is_there(tmp_path: Path) -> None:
    path = tmp_path / "offsets.millrace.db"
    write_and_die(path)
    before = bytes_of(tmp_path)
    check_store(path)
    assert bytes_of(tmp_path) == before
    store = OffsetStore(path)
    assert store.offsets("orders") == {b"late-%d" % number: {"at": number} for number in range(LATE)}
    store.close()


def test_a_folder_in_the_stores_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "offsets.millrace.db"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        check_store(path)


def test_a_store_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "offsets.millrace.db"
    OffsetStore(path).close()
    path.chmod(0o400)
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:  # who may do everything; somebody else is kept out by the folder's rights already
            os.setresuid(65_534, 65_534, 65_534)
        try:
            check_store(path)
        except PermissionError:
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def write_and_die(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITES_AND_DIES, str(path), str(LATE)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
