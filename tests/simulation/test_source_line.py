"""A source's two banks lose nothing and store nothing too early, whatever Kafka does and whoever dies when.

Each seed is a schedule: who steps, how time passes, what Kafka refuses, loses and delays, which bank dies in the middle
of what. A failing seed is repeated by MILLRACE_SEEDS=SEED-SEED.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from functools import partial

import pytest

from engine.api.batch import SourceBatch
from engine.api.errors import ConnectError, RecordTooLargeError, RetriableError
from engine.api.record import SourceRecord
from engine.api.task import UNKNOWN_OFFSET, Polled, RecordMetadata, SourceTask
from engine.api.transform import AnyRecord, Transform
from engine.bank import Bank
from engine.config.line import Timing
from engine.offsets.store import encode_part
from engine.pump.delivery import Delivery
from engine.shm.board import Measure, Stage, Target, Word
from tests.harness.banks import SourceBanks, VirtualClock, line_spec
from tests.harness.fake_kafka import Crash, FakeKafka, FakeProducer, Unkindness
from tests.simulation.seeds import seeds

PARTITIONS = 4
STEPS_MAX = 30_000
SOURCE = {"source": "numbers"}
KINDS = ("columns", "columns with partitions", "columns with keys", "records", "several batches")


class Store:
    """The offset store; looks, whenever it is written, whether all before the offset is in Kafka."""

    def __init__(self, kafka: FakeKafka, is_dropped: set[int]) -> None:
        self._kafka = kafka
        self._arrived: set[int] = set(is_dropped)
        self._prefix = 0
        self.next = 0
        kafka.on_store = lambda _, value: self._arrived.add(int(value))

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        self._kafka.crash_perhaps()
        ((source, offset),) = offsets
        assert source == encode_part(SOURCE)
        wanted = json.loads(offset)["next"]
        while self._prefix in self._arrived:
            self._prefix += 1
        assert wanted <= self._prefix, f"{wanted} is stored, {self._prefix} is not in Kafka"
        assert wanted >= self.next, "an offset goes back"
        self.next = wanted
        self._kafka.crash_perhaps()


class Numbers(SourceTask):
    """0, 1, 2, ... in batches of all kinds."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._rng = line.rng
        self._next = line.store.next
        self.answered: list[int] = []

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Polled:
        self._line.kafka.crash_perhaps()
        if self._rng.random() < 0.05:
            raise RetriableError("later")
        if self._rng.random() < 0.1:
            return None
        begin = self._next
        self._next = min(self._line.total, begin + self._rng.randint(1, 60))
        if self._next == self._line.total:
            self.context.end()
        if begin == self._next:
            return None
        if self._line.kind == "records":
            return [self._record(number) for number in range(begin, self._next)]
        if self._line.kind == "several batches":
            middle = (begin + self._next) // 2
            return [self._batch(first, end) for first, end in ((begin, middle), (middle, self._next)) if first < end]
        return self._batch(begin, self._next)

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        number = int(record.value)
        self.answered.append(number)
        if metadata is None:
            assert number in self._line.dropped
        else:
            log = self._line.kafka.logs[metadata.topic, metadata.partition]
            offsets = [offset for offset, value in log if value == record.value]
            assert metadata.offset in offsets or (metadata.offset == UNKNOWN_OFFSET and offsets)

    def _record(self, number: int) -> SourceRecord:
        return SourceRecord(
            topic="even" if number % 2 == 0 else "odd",
            value=b"%d" % number,
            partition=number % PARTITIONS,
            source_partition=SOURCE,
            source_offset={"next": number + 1},
        )

    def _batch(self, begin: int, end: int) -> SourceBatch:
        numbers = range(begin, end)
        return SourceBatch(
            topic="all",
            values=[b"%d" % number for number in numbers],
            keys=[b"%d" % (number % 11) for number in numbers] if self._line.kind == "columns with keys" else None,
            partitions=[number % PARTITIONS for number in numbers] if "partitions" in self._line.kind else None,
            source_partition=SOURCE,
            source_offsets=[{"next": number + 1} for number in numbers],
        )


class DropSome(Transform):
    """Drops the numbers it is told."""

    def __init__(self, dropped: set[int]) -> None:
        self._dropped = dropped

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return None if int(record.value) in self._dropped else record


