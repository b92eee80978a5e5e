"""A member of a group at the fake Kafka: fetches in pieces, rebalances, commits that fail, are answered or done late.

    FakeConsumer(kafka, member, topics)    member: the pump, which hears of rebalances and answers within `fetch`

Used by: tests.simulation and the unit tests of banks.
Not here: what lies in partitions, what the group has committed (fake_kafka.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.kafka.consumer import Found, Member, Start
from engine.kafka.fetched import TORN, Fetched, Slice
from engine.shm.waits import Trouble
from tests.harness.claims import claim
from tests.harness.fake_kafka import FakeKafka, Headers

__all__ = ["FakeConsumer"]

Place = tuple[str, int]

#: Of the commits that go wrong, so many are sent again by the client, and done after newer ones.
DONE_LATE = 0.3
LATE_NS = (0, 300_000_000, 900_000_000, 5_000_000_000)


class Late(NamedTuple):
    """A commit that the client sends again."""

    due_ns: int
    generation: int
    offsets: dict[Place, int]


class FakeConsumer:
    """A `ConsumerPort`; `decide` says which partitions its group gives it, and takes them away again."""

    def __init__(
        self,
        kafka: FakeKafka,
        member: Member,
        topics: Collection[str],
        *,
        is_cooperative: bool = False,
        revocation_seconds: float | None = None,
    ) -> None:
        """is_cooperative: what stays in an assignment is not taken. revocation_seconds: it takes no longer."""
        self._is_cooperative = is_cooperative
        self._revocation_seconds = revocation_seconds
        self._kafka = kafka
        self._member = member
        self._topics = topics
        self._positions: dict[Place, int] = {}
        self._told_ends: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._answers: deque[tuple[int, dict[Place, int], ConnectError | None]] = deque()
        self._late: deque[Late] = deque()
        self._generation = 0
        self._taking_since_ns = 0  # a revocation; 0: there is none now
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
        kafka.steps.at("fetch")
        kafka.clock.advance(seconds * kafka.rng.random())
        if not self._meet():
            return None
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

    def take_gone(self) -> dict[Place, int]:
        return {}

    def take_troubles(self) -> list[Trouble]:
        return []

    def is_answering(self, seconds: float) -> bool:
        return not self._kafka.is_down

    def is_allowed(self, topics: Collection[str], seconds: float) -> bool:
        return True

    def shortage(self, topics: Collection[str], seconds: float) -> Trouble | None:
        return None

    def has_new_files(self) -> bool:
        return False

    def find(self, offsets: Mapping[Place, int]) -> dict[Place, Found]:
        raise AssertionError("nothing is gone that would not have been an error")

    def ask_topic_ids(self, topics: Collection[str]) -> None:
        pass

    def take_topic_ids(self) -> dict[str, str]:
        return {}

    def place(self, places: Collection[Place], offsets: Mapping[Place, int]) -> None:
        raise AssertionError("no partition goes on elsewhere")

    def pause(self, places: Iterable[Place]) -> None:
        for place in places:
            claim(place in self._positions, f"{place} is not assigned")
            self._paused.add(place)

    def resume(self, places: Iterable[Place]) -> None:
        for place in places:
            claim(place in self._positions, f"{place} is not assigned")
            self._paused.discard(place)
            self._told_ends.pop(place, None)

    def seek(self, place: Place, offset: int) -> bool:
        claim(place in self._positions, f"{place} is not assigned")
        claim(0 <= offset <= self._kafka.ends.get(place, 0), f"{place} is sought at {offset}")
        if self._kafka.chance(0.3):
            return False
        self._positions[place] = offset
        self._told_ends.pop(place, None)
        return True

    def commit(self, offsets: Mapping[Place, int]) -> None:
        kafka = self._kafka
        claim(set(offsets) <= set(self._positions), "commits what it does not have")
        kafka.steps.at("before commit")
        is_applied = not kafka.is_down and not kafka.chance(kafka.unkind.refuse)
        is_heard = is_applied and not kafka.chance(kafka.unkind.lose)
        if is_applied:
            kafka.commit(offsets)
        kafka.steps.at("after commit")
        if not is_heard and kafka.chance(DONE_LATE):
            due_ns = kafka.clock.now_ns + kafka.rng.choice(LATE_NS)
            self._late.append(Late(due_ns, self._generation, dict(offsets)))
            return
        due_ns = kafka.clock.now_ns + kafka.rng.choice((0, 1_000_000, 300_000_000))
        self._answers.append((due_ns, dict(offsets), None if is_heard else RetriableError("the commit failed")))

    def commit_now(self, offsets: Mapping[Place, int]) -> None:
        kafka = self._kafka
        claim(set(offsets) <= set(self._positions), "commits what it does not have")
        kafka.steps.at("before commit")
        if kafka.is_down or kafka.chance(kafka.unkind.refuse):
            raise RetriableError("the commit was refused")
        kafka.commit(offsets)
        if kafka.chance(kafka.unkind.lose):
            raise RetriableError("the answer to a commit was lost")
        kafka.steps.at("after commit")

    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]:
        self._kafka.ask(timeout_seconds)
        return {place: self._kafka.group[place] for place in places if place in self._kafka.group}

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]:
        self._kafka.ask(timeout_seconds)
        places = [(topic, partition) for topic in topics for partition in range(self._kafka.partition_count)]
        return [place for place in places if place not in self._kafka.gone]

    def topic_names(self, timeout_seconds: float) -> list[str]:
        self._kafka.ask(timeout_seconds)
        if self._kafka.deaf:
            self._kafka.deaf -= 1
            raise UnreachableError("no answer to a question for all topics")
        return sorted({topic for topic, _ in self.partitions(list(self._topics), timeout_seconds)})

    def reads(self, topics: Collection[str]) -> bool:
        return {topic for topic, _ in self._positions}.issuperset(topics)

    def learn_topics(self, topics: Collection[str], timeout_seconds: float) -> bool:
        return True

    def refresh_topics(self, timeout_seconds: float) -> None:
        self.refreshed += 1

    def borders(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, tuple[int, int]]:
        self._kafka.ask(timeout_seconds)
        return {place: (self._kafka.firsts.get(place, 0), self._kafka.ends.get(place, 0)) for place in places}

    def lag(self, positions: Mapping[Place, int]) -> int:
        return sum(self._kafka.ends.get(place, 0) - position for place, position in positions.items())

    def leave(self, timeout_seconds: float) -> None:
        self._member.revoked(list(self._positions))
        self.close()

    def close(self) -> None:
        if not self._kafka.is_down:
            self._do_late(lambda _: True)  # what is on the wire is done
        self._late.clear()
        self.is_closed = True
        self._positions.clear()

    # Inside

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _meet(self) -> bool:
        """Whether a broker answers; where one has just come back, the coordinator may have forgotten this member."""
        kafka = self._kafka
        before = kafka.outages
        is_up = kafka.meet()
        if kafka.outages != before and self._positions and kafka.chance(kafka.unkind.outage_is_loss):
            self.decide(self._positions if self._wanted is None else self._wanted, is_loss=True)
        return is_up

    def _rebalance(self) -> None:
        """Tell the member what the group has decided: what is taken goes, then what is wanted comes."""
        wanted, self._wanted = self._wanted, None
        assert wanted is not None
        self._generation += 1
        stays = set(self._positions) & wanted if self._is_cooperative and not self._is_loss else set()
        gone = [place for place in self._positions if place not in stays]
        if gone:
            self._take(gone)
        come = sorted(wanted - stays)
        starts = {place: Start(self._kafka.group.get(place, 0), place in self._kafka.group) for place in come}
        self._kafka.starts.update((place, start.offset) for place, start in starts.items())
        try:
            self._member.assigned(starts)
        except ConnectError as error:
            self._error = error
        self._positions.update((place, start.offset) for place, start in starts.items())

    def check_revocation(self) -> None:
        """What a member does with partitions that go has taken no longer than it may."""
        seconds = (self._kafka.clock.now_ns - self._taking_since_ns) / 1e9 if self._taking_since_ns else 0.0
        limit = self._revocation_seconds
        claim(limit is None or seconds <= limit, f"a revocation takes {seconds} s, of {limit}")

    def _take(self, gone: list[Place]) -> None:
        self._taking_since_ns = self._kafka.clock.now_ns
        if self._is_loss:
            self._member.lost(gone)
        else:
            self._member.revoked(gone)
        self.check_revocation()
        self._taking_since_ns = 0
        for place in gone:
            del self._positions[place]
            self._paused.discard(place)
            self._told_ends.pop(place, None)

    def _serve_commits(self) -> None:
        now_ns = self._kafka.clock.now_ns
        self._do_late(lambda late: late.due_ns <= now_ns)
        while self._answers and self._answers[0][0] <= self._kafka.clock.now_ns:
            _, offsets, error = self._answers.popleft()
            self._member.committed(offsets, error)

    def _do_late(self, is_due: Callable[[Late], bool]) -> None:
        for late in [late for late in self._late if is_due(late)]:
            self._late.remove(late)
            is_taken = late.generation == self._generation
            if is_taken:
                self._kafka.commit(late.offsets)
            refusal = None if is_taken else RetriableError("the commit is of an old generation")
            due_ns = self._kafka.clock.now_ns + self._kafka.rng.choice((0, 1_000_000))
            self._answers.append((due_ns, late.offsets, refusal))

    def _read(self, records_max: int) -> Fetched | None:
        kafka = self._kafka
        places = [place for place in self._positions if place not in self._paused and kafka.chance(0.6)]
        kafka.rng.shuffle(places)
        slices: list[Slice] = []
        values: list[bytes | None] = []
        stamps: list[int] = []
        types: list[int] = []
        columns: list[tuple[bytes | None, Headers]] = []
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
                if kafka.columns_at is not None:
                    columns += [kafka.columns_at(place, offset) for offset in offsets]
                self._positions[place] = offsets[-1] + 1
            at_end = not log or log[-1][0] < self._positions[place]
            end = kafka.ends.get(place, 0)
            if at_end and self._told_ends.get(place) != end:
                self._told_ends[place] = self._ends[place] = end
        if not values:
            return None
        keys, headers = ([key for key, _ in columns], [pairs for _, pairs in columns]) if columns else (None, None)
        if not kafka.has_timestamps:
            return Fetched(slices, values, keys, None, 0, headers)
        is_one_type = types.count(types[0]) == len(types)
        return Fetched(slices, values, keys, stamps, types[0] if is_one_type else types, headers)
