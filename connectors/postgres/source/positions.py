"""What an offset of PostgresSource says: a place in the log, and whose log that is.

    {"lsn": "0/16B3748", "system": "7412...", "timeline": 1}               begin with the next transaction
    {..., "commit": "0/16B4000", "change": 3}                              of the one that commits there, three are done
    {..., "snapshot": {"part": "public.a", "page": 4096, "file": 16385}}   first read what is left of what was there

One without `system` and `timeline` is taken to be of the server that is there, whatever its history: those of earlier
versions are, and so is one that a person has set.

Used by: changes.py, changes_connector.py, history.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from connectors.postgres.source.pgoutput import lsn_of, lsn_text
from connectors.postgres.source.snapshot import place_of
from connectors.postgres.source.transactions import Mark
from engine.api.errors import ConnectError

__all__ = [
    "CHANGE",
    "COMMIT",
    "LSN",
    "SNAPSHOT",
    "SYSTEM",
    "TIMELINE",
    "Identity",
    "Position",
    "check_offset",
    "mark_of",
]

Position = Mapping[str, Any]

LSN, COMMIT, CHANGE, SNAPSHOT, SYSTEM, TIMELINE = "lsn", "commit", "change", "snapshot", "system", "timeline"
_KINDS = {LSN: str, COMMIT: str, CHANGE: int, SNAPSHOT: dict, SYSTEM: str, TIMELINE: int}


class Identity(NamedTuple):
    """Whose log it is: a cluster has one system identifier; a promotion of a standby and a restore begin a timeline."""

    system: str
    timeline: int

    def position_of(self, mark: Mark) -> Position:
        """The offset of a place in this log."""
        place: dict[str, Any] = {LSN: lsn_text(mark.boundary), SYSTEM: self.system, TIMELINE: self.timeline}
        if mark.done:
            place |= {COMMIT: lsn_text(mark.commit), CHANGE: mark.done}
        return place


def mark_of(position: Position | None) -> Mark:
    """The place behind which an offset says to go on; None: the beginning."""
    if position is None:
        return Mark(0, 0, 0)
    return Mark(lsn_of(position[LSN]), lsn_of(position.get(COMMIT, "0/0")), position.get(CHANGE, 0))


def check_offset(offset: Position) -> None:
    """Raises ConnectError for what this connector would not store."""
    is_known = all(type(value) is _KINDS.get(name) for name, value in offset.items())
    try:
        places = [lsn_of(str(offset[name])) for name in (LSN, COMMIT) if name in offset]
        if SNAPSHOT in offset:
            place_of(offset[SNAPSHOT])
    except ValueError:
        places = []
    is_paired = (COMMIT in offset) == (CHANGE in offset) and (SYSTEM in offset) == (TIMELINE in offset)
    if not (is_known and is_paired and places and LSN in offset):
        raise ConnectError(
            f'offset {dict(offset)}: expected null or {{"lsn": "0/16B3748"}}, a place in the log as PostgreSQL writes '
            'it, and with it "system" and "timeline" if it is only right for one server'
        )
