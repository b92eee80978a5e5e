"""What a task says to its pump, in order: it waits here for room in the ring; a sink's in the small one.

Used by: engine.task.sink, engine.task.letters, engine.task.source, engine.task.framing.
Not here: what is said (engine.shm.frame).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from engine.shm import frame
from engine.shm.channel import Bell
from engine.shm.ring import RingWriter

__all__ = ["Outbox"]


class Outbox:
    """A queue in front of a ring."""

    def __init__(self, ring: RingWriter, bell: Bell) -> None:
        """bell: of who reads the ring."""
        self._ring = ring
        self._bell = bell
        self._waiting: deque[bytes | Iterator[bytes]] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._waiting

    def say(self, message: Any) -> None:
        """Queue a message."""
        self._waiting.append(frame.encode(message))

    def say_all(self, encoded: Iterator[bytes]) -> None:
        """Queue many messages, which are made when there is room for them."""
        self._waiting.append(encoded)

    def send(self) -> bool:
        """Write what waits, as far as there is room; returns whether nothing waits any more."""
        wrote = False
        waiting = self._waiting
        while waiting:
            message = waiting[0]
            if not isinstance(message, bytes):
                following = next(message, None)
                if following is None:
                    waiting.popleft()
                else:
                    waiting.appendleft(following)
                continue
            if not self._ring.write(message):
                break
            waiting.popleft()
            wrote = True
        if wrote:
            self._bell.ring()
        return not waiting
