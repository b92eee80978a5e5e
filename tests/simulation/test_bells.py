"""A task that sleeps until its bell rings is woken by what its pump has to say."""

from __future__ import annotations

import random
from functools import partial

from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.pump.delivery import Delivery
from engine.pump.source import IDLE_SECONDS
from tests.harness.banks import CollectingSink, SinkBanks, SourceBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer

STEPS_MAX = 1_000
PLACE = ("t", 0)


class Empty(SourceTask):
    """Has nothing: no answer of Kafka's wakes anybody."""

    def start(self, config: object) -> None:
        pass

    def poll(self) -> None:
        self.context.end()


class Slow(SourceTask):
    """Has one record, after a while."""

    def start(self, config: object) -> None:
        self.given: list[SourceRecord] = []

    def poll(self) -> list[SourceRecord]:
        given, self.given = self.given, []
        return given


class Forgetful:
    """A store that nobody reads."""

    def write(self, connector: str, offsets: object) -> None:
        pass


def test_a_task_is_woken_by_the_last_word_of_its_pump() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(1), clock)
    make = partial(
        Delivery, partial(FakeProducer, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns
    )
    banks = SourceBanks(line_spec("source", is_bulk=True), make, Forgetful(), Empty, clock)
    banks.start()
    while banks.task.step() == 0:
        pass  # until it has said all and waits for the answer
    bell = banks.task._side.bell
    for _ in range(STEPS_MAX):
        bell.wait(0)
        clock.advance(0.001)
        banks.pump.step()
        if banks.pump.is_over:
            break
    assert bell.wait(0)
    banks.task.step()
    assert banks.task.is_over


def test_a_sleeping_pump_is_woken_by_a_record() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(1), clock)
    make = partial(
        Delivery, partial(FakeProducer, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns
    )
    task = Slow()
    banks = SourceBanks(line_spec("source"), make, Forgetful(), lambda: task, clock)
    banks.start()
    while banks.pump.step() < IDLE_SECONDS:
        clock.advance(IDLE_SECONDS)
    bell = banks.pump._side.bell
    bell.wait(0)
    task.given.append(SourceRecord(topic="t", value=b"late", partition=0))
    banks.task.step()
    assert not bell.wait(0)
    banks.task.step()  # what was polled is written
    assert bell.wait(0)
    assert banks.pump.step() < IDLE_SECONDS


def test_a_sleeping_task_is_woken_to_let_go_of_its_partitions() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(1), clock, partitions=1)
    rung: list[bool] = []

    def make_consumer(member: Member) -> FakeConsumer:
        consumer = FakeConsumer(kafka, member, ("t",))
        consumer.decide([PLACE])
        return consumer

    def wait(seconds: float) -> None:
        clock.advance(seconds)
        rung.append(banks.task._side.bell.wait(0))
        banks.task.step()

    spec = line_spec("sink", subscription=Subscription(topics=("t",)), timing=Timing(revocation_timeout=1.0))
    banks = SinkBanks(spec, make_consumer, lambda: CollectingSink([]), clock, wait)
    banks.start()
    for _ in range(STEPS_MAX):
        banks.step()
        if banks.task.assignment():
            break
    while banks.task.step() == 0:
        pass  # until it has nothing to do
    banks.task._side.bell.wait(0)
    banks.pump.revoked([PLACE])
    assert rung[0]
    assert not banks.task.assignment()
