"""A source waits for what is outside: nothing is lost by it, nothing grows, and it goes on when it can.

Each line is stepped with a fake Kafka and a store that fail when they are told to, on a virtual clock.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.bank import Bank, step
from engine.config.line import Timing
from engine.pump.delivery import Delivery
from engine.shm.board import Measure, Phase, Stage, Target, Word
from engine.shm.waits import Cause, OutsideError, gravest
from tests.harness.banks import SourceBanks, VirtualClock, line_spec
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer

RECORDS = 3_000
STEPS_MAX = 200_000
#: More than a ring of 64 KiB and what is on its way hold of records of 100 bytes.
BETWEEN_MAX = 2_000
FOR_LONG_NS = 2**62


class Store:
    """Keeps the last offset; or cannot, for now."""

    def __init__(self) -> None:
        self.is_full = False
        self.tries = 0
        self.next = 0

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        if self.is_full:
            self.tries += 1
            raise OutsideError("the offset store cannot be written: database or disk is full", Cause.STORE)
        for _, offset in offsets:
            self.next = json.loads(offset)["next"]


class Numbers(SourceTask):
    """RECORDS numbers in polls of 10."""

    def start(self, config: Mapping[str, str]) -> None:
        self._next = int((self.context.offset({}) or {"next": 0})["next"])

    def poll(self) -> list[SourceRecord]:
        begin, self._next = self._next, min(RECORDS, self._next + 10)
        if self._next == RECORDS:
            self.context.end()
        return [
            SourceRecord(topic="t", value=b"%0100d" % number, source_partition={}, source_offset={"next": number + 1})
            for number in range(begin, self._next)
        ]


class Line:
    """A source line; its banks are stepped in turn."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(seed), self.clock)
        self.store = Store()
        timing = Timing(commit_interval=0.05, broker_timeout=1.0)
        spec = line_spec("source", is_bulk=True, timing=timing)
        delivery = partial(
            Delivery,
            partial(FakeProducer, self.kafka),
            {},
            wants_each=False,
            timeout_seconds=1.0,
            now_ns=self.clock.monotonic_ns,
        )
        self.banks = SourceBanks(spec, delivery, self.store, Numbers, self.clock)
        self.banks.start()

    @property
    def is_over(self) -> bool:
        return self.banks.task.is_over and self.banks.pump.is_over

    @property
    def cause(self) -> Cause:
        wait = gravest(self.banks.row)
        return Cause.NOTHING if wait is None else wait.cause

    def until(self, condition: Any, step_seconds: float = 0.002) -> None:
        for _ in range(STEPS_MAX):
            if condition():
                return
            self.clock.advance(step_seconds)
            banks: list[Bank] = [self.banks.task, self.banks.pump]
            for bank in banks:
                if not bank.is_over:
                    step(bank)
        raise AssertionError(f"not within {STEPS_MAX} steps; it waits for {self.cause.label}")

    def for_seconds(self, seconds: float) -> None:
        end_ns = self.clock.now_ns + int(seconds * 1e9)
        self.until(lambda: self.clock.now_ns >= end_ns, 0.05)

    def count(self, stage: Stage) -> int:
        return self.banks.row.measured(stage, Measure.RECORDS)

    def finish(self) -> None:
        """Step to the end; all is in Kafka and stored."""
        self.until(lambda: self.is_over)
        assert self.banks.task.failure is None and self.banks.pump.failure is None
        assert self.banks.row.get(Word.PUMP_PHASE) == Phase.ENDED
        assert set(self.kafka.values()) == {b"%0100d" % number for number in range(RECORDS)}
        assert self.store.next == RECORDS
        assert self.cause == Cause.NOTHING


def test_a_store_that_cannot_be_written_holds_the_source_back_until_it_can() -> None:
    line = Line()
    line.until(lambda: line.count(Stage.STORE) >= 100)
    line.store.is_full = True
    line.until(lambda: line.cause == Cause.STORE)
    line.for_seconds(60)
    stored, polled = line.store.next, line.count(Stage.POLL)
    assert line.count(Stage.STORE) == stored
    assert polled - stored < BETWEEN_MAX and polled < RECORDS
    assert line.store.tries < 25, "it does not hammer a disk that is full"
    assert not line.is_over
    line.store.is_full = False
    line.finish()
    assert len(line.kafka.values()) == RECORDS, "nothing was sent twice"


def test_a_source_that_has_no_more_waits_for_its_store_before_it_has_ended() -> None:
    line = Line()
    line.until(lambda: line.banks.row.get(Word.TASK_PHASE) == Phase.ENDED)
    line.store.is_full = True
    line.for_seconds(60)
    assert line.cause == Cause.STORE
    assert line.banks.row.get(Word.PUMP_PHASE) != Phase.ENDED
    line.store.is_full = False
    line.finish()


def test_a_source_that_is_stopped_while_its_store_is_full_ends_at_once_and_says_what_it_waited_for() -> None:
    line = Line()
    line.until(lambda: line.count(Stage.STORE) >= 100)
    line.store.is_full = True
    line.until(lambda: line.cause == Cause.STORE)
    line.banks.memory.aim(Target.STOP)
    line.banks.pump.ask_to_stop()
    line.until(lambda: line.banks.pump.is_over)
    assert isinstance(line.banks.pump.failure, OutsideError)
    assert line.cause == Cause.STORE
    assert line.store.next <= line.count(Stage.ACKNOWLEDGE)


@pytest.mark.parametrize("seed", range(3))
def test_a_kafka_that_is_away_from_the_beginning_is_waited_for(seed: int) -> None:
    line = Line(seed)
    line.kafka.down_until_ns = FOR_LONG_NS
    line.for_seconds(120)
    assert line.cause == Cause.BROKER
    assert line.count(Stage.POLL) < BETWEEN_MAX
    assert line.count(Stage.PRODUCE) == 0
    line.kafka.down_until_ns = 0
    line.finish()


@pytest.mark.parametrize("seed", range(3))
def test_a_kafka_that_falls_silent_is_named_and_waited_for(seed: int) -> None:
    line = Line(seed)
    line.until(lambda: line.count(Stage.ACKNOWLEDGE) >= 100)
    line.kafka.down_until_ns = FOR_LONG_NS
    line.for_seconds(60)
    assert line.cause == Cause.ACKNOWLEDGEMENTS
    assert line.count(Stage.POLL) - line.count(Stage.ACKNOWLEDGE) < BETWEEN_MAX
    line.kafka.down_until_ns = 0
    line.finish()
    assert len(line.kafka.values()) == RECORDS, "nothing was sent twice"


@pytest.mark.parametrize("seed", range(3))
def test_a_topic_that_is_denied_is_asked_for_until_it_is_allowed_and_nothing_is_sent_meanwhile(seed: int) -> None:
    line = Line(seed)
    line.until(lambda: line.count(Stage.ACKNOWLEDGE) >= 100)
    line.kafka.is_denied = True
    line.until(lambda: line.cause == Cause.DENIED)
    sent = line.count(Stage.PRODUCE)
    line.for_seconds(120)
    assert line.cause == Cause.DENIED
    assert line.count(Stage.PRODUCE) == sent
    line.kafka.is_denied = False
    line.finish()
