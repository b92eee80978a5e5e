"""A small line loses nothing at whichever of its acts a bank dies: each act of each scenario is tried in turn.

A scenario is run once to count its acts, then once for each act, at which the bank that does it dies. What happens
afterwards, who sees it and when, follows from the scenario's seed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.fake_kafka import Unkindness
from tests.simulation.seeds import ACT_KEY, acts
from tests.simulation.sink_world import SinkLine
from tests.simulation.source_world import SourceLine

pytestmark = pytest.mark.slow


def a_source(kind: str, *, wants_each: bool = False) -> Callable[[], SourceLine]:
    def make() -> SourceLine:
        line = SourceLine(5, total=24, kind=kind, wants_each=wants_each)
        line.ends = 0.0
        line.kafka.unkind = Unkindness(lose=0.1)
        return line

    return make


def a_sink(seed: int, *, seeks: bool = False) -> Callable[[], SinkLine]:
    def make() -> SinkLine:
        line = SinkLine(seed, records=8)
        line.ends = 0.0
        line.is_difficult = line.seeks = seeks
        line.quiet_after = 12
        line.kafka.unkind = Unkindness(rebalance=0.1, torn=0.4)
        return line

    return make


SOURCE_ACTS = {
    f"{bank}: {when} {act}"
    for bank, act in (
        ("task", "publish data"),
        ("pump", "produce"),
        ("pump", "acknowledge"),
        ("pump", "release data"),
        ("pump", "store"),
    )
    for when in ("before", "after")
}
SINK_ACTS = {
    f"{bank}: {when} {act}"
    for bank, act in (
        ("pump", "publish data"),
        ("task", "put"),
        ("task", "release data"),
        ("task", "flush"),
        ("task", "publish up"),
        ("pump", "commit"),
    )
    for when in ("before", "after")
}
SCENARIOS: dict[str, tuple[Callable[[], SourceLine | SinkLine], set[str]]] = {
    "source of columns": (a_source("columns"), SOURCE_ACTS),
    "source with partitions": (a_source("columns with partitions"), SOURCE_ACTS),
    "source that hears of each": (a_source("records", wants_each=True), SOURCE_ACTS),
    "sink": (a_sink(4), SINK_ACTS),
    "sink that pauses and seeks": (a_sink(1, seeks=True), SINK_ACTS),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_bank_that_dies_at_any_of_its_acts_costs_nothing(scenario: str) -> None:
    make, expected = SCENARIOS[scenario]
    whole = make()
    whole.steps.names = []
    whole.run()
    whole.check_end()
    assert not whole.lives.deaths
    assert expected - set(whole.steps.names) == set()
    for act in acts(len(whole.steps.names)):
        line = make()
        line.steps.crash_at = act
        try:
            line.run()
            line.check_end()
        except BaseException:
            print(f"died at act {act}, {line.steps.died_at}; to repeat it, set {ACT_KEY}={act}")
            raise
        assert line.steps.died_at == whole.steps.names[act]
