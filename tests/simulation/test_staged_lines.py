"""With stage processes a line loses nothing, keeps its order and does nothing too early, whoever dies when.

The worlds are those of the other lines; between the task and its stage processes stand the real rings. A stage process
dies as banks do: in the middle of what it does, and the supervisor hears of it later.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from engine.api.errors import ConnectError, DataError
from engine.api.record import SourceRecord
from engine.api.transform import AnyRecord, Transform
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.shm.board import Phase, StageWord, Word
from engine.stages.transform import Step
from tests.harness.banks import CollectingSink, SinkBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka, Unkindness
from tests.simulation.seeds import seeds
from tests.simulation.sink_world import SinkLine
from tests.simulation.source_world import Numbers, SourceLine


@pytest.mark.parametrize("seed", seeds())
def test_a_source_with_stage_processes_loses_nothing_whoever_dies(seed: int) -> None:
    line = SourceLine(seed, stages=1 + seed % 3)
    line.steps.crash = line.rng.choice((0.0, 1 / 5_000, 1 / 800))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(
        refuse=line.rng.choice((0.0, 0.0, 0.02)),
        lose=line.rng.choice((0.0, 0.05)),
        outage=line.rng.choice((0.0, 0.0, 0.005)),
    )
    line.run()
    if isinstance(line.failure, ConnectError):
        assert line.kafka.unkind.refuse, line.failure
        return
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_source_that_nobody_disturbs_sends_each_record_once_and_all_stage_processes_have_worked(seed: int) -> None:
    line = SourceLine(seed, stages=2)
    line.ends = 0.0
    line.run()
    line.check_end()
    values = line.kafka.values()
    assert len(values) == len(set(values))
    row = line.banks.row
    worked = [row.stage_get(number, StageWord.BATCHES) for number in range(2)]
    assert 0 <= worked[0] - worked[1] <= 1
    assert sum(row.stage_get(number, StageWord.RECORDS) for number in range(2)) == line.total


@pytest.mark.parametrize("seed", seeds())
def test_a_sink_with_stage_processes_loses_nothing_whoever_dies(seed: int) -> None:
    line = SinkLine(seed, stages=1 + seed % 3)
    line.steps.crash = line.rng.choice((0.0, 1 / 10_000, 1 / 1_500))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(
        refuse=line.rng.choice((0.0, 0.1)),
        lose=line.rng.choice((0.0, 0.1)),
        rebalance=line.rng.choice((0.0, 0.01, 0.05)),
        torn=0.4,
        outage=line.rng.choice((0.0, 0.0, 0.005)),
    )
    line.run()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_partitions_that_move_while_nothing_fails_have_nothing_done_twice(seed: int) -> None:
    line = SinkLine(seed, stages=2)
    line.kafka.unkind = Unkindness(rebalance=0.05, rebalance_is_loss=0.0, torn=0.4)
    line.is_difficult = False
    line.retries = 0.0
    line.ends = 0.0
    line.diligence = 1.0
    line.run()
    assert len(line.outside.put) == len(set(line.outside.put))


@pytest.mark.parametrize("seed", seeds()[:20])
def test_a_source_that_has_thrown_its_last_batches_away_does_not_say_that_it_has_no_more(seed: int) -> None:
    line = SourceLine(seed, total=100, stages=1)
    line.ends = 0.0
    line.lives.start()
    task, dealing = line.banks.task, line.banks.task._dealing
    for _ in range(1000):
        line.clock.advance(0.01)
        line.lives.tend("task")
        if task._has_ended and dealing.is_under_way:
            break
        if dealing.is_full or task._is_waiting:
            line.lives.tend("stage 0")
    assert task._has_ended and dealing.is_under_way
    line.lives._is_dead("stage 0")
    assert line.lives.see()
    assert line.banks.row.get(Word.PUMP_PHASE) != Phase.ENDED
    line.run()
    line.check_end()


class RefuseOne(Transform):
    """Cannot take on one number."""

    def __init__(self, bad: int) -> None:
        self._bad = bad

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if int(record.value) == self._bad:
            raise DataError("not this one")
        return record


@pytest.mark.parametrize("seed", seeds()[:40])
def test_nothing_goes_on_past_a_record_that_a_stage_process_cannot_take_on(seed: int) -> None:
    line = SourceLine(seed, stages=1 + seed % 3)
    line.ends = 0.0
    bad = line.rng.randrange(line.total)
    line.dropped.discard(bad)
    line.multiplied.discard(bad)
    line.store.expect_whole(bad)
    line.banks._chain = [Step(RefuseOne(bad)), *line.banks._chain]
    line.run()
    assert isinstance(line.failure, DataError)
    assert "could not be transformed: not this one" in str(line.failure)
    assert f"{{'next': {bad + 1}}}" in str(line.failure)
    assert {int(value) for value in line.kafka.values()} == set(range(bad)) - line.dropped
    assert line.store.next <= bad


class Own:
    """A value of a class that no schema has, so that it cannot cross."""

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __int__(self) -> int:
        return int(self.value)


class Wrap(Transform):
    """Makes such values of some numbers."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return replace(record, value=Own(record.value)) if int(record.value) % 30 == 7 else record


