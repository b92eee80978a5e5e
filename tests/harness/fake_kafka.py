"""A Kafka that keeps Kafka's rules and is otherwise as unkind as its seed: for the simulation of both banks.

    FakeKafka    what lies in partitions, what the group has committed
    FakeProducer requests in order per partition; answers late, in any order between partitions, lost, refused
    FakeConsumer fetches in pieces, rebalances, commits that fail or are answered late

What may happen to a request: it is stored and answered; it is stored and the answer is lost, so that it is sent again
(and recognised, with idempotence); it is refused. With the gapless guarantee a refusal is fatal to the producer, in the
middle of its callbacks: that is told once, and everything that waits is purged. Whoever dies leaves requests behind
that are stored, or are not.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from confluent_kafka import KafkaError
from msgspec import Struct

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.kafka.consumer import Member, Start
from engine.kafka.fetched import TORN, Fetched, Slice
from engine.kafka.producer import Refused
from tests.harness.banks import VirtualClock

__all__ = ["Crash", "FakeConsumer", "FakeKafka", "FakeProducer", "Unkindness"]

Place = tuple[str, int]
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
            assert 0 <= offset <= self.ends.get(place, 0), f"{place} committed to {offset}"
            self.on_commit(place, self.group.get(place, 0), offset)
            self.group[place] = offset

    def chance(self, probability: float) -> bool:
        """Whether something that happens so often happens now."""
        return probability > 0 and self.rng.random() < probability

    def crash_perhaps(self) -> None:
        """Raise Crash, if that is to happen now."""
        if self.chance(self.unkind.crash):
            raise Crash


class Queued(Struct):
    """A record in the producer's queue."""

    value: bytes
    callback: Callable[[KafkaError | None, Any], None] | None


class Answer(Struct):
    """What the broker says, when it comes."""

    place: Place
    due_ns: int
    queued: list[Queued]
    first_offset: int
    error: KafkaError | None


class Delivered:
    """What a callback is handed."""

    def __init__(self, partition: int, offset: int) -> None:
        self._partition = partition
        self._offset = offset

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
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
            self._put(topic, at, message["value"], message.get("callback") or on_each)

    def send_each(
        self, topic: str, value: Any, key: Any, partition: int, timestamp: Any, headers: Any, on_delivery: Any
    ) -> None:
        self._raise_if_fatal()
        self._put(topic, self._partition_of(key) if partition < 0 else partition, value, on_delivery)

    def partition_count(self, topic: str, timeout_seconds: float) -> int:
        return self._kafka.partition_count

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        return None

    def _partition_of(self, key: bytes | None) -> int:
        if key is None:
            return self._kafka.rng.randrange(self._kafka.partition_count)
        return crc32(key) % self._kafka.partition_count

    def _put(self, topic: str, partition: int, value: bytes, callback: Any) -> None:
        assert not self._is_closed
        if len(self) >= QUEUE_MAX:
            raise Refused(KafkaError(KafkaError._QUEUE_FULL))
        self._queues.setdefault((topic, partition), deque()).append(Queued(value, callback))

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
        offsets = [self._kafka.store(place, queued.value) for queued in batch]
        return offsets[0]

    def _say(self, place: Place, batch: list[Queued], first: int, error: KafkaError | None) -> None:
        late_ns = self._kafka.rng.choice((0, 0, 1_000_000, 20_000_000))
        if error is None and self._kafka.chance(self._kafka.unkind.lose):
            late_ns += 200_000_000  # asked again
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
                    queued.callback(answer.error, Delivered(answer.place[1], answer.first_offset + index))

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


