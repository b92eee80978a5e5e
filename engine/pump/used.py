"""The topics that a line has used: told to the store once each, so that REST can tell them.

    use(topic) ──► new here? ──► tell ──► store ◄── control reads them, and forgets them on request
                     ▲
                     └── all of them are, once control has forgotten any (a word of the board)

A use is a record that Kafka has acknowledged, or that was fetched to be put. It costs a look into a set for each frame.
That a topic cannot be told holds up nothing: it is told later.

Used by: engine.pump.source, engine.pump.sink.
Not here: reading and forgetting (engine.control.kept).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from engine.api.errors import ConnectError
from engine.clock import Clock
from engine.shm.board import Row

__all__ = ["UsedTopics"]

logger = logging.getLogger("millrace.pump")

#: Between two tries to tell what could not be told.
RETRY_NS = 5_000_000_000


class Register(Protocol):
    """Where they are told (`engine.offsets.store.OffsetStore`)."""

    def note_topics(self, connector: str, topics: Collection[str]) -> None: ...


class UsedTopics:
    """Those of one life of a line."""

    def __init__(self, connector: str, register: Register, row: Row, clock: Clock) -> None:
        self._connector = connector
        self._register = register
        self._row = row
        self._clock = clock
        self._told: set[str] = set()
        self._untold: set[str] = set()
        self._forgotten = row.topics_forgotten
        self._not_before_ns = 0  # after a failure
        self._is_failing = False

    def use(self, topics: Iterable[str]) -> None:
        """Records of these topics have gone their way."""
        forgotten = self._row.topics_forgotten
        if forgotten != self._forgotten:
            self._forgotten = forgotten
            self._told.clear()
        self._untold.update(topic for topic in topics if topic not in self._told)

    def tell(self) -> None:
        """Tell what is new; what cannot be told now is told later."""
        if not self._untold or self._clock.monotonic_ns() < self._not_before_ns:
            return
        try:
            self._register.note_topics(self._connector, self._untold)
        except ConnectError as error:
            if not self._is_failing:
                logger.warning("%s; which topics are used is told later", error)
            self._is_failing = True
            self._not_before_ns = self._clock.monotonic_ns() + RETRY_NS
            return
        self._is_failing = False
        self._told |= self._untold
        self._untold = set()