class Unwrap(Transform):
    """Takes what is in them."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return replace(record, value=record.value.value) if isinstance(record.value, Own) else record


def sink_of_100(stages: int, chain: Transform) -> tuple[SinkBanks, FakeKafka, list[tuple[str, int, int, Any]]]:
    """A sink that had time to put them all; and what it has put."""
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(1), clock, partitions=1)
    put: list[tuple[str, int, int, Any]] = []
    spec = line_spec(
        "sink",
        subscription=Subscription(topics=("one",)),
        timing=Timing(commit_interval=0.1),
        stage_processes=stages,
        fetch_records_max=10,
    )

    def join(member: Member) -> FakeConsumer:
        consumer = FakeConsumer(kafka, member, ("one",))
        consumer.decide([("one", 0)])
        return consumer

    banks = SinkBanks(spec, join, lambda: CollectingSink(put), clock, chain=[chain])
    for number in range(100):
        kafka.store(("one", 0), b"%d" % number)
    banks.start()
    for _ in range(2000):
        clock.advance(0.02)
        banks.step()
    return banks, kafka, put


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_sink_has_all_before_a_record_that_a_stage_process_cannot_take_on(stages: int) -> None:
    banks, kafka, put = sink_of_100(stages, RefuseOne(37))
    assert [offset for _, _, offset, _ in put] == list(range(37))
    why = "topic one, partition 0, offset 37 could not be transformed: not this one"
    assert why in str(banks.task.failure)
    assert isinstance(banks.task.failure, DataError)
    assert kafka.group["one", 0] == 37


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_sink_gets_what_cannot_cross_as_it_is_and_it_is_told_once(
    stages: int, caplog: pytest.LogCaptureFixture
) -> None:
    banks, _, put = sink_of_100(stages, Wrap())
    assert banks.task.failure is None
    assert [offset for _, _, offset, _ in put] == list(range(100))
    assert [int(value) for _, _, _, value in put] == list(range(100))
    assert {type(value) for _, _, offset, value in put if offset % 30 == 7} == {Own}
    told = [record.getMessage() for record in caplog.records if "cannot cross" in record.getMessage()]
    assert 1 <= len(told) <= stages
    assert "a value of tests.simulation.test_staged_lines.Own cannot cross between" in told[0]


@pytest.mark.parametrize("seed", seeds()[:20])
def test_what_a_source_has_polled_and_cannot_cross_takes_its_turn_with_the_rest(seed: int) -> None:
    line = SourceLine(seed, kind="records", stages=1 + seed % 3, wants_each=False)
    line.banks._chain = [Step(Unwrap()), *line.banks._chain]
    sound = Numbers._record

    def record(self: Numbers, number: int) -> SourceRecord:
        made = sound(self, number)
        return replace(made, value=Own(made.value)) if number % 30 == 7 else made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Numbers, "_record", record)
        line.run()
    line.check_end()
