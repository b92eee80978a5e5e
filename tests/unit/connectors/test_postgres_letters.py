"""Dead letters of PostgresSink that Kafka takes late: nothing is committed past them, and no call waits for long."""

from __future__ import annotations

import pytest

from connectors.postgres.sink import PostgresSinkTask
from engine.api.errors import RetriableError
from tests.harness.fake_postgres import FakePostgres
from tests.unit.connectors.test_postgres_sink import ORDERS, PLACE, Reporter, ids, made_of, orders, refuse, started


@pytest.fixture
def postgres() -> FakePostgres:
    return FakePostgres({ORDERS: {"id": "bigint", "note": "text"}})


def test_letters_that_kafka_does_not_take_in_time_leave_the_batch_unwritten_and_are_not_written_twice(
    postgres: FakePostgres,
) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(3, 5)
    for _ in range(3):
        with pytest.raises(RetriableError, match="dead letter"):
            task.put(orders(range(9)))
        assert (ids(postgres), postgres.next_offset()) == ([], None)
    tried = len(postgres.copied)
    reporter.answer = None
    task.put(orders(range(9)))
    assert (len(ids(postgres)), postgres.next_offset()) == (7, 9)
    assert [offset for offset, _ in reporter.reported] == [3, 5]
    assert tried < len(postgres.copied) < 2 * tried, "nothing is written while letters are waited for"


def test_of_records_made_of_one_each_has_its_letter_and_none_has_two(postgres: FakePostgres) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(60, 61)
    made = made_of([5, 6, 6, 6], [50, 60, 61, 62])
    with pytest.raises(RetriableError, match="dead letter"):
        task.put(made)
    reporter.answer = None
    task.put(made)
    assert [offset for offset, _ in reporter.reported] == [6, 6]
    assert (ids(postgres), postgres.next_offset()) == ([50, 62], 7)


def test_what_has_a_letter_gets_no_row_though_the_server_takes_it_by_now(postgres: FakePostgres) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(3)
    with pytest.raises(RetriableError, match="dead letter"):
        task.put(orders(range(9)))
    postgres.refuses = refuse()
    reporter.answer = None
    task.put(orders(range(9)))
    assert [offset for offset, _ in reporter.reported] == [3]
    assert (ids(postgres), postgres.next_offset()) == ([0, 1, 2, 4, 5, 6, 7, 8], 9)


def test_nothing_but_the_offset_is_written_where_all_of_a_batch_have_letters(postgres: FakePostgres) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(0, 1)
    with pytest.raises(RetriableError, match="dead letter"):
        task.put(orders(range(2)))
    postgres.refuses = refuse()
    reporter.answer = None
    task.put(orders(range(2)))
    assert (ids(postgres), postgres.next_offset()) == ([], 2)


def test_of_records_made_of_one_the_one_that_has_a_letter_gets_no_row(postgres: FakePostgres) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(61)
    made = made_of([5, 6, 6, 6], [50, 60, 61, 62])
    with pytest.raises(RetriableError, match="dead letter"):
        task.put(made)
    postgres.refuses = refuse(60)
    reporter.answer = None
    task.put(made)
    assert [offset for offset, _ in reporter.reported] == [6, 6]
    assert (ids(postgres), postgres.next_offset()) == ([50, 62], 7)


def test_a_letter_of_before_a_partition_was_closed_is_none_for_what_it_has_later(postgres: FakePostgres) -> None:
    reporter = Reporter()
    reporter.answer = TimeoutError("no answer")
    task = started(postgres, reporter)
    postgres.refuses = refuse(3)
    with pytest.raises(RetriableError, match="dead letter"):
        task.put(orders(range(9)))
    task.close([PLACE])
    task.open([PLACE])
    reporter.answer = None
    task.put(orders(range(9)))
    assert [offset for offset, _ in reporter.reported] == [3, 3]


def test_letters_have_one_deadline_together(postgres: FakePostgres) -> None:
    reporter = Reporter()
    now = [0.0]
    task = PostgresSinkTask(postgres.connect, lambda: now[0])
    started(postgres, reporter, task)
    waits: list[float] = []

    def wait(seconds: float | None) -> None:
        assert seconds is not None
        waits.append(seconds)
        now[0] += 0.4

    reporter.wait = wait
    postgres.refuses = refuse(1, 2, 3, 4)
    task.put(orders(range(9)))
    assert waits == [pytest.approx(left) for left in (1.0, 0.6, 0.2, 0)]
