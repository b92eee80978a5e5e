"""A bank that wakes beyond its lease produces, stores, puts, flushes and commits nothing any more.

The banks stand still where the clock moves and the supervisor, which the test plays, gives no lease meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pytest

from engine.api.record import SourceRecord, TopicPartition
from engine.api.task import SourceTask
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.pump.delivery import Delivery
from engine.shm.board import HeaderWord, Measure, Stage
from engine.shm.lease import Fenced
from tests.harness.banks import CollectingSink, SinkBanks, SourceBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer

LEASE_S = 6.0
BEYOND_S = 7.0
WITHIN_S = 5.0
STEPS_MAX = 10_000
PLACE = ("one", 0)


class Endless(SourceTask):
    """A record for each poll."""

    def __init__(self) -> None:
        self._next = 0

    def start(self, config: Mapping[str, str]) -> None:
        pass

    def poll(self) -> Sequence[SourceRecord]:
        number = self._next
        self._next += 1
        offset = {"next": number + 1}
        return [SourceRecord(topic="t", value=b"%d" % number, source_partition={"of": "numbers"}, source_offset=offset)]


class Store:
    """Counts how often it is written."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        self.writes += 1


class FlushingSink(CollectingSink):
    """Counts its flushes as well."""

    flushes = 0

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.flushes += 1


class Frozen:
    """What both kinds of lines have in common: time, and leases."""

    def __init__(self, commit_interval: float = 0.1) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(1), self.clock, partitions=1)
        self.timing = Timing(commit_interval=commit_interval, lease=LEASE_S)
        self.banks: SourceBanks | SinkBanks

    def renew(self) -> None:
        """Give the lease, as the supervisor does in each turn of its loop."""
        self.banks.memory.board.header[HeaderWord.LEASE_NS] = self.clock.now_ns

    def until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(STEPS_MAX):
            if is_so():
                return
            self.clock.advance(0.01)
            self.renew()
            self.banks.task.step()
            self.step_pump()
        raise AssertionError(f"not after {STEPS_MAX} steps")

    def step_pump(self) -> None:
        pump = self.banks.pump
        pump.step() if isinstance(self.banks, SourceBanks) else pump.step(0.0)  # type: ignore[call-arg]

    def count(self, stage: Stage) -> int:
        return self.banks.row.measured(stage, Measure.RECORDS)


class FrozenSource(Frozen):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        make = partial(FakeProducer, self.kafka)
        delivery = partial(Delivery, make, {}, wants_each=False, timeout_seconds=1.0, now_ns=self.clock.monotonic_ns)
        spec = line_spec("source", timing=self.timing)
        self.banks = SourceBanks(spec, delivery, self.store, Endless, self.clock)
        self.banks.start()
        self.until(lambda: self.store.writes > 1)


class FrozenSink(Frozen):
    def __init__(self, commit_interval: float = 0.1) -> None:
        super().__init__(commit_interval)
        self.task = FlushingSink([])
        for number in range(2_000):
            self.kafka.store(PLACE, b"%d" % number)
        spec = line_spec("sink", subscription=Subscription(topics=("one",)), timing=self.timing)
        self.banks = SinkBanks(spec, self._join, lambda: self.task, self.clock)
        self.banks.start()
        self.until(lambda: self.count(Stage.CONSUME) > 100)

    def _join(self, member: Member) -> FakeConsumer:
        consumer = FakeConsumer(self.kafka, member, ("one",))
        consumer.decide([PLACE])
        return consumer


def test_a_source_pump_that_wakes_beyond_its_lease_produces_and_stores_nothing() -> None:
    line = FrozenSource()
    line.banks.task.step()  # something to produce
    line.clock.advance(BEYOND_S)  # and it is time to store
    produced, stores = line.count(Stage.PRODUCE), line.store.writes
    for _ in range(3):
        with pytest.raises(Fenced, match=r"nothing was heard of the supervisor for 7\.0 s, the lease is 6 s"):
            line.step_pump()
    assert (line.count(Stage.PRODUCE), line.store.writes) == (produced, stores)


def test_a_source_pump_that_wakes_within_its_lease_goes_on() -> None:
    line = FrozenSource()
    stores = line.store.writes
    line.clock.advance(WITHIN_S)
    line.step_pump()
    line.until(lambda: line.store.writes > stores)


def test_a_sink_task_that_wakes_beyond_its_lease_puts_nothing() -> None:
    line = FrozenSink(commit_interval=60.0)
    assert line.count(Stage.CONSUME) > line.count(Stage.PUT), "there is something in the ring"
    before, put = len(line.task.records), line.count(Stage.PUT)
    line.clock.advance(BEYOND_S)
    with pytest.raises(Fenced):
        line.banks.task.step()
    assert (len(line.task.records), line.count(Stage.PUT)) == (before, put)


def test_a_sink_task_that_wakes_beyond_its_lease_flushes_nothing() -> None:
    line = FrozenSink()
    line.clock.advance(BEYOND_S)  # it is time to flush
    flushes = line.task.flushes
    with pytest.raises(Fenced):
        line.banks.task.step()
    line.banks.task.ask_to_stop()
    with pytest.raises(Fenced):
        line.banks.task.step()
    assert line.task.flushes == flushes


def test_a_sink_pump_that_wakes_beyond_its_lease_commits_nothing() -> None:
    line = FrozenSink()
    line.until(lambda: line.count(Stage.PUT) == 2_000)
    line.clock.advance(1.0)
    line.renew()
    line.banks.task.step()  # flushes, and the positions are on their way
    committed = line.kafka.group[PLACE]
    line.clock.advance(BEYOND_S)
    with pytest.raises(Fenced):
        line.step_pump()
    line.banks.pump.ask_to_stop()
    line.clock.advance(BEYOND_S)  # so long it would wait for the task
    with pytest.raises(Fenced):
        line.step_pump()
    assert line.kafka.group[PLACE] == committed < 2_000
