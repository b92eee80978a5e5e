"""The local store: source offsets of standalone workers, and the worker's own identity, in one SQLite file.

    source_offsets   connector, partition (JSON)  ->  offset (JSON)
    sink_positions   group, topic, partition      ->  offset, topic id
    used_topics      connector, topic
    worker           name                         ->  value
    user_version, application_id   FORMAT, APPLICATION: a store of a later format is refused, never rewritten

The file stands beside `offset.storage.file.filename`, which belongs to Kafka Connect and is
never written to. It is opened after the fork by the processes that need it: the task
process reads its offsets at start, the pump is their only writer afterwards. A lock beside
it keeps a second worker away; every pump inherits it, so that a new supervisor waits until
the last old pump is gone.

A sink's offsets are its group's. Noted here is only that a partition has been committed, about how far, and of which
topic of that name: so a group that has lost its offsets, and a topic that was made anew, are told from a first start.

Used by: engine.pump.main (writes), engine.task.source (reads), engine.plan (identity), engine.boot (lock).
Read by control as well, with SQL of its own (engine.control.kept), which forgets topics.
Not here: whether a file may be used at all (check.py).
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.api.errors import ConnectError
from engine.descriptors import what_to_do
from engine.exits import LockedError
from engine.shm.waits import Cause, OutsideError

__all__ = [
    "APPLICATION",
    "FORMAT",
    "OffsetStore",
    "SinkPosition",
    "encode_part",
    "lock",
    "store_error",
    "store_path",
]

logger = logging.getLogger("millrace.offsets")

#: Of the tables below; raised with each change that an earlier Millrace would not understand.
FORMAT = 1
#: Says in the file's header whose it is.
APPLICATION = int.from_bytes(b"Mill", "big")
#: What SQLite says of a disk or of other writers, and not of a file: there may be room again, or a turn to write. By
#: the low byte. Fifty sources on a slow disk have been seen to wait for longer than BUSY_SECONDS.
_FOR_NOW = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
)
#: How long one process waits for another's write.
BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS source_offsets (
    connector TEXT NOT NULL, partition BLOB NOT NULL, offset BLOB, PRIMARY KEY (connector, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sink_positions (
    consumer_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    offset INTEGER NOT NULL, topic_id TEXT NOT NULL, PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worker (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
#: Came later: a store that was made before gets it when it is opened, and an earlier Millrace does not look at it.
_USED_TOPICS = """
CREATE TABLE IF NOT EXISTS used_topics (
    connector TEXT NOT NULL, topic TEXT NOT NULL, PRIMARY KEY (connector, topic)
) WITHOUT ROWID;
"""


class SinkPosition(NamedTuple):
    """How far a group had committed a partition when it was noted last, and of which topic."""

    offset: int
    topic_id: str  # Kafka's; empty: not known


def store_path(offset_file: str) -> Path:
    """Where the store stands for a worker with this `offset.storage.file.filename`."""
    return Path(offset_file + ".millrace.db")


def encode_part(part: Mapping[str, Any] | None) -> bytes:
    """A source partition or offset as the JSON it is stored and looked up by: sorted keys, no spaces."""
    return orjson.dumps(part, option=orjson.OPT_SORT_KEYS)


def lock(path: Path, wait_seconds: float) -> int:
    """Take the lock beside the store; returns the descriptor that holds it, for the children to inherit.

    Raises LockedError when another worker has it for longer than `wait_seconds`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConnectError(
            f"offset.storage.file.filename: cannot make the store {path}: {error.strerror}; "
            "name a place that can be written"
        ) from error
    deadline = time.monotonic() + wait_seconds
    is_told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if not is_told:
                logger.warning("the store %s is in use; waiting up to %g s for that worker to end", path, wait_seconds)
                is_told = True
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise LockedError(
                    f"another Millrace worker uses the store {path} (offset.storage.file.filename); "
                    "stop it, or name another file"
                ) from None
            time.sleep(0.05)


