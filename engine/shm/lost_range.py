"""Offsets of a partition that a sink can never read, as a row of the board names them.

Used by: engine.shm.board, engine.pump.lost, engine.report.
Not here: how they are found (engine.pump.lost).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

__all__ = ["LostRange", "decode_lost"]


class LostRange(Struct, frozen=True, array_like=True):
    """Offsets of one partition that a sink can never read."""

    topic: str
    partition: int
    first: int  # the offset to go on at, or where the log ends before it
    last: int | None  # None: nobody knows
    cause: str  # "deleted", "truncated", "remade" (the topic), "forgotten" (the offset, by the group)

    @property
    def records(self) -> int:
        """Offsets in it, at most so many records; 0: not known, or none."""
        return 0 if self.last is None else max(0, self.last - self.first + 1)


decode_lost = msgspec.msgpack.Decoder(list[LostRange]).decode