class FakeConsumer:
    """A `ConsumerPort`; `decide` says which partitions its group gives it, and takes them away again."""

    def __init__(self, kafka: FakeKafka, member: Member, topics: Collection[str]) -> None:
        self._kafka = kafka
        self._member = member
        self._topics = topics
        self._positions: dict[Place, int] = {}
        self._told_ends: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._answers: deque[tuple[int, dict[Place, int], ConnectError | None]] = deque()
        self._wanted: set[Place] | None = None  # the assignment that the group has decided on
        self._is_loss = False
        self._is_subscribed = False
        self._error: ConnectError | None = None
        self.is_closed = False
        self.refreshed = 0

    # What the group decides

    @property
    def assignment(self) -> set[Place]:
        """The partitions it has."""
        return set(self._positions)

    @property
    def is_deciding(self) -> bool:
        """Whether the group has decided something that this member has not heard."""
        return self._wanted is not None

    def decide(self, places: Iterable[Place], *, is_loss: bool = False) -> None:
        """The group wants this member to have exactly these; it hears of it at a fetch. is_loss: it lost all it had."""
        self._wanted = set(places)
        self._is_loss = is_loss

    # What the pump asks

    def subscribe(self, topics: Sequence[str]) -> None:
        self._is_subscribed = True

    def fetch(self, seconds: float, records_max: int) -> Fetched | None:
        kafka = self._kafka
        kafka.crash_perhaps()
        kafka.clock.advance(seconds * kafka.rng.random())
        self._serve_commits()
        is_torn = self._wanted is not None and kafka.chance(kafka.unkind.torn)
        if self._wanted is not None and not is_torn:
            self._rebalance()
        self._raise_error()
        fetched = self._read(records_max)
        if is_torn:
            self._rebalance()
            self._raise_error()
            if fetched is not None:
                self._read(records_max)  # of the new assignment, perhaps
                self._ends = {}
                return TORN
        return fetched

    def take_ends(self) -> dict[Place, int]:
        ends, self._ends = self._ends, {}
        return ends

    def pause(self, places: Iterable[Place]) -> None:
        for place in places:
            assert place in self._positions
            self._paused.add(place)

    def resume(self, places: Iterable[Place]) -> None:
        for place in places:
            assert place in self._positions
            self._paused.discard(place)
            self._told_ends.pop(place, None)

    def seek(self, place: Place, offset: int) -> bool:
        assert place in self._positions
        assert 0 <= offset <= self._kafka.ends.get(place, 0)
        if self._kafka.chance(0.3):
            return False
        self._positions[place] = offset
        self._told_ends.pop(place, None)
        return True

    def commit(self, offsets: Mapping[Place, int]) -> None:
        kafka = self._kafka
        assert set(offsets) <= set(self._positions), "commits what it does not have"
        is_applied = not kafka.chance(kafka.unkind.refuse)
        is_heard = is_applied and not kafka.chance(kafka.unkind.lose)
        if is_applied:
            kafka.commit(offsets)
            kafka.crash_perhaps()
        due_ns = kafka.clock.now_ns + kafka.rng.choice((0, 1_000_000, 300_000_000))
        self._answers.append((due_ns, dict(offsets), None if is_heard else RetriableError("the commit failed")))

    def commit_now(self, offsets: Mapping[Place, int]) -> None:
        kafka = self._kafka
        kafka.crash_perhaps()
        assert set(offsets) <= set(self._positions), "commits what it does not have"
        if kafka.chance(kafka.unkind.refuse):
            raise RetriableError("the commit was refused")
        kafka.commit(offsets)
        if kafka.chance(kafka.unkind.lose):
            raise RetriableError("the answer to a commit was lost")
        kafka.crash_perhaps()

    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]:
        return {place: self._kafka.group[place] for place in places if place in self._kafka.group}

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]:
        places = [(topic, partition) for topic in topics for partition in range(self._kafka.partition_count)]
        return [place for place in places if place not in self._kafka.gone]

    def topic_names(self, timeout_seconds: float) -> list[str]:
        if self._kafka.deaf:
            self._kafka.deaf -= 1
            raise UnreachableError("no answer to a question for all topics")
        return sorted({topic for topic, _ in self.partitions(list(self._topics), timeout_seconds)})

    def learn_topics(self, topics: Collection[str], timeout_seconds: float) -> bool:
        return True

    def refresh_topics(self, timeout_seconds: float) -> None:
        self.refreshed += 1

    def borders(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, tuple[int, int]]:
        return {place: (self._kafka.firsts.get(place, 0), self._kafka.ends.get(place, 0)) for place in places}

    def lag(self, positions: Mapping[Place, int]) -> int:
        return sum(self._kafka.ends.get(place, 0) - position for place, position in positions.items())

    def leave(self, timeout_seconds: float) -> None:
        self._member.revoked(list(self._positions))
        self.close()

    def close(self) -> None:
        self.is_closed = True
        self._positions.clear()

    # Inside

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _rebalance(self) -> None:
        """Tell the member what the group has decided, eagerly: all goes, then what is wanted comes."""
        wanted, self._wanted = self._wanted, None
        assert wanted is not None
        if self._positions:
            held = list(self._positions)
            if self._is_loss:
                self._member.lost(held)
            else:
                self._member.revoked(held)
            self._positions.clear()
            self._paused.clear()
            self._told_ends.clear()
        starts = {place: Start(self._kafka.group.get(place, 0), place in self._kafka.group) for place in sorted(wanted)}
        try:
            self._member.assigned(starts)
        except ConnectError as error:
            self._error = error
        self._positions = {place: start.offset for place, start in starts.items()}

    def _serve_commits(self) -> None:
        while self._answers and self._answers[0][0] <= self._kafka.clock.now_ns:
            _, offsets, error = self._answers.popleft()
            self._member.committed(offsets, error)

    def _read(self, records_max: int) -> Fetched | None:
        kafka = self._kafka
        places = [place for place in self._positions if place not in self._paused and kafka.chance(0.6)]
        kafka.rng.shuffle(places)
        slices: list[Slice] = []
        values: list[bytes | None] = []
        stamps: list[int] = []
        types: list[int] = []
        for place in places:
            log = kafka.logs.get(place, [])
            position = self._positions[place]
            if place in kafka.gone:
                continue
            if not kafka.firsts.get(place, 0) <= position <= kafka.ends.get(place, 0):
                raise ConnectError(f"topic {place[0]} partition {place[1]}: the offset to go on at is gone")
            count = kafka.rng.randint(1, 40)
            begin = bisect_left(log, (position, b""))
            records = log[begin : begin + min(count, records_max - len(values))]
            if records:
                offsets = [offset for offset, _ in records]
                is_gapless = offsets[-1] - offsets[0] + 1 == len(offsets)
                slices.append(Slice(*place, len(records), offsets[0], offsets[-1], None if is_gapless else offsets))
                values += [value for _, value in records]
                stamps += [1_000 + offset for offset in offsets]
                types += [1 + (offset // 30) % 2 for offset in offsets]
                self._positions[place] = offsets[-1] + 1
            at_end = not log or log[-1][0] < self._positions[place]
            end = kafka.ends.get(place, 0)
            if at_end and self._told_ends.get(place) != end:
                self._told_ends[place] = self._ends[place] = end
        if not values:
            return None
        is_one_type = types.count(types[0]) == len(types)
        return Fetched(slices, values, None, stamps, types[0] if is_one_type else types, None)
