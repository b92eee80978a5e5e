"""Where a bank can die: before and after every act of it that anybody else can see.

    steps.by("pump")  ──► at("before produce") ──► at("produced") ──► ... ──► Crash, or the other bank has a turn
                              act 0                    act 1

What a process does between two such acts dies with it, so a crash at each of them is a crash at every moment. An act is
a store into shared memory, a call of Kafka's client or of the offset store, a call of the connector. Nobody acts while
the test itself, as the supervisor, writes something.

Used by: tests.harness (fakes, watched.py, lives.py), tests.simulation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Crash", "Steps"]

NEVER = 1 << 62


class Crash(BaseException):
    """A process dies in the middle of what it does."""


class Steps:
    """Counts the acts of both banks, and stops some of them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.actor = ""  # the bank that acts; empty: none, the test does
        self.depth = 0  # of banks that wait in the middle of their step while another has a turn
        self.count = 0
        self.names: list[str] | None = None  # of all acts, where they are wanted
        self.crash_at = -1  # the number of the act at which whoever does it dies
        self.died_at = ""  # the last act at which one died
        self.crash = 0.0  # probability of an act
        self.turn = 0.0  # of an act: that the other bank has a turn before it
        self.other_turn: Callable[[str], None] = lambda actor: None
        self._stop_at = NEVER

    def calm(self) -> None:
        """Nothing happens any more."""
        self.crash = self.turn = 0.0
        self._stop_at = NEVER

    def draw(self) -> None:
        """Decide where the next stop is; to be called after the probabilities were set."""
        rate = self.crash + self.turn
        self._stop_at = self.count + 1 + int(self._rng.expovariate(rate)) if rate > 0 else NEVER

    @contextmanager
    def by(self, actor: str) -> Iterator[None]:
        """What happens within is done by this bank; empty: by the test."""
        before = self.actor
        self.actor = actor
        self.depth += bool(actor)
        try:
            yield
        finally:
            self.actor = before
            self.depth -= bool(actor)

    def at(self, name: str) -> None:
        """Something is about to be done, or has been done. Raises Crash where the bank dies of it."""
        if not self.actor:
            return
        self.count += 1
        if self.names is not None:
            self.names.append(f"{self.actor}: {name}")
        if self.count - 1 == self.crash_at:
            self._die(name)
        if self.count >= self._stop_at:
            self.draw()
            if self._rng.random() * (self.crash + self.turn) < self.crash:
                self._die(name)
            if self.depth == 1:
                self.other_turn(self.actor)

    def _die(self, name: str) -> None:
        self.died_at = f"{self.actor}: {name}"
        raise Crash(self.died_at)
