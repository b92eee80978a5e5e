"""A record that ends the process that works on it is found over its lives, wherever it does so, and costs itself alone.

It becomes a dead letter, and no offset is stored or committed past it before that; all others arrive, and are counted.
"""

from __future__ import annotations

import pytest

from tests.harness.fake_kafka import Unkindness
from tests.simulation.seeds import seeds
from tests.simulation.sink_world import SinkLine
from tests.simulation.source_world import SourceLine


class DeadlyLine(SourceLine):
    """Its bad records kill."""

    kills = True


@pytest.mark.parametrize("seed", seeds()[::41])
def test_a_source_skips_what_kills_and_nothing_else(seed: int) -> None:
    line = DeadlyLine(seed, bad=(0.005, 0.02, 0.1)[seed % 3], stages=seed % 4 // 2, letters=True)
    line.lives.tells_kinds = True
    line.ends = 0.0
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.kafka.unkind = Unkindness(lose=line.rng.choice((0.0, 0.05)))
    line.run()
    assert line.failure is None
    line.check_end()


@pytest.mark.parametrize("seed", seeds()[::41])
def test_a_sink_skips_what_kills_and_nothing_else(seed: int) -> None:
    kills_in = ("convert", "put", "flush")[seed % 3]
    line = SinkLine(seed, records=60, bad=(0.005, 0.02)[seed % 2], stages=seed % 4 // 2, kills_in=kills_in)
    line.lives.tells_kinds = True
    line.ends = line.retries = 0.0
    line.is_difficult = False
    line.steps.turn = line.rng.choice((0.0, 1 / 200, 1 / 20))
    line.run()