class Line:
    """A source line with everything around it, run on one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.clock = VirtualClock()
        self.kafka = FakeKafka(rng, self.clock, partitions=PARTITIONS)
        self.total = rng.randint(1, 600)
        self.kind = rng.choice(KINDS)
        self.dropped = {n for n in range(self.total) if rng.random() < 0.2} if rng.random() < 0.3 else set()
        self.store = Store(self.kafka, self.dropped)
        self.wants_each = rng.random() < 0.3
        self.is_idempotent = rng.random() < 0.8  # else the user has switched it off
        self.producers: list[FakeProducer] = []
        self.deaths = 0
        self.failure: Exception | None = None
        spec = line_spec(
            "source",
            wants_commit_record=self.wants_each,
            is_bulk=True,
            ring_bytes=rng.choice((32, 64, 256)) * 1024,
            timing=Timing(commit_interval=0.05, retry_backoff=0.02),
        )
        delivery = partial(
            Delivery,
            self._producer,
            {"enable.idempotence": self.is_idempotent},
            wants_each=self.wants_each,
            timeout_seconds=1.0,
            now_ns=self.clock.monotonic_ns,
        )
        chain = [DropSome(self.dropped)] if self.dropped else []
        self.banks = SourceBanks(spec, delivery, self.store, lambda: Numbers(self), self.clock, chain)

    def _producer(self, settings: object) -> FakeProducer:
        self.producers.append(FakeProducer(self.kafka, settings))  # type: ignore[arg-type]
        return self.producers[-1]

    def run(self) -> None:
        """All lives of the line, until it has ended in order."""
        self._start()
        for _ in range(STEPS_MAX):
            if self._is_over():
                break
            self.clock.advance(self.rng.choice((0.0, 0.0, 0.001, 0.02)))
            try:
                self._step()
                if self.failure is None and self.rng.random() < 0.002:
                    self._end_somehow()
                    if self.failure is not None:
                        return
                    self._start()
            except Crash:
                self._die()
                self._start()
            self.check()
        else:
            raise AssertionError(f"not at the end after {STEPS_MAX} steps")

    def _start(self) -> None:
        self.banks.memory.aim(Target.RUN)
        while True:
            try:
                self.banks.start()
                return
            except Crash:
                self._die()

    def _is_over(self) -> bool:
        return self.banks.task.is_over and self.banks.pump.is_over

    def _step(self) -> None:
        banks: list[Bank] = [self.banks.task, self.banks.pump]
        for bank in self.rng.sample(banks, self.rng.randint(1, 2)):
            self._tend(bank)

    def _tend(self, bank: Bank) -> None:
        """Step a bank as its process does, and see to the other when it has failed, as the supervisor does."""
        if bank.is_over:
            return
        try:
            bank.step()
        except ConnectError as error:
            if bank.failure is not None:
                raise
            bank.fail(error)
            self.failure = error
        if bank is self.banks.pump and bank.is_over and bank.failure is not None:
            self.banks.row.set(Word.PUMP_PID, 0)
            self.banks.task.ask_to_stop()

    def _end_somehow(self) -> None:
        way = self.rng.choice(("kill both", "kill the task process", "kill the pump", "stop"))
        if way == "kill the task process":
            self.banks.row.set(Word.TASK_PID, 0)
            self.banks.pump.ask_to_stop()
            self._step_until_over(self.banks.pump)
        elif way == "kill the pump":
            self.banks.task.ask_to_stop()
            for _ in range(self.rng.randint(0, 20)):
                self._tend(self.banks.task)
        elif way == "stop":
            self.banks.memory.aim(Target.STOP)
            self._step_until_over(self.banks.task, self.banks.pump)
        self._die()

    def _step_until_over(self, *banks: Bank) -> None:
        for _ in range(STEPS_MAX):
            if all(bank.is_over for bank in banks):
                return
            self.clock.advance(0.001)
            for bank in banks:
                self._tend(bank)
        raise AssertionError(f"not over after {STEPS_MAX} steps")

    def _die(self) -> None:
        self.deaths += 1
        for producer in self.producers:
            producer.die()
        self.producers.clear()
        self.banks.crash()

    def check(self) -> None:
        """What holds after every step."""
        row = self.banks.row
        stored, acknowledged, produced = (
            row.measured(stage, Measure.RECORDS) for stage in (Stage.STORE, Stage.ACKNOWLEDGE, Stage.PRODUCE)
        )
        assert stored <= acknowledged <= produced
        assert produced <= row.measured(Stage.CONVERT, Measure.RECORDS) + row.may_be_repeated()

    def check_end(self) -> None:
        """What holds once it is over."""
        values = [int(value) for value in self.kafka.values()]
        wanted = set(range(self.total)) - self.dropped
        assert set(values) == wanted, f"missing: {sorted(wanted - set(values))[:10]}"
        if self.is_idempotent or not self.kafka.unkind.lose:
            assert len(values) - len(wanted) <= self.banks.row.may_be_repeated()
        if not self.deaths and len(values) == len(wanted):
            assert self.banks.row.measured(Stage.STORE, Measure.RECORDS) == len(wanted)
        # Without idempotence nothing keeps the requests after a refused one from being stored before it.
        is_refused = bool(self.kafka.unkind.refuse or self.kafka.batch_max)
        has_order = "keys" in self.kind or "partitions" in self.kind or self.kind == "records"
        if has_order and (self.is_idempotent or not is_refused):
            for log in self.kafka.logs.values():
                firsts = list(dict.fromkeys(int(value) for _, value in log))
                assert firsts == sorted(firsts), "first occurrences are out of order"


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost_and_nothing_stored_too_early_whoever_dies(seed: int) -> None:
    line = Line(seed)
    line.kafka.unkind = Unkindness(
        crash=line.rng.choice((0.0, 0.002, 0.01)),
        refuse=line.rng.choice((0.0, 0.0, 0.02)),
        lose=line.rng.choice((0.0, 0.05)),
    )
    line.run()
    if isinstance(line.failure, ConnectError):
        assert line.kafka.unkind.refuse, line.failure  # the slow way met a refusal, and blamed the record for it
        return
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_batch_that_is_refused_whole_arrives_record_by_record(seed: int) -> None:
    line = Line(seed)
    line.kafka.batch_max = 10
    line.run()
    assert line.failure is None
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_record_that_is_always_refused_is_named_and_nothing_after_it_is_stored(seed: int) -> None:
    line = Line(seed)
    bad = line.rng.randrange(line.total)
    line.dropped.discard(bad)
    line.store._arrived.discard(bad)
    line.kafka.poison = {b"%d" % bad}
    line.run()
    assert isinstance(line.failure, RecordTooLargeError)
    assert "produce" in str(line.failure)
    assert line.store.next <= bad
    arrived = {int(value) for value in line.kafka.values()}
    assert set(range(line.store.next)) - line.dropped <= arrived
