"""A sink is at its end when all was read and committed, and else tells why it is not; what it counts is true.

Single cases, made by hand; sink_world.py makes schedules of them by seed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from engine.api.errors import ConnectError, RetriableError
from engine.api.record import TopicPartition
from engine.api.transform import AnyRecord, FlatMap, Transform
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.shm.board import Measure, Phase, Stage, Target, Word
from engine.shm.waits import Cause, gravest
from tests.harness.banks import CollectingSink, SinkBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.simulation.accounts import reported

Place = tuple[str, int]
PLACES: list[Place] = [("one", 0), ("one", 1)]
SECONDS_MAX = 120.0


class Line:
    """A sink of the topic `one`, of two partitions, alone in its group."""

    def __init__(
        self,
        subscription: Subscription | None = None,
        task: type[CollectingSink] = CollectingSink,
        chain: Sequence[Transform] = (),
    ) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(1), self.clock, partitions=2)
        self.records: list[tuple[str, int, int, bytes | None]] = []
        self.ours = list(PLACES)
        self.consumer: FakeConsumer
        spec = line_spec(
            "sink",
            subscription=subscription or Subscription(topics=("one",)),
            is_bulk=True,
            ring_bytes=1024 * 1024,
            timing=Timing(commit_interval=0.1, retry_backoff=0.1, commit_timeout=0.5),
        )
        self.banks = SinkBanks(spec, self._join, lambda: task(self.records), self.clock, chain=chain)

    def fill(self, place: Place, count: int) -> None:
        for number in range(count):
            self.kafka.store(place, b"%d" % number)

    def drain(self) -> float:
        """Run to the end; returns how long (seconds) it took."""
        self.banks.memory.aim(Target.DRAIN)
        return self.until(lambda: self.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE)

    def until(self, is_so: Callable[[], bool]) -> float:
        begin_ns = self.clock.now_ns
        while not is_so():
            seconds = (self.clock.now_ns - begin_ns) / 1e9
            assert seconds < SECONDS_MAX, f"not within {SECONDS_MAX} s"
            self.clock.advance(0.02)
            self.banks.step()
        return (self.clock.now_ns - begin_ns) / 1e9

    def _join(self, member: Member) -> FakeConsumer:
        self.consumer = FakeConsumer(self.kafka, member, ("one",))
        self.consumer.decide(self.ours)
        return self.consumer


class Halves(FlatMap):
    """Drops odd numbers, makes two of those that four divides, and fails at what is named."""

    def __init__(self, bad: int = -1) -> None:
        self._bad = bad

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        number = int(record.value)
        if number == self._bad:
            raise ValueError("not this one")
        return [record] * (0 if number % 2 else 1 if number % 4 else 2)


def test_a_record_that_was_dropped_or_multiplied_counts_once_for_the_position_and_for_the_ledger() -> None:
    line = Line(chain=[Halves()])
    line.fill(PLACES[0], 10)
    line.fill(PLACES[1], 3)
    line.banks.start()
    line.drain()
    assert [offset for _, partition, offset, _ in line.records if partition == 0] == [0, 0, 2, 4, 4, 6, 8, 8]
    assert line.kafka.group == {PLACES[0]: 10, PLACES[1]: 3}
    told = reported(line.banks.memory).ledger
    if told is not None:
        assert (told.records_in, told.records_out, told.dropped, told.left) == (13, 7, 6, 0)


def test_what_stands_before_a_record_that_cannot_be_multiplied_is_put_and_committed() -> None:
    line = Line(chain=[Halves(bad=6)])
    line.fill(PLACES[0], 10)
    line.banks.start()
    line.banks.memory.aim(Target.DRAIN)
    line.until(lambda: line.banks.task.is_over)
    assert "topic one, partition 0, offset 6 could not be transformed" in str(line.banks.task.failure)
    assert [offset for _, _, offset, _ in line.records] == [0, 0, 2, 4, 4]
    line.until(lambda: line.kafka.group.get(PLACES[0]) == 6)


def test_a_partition_that_was_emptied_before_it_was_read_is_an_error() -> None:
    line = Line()
    line.fill(PLACES[0], 100)
    line.kafka.group[PLACES[0]] = 50
    line.kafka.firsts[PLACES[0]] = 100
    line.kafka.logs[PLACES[0]].clear()
    line.banks.start()
    with pytest.raises(ConnectError, match="topic one partition 0: the offset to go on at is gone"):
        line.drain()


def test_a_partition_that_ends_before_what_was_committed_is_an_error() -> None:
    line = Line()
    line.fill(PLACES[0], 10)
    line.kafka.group[PLACES[0]] = 1_000
    line.ours.remove(PLACES[0])  # whoever has it
    line.banks.start()
    with pytest.raises(ConnectError, match=r"topic one partition 0.*committed 1000, the partition ends at 10"):
        line.drain()


def test_a_partition_that_was_emptied_after_it_was_read_is_none() -> None:
    line = Line()
    line.fill(PLACES[0], 100)
    line.banks.start()
    line.until(lambda: len(line.records) == 100)
    line.kafka.firsts[PLACES[0]] = 100
    line.kafka.logs[PLACES[0]].clear()
    line.drain()
    assert line.kafka.group[PLACES[0]] == 100


def test_topics_that_were_not_told_are_asked_for_again() -> None:
    line = Line(Subscription(pattern="o.*"))
    line.fill(PLACES[1], 10)
    line.kafka.deaf = 3
    line.banks.start()
    line.drain()
    assert len(line.records) == 10


@pytest.mark.parametrize("subscription", [Subscription(topics=("one",)), Subscription(pattern="o.*")])
def test_a_topic_whose_news_is_late_is_read(subscription: Subscription) -> None:
    line = Line(subscription)
    line.fill(PLACES[0], 10)
    line.kafka.gone.update(PLACES)
    line.banks.start()
    line.banks.memory.aim(Target.DRAIN)
    begin_ns = line.clock.now_ns
    line.until(lambda: line.clock.now_ns - begin_ns > 1e9)
    line.kafka.gone.clear()
    line.drain()
    assert len(line.records) == 10


@pytest.mark.parametrize(
    ("subscription", "text"),
    [
        (Subscription(topics=("ordres",)), "no topic ordres: "),
        (Subscription(pattern="x.*"), "no topic that matches x.*: "),
    ],
)
def test_a_topic_that_is_not_there_is_named_in_a_warning_and_the_run_ends(
    subscription: Subscription, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(subscription)
    line.ours = []
    line.kafka.gone.update([("ordres", 0), ("ordres", 1)])
    line.banks.start()
    assert 1 < line.drain() < 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert text in caplog.records[0].getMessage()


def test_a_partition_that_is_deleted_before_its_end_is_an_error() -> None:
    line = Line()
    line.fill(PLACES[0], 100)
    line.banks.start()
    line.banks.memory.aim(Target.DRAIN)
    line.banks.step()
    line.kafka.gone.update(PLACES[:1])
    with pytest.raises(ConnectError, match="topic one partition 0 is gone"):
        line.drain()


def test_partitions_that_no_member_knows_are_made_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    line = Line()
    line.fill(PLACES[1], 10)
    line.ours = PLACES[:1]
    line.banks.start()
    line.banks.memory.aim(Target.DRAIN)
    line.until(lambda: line.consumer.refreshed == 2)
    line.consumer.decide(PLACES)
    line.drain()
    assert len(line.records) == 10
    assert [record.getMessage() for record in caplog.records] == ["at the end, waiting for 1 partitions: one-1"]


def test_a_commit_that_is_refused_for_long_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    line.fill(PLACES[0], 10)
    refusals: list[Mapping[Place, int]] = []
    line.banks.start()

    def refuse(offsets: Mapping[Place, int]) -> None:
        refusals.append(offsets)
        line.banks.pump.committed(offsets, RetriableError("the commit was refused"))

    line.consumer.commit = refuse  # type: ignore[method-assign]
    line.until(lambda: len(refusals) >= 400)
    assert 1 <= len(caplog.records) <= 2
    wait = gravest(line.banks.row)
    assert wait is not None and wait.cause == Cause.ACKNOWLEDGEMENTS


def test_a_sink_is_not_complete_while_a_commit_that_was_given_up_may_set_its_group_back() -> None:
    line = Line()
    line.fill(PLACES[0], 10)
    held: list[Mapping[Place, int]] = []
    line.banks.start()
    commit = line.consumer.commit

    def hold_first(offsets: Mapping[Place, int]) -> None:
        if held:
            commit(offsets)
        else:
            held.append(dict(offsets))

    line.consumer.commit = hold_first  # type: ignore[method-assign]
    line.banks.memory.aim(Target.DRAIN)
    line.until(lambda: line.kafka.group.get(PLACES[0]) == 10)
    for _ in range(100):
        line.clock.advance(0.02)
        line.banks.step()
    assert line.banks.row.get(Word.PUMP_PHASE) != Phase.COMPLETE
    commit(held[0])
    assert line.kafka.group[PLACES[0]] < 10
    line.drain()
    assert line.kafka.group[PLACES[0]] == 10


class SaysWhatChanged(CollectingSink):
    """Answers with what was put since the last flush, and nothing else."""

    said: dict[TopicPartition, int]

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        before = getattr(self, "said", {})
        self.said = dict(offsets)
        has_records = {(topic, partition) for topic, partition, _, _ in self.records}
        return {
            place: offset for place, offset in offsets.items() if place in has_records and before.get(place) != offset
        }


def test_a_task_that_says_only_what_changed_has_all_counted() -> None:
    line = Line(task=SaysWhatChanged)
    line.fill(PLACES[0], 10)
    line.banks.start()
    line.until(lambda: line.kafka.group.get(PLACES[0]) == 10)
    line.until(lambda: line.banks.row.measured(Stage.COMMIT, Measure.RECORDS) == 10)
    line.fill(PLACES[0], 10)
    line.drain()
    assert line.banks.row.measured(Stage.COMMIT, Measure.RECORDS) == 20


def test_very_many_partitions_with_long_names_are_paused_and_resumed() -> None:
    line = Line()
    line.ours = [("x" * 249, partition) for partition in range(300)]
    line.banks.start()
    line.until(lambda: len(line.banks.task.assignment()) == 300)
    line.banks.task.pause(line.banks.task.assignment())
    line.until(lambda: len(line.banks.pump._paused) == 300)
    line.banks.task.resume(line.banks.task.assignment())
    line.until(lambda: not line.banks.pump._paused)
