"""A batch of PostgresSink whose put has returned before its transaction was over, and rows that another replaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.postgres.config import Target
from connectors.postgres.lines import last_of_each_key
from connectors.postgres.refusals import RowError
from connectors.postgres.rows import Group
from connectors.postgres.tables import Column, Table
from connectors.postgres.types import kind_of_type
from engine.api.batch import Run, SinkBatch
from engine.api.errors import RetriableError
from engine.api.record import TopicPartition
from tests.harness.fake_postgres import FakePostgres
from tests.unit.connectors.test_postgres_sink import ORDERS, PLACE, busy, ids, orders, sought, started


def both(first: Sequence[int], second: Sequence[int]) -> SinkBatch:
    """A batch of two partitions: offsets of 0, then of 1."""
    one = orders([*first, *second])
    runs = [
        Run("topic", partition, 0, len(offsets), offsets[0], offsets[-1])
        for partition, offsets in enumerate((first, second))
    ]
    return SinkBatch(
        runs, one.values, value_schemas=one.value_schemas, keys=one.keys, key_schemas=one.key_schemas,
        timestamps=one.timestamps,
    )  # fmt: skip


def test_what_was_sought_back_is_not_written_when_the_rest_of_its_batch_is_tried_once_more() -> None:
    postgres = FakePostgres({ORDERS: {"id": "bigint", "note": "text"}})
    task, context = busy(postgres)
    other = TopicPartition("topic", 1)
    task.open([other])
    task.put(orders(range(20, 22), partition=1))
    task.put(orders(range(2, 9)))
    postgres.breaks["COMMIT"] = RetriableError("the server is gone")
    task.put(both(range(9, 11), range(22, 24)))
    postgres.state.offsets["orders", "topic", 0] = (4, 1)  # a standby that was behind in one of the two
    postgres.state.rows[ORDERS] = [row for row in postgres.rows[ORDERS] if not 4 <= int(row[0]) < 9]
    with pytest.raises(RetriableError):
        task.put(orders(range(11, 13)))
    postgres.breaks["COPY"] = RetriableError("it is slow yet")
    with pytest.raises(RetriableError):
        task.put(orders(range(24, 26), partition=1))
    assert sought(task) == {PLACE: 4}
    context.has_more = False
    task.put(orders(range(24, 26), partition=1))
    task.put(orders(range(4, 13)))
    assert sorted(ids(postgres)) == [*range(13), *range(20, 26)]
    assert (postgres.next_offset(), postgres.next_offset(partition=1)) == (13, 26)


def test_a_bad_row_that_a_later_one_of_its_key_replaces_is_bad_all_the_same() -> None:
    target = Target(None, "topic")
    kinds = {"id": kind_of_type("N", "bigint"), "note": kind_of_type("S", "text")}
    columns_of_table = {
        name: Column(name, "", kind, is_required=False, has_default=False) for name, kind in kinds.items()
    }
    table = Table(target, columns_of_table, ())
    columns: list[list[Any]] = [[1, 2, 1], ["no \ud800 text", "two", "one"]]
    group = Group(target, [0, 1, 2], ("id", "note"), columns, (None, None), ("id",))
    with pytest.raises(RowError):
        last_of_each_key(group, table)


@pytest.fixture
def postgres() -> FakePostgres:
    return FakePostgres({ORDERS: {"id": "bigint", "note": "text"}})


def test_a_server_that_is_slow_keeps_no_call_and_nothing_is_written_twice(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(2)))
    postgres.late = 3
    task.put(orders(range(2, 5)))
    for _ in range(2):
        with pytest.raises(RetriableError, match="at work on the last batch"):
            task.put(orders(range(5, 7)))
    task.put(orders(range(5, 7)))
    postgres.late = 1
    task.put(orders(range(7, 9)))
    assert task.pre_commit({PLACE: 9}) == {PLACE: 9}
    assert (ids(postgres), postgres.next_offset(), postgres.connections) == ([*range(9)], 9, 1)


def test_what_is_written_once_more_may_be_slow_again(postgres: FakePostgres) -> None:
    task, _ = busy(postgres)
    postgres.breaks["COMMIT"] = RetriableError("the connection is lost")
    task.put(orders(range(2, 5)))
    with pytest.raises(RetriableError, match="lost"):
        task.pre_commit({PLACE: 5})
    postgres.late = 2
    for _ in range(2):
        with pytest.raises(RetriableError, match="at work on the last batch"):
            task.pre_commit({PLACE: 5})
    assert task.pre_commit({PLACE: 5}) == {PLACE: 5}
    assert (ids(postgres), postgres.next_offset()) == ([*range(5)], 5)
