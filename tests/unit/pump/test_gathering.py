"""When a sink's pump waits for more before it fetches again."""

from __future__ import annotations

import pytest

from engine.pump.gathering import BYTES_MAX, RATE, RECORDS_MAX, SECONDS, WAITS_MAX, Gathering
from engine.shm.board import Stage
from tests.harness.banks import LineMemory, line_spec


class Pump:
    """Fetches, and waits in between, on a clock of its own."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        """takes_s: so long after a fetch the task has all of it."""
        self._row = LineMemory(line_spec("sink")).row
        self._takes_s = takes_s
        self._now = self._fetched_at = 100.0
        self._gathering = Gathering(self._row, self._is_taken, lambda: self._now, self._sleep)
        self.waits(1, after_s=0.0)  # how often they come is known from the second fetch on

    def _is_taken(self) -> bool:
        return self._now >= self._fetched_at + self._takes_s

    def _sleep(self, seconds: float) -> None:
        self._now += seconds

    def waits(self, records: int, *, record_bytes: int = 100, after_s: float) -> float:
        """How long it waits when so many records have come, so long after the last ones."""
        self._now += after_s
        self._fetched_at = self._now
        if records:
            self._row.count(Stage.CONSUME, records, records * record_bytes)
        self._gathering.wait()
        return self._now - self._fetched_at


def test_records_that_come_a_few_at_a_time_and_often_are_gathered() -> None:
    assert Pump().waits(10, after_s=0.001) == pytest.approx(SECONDS)


@pytest.mark.parametrize(
    ("records", "record_bytes", "after_s"),
    [
        pytest.param(10, 100, 2 * 10 / RATE, id="seldom"),
        pytest.param(RECORDS_MAX, 100, 0.001, id="many"),
        pytest.param(10, BYTES_MAX // 10 + 1, 0.001, id="large"),
        pytest.param(0, 100, 0.001, id="nothing"),
    ],
)
def test_all_else_is_fetched_as_it_comes(records: int, record_bytes: int, after_s: float) -> None:
    assert Pump(takes_s=1).waits(records, record_bytes=record_bytes, after_s=after_s) == 0


def test_while_the_task_still_has_the_last_ones_more_is_waited_for() -> None:
    assert Pump(takes_s=2.5 * SECONDS).waits(10, after_s=0.001) == pytest.approx(3 * SECONDS)


def test_a_task_that_takes_long_is_not_waited_for_to_its_end() -> None:
    assert Pump(takes_s=1).waits(10, after_s=0.001) == pytest.approx(WAITS_MAX * SECONDS)


def test_what_has_been_gathered_once_is_not_waited_for_again() -> None:
    pump = Pump()
    assert pump.waits(10, after_s=0.001) > 0
    assert pump.waits(0, after_s=0.001) == 0
