"""The stream of changes of a replication slot, over a connection for replication.

    changes = Changes(session, slot, publication, from_lsn)
    changes.take(2000, bytes_max, seconds)     messages; pgoutput's begins at AT in each
    changes.confirm(lsn)                       the server may forget what is before it

psycopg knows nothing of replication; its `pq` does what is needed (connectors.postgres.copying). The server says from
time to time how far it has looked: before that is nothing more for us, which is how a slot goes on while its tables are
quiet.

Used by: changes.py.
Source: PostgreSQL's manual, "Streaming Replication Protocol".
"""

from __future__ import annotations

import struct
from typing import Any

from connectors.postgres.config import quoted
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.pgoutput import lsn_text

__all__ = ["AT", "Changes"]

#: Where in a message the plugin's words begin.
AT = 25

_CHANGE, _ALIVE = ord("w"), ord("k")
_HEAD = struct.Struct(">BQ")
_STATUS = struct.Struct(">cQQQqB")


class Changes:
    """Changes as they come."""

    def __init__(
        self,
        session: PsycopgSession,
        slot: str,
        publication: str,
        from_lsn: int,
        confirmed: int,
    ) -> None:
        """session: for replication.

        from_lsn: transactions that were committed before it are left out; 0: none. confirmed: what the slot may forget
        already.
        """
        self._confirmed = confirmed
        # The grammar of this protocol has no E'...'.
        named = quoted(publication).replace("'", "''")
        options = f"proto_version '1', publication_names '{named}'"
        self._stream: Any = session.stream(
            f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(from_lsn)} ({options})"
        )
        self.looked = 0  # so far the server has looked; what was before was taken
        self.is_asked = False  # whether the server wants to hear of us

    @property
    def is_under_way(self) -> bool:
        """Whether the server has begun and not ended: before and after it listens to nothing."""
        return bool(self._stream.is_under_way)

    @property
    def is_over(self) -> bool:
        """Whether the server has ended it."""
        return bool(self._stream.is_over)

    def take(self, count: int, bytes_max: int, seconds: float) -> list[bytes]:
        """Up to `count` messages of the plugin; after `seconds` without any, none."""
        taken = [*map(bytes, self._stream.take(count, bytes_max, seconds))]
        changes = [message for message in taken if message[0] == _CHANGE]
        if len(changes) < len(taken):
            self._hear(taken)
        return changes

    def confirm(self, lsn: int, *, wants_answer: bool = False) -> None:
        """Let the server forget what is before `lsn`. wants_answer: have it say how far it has looked."""
        self._confirmed = max(self._confirmed, lsn)
        told = (self._confirmed, self._confirmed, self._confirmed)
        # The server shows our time to people, and looks at nothing in it.
        self._stream.send(_STATUS.pack(b"r", *told, 0, wants_answer))
        self.is_asked = False

    def _hear(self, taken: list[bytes]) -> None:
        for message in taken:
            if message[0] == _ALIVE:
                # Those that come after changes count only when these were given; whoever takes a batch gives it whole.
                self.looked = max(self.looked, _HEAD.unpack_from(message)[1])
                self.is_asked = self.is_asked or bool(message[17])
