"""A Kafka that keeps Kafka's rules and is otherwise as unkind as its seed: for the simulation of both banks.

Here is what lies in partitions, what the group has committed, and whether a broker answers at all: it may go down at
any time, with requests on their way, and comes back with all that it had acknowledged.

Used by: tests.simulation and the unit tests of banks.
Not here: the clients (fake_producer.py, fake_consumer.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError
from msgspec import Struct

from engine.api.errors import UnreachableError
from tests.harness.banks import VirtualClock
from tests.harness.claims import claim
from tests.harness.steps import Steps

__all__ = ["FakeKafka", "Headers", "Queued", "Unkindness"]

Place = tuple[str, int]
Headers = list[tuple[str, bytes | None]] | None
#: So long a broker is down.
OUTAGES_NS = (20_000_000, 300_000_000, 3_000_000_000)


class Unkindness(Struct, frozen=True, kw_only=True):
    """How often what goes wrong; probabilities."""

    refuse: float = 0.0  # a produce request, or a commit
    lose: float = 0.0  # an answer
    rebalance: float = 0.0  # at a fetch
    rebalance_is_loss: float = 0.2
    torn: float = 0.1  # of the rebalances, in the middle of a fetch
    outage: float = 0.0  # at a poll or a fetch
    outage_is_loss: float = 0.5  # of the outages: the group's coordinator forgets its members


class FakeKafka:
    """The broker's side."""

    def __init__(
        self, rng: random.Random, clock: VirtualClock, *, partitions: int = 4, steps: Steps | None = None
    ) -> None:
        """steps: in which whoever calls may die."""
        self.rng = rng
        self.steps = steps or Steps(rng)
        self.clock = clock
        self.partition_count = partitions
        self.unkind = Unkindness()
        self.logs: dict[Place, list[tuple[int, bytes]]] = {}  # (offset, value), offsets grow, with gaps
        self.firsts: dict[Place, int] = {}  # of what retention has left
        self.ends: dict[Place, int] = {}
        self.gone: set[Place] = set()  # partitions that are not there, or not yet
        self.is_denied = False  # this user may write nothing
        self.deaf = 0  # so many questions for all topics find no answer
        self.group: dict[Place, int] = {}
        self.poison: set[bytes] = set()  # values that are always refused, but for dead letters
        self.poison_code = KafkaError.MSG_SIZE_TOO_LARGE
        self.dead_letter_topic = ""
        self.batch_max: int | None = None  # records in a request; more are refused together
        self.on_commit: Callable[[Place, int, int], None] = lambda place, begin, end: None
        self.on_store: Callable[[Place, bytes], None] = lambda place, value: None
        self.on_record: Callable[[Place, Queued], None] = lambda place, queued: None
        self.columns_at: Callable[[Place, int], tuple[bytes | None, Headers]] | None = None  # key and headers
        self.has_timestamps = True
        self.starts: dict[Place, int] = {}  # where the last assignment of each partition began
        self.untold = 0  # records stored twice by a client that died before it could say so
        self.down_until_ns = 0
        self.outages = 0

    def store(self, place: Place, value: bytes) -> int:
        """Append a record; returns its offset."""
        offset = self.ends.get(place, 0)
        self.logs.setdefault(place, []).append((offset, value))
        self.ends[place] = offset + 1
        self.on_store(place, value)
        return offset

    def skip(self, place: Place) -> None:
        """Use up an offset without a record, as a transaction marker does."""
        self.logs.setdefault(place, [])
        self.ends[place] = self.ends.get(place, 0) + 1

    def values(self) -> list[bytes]:
        """Every record of every partition, without dead letters."""
        return [value for log in self.plain_logs.values() for _, value in log]

    @property
    def plain_logs(self) -> dict[Place, Any]:
        """The logs without those of dead letters."""
        return {place: log for place, log in self.logs.items() if place[0] != self.dead_letter_topic}

    def letters(self) -> list[bytes]:
        """The values of all dead letters."""
        return [value for place, log in self.logs.items() if place[0] == self.dead_letter_topic for _, value in log]

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Take the group's offsets; tells `on_commit` of what is new."""
        for place, offset in offsets.items():
            claim(0 <= offset <= self.ends.get(place, 0), f"{place} committed to {offset}")
            self.on_commit(place, self.group.get(place, 0), offset)
            self.group[place] = offset

    def chance(self, probability: float) -> bool:
        """Whether something that happens so often happens now."""
        return probability > 0 and self.rng.random() < probability

    @property
    def is_down(self) -> bool:
        """Whether no broker answers now."""
        return self.clock.now_ns < self.down_until_ns

    def meet(self) -> bool:
        """Whether a broker answers a client that asks now; perhaps it has just gone down."""
        if not self.is_down and self.chance(self.unkind.outage):
            self.outages += 1
            self.down_until_ns = self.clock.now_ns + self.rng.choice(OUTAGES_NS)
        return not self.is_down

    def ask(self, timeout_seconds: float) -> None:
        """A question that waits for its answer. Raises UnreachableError when none comes in time."""
        if self.is_down:
            self.clock.advance(min(timeout_seconds, (self.down_until_ns - self.clock.now_ns) / 1e9))
            if self.is_down:
                raise UnreachableError(f"no broker answers within {timeout_seconds:g} s")


class Queued(Struct):
    """A record in the producer's queue."""

    value: bytes
    callback: Callable[[KafkaError | None, Any], None] | None
    key: bytes | None = None
    timestamp: int | None = None
    headers: Headers = None
