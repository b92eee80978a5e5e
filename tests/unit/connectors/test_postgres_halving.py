"""Refused rows are found in few calls, and every other row is written once, in order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.halving import write_but_refused
from connectors.postgres.refusals import RowError


class Rows:
    """A server that refuses some rows."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.written: list[int] = []
        self.calls = 0

    def write(self, begin: int, end: int) -> None:
        self.calls += 1
        found = [row for row in range(begin, end) if row in self.bad]
        if found:
            raise RowError(str(found[0]))
        self.written += range(begin, end)


@given(
    st.integers(1, 300).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1)))
)
def test_the_bad_are_found_with_their_errors_and_the_others_are_written(drawn: tuple[int, set[int]]) -> None:
    count, bad = drawn
    rows = Rows(bad)
    refused = write_but_refused(count, rows.write, RowError(str(min(bad))))
    assert [(row, str(error)) for row, error in refused] == [(row, str(row)) for row in sorted(bad)]
    assert rows.written == [row for row in range(count) if row not in bad]


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1024, 1025])
def test_one_bad_row_costs_at_most_log2_calls_and_one(count: int) -> None:
    for bad in {0, count // 3, count // 2, count - 1}:
        rows = Rows({bad})
        write_but_refused(count, rows.write, RowError(str(bad)))
        assert rows.calls <= math.ceil(math.log2(count)) + 1


def test_where_all_are_bad_each_costs_about_a_call() -> None:
    rows = Rows({*range(1000)})
    assert len(write_but_refused(1000, rows.write, RowError("0"))) == 1000
    assert rows.calls <= 1000 + 2 * math.ceil(math.log2(1000))
