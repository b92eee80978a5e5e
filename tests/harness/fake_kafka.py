"""A Kafka that keeps Kafka's rules and is otherwise as unkind as its seed: for the simulation of both banks.

    FakeKafka    what lies in partitions, what the group has committed
    FakeProducer requests in order per partition; answers late, in any order between partitions, lost, refused

What may happen to a request: it is stored and answered; it is stored and the answer is lost, so that it is sent again
(and recognised, with idempotence); it is refused. With the gapless guarantee a refusal is fatal to the producer, in the
middle of its callbacks: that is told once, and everything that waits is purged. Whoever dies leaves requests behind
that are stored, or are not.

Used by: tests.simulation and the unit tests of banks.
Not here: a sink's side (fake_consumer.py).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from confluent_kafka import KafkaError
from msgspec import Struct

from engine.kafka.producer import Refused
from tests.harness.banks import VirtualClock
from tests.harness.claims import claim

__all__ = ["Crash", "FakeKafka", "FakeProducer", "Unkindness"]

Place = tuple[str, int]
Headers = list[tuple[str, bytes | None]] | None
QUEUE_MAX = 100_000


class Crash(BaseException):
    """A process dies in the middle of what it does."""


class Unkindness(Struct, frozen=True, kw_only=True):
    """How often what goes wrong; probabilities."""

    crash: float = 0.0  # in the middle of a call
    refuse: float = 0.0  # a produce request, or a commit
    lose: float = 0.0  # an answer
    rebalance: float = 0.0  # at a fetch
    rebalance_is_loss: float = 0.2
    torn: float = 0.1  # of the rebalances, in the middle of a fetch


class FakeKafka:
    """The broker's side."""

    def __init__(self, rng: random.Random, clock: VirtualClock, *, partitions: int = 4) -> None:
        self.rng = rng
        self.clock = clock
        self.partition_count = partitions
        self.unkind = Unkindness()
        self.logs: dict[Place, list[tuple[int, bytes]]] = {}  # (offset, value), offsets grow, with gaps
        self.firsts: dict[Place, int] = {}  # of what retention has left
        self.ends: dict[Place, int] = {}
        self.gone: set[Place] = set()  # partitions that are not there, or not yet
        self.deaf = 0  # so many questions for all topics find no answer
        self.group: dict[Place, int] = {}
        self.poison: set[bytes] = set()  # values that are always refused
        self.batch_max: int | None = None  # records in a request; more are refused together
        self.on_commit: Callable[[Place, int, int], None] = lambda place, begin, end: None
        self.on_store: Callable[[Place, bytes], None] = lambda place, value: None
        self.on_record: Callable[[Place, Queued], None] = lambda place, queued: None
        self.columns_at: Callable[[Place, int], tuple[bytes | None, Headers]] | None = None  # key and headers
        self.has_timestamps = True
        self.starts: dict[Place, int] = {}  # where the last assignment of each partition began
        self.calls = 0  # of anything outside the engine, as far as it can die there
        self.crash_at = -1  # the number of the call at which it does

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
        """Every record of every partition."""
        return [value for log in self.logs.values() for _, value in log]

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Take the group's offsets; tells `on_commit` of what is new."""
        for place, offset in offsets.items():
            claim(0 <= offset <= self.ends.get(place, 0), f"{place} committed to {offset}")
            self.on_commit(place, self.group.get(place, 0), offset)
            self.group[place] = offset

    def chance(self, probability: float) -> bool:
        """Whether something that happens so often happens now."""
        return probability > 0 and self.rng.random() < probability

    def crash_perhaps(self) -> None:
        """Raise Crash, if that is to happen now."""
        self.calls += 1
        if self.calls - 1 == self.crash_at or self.chance(self.unkind.crash):
            raise Crash


class Queued(Struct):
    """A record in the producer's queue."""

    value: bytes
    callback: Callable[[KafkaError | None, Any], None] | None
    key: bytes | None = None
    timestamp: int | None = None
    headers: Headers = None


class Answer(Struct):
    """What the broker says, when it comes."""

    place: Place
    due_ns: int
    queued: list[Queued]
    first_offset: int | None  # None: the broker had the batch already, and does not say where
    error: KafkaError | None


class Delivered:
    """What a callback is handed."""

    def __init__(self, partition: int, offset: int | None) -> None:
        self._partition = partition
        self._offset = offset

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int | None:
        return self._offset