def store_error(error: sqlite3.Error, what: str) -> ConnectError:
    """What SQLite says, as an error of ours: an OutsideError where that is not the file's fault."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # SQLite does not say why a file cannot be opened.
    text = f"{what}: {error}{what_to_do() if code == sqlite3.SQLITE_CANTOPEN else ''}"
    return OutsideError(text, Cause.STORE) if code in _FOR_NOW else ConnectError(text)


class OffsetStore:
    """One process's connection to the store."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._make_tables()
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {path} cannot be opened") from error
        self._path = path

    def close(self) -> None:
        """Give the connection back; the last one folds the write-ahead log into the file."""
        self._database.close()

    def offsets(self, connector: str) -> dict[bytes, Mapping[str, Any] | None]:
        """Every stored offset of a connector, by its encoded partition. Raises ConnectError."""
        wanted = "SELECT partition, offset FROM source_offsets WHERE connector = ?"
        try:
            return {
                partition: orjson.loads(offset) for partition, offset in self._database.execute(wanted, (connector,))
            }
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be read") from error

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        """Store offsets by encoded partition, all of them or none.

        Raises OutsideError when the same call may help later, else ConnectError.
        """
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "INSERT INTO source_offsets VALUES (?, ?, ?) "
                    "ON CONFLICT (connector, partition) DO UPDATE SET offset = excluded.offset",
                    [(connector, partition, offset) for partition, offset in offsets],
                )
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error

    def alter(self, connector: str, offsets: Mapping[bytes, bytes | None]) -> None:
        """Put these in the place of what is stored, or forget (None), all of them or none. Raises ConnectError.

        No pump of the connector may run.
        """
        stored = [(connector, partition, offset) for partition, offset in offsets.items() if offset is not None]
        gone = [(connector, partition) for partition, offset in offsets.items() if offset is None]
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany("INSERT OR REPLACE INTO source_offsets VALUES (?, ?, ?)", stored)
                self._database.executemany("DELETE FROM source_offsets WHERE connector = ? AND partition = ?", gone)
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error

    def forget_sink_positions(self, group: str, places: Iterable[tuple[str, int]]) -> None:
        """Let these partitions of a group be as if nothing was ever committed, all or none. Raises ConnectError."""
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "DELETE FROM sink_positions WHERE consumer_group = ? AND topic = ? AND partition = ?",
                    [(group, *place) for place in places],
                )
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error

    def sink_positions(self, group: str) -> dict[tuple[str, int], SinkPosition]:
        """What is noted of a group, by (topic, partition). Raises ConnectError."""
        wanted = "SELECT topic, partition, offset, topic_id FROM sink_positions WHERE consumer_group = ?"
        try:
            rows = self._database.execute(wanted, (group,)).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be read") from error
        return {(topic, partition): SinkPosition(offset, topic_id) for topic, partition, offset, topic_id in rows}

    def note_sink_positions(self, group: str, positions: Mapping[tuple[str, int], SinkPosition]) -> None:
        """Note how far a group has committed, all of it or nothing. Raises ConnectError."""
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "INSERT OR REPLACE INTO sink_positions VALUES (?, ?, ?, ?, ?)",
                    [(group, *place, *position) for place, position in positions.items()],
                )
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error

    def note_topics(self, connector: str, topics: Collection[str]) -> None:
        """Note that a connector uses these topics. Raises ConnectError."""
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "INSERT OR IGNORE INTO used_topics VALUES (?, ?)", [(connector, topic) for topic in topics]
                )
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error

    def worker_id(self) -> str:
        """The identity of the worker whose store this is; made at the first call, then always the same.

        Raises ConnectError.
        """
        fresh = uuid.uuid4().hex[:12]
        try:
            self._database.execute("INSERT OR IGNORE INTO worker VALUES ('id', ?)", (fresh,))
            (known,) = self._database.execute("SELECT value FROM worker WHERE name = 'id'").fetchone()
        except sqlite3.Error as error:
            raise store_error(error, f"the offset store {self._path} cannot be written") from error
        return str(known)

    def _make_tables(self) -> None:
        (known,) = self._database.execute("PRAGMA user_version").fetchone()
        if known == 0:
            marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT")
        self._database.execute(_USED_TOPICS)
