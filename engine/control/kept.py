"""What a standalone worker's connectors are, over its restarts: a table in the store of its source offsets.

    connectors   name  ->  Kept, as JSON

Used by: engine.control.herding.
Not here: source offsets (engine.offsets.store).
"""

from __future__ import annotations

import sqlite3

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

    def all(self) -> list[Kept]:
        """Every connector, by name."""
        return [_decode(kept) for (kept,) in self._connection.execute("SELECT kept FROM connectors ORDER BY name")]

    def keep(self, kept: Kept) -> None:
        """Store one. Raises ConnectError; then it is as before."""
        self._write("INSERT OR REPLACE INTO connectors VALUES (?, ?)", (kept.name, msgspec.json.encode(kept)))

    def drop(self, name: str) -> None:
        """Forget one. Raises ConnectError."""
        self._write("DELETE FROM connectors WHERE name = ?", (name,))

    def clear(self) -> None:
        """Forget all. Raises ConnectError."""
        self._write("DELETE FROM connectors", ())

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise ConnectError(f"connectors cannot be stored: {error}") from error
