"""Lines that fail together do not come back together: pauses differ, and turns are a stated time apart."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.line import Restarts
from engine.mending import How, Verdict, longest_pause_ms
from engine.supervisor.pacer import SPACING_NS, STARTS_PER_SECOND, Pacer

SECOND_NS = 1_000_000_000
POLICY = Restarts(count_max=5, backoff_ms=200, backoff_ms_max=10_000)


@given(st.lists(st.integers(0, SECOND_NS), min_size=1, max_size=300), st.integers(0, 2**62))
def test_no_second_has_more_turns_than_stated_and_none_comes_too_early(gaps: list[int], begin_ns: int) -> None:
    pacer = Pacer(Random(1))
    now_ns = begin_ns
    turns = []
    for gap in gaps:
        now_ns += gap
        turns.append(pacer.turn_ns(now_ns))
        assert turns[-1] >= now_ns
    assert all(later - earlier >= SPACING_NS for earlier, later in pairwise(turns))
    for turn in turns:
        assert sum(turn <= other < turn + SECOND_NS for other in turns) <= STARTS_PER_SECOND


def test_a_line_that_is_alone_does_not_wait() -> None:
    pacer = Pacer(Random(1))
    assert pacer.turn_ns(5 * SECOND_NS) == 5 * SECOND_NS
    assert pacer.turn_ns(6 * SECOND_NS) == 6 * SECOND_NS


def test_a_hundred_that_are_due_together_take_turns_of_ten_seconds_in_all() -> None:
    pacer = Pacer(Random(1))
    turns = [pacer.turn_ns(0) for _ in range(100)]
    assert turns == sorted(turns)
    assert turns[-1] == 99 * SPACING_NS


@pytest.mark.parametrize(("restarts", "longest_ms"), [(1, 200), (2, 400), (5, 3200), (7, 10_000), (10_000_000, 10_000)])
def test_pauses_double_up_to_their_bound_and_are_spread(restarts: int, longest_ms: int) -> None:
    pacer = Pacer(Random(1))
    pauses = [pacer.spread_ms(longest_pause_ms(POLICY, Verdict(How.BACKOFF, restarts))) for _ in range(200)]
    assert longest_ms / 2 <= min(pauses) < longest_ms * 0.6
    assert longest_ms * 0.9 < max(pauses) <= longest_ms
