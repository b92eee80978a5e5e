"""A child that serves the run beside its lines: control, the live display. When it dies the data goes on flowing.

Used by: engine.supervisor.loop.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from engine.clock import Clock
from engine.supervisor.fork import Child

__all__ = ["Service"]

logger = logging.getLogger("millrace.supervisor")

RESTART_NS = 1_000_000_000
RESTARTS_MAX = 20


class Service:
    """One such child, started again a while after it died, a bounded number of times."""

    def __init__(
        self, title: str, fork: Callable[[], Child], clock: Clock, *, restarts_max: int = RESTARTS_MAX
    ) -> None:
        self.title = title
        self._fork = fork
        self._clock = clock
        self._restarts_left = restarts_max
        self._child: Child | None = None
        self._start_at_ns = 0

    @property
    def pid(self) -> int | None:
        """Of the living child."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Fork it."""
        self._start_at_ns = 0
        try:
            self._child = self._fork()
        except OSError as error:  # no process or descriptor is left for it; the lines go on
            self._come_back(f"cannot fork: {error.strerror}")

    def reaped(self, status: int) -> None:
        """It has ended, though nobody asked it to."""
        assert self._child is not None
        if crash := self._child.crash():
            logger.error("%s has crashed here:\n%s", self.title, crash)
        words = self._child.last_words()
        self._child = None
        self._come_back(words or str(os.waitstatus_to_exitcode(status)))

    def tick(self) -> None:
        """Start it again, if that is due."""
        if self._start_at_ns and self._clock.monotonic_ns() >= self._start_at_ns:
            self.start()

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it lives."""
        self._start_at_ns = 0
        self._restarts_left = 0
        if self._child is not None:
            os.kill(self._child.pid, number)

    def ended(self) -> None:
        """It has ended as it was asked to."""
        assert self._child is not None
        self._child.last_words()
        self._child = None

    def _come_back(self, cause: str) -> None:
        if self._restarts_left > 0:
            self._restarts_left -= 1
            self._start_at_ns = self._clock.monotonic_ns() + RESTART_NS
        logger.warning("%s ended (%s); %s", self.title, cause, "again" if self._start_at_ns else "given up")
