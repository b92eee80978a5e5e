"""Where put takes all or nothing, the bad records are found and everything else is put, in order, in few calls."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.api.batch import SinkBatch
from engine.api.errors import DataError, RetriableError
from engine.api.transform import AnyRecord, FlatMap
from engine.shm.board import Word
from engine.task.putting import Search
from tests.harness.banks import CollectingSink
from tests.simulation.accounts import reported
from tests.unit.task.test_dead_letters import PLACE, Bed, errors

VALUES = [b"v%d" % number for number in range(40)]
Put = list[tuple[str, int, int, bytes | None]]


@given(st.integers(1, 70).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)))))
def test_a_search_puts_all_that_is_good_once_and_in_order(case: tuple[int, set[int]]) -> None:
    count, bad = case
    search = Search(count)
    put: list[int] = []
    calls = 0
    while not search.is_over:
        part = range(search.begin, search.end)
        assert part
        calls += 1
        if bad.isdisjoint(part):
            put += part
            search.passed()
        else:
            search.failed(DataError(str(min(bad.intersection(part)))))
    assert put == [index for index in range(count) if index not in bad]
    assert [(index, str(error)) for index, error in search.found] == [(index, str(index)) for index in sorted(bad)]
    if len(bad) == 1:
        assert calls - 1 <= ceil(log2(count)) + 1


class Atomic(CollectingSink):
    """Takes a batch whole, or not at all."""

    put_is_atomic = True

    def __init__(self, records: Put, bad: set[bytes], calls: list[int]) -> None:
        super().__init__(records)
        self._bad = bad
        self._calls = calls

    def put(self, batch: SinkBatch) -> None:
        self._calls.append(len(batch))
        for record in batch:
            if record.value in self._bad:
                raise DataError(f"the table does not take {record.value!r}")
        super().put(batch)


class Forgetful(Atomic):
    """Asks to be called again each time before it does what it is asked."""

    def put(self, batch: SinkBatch) -> None:
        self._is_asked = not getattr(self, "_is_asked", False)
        if self._is_asked:
            self.context.retry_after(10)
            raise RetriableError("not now")
        super().put(batch)


class Plain(Atomic):
    """Has not said that it takes all or nothing."""

    put_is_atomic = False


class Twice(FlatMap):
    """Makes two of each."""

    def apply_many(self, record: AnyRecord) -> list[AnyRecord]:
        return [replace(record, value=record.value + end) for end in (b"a", b"b")]


def bed_of(kind: Callable[..., Atomic], bad: set[bytes], calls: list[int], **more: Any) -> tuple[Bed, Put]:
    put: Put = []
    return Bed(VALUES, set(), errors(), lambda: kind(put, bad, calls), **more), put


@pytest.mark.parametrize("kind", [Atomic, Forgetful])
@pytest.mark.parametrize("stages", [0, 2])
def test_bad_records_of_a_put_are_dead_letters_and_all_others_are_put(kind: type[Atomic], stages: int) -> None:
    bad = {b"v3", b"v4", b"v29"}
    bed, put = bed_of(kind, bad, [], stage_processes=stages)
    bed.complete()
    assert [value for *_, value in put] == [value for value in VALUES if value not in bad]
    assert [letter.value for letter in bed.letters] == [b"v3", b"v4", b"v29"]
    headers = bed.headers(1)
    assert headers["__connect.errors.stage"] == b"TASK_PUT"
    assert headers["__connect.errors.exception.message"] == b"the table does not take b'v4'"
    assert bed.committed == len(VALUES)
    told = reported(bed.banks.memory).ledger
    assert told is not None
    assert (told.records_in, told.records_out, told.skipped) == (len(VALUES), len(VALUES) - 3, 3)


def test_one_bad_record_costs_few_calls() -> None:
    calls: list[int] = []
    without: list[int] = []
    for bad, counted in ((b"v21", calls), (b"none", without)):
        bed, put = bed_of(Atomic, {bad}, counted)
        bed.complete()
    assert len(put) == len(VALUES)
    assert len(without) < len(calls) <= len(without) + ceil(log2(max(calls))) + 1


def test_records_made_of_one_are_put_together_or_not_at_all() -> None:
    calls: list[int] = []
    bed, put = bed_of(Atomic, {b"v5a", b"v7b", b"v8a", b"v8b"}, calls, chain=[Twice()])
    bed.complete()
    assert all(count % 2 == 0 for count in calls)
    assert [value for *_, value in put] == [
        value + end for value in VALUES if value not in {b"v5", b"v7", b"v8"} for end in (b"a", b"b")
    ]
    assert [letter.value for letter in bed.letters] == [b"v5", b"v7", b"v8"]
    assert bed.headers(2)["__connect.errors.exception.message"] == b"the table does not take b'v8a'"
    assert bed.committed == len(VALUES)


def test_a_batch_of_bad_records_only_is_all_letters() -> None:
    bed, put = bed_of(Atomic, {*VALUES}, [])
    bed.complete()
    assert not put
    assert [letter.value for letter in bed.letters] == VALUES


@pytest.mark.parametrize(("kind", "tolerant"), [(Plain, True), (Atomic, False)])
def test_else_what_put_raises_ends_the_task_with_the_place(kind: type[Atomic], tolerant: bool) -> None:
    put: Put = []
    bed = Bed(VALUES, set(), errors(tolerant=tolerant), lambda: kind(put, {b"v3"}, []))
    with pytest.raises(DataError, match="does not take b'v3'") as told:
        bed.complete()
    assert "in put of topic one, partition 0" in told.value.__notes__[0]
    assert bed.kafka.group.get(PLACE, 0) == 0
    assert bed.banks.row.get(Word.SKIPPED) == 0
