"""A sink's two banks lose nothing and commit nothing too early, whatever the group does and whoever dies when.

Another member of the group takes partitions over at any time, works, and gives them back. Each seed is a schedule. A
failing seed tells the command that repeats it.
"""

from __future__ import annotations

import pytest

from tests.harness.fake_kafka import Unkindness
from tests.simulation.seeds import seeds, some
from tests.simulation.sink_world import SinkLine


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost_and_nothing_committed_too_early_whoever_dies(seed: int) -> None:
    line = SinkLine(seed)
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
    line = SinkLine(seed)
    line.kafka.unkind = Unkindness(rebalance=0.05, rebalance_is_loss=0.0, torn=0.4)
    line.is_difficult = False
    line.retries = 0.0
    line.ends = 0.0
    line.diligence = 1.0
    line.run()
    assert len(line.outside.put) == len(set(line.outside.put))


@pytest.mark.parametrize("seed", seeds()[:40])
def test_a_revocation_ends_at_its_deadline_whatever_the_task_does(seed: int) -> None:
    line = SinkLine(seed)
    line.kafka.unkind = Unkindness(rebalance=0.05, rebalance_is_loss=0.0, torn=0.4)
    line.ends = 0.0
    line.diligence = 0.0
    line.run()


def line_with_bad_ones(seed: int) -> SinkLine:
    line = SinkLine(seed, bad=(0.02, 0.3, 1.0)[seed % 3], stages=seed % 2)
    line.steps.crash = line.rng.choice((0.0, 1 / 10_000, 1 / 1_500))
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(
        refuse=line.rng.choice((0.0, 0.05)),
        lose=line.rng.choice((0.0, 0.1)),
        rebalance=line.rng.choice((0.0, 0.01, 0.05)),
        torn=0.4,
        outage=line.rng.choice((0.0, 0.0, 0.005)),
    )
    return line


@pytest.mark.parametrize("seed", some())
def test_nothing_is_committed_past_a_bad_record_before_kafka_has_its_dead_letter(seed: int) -> None:
    line_with_bad_ones(seed).run()


@pytest.mark.parametrize("seed", some())
def test_nothing_is_committed_past_a_record_that_the_sink_reports_and_each_is_skipped_once(seed: int) -> None:
    line = line_with_bad_ones(seed)
    line.have_bad_ones_reported()
    line.run()
