"""What counts as growth: a leak of one thing at a restart is seen, a saw and noise are none."""

from __future__ import annotations

import random

import pytest

from tests.soak.run import COUNT_LIMIT, LIMITS
from tests.soak.slope import Slope, means_of_cycles, slope

CYCLE_S = 240.0
HOUR_S = 3600.0


def hour(leak_per_minute: float, saw: float, noise: float) -> list[tuple[int, float, float]]:
    """Samples of an hour: a figure of 100 that a restart every 4 minutes takes back by `saw`, and what leaks."""
    rng = random.Random(1)
    return [
        (
            int(at // CYCLE_S),
            at,
            100 + saw * (at % CYCLE_S) / CYCLE_S + rng.gauss(0, noise) + leak_per_minute * (at // 60),
        )
        for at in map(float, range(0, int(HOUR_S), 10))
    ]


def of(samples: list[tuple[int, float, float]], limit: float) -> Slope:
    return slope(means_of_cycles(samples, left_out=2), limit)


def test_one_descriptor_left_open_by_each_restart_grows() -> None:
    seen = of(hour(1, saw=3, noise=1), COUNT_LIMIT)
    assert seen.verdict == "grows"
    assert seen.per_hour == pytest.approx(60, abs=2)


def test_one_descriptor_left_open_by_one_kind_of_restart_grows() -> None:
    assert of(hour(1 / 4, saw=3, noise=1), COUNT_LIMIT).verdict == "grows"


def test_a_hundred_kilobytes_left_by_each_restart_grow() -> None:
    leak = of(hour(100_000, saw=20e6, noise=1e6), LIMITS["memory"])
    assert leak.verdict == "grows"


def test_a_saw_of_restarts_is_no_growth() -> None:
    assert of(hour(0, saw=20, noise=0), COUNT_LIMIT).verdict == "nil"
    assert of(hour(0, saw=20e6, noise=1e6), LIMITS["memory"]).verdict == "nil"


def test_noise_that_could_hide_a_leak_is_not_taken_for_nil() -> None:
    assert of(hour(0, saw=0, noise=8), COUNT_LIMIT).verdict == "not sure"


def test_two_cycles_prove_nothing() -> None:
    assert slope([(0, 1), (1, 1)], COUNT_LIMIT).verdict == "not sure"
