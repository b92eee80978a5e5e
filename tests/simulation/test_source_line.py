"""A source's two banks lose nothing and store nothing too early, whatever Kafka does and whoever dies when.

Each seed is a schedule: who steps, how time passes, what Kafka refuses, loses and delays, which bank dies before or
after which of its acts. A failing seed tells the command that repeats it.
"""

from __future__ import annotations

import pytest

from engine.api.errors import ConnectError, RecordTooLargeError
from tests.harness.fake_kafka import Unkindness
from tests.simulation.seeds import seeds, some
from tests.simulation.source_world import SourceLine


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost_and_nothing_stored_too_early_whoever_dies(seed: int) -> None:
    line = SourceLine(seed)
    line.steps.crash = line.rng.choice((0.0, 1 / 5_000, 1 / 800))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(
        refuse=line.rng.choice((0.0, 0.0, 0.02)),
        lose=line.rng.choice((0.0, 0.05)),
        outage=line.rng.choice((0.0, 0.0, 0.005)),
    )
    line.run()
    if isinstance(line.failure, ConnectError):
        assert line.kafka.unkind.refuse, line.failure  # the slow way met a refusal, and blamed the record for it
        return
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_batch_that_is_refused_whole_arrives_record_by_record(seed: int) -> None:
    line = SourceLine(seed)
    line.kafka.batch_max = 10
    line.run()
    assert line.failure is None
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_record_that_is_always_refused_is_named_and_nothing_after_it_is_stored(seed: int) -> None:
    line = SourceLine(seed)
    bad = line.rng.randrange(line.total)
    line.dropped.discard(bad)
    line.multiplied.discard(bad)
    line.store.expect_whole(bad)
    line.kafka.poison = {b"%d" % bad}
    line.run()
    assert isinstance(line.failure, RecordTooLargeError)
    assert "produce" in str(line.failure)
    assert line.store.next <= bad
    arrived = {int(value) for value in line.kafka.values()}
    assert set(range(line.store.next)) - line.dropped <= arrived


@pytest.mark.parametrize("seed", some())
def test_records_that_are_skipped_cost_themselves_only_and_are_counted_whoever_dies(seed: int) -> None:
    line = SourceLine(seed, bad=(0.02, 0.3, 1.0)[seed % 3], stages=seed % 4 // 2, letters=bool(seed % 8 // 4))
    line.steps.crash = line.rng.choice((0.0, 1 / 5_000, 1 / 800))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(lose=line.rng.choice((0.0, 0.05)), outage=line.rng.choice((0.0, 0.0, 0.005)))
    line.run()
    assert line.failure is None
    line.check_end()


@pytest.mark.parametrize("seed", some())
def test_records_that_kafka_refuses_are_skipped_and_all_others_arrive_whoever_dies(seed: int) -> None:
    line = SourceLine(seed, bad=0.05, refused=(0.02, 0.1, 0.5)[seed % 3], letters=bool(seed % 4 // 2))
    line.steps.crash = line.rng.choice((0.0, 1 / 5_000, 1 / 800))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(lose=line.rng.choice((0.0, 0.05)), outage=line.rng.choice((0.0, 0.0, 0.005)))
    line.run()
    assert line.failure is None
    line.check_end()
