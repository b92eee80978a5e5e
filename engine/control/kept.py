"""What of a standalone worker's connectors outlives it, in its store: what they are, what they use, how far they are.

    connectors       name                  ->  Kept, as JSON       read and written here
    used_topics      connector, topic                              written by pumps; read, and forgotten, here
    source_offsets   connector, partition  ->  offset              written by pumps; read here

Used by: engine.control.herding, engine.control.rest.
Not here: the tables that pumps write (engine.offsets.store), which whoever opens the store first has made.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from engine.api.errors import ConnectError
from engine.herder.model import Kept

__all__ = ["KeptConnectors"]

BUSY_SECONDS = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS connectors (
    name TEXT PRIMARY KEY, kept BLOB NOT NULL
) WITHOUT ROWID;
"""


_decode = msgspec.json.Decoder(Kept).decode


class KeptConnectors:
    """The table, of the one process that has it open."""

    def __init__(self, path: str) -> None:
        """Raises ConnectError."""
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ConnectError(f"the store {path} cannot be read: {error}") from error
        self._written: dict[str, bytes] = {}  # what is stored, by name, as far as it is known

    def all(self) -> list[Kept]:
        """Every connector, by name."""
        self._written = dict(self._connection.execute("SELECT name, kept FROM connectors ORDER BY name"))
        return [_decode(kept) for kept in self._written.values()]

    def keep(self, kept: Kept) -> None:
        """Store one, unless it is stored so: a write waits for the disk. Raises ConnectError; then it is as before."""
        text = msgspec.json.encode(kept)
        if self._written.get(kept.name) == text:
            return
        self._write("INSERT OR REPLACE INTO connectors VALUES (?, ?)", (kept.name, text))
        self._written[kept.name] = text

    def drop(self, name: str) -> None:
        """Forget one, and which topics it has used; its offsets stay. Raises ConnectError."""
        self._written.pop(name, None)
        self._write("DELETE FROM connectors WHERE name = ?", (name,))
        self.forget_topics(name)

    def clear(self) -> None:
        """Forget all. Raises ConnectError."""
        self._written.clear()
        self._write("DELETE FROM connectors", ())
        self._write("DELETE FROM used_topics", ())

    def topics(self, name: str) -> list[str]:
        """Those that a connector has used. Raises ConnectError."""
        wanted = "SELECT topic FROM used_topics WHERE connector = ? ORDER BY topic"
        return [topic for (topic,) in self._read(wanted, name)]

    def forget_topics(self, name: str) -> None:
        """Forget which topics a connector has used. Raises ConnectError."""
        self._write("DELETE FROM used_topics WHERE connector = ?", (name,))

    def source_offsets(self, name: str) -> list[tuple[bytes, bytes]]:
        """Partition and offset, as JSON, of all that a source has stored. Raises ConnectError."""
        wanted = (
            "SELECT partition, offset FROM source_offsets WHERE connector = ? AND partition <> x'6e756c6c' "
            "AND offset <> x'6e756c6c'"  # null: none
        )
        return list(self._read(wanted, name))

    def _read(self, statement: str, name: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, (name,)).fetchall()
        except sqlite3.Error as error:
            raise ConnectError(f"the store cannot be read: {error}") from error

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise ConnectError(f"connectors cannot be stored: {error}") from error
