"""The judge of the matrix sees what it is there to see: loss, disorder, repeats above the bound, strangers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.matrix import verify
from tests.matrix.rig import value_of

RECORDS = 60
ALL = list(range(RECORDS))


def report(**more: Any) -> dict[str, Any]:
    ledger = {"lost": 0, "doubled": 0}
    totals = {"sources": ledger, "sinks": None, "repeated_at_most": 5}
    return {"findings": [], "state": "DONE", "totals": totals, **more}


def test_all_of_them_in_order_are_right_and_repeats_are_counted() -> None:
    assert verify.check([*ALL, 3, 9, 3], RECORDS, 3) == verify.Came(RECORDS, 3, 3)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([number for number in ALL if number != 17], r"1 lost: \[17\]"),
        ([*ALL[:6], 12, 6, *ALL[7:12], *ALL[13:]], "6 came first after 12"),
        ([*ALL, 60], "1 were never sent"),
        ([*ALL, 1, 2], "2 repeated, the reports say at most 1"),
    ],
)
def test_what_is_wrong_is_said(numbers: list[int], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        verify.check(numbers, RECORDS, 1)


def test_partitions_may_overtake_each_other() -> None:
    by_partition = [number for first in range(verify.PARTITIONS) for number in ALL[first :: verify.PARTITIONS]]
    assert verify.check(by_partition, RECORDS, 0).repeated == 0


def test_numbers_are_found_in_every_form() -> None:
    java = b"{gift=false, sequence=9, city=Cork}"
    values = [value_of("string", 7).encode(), value_of("json", 8).encode(), java]
    assert verify.numbers_of(values) == [7, 8, 9]


@pytest.mark.parametrize("torn", [b"", b"00000000007 cork", b'{"sequence":8,"ci', b"000000000007"])
def test_half_a_value_is_no_record(torn: bytes) -> None:
    with pytest.raises(AssertionError, match="no record of ours"):
        verify.numbers_of([torn])


def test_the_bound_is_that_of_all_reports() -> None:
    assert verify.check_reports([report(state="STOPPED"), report()]) == 10


@pytest.mark.parametrize(
    "bad",
    [
        report(findings=["1 record is missing"]),
        report(state="STOPPED"),
        report(totals={"sources": {"lost": 1, "doubled": 0}, "sinks": None, "repeated_at_most": 0}),
        report(totals={"sources": None, "sinks": {"lost": 0, "doubled": 2}, "repeated_at_most": 0}),
    ],
)
def test_a_ledger_that_does_not_add_up_and_a_run_that_has_not_done_all_are_wrong(bad: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        verify.check_reports([bad])
    with pytest.raises(AssertionError):
        verify.check_reports([])
