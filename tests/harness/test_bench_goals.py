"""A line of the benchmark goes on until its rounds show what is claimed of it, and its table claims no more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.line import latency
from bench.line.__main__ import ALL_LINES, _options
from bench.line.goals import Goal, rounds_of
from bench.line.results import CPU, MEMORY, RATE, Result
from bench.line.sides import CONNECT, MILLRACE
from bench.line.table import markdown

LINE = "sink-string"  # twice Connect's rate, half its CPU, under 200 MB
TWICE = Goal(RATE, 2.0, CONNECT, is_least=True)
HALF = Goal(CPU, 0.5, CONNECT)
AGE = latency.LINES[0]


def round_of(number: int, ratio: float, cpu: float = 0.4) -> list[Result]:
    """Both sides' runs, the peer's figures other ones in each round."""
    rate, used = 1_000.0 * number, 2.0 + number
    return [
        Result(line=LINE, side=CONNECT, round=number, records=1, rate_per_s=rate, cpu_us_per_record=used),
        Result(
            line=LINE, side=MILLRACE, round=number, records=1, rate_per_s=rate * ratio, cpu_us_per_record=used * cpu,
            peak_pss_mb=140.0,
        ),
    ]  # fmt: skip


def rounds_with(*ratios: float, cpu: float = 0.4) -> list[Result]:
    return [run for number, ratio in enumerate(ratios, 1) for run in round_of(number, ratio, cpu)]


def ages(*p50: tuple[float, float]) -> list[Result]:
    return [
        Result(line=AGE.name, side=side, round=number, records=1, age_p50_ms=age, age_p99_ms=10.0 * age)
        for number, both in enumerate(p50, 1)
        for side, age in zip((CONNECT, MILLRACE), both, strict=True)
    ]


def cells(results: Sequence[Result], title: str) -> list[str]:
    (row,) = [line for line in markdown(results, 1).splitlines() if line.startswith(f"| {title} |")]
    return row.strip("| ").split(" | ")


@pytest.mark.parametrize(
    ("ratios", "is_reached", "is_shown"),
    [
        ([2.5], True, False),
        ([2.5, 2.6], True, False),
        ([2.5, 2.6, 2.0], True, True),
        ([2.5, 2.6, 1.9], True, False),
        ([2.5, 2.6, 1.9, 2.5, 2.5], True, False),
        ([2.5, 2.6, 1.9, 2.5, 2.5, 2.2], True, True),
        ([2.5, 2.6, 1.9, 2.5, 2.5, 1.9], True, False),
        ([2.5, 2.6, 1.9, 2.5, 2.5, 1.9, 2.5, 2.5, 2.5], True, True),
        ([1.8, 2.6, 1.9], False, False),
        ([1.8, 1.7, 1.9], False, True),
        ([1.7, 1.9, 2.0, 2.05], False, False),
    ],
)
def test_fewer_rounds_than_whole_threes_of_them_may_say_otherwise_than_the_median(
    ratios: list[float], is_reached: bool, is_shown: bool
) -> None:
    verdict = TWICE.verdict(rounds_with(*ratios), LINE)
    assert verdict is not None
    assert (verdict.is_reached, verdict.is_shown, verdict.rounds) == (is_reached, is_shown, len(ratios))


def test_a_cost_is_to_be_at_most_its_bound() -> None:
    cheap, dear = (HALF.verdict(rounds_with(2.5, 2.5, 2.5, cpu=cpu), LINE) for cpu in (0.5, 0.6))
    assert cheap is not None
    assert dear is not None
    assert (cheap.is_reached, cheap.is_shown) == (True, True)
    assert (dear.is_reached, dear.is_shown) == (False, True)


def test_nothing_is_said_of_a_goal_whose_peer_was_not_measured_and_one_without_a_peer_stands_alone() -> None:
    alone = [run for run in rounds_with(2.5, 2.5, 2.5) if run.side == MILLRACE]
    assert TWICE.verdict(alone, LINE) is None
    memory = Goal(MEMORY, 200.0).verdict(alone, LINE)
    assert memory is not None
    assert memory.is_shown


@pytest.mark.parametrize(
    ("ratios", "rounds"),
    [
        ([2.5, 2.5, 2.5, 0.1], 3),  # shown
        ([1.5, 1.5, 1.5, 9.9], 3),  # missed, as surely
        ([2.5, 1.9, 2.5, 2.5, 2.5, 2.5, 2.5], 6),
        ([2.5, 1.9, 2.5, 1.9, 2.5, 1.9, 2.5, 1.9, 2.5], 7),  # never shown
    ],
)
def test_a_line_goes_on_while_its_rounds_show_neither_and_no_longer_than_to_the_most(
    ratios: list[float], rounds: int
) -> None:
    results: list[Result] = []
    had = []
    for number in rounds_of(LINE, [HALF, TWICE], results, least=3, most=7):
        had.append(number)
        results += round_of(number, ratios[number - 1])
    assert had == list(range(1, rounds + 1))


def test_a_line_without_goals_has_the_least_number_of_rounds() -> None:
    assert list(rounds_of(LINE, [], [], least=2, most=6)) == [1, 2]
    assert {line.name for line in ALL_LINES if not line.goals} == {"busy-1", "busy-10", "busy-50"}


def test_a_table_claims_in_bold_what_is_shown_and_says_of_the_rest_what_it_is() -> None:
    title = "topic -> file, String"
    assert cells(rounds_with(2.5, 2.6, 2.7), title)[3] == "**2.60** (2.50 to 2.70)"
    assert cells(rounds_with(2.5, 1.9, 2.7), title)[3] == "2.50 (1.90 to 2.70), not shown: 2 of 3"
    missed = cells(rounds_with(1.8, 1.9, 2.7, cpu=0.6), title)
    assert (missed[3], missed[7]) == ("1.90 (1.80 to 2.70), missed", "0.60 (0.60 to 0.60), missed")
    assert missed[10] == "**140** (140 to 140)"


def test_a_table_says_how_many_rounds_its_lines_had() -> None:
    assert "medians of 3 rounds" in markdown(rounds_with(2.5, 2.5, 2.5), 1)
    assert "medians of 2 to 3 rounds" in markdown([*rounds_with(2.5, 2.5, 2.5), *ages((2.0, 2.0), (2.0, 2.0))], 1)


def test_ages_are_judged_beside_connect_s_of_the_same_round_and_a_young_one_is_young_enough() -> None:
    # Half as much again as Connect's is asked of p50, or 1.5 ms; no more than Connect's of p99.
    slow_broker_once = cells(ages((2.0, 2.9), (20.0, 29.0), (4.0, 5.9)), AGE.title)
    assert slow_broker_once[2] == "**5.90** (2.90 to 29.00)"
    assert slow_broker_once[6] == "59.00 (29.00 to 290.00), missed"
    assert cells(ages((0.4, 1.4), (0.4, 1.5), (0.4, 1.4)), AGE.title)[2] == "**1.40** (1.40 to 1.50)"
    assert cells(ages((0.4, 1.4), (0.4, 1.6), (0.4, 1.4)), AGE.title)[2] == "1.40 (1.40 to 1.60), not shown: 2 of 3"


@pytest.mark.parametrize(
    ("arguments", "most"), [([], 6), (["--rounds", "5"], 10), (["--rounds", "2"], 2), (["--rounds-max", "9"], 9)]
)
def test_rounds_are_at_most_twice_as_many_as_asked_for_if_not_said_otherwise(arguments: list[str], most: int) -> None:
    assert _options(arguments).rounds_max == most


def test_more_rounds_at_least_than_at_most_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _options(["--rounds", "4", "--rounds-max", "3"])
    assert "--rounds 4 is not between 1 and --rounds-max 3" in capsys.readouterr().err