class FakeProducer:
    """A `ProducerPort`."""

    def __init__(self, kafka: FakeKafka, settings: Mapping[str, Any]) -> None:
        self._kafka = kafka
        self._is_idempotent = bool(settings.get("enable.idempotence", True))
        self._is_gapless = self._is_idempotent and bool(settings.get("enable.gapless.guarantee", False))
        self._batch_max = int(settings.get("batch.num.messages", 50))
        self._in_flight_max = int(settings.get("max.in.flight.requests.per.connection", 5))
        self._queues: dict[Place, deque[Queued]] = {}
        self._answers: deque[Answer] = deque()
        self._fatal: KafkaError | None = None
        self._is_fatal_told = False
        self._is_closed = False

    def __len__(self) -> int:
        return sum(map(len, self._queues.values())) + sum(len(answer.queued) for answer in self._answers)

    def close(self) -> None:
        self._leave_behind()
        answers, self._answers = self._answers, deque()
        for answer in answers:
            self._tell(answer.queued, answer.error or KafkaError(KafkaError._PURGE_INFLIGHT))
        self._purge()

    def poll(self) -> None:
        self._kafka.crash_perhaps()
        places = [place for place, queue in self._queues.items() if queue and self._fatal is None]
        self._kafka.rng.shuffle(places)
        for place in places:
            if len(self._answers) < self._in_flight_max and self._kafka.chance(0.7):
                self._request(place)
        self._answer()
        if self._fatal is not None and self._is_fatal_told:
            self._purge()
        elif self._fatal is not None:
            self._is_fatal_told = True
            raise Refused(self._fatal)

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]], on_each: Any = None) -> None:
        self._raise_if_fatal()
        for message in messages:
            at = self._partition_of(message.get("key")) if partition < 0 else partition
            queued = Queued(message["value"], message.get("callback") or on_each, message.get("key"))
            self._put(topic, at, queued)

    def send_each(
        self, topic: str, value: Any, key: Any, partition: int, timestamp: Any, headers: Any, on_delivery: Any
    ) -> None:
        self._raise_if_fatal()
        at = self._partition_of(key) if partition < 0 else partition
        self._put(topic, at, Queued(value, on_delivery, key, timestamp, headers))

    def partition_count(self, topic: str, timeout_seconds: float) -> int:
        return self._kafka.partition_count

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        return None

    def _partition_of(self, key: bytes | None) -> int:
        if key is None:
            return self._kafka.rng.randrange(self._kafka.partition_count)
        return crc32(key) % self._kafka.partition_count

    def _put(self, topic: str, partition: int, queued: Queued) -> None:
        claim(not self._is_closed, "a producer that was given up is used")
        if len(self) >= QUEUE_MAX:
            raise Refused(KafkaError(KafkaError._QUEUE_FULL))
        self._queues.setdefault((topic, partition), deque()).append(queued)

    def _purge(self) -> None:
        for queue in self._queues.values():
            purged = list(queue)
            queue.clear()
            self._tell(purged, KafkaError(KafkaError._PURGE_QUEUE))

    def _tell(self, queued: Iterable[Queued], error: KafkaError) -> None:
        for one in queued:
            if one.callback is not None:
                one.callback(error, Delivered(-1, -1))

    def _raise_if_fatal(self) -> None:
        if self._fatal is not None:
            raise Refused(self._fatal)

    def _request(self, place: Place) -> None:
        """Send one request of a partition, and let the broker do something with it."""
        kafka = self._kafka
        queue = self._queues[place]
        count = min(len(queue), kafka.rng.randint(1, self._batch_max))
        batch = [queue.popleft() for _ in range(count)]
        is_bad = any(queued.value in kafka.poison for queued in batch)
        is_too_large = kafka.batch_max is not None and count > kafka.batch_max
        if is_bad or is_too_large or kafka.chance(kafka.unkind.refuse):
            if self._is_gapless:
                self._fatal = KafkaError(KafkaError._FATAL)
            code = KafkaError.MSG_SIZE_TOO_LARGE if is_bad or is_too_large else KafkaError.POLICY_VIOLATION
            self._say(place, batch, -1, KafkaError(code))
            return
        first = self._store(place, batch)
        if not self._is_idempotent and kafka.chance(kafka.unkind.lose):
            first = self._store(place, batch)  # sent again, and nobody knows it
        self._say(place, batch, first, None)

    def _store(self, place: Place, batch: Sequence[Queued]) -> int:
        for queued in batch:
            self._kafka.on_record(place, queued)
        offsets = [self._kafka.store(place, queued.value) for queued in batch]
        return offsets[0]

    def _say(self, place: Place, batch: list[Queued], first: int, error: KafkaError | None) -> None:
        late_ns = self._kafka.rng.choice((0, 0, 1_000_000, 20_000_000))
        known: int | None = first
        if error is None and self._kafka.chance(self._kafka.unkind.lose):
            late_ns += 200_000_000  # asked again
            known = None if self._is_idempotent else first
        self._answers.append(Answer(place, self._kafka.clock.now_ns + late_ns, batch, known, error))

    def _answer(self) -> None:
        """Call the callbacks of the answers that have come, in order per partition."""
        waiting: set[Place] = set()
        answers, self._answers = self._answers, deque()
        for answer in answers:
            is_here = answer.due_ns <= self._kafka.clock.now_ns and answer.place not in waiting
            if self._fatal is not None and self._kafka.chance(0.3):
                is_here = False  # the fatal error came out in the middle
            if not is_here:
                waiting.add(answer.place)
                self._answers.append(answer)
                continue
            for index, queued in enumerate(answer.queued):
                if queued.callback is not None:
                    offset = None if answer.first_offset is None else answer.first_offset + index
                    queued.callback(answer.error, Delivered(answer.place[1], offset))

    def _leave_behind(self) -> None:
        """The client is gone; what was on its way in other partitions is stored, or is not."""
        if self._is_closed:
            return
        self._is_closed = True
        for place, queue in self._queues.items():
            if queue and self._fatal is None and self._kafka.chance(0.5):
                self._store(place, [queue.popleft() for _ in range(min(len(queue), self._batch_max))])

    def die(self) -> None:
        """The process is gone."""
        self._leave_behind()
