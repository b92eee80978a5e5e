"""A producer at the fake Kafka: requests in order per partition; answers late, lost, refused, in order only there.

What may happen to a request: it is stored and answered; it is stored and the answer is lost, so that it is sent again
(and recognised, with idempotence: then the answer may come without an offset); it is refused. With the gapless
guarantee a refusal is fatal to the producer, in the middle of its callbacks: that is told once, and everything that
waits is purged. Whoever dies leaves requests behind that are stored, or are not.

Used by: tests.simulation and the unit tests of banks.
Not here: what lies in partitions (fake_kafka.py), a sink's side (fake_consumer.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from confluent_kafka import KafkaError
from msgspec import Struct

from engine.kafka.parting import Heads
from engine.kafka.producer import Refused
from engine.shm.waits import Trouble
from tests.harness.claims import claim
from tests.harness.fake_kafka import FakeKafka, Queued

__all__ = ["Delivered", "FakeProducer", "partition_of"]

Place = tuple[str, int]
QUEUE_MAX = 100_000
#: Of the requests that Kafka had already, so many are answered without an offset.
WITHOUT_OFFSET = 0.5
#: And so many are stored again, because the client numbers anew.
NEW_NUMBERS = 0.2


def partition_of(key: bytes, partitions: int) -> int:
    """Where this client puts records of a key."""
    return crc32(key) % partitions


class Answer(Struct):
    """What the broker says, when it comes."""

    place: Place
    due_ns: int
    queued: list[Queued]
    first_offset: int | None  # None: not told
    error: KafkaError | None


class Delivered:
    """What a callback is handed."""

    def __init__(self, partition: int, offset: int | None) -> None:
        """offset: None where Kafka had the record already, and did not say where."""
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
        self._doubled = 0  # records, by new numbers that nobody has been told of
        self._renumbered = 0  # how often

    def __len__(self) -> int:
        return sum(map(len, self._queues.values())) + sum(len(answer.queued) for answer in self._answers)

    def close(self) -> None:
        self._leave_behind()
        answers, self._answers = self._answers, deque()
        for answer in answers:
            self._tell(answer.queued, answer.error or KafkaError(KafkaError._PURGE_INFLIGHT))
        self._purge()

    def poll(self) -> None:
        self._kafka.steps.at("poll")
        if not self._kafka.meet():
            return
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

    def take_new_numbers(self) -> int:
        times, self._renumbered, self._doubled = self._renumbered, 0, 0
        return times

    def send_many(self, topic: str, heads: Heads) -> None:
        for partition, group in heads.by_partition().items():
            self.send_batch(topic, partition, group)

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
        self._raise_if_fatal()
        self._kafka.steps.at("before produce")
        for message in messages:
            at = self._partition_of(message.get("key")) if partition < 0 else partition
            queued = Queued(message["value"], message.get("callback"), message.get("key"))
            self._put(topic, at, queued)
        self._kafka.steps.at("after produce")

    def send_each(
        self, topic: str, value: Any, key: Any, partition: int, timestamp: Any, headers: Any, on_delivery: Any
    ) -> None:
        self._raise_if_fatal()
        self._kafka.steps.at("before produce")
        at = self._partition_of(key) if partition < 0 else partition
        self._put(topic, at, Queued(value, on_delivery, key, timestamp, headers))
        self._kafka.steps.at("after produce")

    def partition_count(self, topic: str, timeout_seconds: float) -> int:
        self._kafka.ask(timeout_seconds)
        return self._kafka.partition_count

    def take_troubles(self) -> list[Trouble]:
        return []

    def is_answering(self, seconds: float) -> bool:
        return not self._kafka.is_down

    def is_allowed(self, topics: Collection[str], seconds: float) -> bool:
        return not self._kafka.is_down and not self._kafka.is_denied

    def shortage(self, topics: Collection[str], seconds: float) -> Trouble | None:
        return None

    def has_new_files(self) -> bool:
        return False

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        return None

    def _partition_of(self, key: bytes | None) -> int:
        if key is None:
            return self._kafka.rng.randrange(self._kafka.partition_count)
        return partition_of(key, self._kafka.partition_count)

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
        is_bad = place[0] != kafka.dead_letter_topic and any(queued.value in kafka.poison for queued in batch)
        is_too_large = kafka.batch_max is not None and count > kafka.batch_max
        if is_bad or is_too_large or kafka.is_denied or kafka.chance(kafka.unkind.refuse):
            if self._is_gapless:
                self._fatal = KafkaError(KafkaError._FATAL)
            code = kafka.poison_code if is_bad else KafkaError.POLICY_VIOLATION
            code = KafkaError.MSG_SIZE_TOO_LARGE if is_too_large else code
            self._say(place, batch, -1, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED if kafka.is_denied else code))
            return
        first: int | None = self._store(place, batch)
        is_lost = kafka.chance(kafka.unkind.lose)  # the answer: the client sends the request again
        if is_lost and not self._is_idempotent:
            first = self._store(place, batch)  # and nobody knows it
        elif is_lost and kafka.chance(NEW_NUMBERS):
            first = self._store(place, batch)
            self._doubled += len(batch)
            self._renumbered += 1
        elif is_lost and kafka.chance(WITHOUT_OFFSET):
            first = None
        self._say(place, batch, first, None, is_late=is_lost)

    def _store(self, place: Place, batch: Sequence[Queued]) -> int:
        for queued in batch:
            self._kafka.on_record(place, queued)
        offsets = [self._kafka.store(place, queued.value) for queued in batch]
        return offsets[0] if offsets else self._kafka.ends.get(place, 0)

    def _say(
        self, place: Place, batch: list[Queued], first: int | None, error: KafkaError | None, *, is_late: bool = False
    ) -> None:
        late_ns = self._kafka.rng.choice((0, 0, 1_000_000, 20_000_000)) + (200_000_000 if is_late else 0)
        self._answers.append(Answer(place, self._kafka.clock.now_ns + late_ns, batch, first, error))

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
                    self._kafka.steps.at("before acknowledge")
                    queued.callback(answer.error, Delivered(answer.place[1], offset))
                    self._kafka.steps.at("after acknowledge")

    def _leave_behind(self) -> None:
        """The client is gone; what was on its way in other partitions is stored, or is not."""
        if self._is_closed:
            return
        self._is_closed = True
        for place, queue in self._queues.items():
            if queue and self._fatal is None and self._kafka.chance(0.5):
                batch = [queue.popleft() for _ in range(min(len(queue), self._batch_max))]
                poison = () if place[0] == self._kafka.dead_letter_topic else self._kafka.poison
                self._store(place, [queued for queued in batch if queued.value not in poison])

    def die(self) -> None:
        """The process is gone."""
        self._kafka.untold += self._doubled
        self._leave_behind()
