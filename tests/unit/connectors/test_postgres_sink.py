"""The PostgreSQL sink's task: each record takes effect once, whatever breaks; a bad one costs itself.

Against a server in memory (tests/harness/fake_postgres.py); the real one: tests/postgres.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from connectors.postgres.refusals import RowError, StaleError
from connectors.postgres.sink import PostgresSinkTask
from engine.api.batch import Columns
from engine.api.column import MapColumn, Repeat
from engine.api.errors import ConnectError, DataError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.testing import FakeSinkContext, sink_batch
from engine.stages.convert import TransformedBatch
from tests.harness.fake_postgres import FakePostgres

ORDERS = '"topic"'
PLACE = TopicPartition("topic", 0)


class Reported:
    """A `Reported` that Kafka has, unless its reporter has another answer."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def done(self) -> bool:
        return self._reporter.answer is None

    def result(self, timeout: float | None = None) -> None:
        self._reporter.wait(timeout)
        if self._reporter.answer is not None:
            raise self._reporter.answer


class Reporter:
    """An `ErrantRecordReporter` that remembers; `answer` is what becomes of its letters: None: Kafka has them."""

    def __init__(self) -> None:
        self.reported: list[tuple[int, str]] = []
        self.answer: Exception | None = None
        self.wait: Callable[[float | None], None] = lambda seconds: None

    def report(self, record: SinkRecord, error: Exception) -> Reported:
        self.reported.append((record.original_offset, str(error)))
        return Reported(self)


class Context(FakeSinkContext):
    """With somebody to hear of bad records, or nobody."""

    def __init__(self, reporter: Reporter | None) -> None:
        super().__init__()
        self.reporter = reporter

    def errant_record_reporter(self) -> Reporter | None:  # type: ignore[override]  # it has one
        return self.reporter


@pytest.fixture
def postgres() -> FakePostgres:
    return FakePostgres({ORDERS: {"id": "bigint", "note": "text"}})


def started(
    postgres: FakePostgres, reporter: Reporter | None = None, task: PostgresSinkTask | None = None
) -> PostgresSinkTask:
    task = task or PostgresSinkTask(postgres.connect)
    task.initialize(Context(reporter))
    task.start({"name": "orders", "connection.url": "postgresql://db/shop"})
    task.open([PLACE])
    return task


def orders(numbers: Sequence[int], **more: Any) -> Any:
    values = MapColumn({"id": numbers, "note": [f"note {number}" for number in numbers]}, len(numbers))
    return sink_batch(values, first_offset=numbers[0], **more)


def made_of(offsets: Sequence[int], numbers: Sequence[int]) -> TransformedBatch:
    """Records that a transform has made, those of one offset of one."""
    count = len(offsets)
    nothing = Repeat(None, count)
    return TransformedBatch(
        Columns(
            topics=Repeat("topic", count),
            partitions=Repeat(0, count),
            timestamps=nothing,
            keys=nothing,
            key_schemas=nothing,
            values=MapColumn({"id": numbers, "note": ["x"] * count}, count),
            value_schemas=nothing,
            headers=Repeat((), count),
            origins=[sorted({*offsets}).index(offset) for offset in offsets],
            offsets=offsets,
            original_topics=Repeat("topic", count),
            original_partitions=Repeat(0, count),
            is_sink=True,
        )
    )


def ids(postgres: FakePostgres) -> list[int]:
    return [int(row[0]) for row in postgres.rows[ORDERS]]


def sought(task: PostgresSinkTask) -> dict[TopicPartition, int]:
    assert isinstance(task.context, FakeSinkContext)
    return task.context.sought


def test_a_batch_is_copied_at_once_and_its_offset_goes_with_it(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(5)))
    assert (ids(postgres), postgres.next_offset()) == ([0, 1, 2, 3, 4], 5)
    assert postgres.copied == [5]
    assert task.pre_commit({PLACE: 5}) == {PLACE: 5}
    task.close([PLACE])
    task.stop()


def test_open_asks_for_a_flush_that_claims_the_partition(postgres: FakePostgres) -> None:
    task = started(postgres)
    assert isinstance(task.context, FakeSinkContext)
    assert task.context.commits_requested == 1
    assert postgres.connections == 0
    assert task.pre_commit({PLACE: 7}) == {PLACE: 7}
    assert postgres.next_offset() == 7


def test_records_that_come_again_are_left_out(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(5)))
    task.put(orders(range(5)))
    task.put(orders(range(3, 8)))
    assert (ids(postgres), postgres.next_offset()) == ([*range(8)], 8)


def test_after_a_restart_what_was_written_is_left_out(postgres: FakePostgres) -> None:
    started(postgres).put(orders(range(5)))
    again = started(postgres)
    assert again.pre_commit({PLACE: 0}) == {PLACE: 0}
    again.put(orders(range(2, 9)))
    assert (ids(postgres), postgres.next_offset(), sought(again)) == ([*range(9)], 9, {})


def test_a_begin_before_what_is_stored_is_told(postgres: FakePostgres, caplog: pytest.LogCaptureFixture) -> None:
    started(postgres).put(orders(range(9)))
    task = started(postgres)
    task.put(orders(range(2, 5)))  # the log was truncated, perhaps
    task.put(orders(range(5, 7)))
    (told,) = caplog.messages
    assert "topic-0 begins at 2, and table millrace_offsets says that all before 9 is written: that is left out" in told
    assert "DELETE /connectors/orders/offsets" in told


def test_a_batch_of_several_partitions_is_told_apart(postgres: FakePostgres) -> None:
    task = started(postgres)
    other = TopicPartition("topic", 1)
    task.open([other])
    task.put(orders(range(3)))
    task.put(orders(range(10, 12), partition=1))
    assert (postgres.next_offset(), postgres.next_offset(partition=1)) == (3, 12)
    assert task.pre_commit({PLACE: 3, other: 12}) == {PLACE: 3, other: 12}


@pytest.mark.parametrize("beginning", ["BEGIN", "UPDATE", "COPY", "COMMIT", "CONNECT"])
def test_a_connection_that_breaks_costs_nothing_and_repeats_nothing(postgres: FakePostgres, beginning: str) -> None:
    task = started(postgres)
    if beginning != "CONNECT":
        task.put(orders(range(2)))
    postgres.breaks[beginning] = RetriableError("the connection is lost")
    with pytest.raises(RetriableError):
        task.put(orders(range(2, 5)))
    task.put(orders(range(2, 5)))
    assert ids(postgres) == [*range(0 if beginning != "CONNECT" else 2, 5)]
    assert postgres.connections == 2


def test_a_commit_whose_answer_was_lost_is_not_made_again(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(2)))
    postgres.loses.add("COMMIT")
    with pytest.raises(RetriableError):
        task.put(orders(range(2, 5)))
    assert ids(postgres) == [*range(5)]
    task.put(orders(range(2, 7)))
    assert (ids(postgres), postgres.next_offset()) == ([*range(7)], 7)


def test_what_the_database_has_lost_is_read_again(postgres: FakePostgres) -> None:
    started(postgres).put(orders(range(9)))
    postgres.state.offsets["orders", "topic", 0] = (4, 1)  # a standby that was behind
    task = started(postgres)
    assert task.pre_commit({PLACE: 9}) == {}
    assert sought(task) == {PLACE: 4}
    task.put(orders(range(4, 6)))
    assert postgres.next_offset() == 6


def test_records_beyond_what_is_stored_are_not_written_before_those_between(postgres: FakePostgres) -> None:
    started(postgres).put(orders(range(3)))
    task = started(postgres)
    task.put(orders(range(5, 7)))
    assert (sought(task), ids(postgres)) == ({PLACE: 3}, [0, 1, 2])
    task.put(orders(range(5, 7)))  # nothing stands between: the topic is compacted
    assert (ids(postgres), postgres.next_offset()) == ([0, 1, 2, 5, 6], 7)


def test_a_standby_that_takes_over_behind_is_noticed_within_a_life(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(9)))
    postgres.state.offsets["orders", "topic", 0] = (4, 1)
    postgres.breaks["BEGIN"] = RetriableError("the server is gone")
    with pytest.raises(RetriableError):
        task.put(orders(range(9, 11)))
    task.put(orders(range(9, 11)))
    assert sought(task) == {PLACE: 4}
    assert postgres.next_offset() == 4


def test_what_was_dropped_on_the_way_moves_the_offset_at_a_flush(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(3)))
    assert task.pre_commit({PLACE: 8}) == {PLACE: 8}
    assert postgres.next_offset() == 8


def test_who_lost_a_partition_writes_nothing_more_of_it(postgres: FakePostgres) -> None:
    frozen = started(postgres)
    frozen.put(orders(range(3)))
    started(postgres).put(orders(range(3, 6)))
    with pytest.raises(ConnectError, match="another task has opened topic-0"):
        frozen.put(orders(range(3, 6)))
    assert ids(postgres) == [*range(6)]


def test_who_lost_a_partition_notices_it_when_it_connects_anew(postgres: FakePostgres) -> None:
    frozen = started(postgres)
    frozen.put(orders(range(3)))
    postgres.breaks["BEGIN"] = RetriableError("the connection is lost")
    with pytest.raises(RetriableError):
        frozen.put(orders(range(3, 6)))
    started(postgres).put(orders(range(3, 6)))
    with pytest.raises(ConnectError, match="another task has opened topic-0"):
        frozen.put(orders(range(3, 6)))


def test_an_epoch_that_comes_again_is_not_taken_for_ours(postgres: FakePostgres) -> None:
    frozen = started(postgres)
    frozen.put(orders(range(3)))
    # A server that was behind took over, and another task has opened the partition there, as often as we had here.
    postgres.state.offsets["orders", "topic", 0] = (2, 1)
    with pytest.raises(ConnectError, match="another task has opened topic-0"):
        frozen.put(orders(range(3, 6)))
    assert postgres.next_offset() == 2


def test_a_table_that_was_altered_is_looked_at_before_a_record_is_blamed(postgres: FakePostgres) -> None:
    postgres.tables[ORDERS]["note"] = "jsonb"
    reporter = Reporter()
    task = started(postgres, reporter)
    task.put(sink_batch([{"id": 0, "note": b"a"}]))
    postgres.tables[ORDERS]["note"] = "bytea"
    postgres.refuses = lambda line: None if line.endswith("x61") else "22P02"
    task.put(sink_batch([{"id": 1, "note": b"a"}], first_offset=1))
    assert reporter.reported == []
    assert postgres.rows[ORDERS][1] == ["1", r"\\x61"]


def refuse(*bad: int) -> Any:
    return lambda line: "22001" if int(line.split("\t")[0]) in bad else None


def test_a_bad_record_is_reported_and_the_others_are_written_once(postgres: FakePostgres) -> None:
    reporter = Reporter()
    task = started(postgres, reporter)
    postgres.refuses = refuse(77)
    task.put(orders(range(100)))
    assert ids(postgres) == [number for number in range(100) if number != 77]
    assert postgres.next_offset() == 100
    ((offset, told),) = reporter.reported
    assert offset == 77
    assert told == (
        "connector orders: table topic, column note: the record at topic-0@77: no such thing; expected text (STRING); "
        "it is too long for the column: shorten it by a transform, or make the column longer"
    )
    assert len(postgres.copied) <= 2 + math.ceil(math.log2(100)) + 1  # all at once, all once more, and these


def test_several_bad_records_are_all_reported(postgres: FakePostgres) -> None:
    reporter = Reporter()
    task = started(postgres, reporter)
    postgres.refuses = refuse(0, 1, 50, 99)
    task.put(orders(range(100)))
    assert [offset for offset, _ in reporter.reported] == [0, 1, 50, 99]
    assert len(ids(postgres)) == 96


def test_without_somebody_to_hear_of_it_a_bad_record_ends_the_put_and_nothing_is_written(
    postgres: FakePostgres,
) -> None:
    task = started(postgres)
    postgres.refuses = refuse(3, 4)
    with pytest.raises(DataError, match=r"column note: the record at topic-0@3: .*; 1 more of its batch are refused"):
        task.put(orders(range(9)))
    assert ids(postgres) == []
    assert postgres.next_offset() is None


def test_of_records_made_of_one_none_is_taken_for_written(postgres: FakePostgres) -> None:
    reporter = Reporter()
    task = started(postgres, reporter)
    postgres.refuses = refuse(60)
    task.put(made_of([5, 5, 6, 6, 7], [50, 51, 60, 61, 70]))
    assert (ids(postgres), postgres.next_offset()) == ([50, 51, 61, 70], 8)
    assert [offset for offset, _ in reporter.reported] == [6]
    assert not task.put_is_atomic, "the engine would put the first of two, and their offset would be taken for written"


def test_records_that_are_no_rows_are_reported_without_the_server(postgres: FakePostgres) -> None:
    reporter = Reporter()
    task = started(postgres, reporter)
    values = [
        {"id": 1, "note": "a"},
        "text",
        {"id": 2, "note": b"1"},
        {"id": 3, "other": 4},
        None,
        {"id": 4, "note": None},
    ]
    task.put(sink_batch(values))
    assert postgres.rows[ORDERS] == [["1", "a"], ["4", "\\N"]]
    told = dict(reporter.reported)
    assert sorted(told) == [1, 2, 3, 4]
    assert "the record at topic-0@1: the value is no struct or map" in told[1]
    assert "column note: the record at topic-0@2: 1 bytes are no value of a column that is not bytea" in told[2]
    assert "the table has no column other" in told[3]
    assert "delete.enabled=true" in told[4]


def test_a_table_that_is_not_there_is_told_with_what_to_do(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.open([TopicPartition("goods", 0)])
    with pytest.raises(ConnectError, match=r"table goods is not there.*auto\.create=true"):
        task.put(sink_batch([{"id": 1}], topic="goods"))


def test_a_table_that_was_changed_is_looked_at_again(postgres: FakePostgres) -> None:
    task = started(postgres)
    task.put(orders(range(2)))
    postgres.breaks["COPY"] = StaleError("no such column")
    task.put(orders(range(2, 4)))
    assert ids(postgres) == [*range(4)]


def test_what_constraints_say_at_the_commit_is_found_by_asking_them_at_once(postgres: FakePostgres) -> None:
    task = started(postgres)
    postgres.breaks["COMMIT"] = RowError("deferred", code="23503")
    task.put(orders(range(4)))
    assert (ids(postgres), postgres.next_offset()) == ([*range(4)], 4)


def busy(postgres: FakePostgres, reporter: Reporter | None = None) -> tuple[PostgresSinkTask, Context]:
    """A task for which the next batch is always there already, and one batch that it has written."""
    task = started(postgres, reporter)
    assert isinstance(task.context, Context)
    task.put(orders(range(2)))
    task.context.has_more = True
    return task, task.context


def test_where_more_is_waiting_a_failure_is_met_at_the_next_put_and_mended_first(postgres: FakePostgres) -> None:
    task, context = busy(postgres)
    postgres.breaks["COMMIT"] = RetriableError("a deadlock")
    task.put(orders(range(2, 5)))
    with pytest.raises(RetriableError, match="a deadlock"):
        task.put(orders(range(5, 7)))
    assert ids(postgres) == [*range(2)]
    task.put(orders(range(5, 7)))
    context.has_more = False
    task.put(orders(range(7, 9)))
    assert (ids(postgres), postgres.next_offset()) == ([*range(9)], 9)


def test_where_more_is_waiting_a_commit_whose_answer_was_lost_is_not_made_again(postgres: FakePostgres) -> None:
    task, _ = busy(postgres)
    postgres.loses.add("COMMIT")
    task.put(orders(range(2, 5)))
    with pytest.raises(RetriableError):
        task.pre_commit({PLACE: 5})
    assert task.pre_commit({PLACE: 5}) == {PLACE: 5}
    assert (ids(postgres), postgres.next_offset()) == ([*range(5)], 5)


def test_nothing_is_flushed_before_what_has_failed(postgres: FakePostgres) -> None:
    task, _ = busy(postgres)
    postgres.breaks["COMMIT"] = RetriableError("the connection is lost")
    task.put(orders(range(2, 5)))
    for _ in range(2):
        postgres.breaks["CONNECT"] = RetriableError("the server is away")
        with pytest.raises(RetriableError):
            task.pre_commit({PLACE: 5})
        assert postgres.next_offset() == 2
    assert task.pre_commit({PLACE: 5}) == {PLACE: 5}
    assert (ids(postgres), postgres.next_offset()) == ([*range(5)], 5)


def test_where_more_is_waiting_bad_records_are_told_as_those_of_their_batch(postgres: FakePostgres) -> None:
    reporter = Reporter()
    task, _ = busy(postgres, reporter)
    postgres.refuses = refuse(3)
    task.put(orders(range(2, 5)))
    assert reporter.reported == []
    task.put(orders(range(5, 7)))
    ((offset, told),) = reporter.reported
    assert (offset, "the record at topic-0@3: " in told) == (3, True)
    assert task.pre_commit({PLACE: 7}) == {PLACE: 7}
    assert ids(postgres) == [0, 1, 2, 4, 5, 6]


def test_what_has_failed_is_not_written_again_where_its_partition_was_closed(postgres: FakePostgres) -> None:
    task, _ = busy(postgres)
    other = TopicPartition("topic", 1)
    task.open([other])
    task.put(orders(range(10, 12), partition=1))
    postgres.breaks["COMMIT"] = RetriableError("the connection is lost")
    task.put(orders(range(2, 5)))
    task.close([PLACE])
    with pytest.raises(RetriableError):
        task.pre_commit({other: 12})
    task.open([PLACE])
    assert task.pre_commit({other: 12, PLACE: 2}) == {other: 12, PLACE: 2}
    assert ids(postgres) == [0, 1, 10, 11]
    task.put(orders(range(2, 6)))
    assert task.pre_commit({other: 12, PLACE: 6}) == {other: 12, PLACE: 6}
    assert ids(postgres) == [0, 1, 10, 11, *range(2, 6)]


def behind(postgres: FakePostgres) -> PostgresSinkTask:
    """A task that has left 9 and 10, and whose server is a standby by now that was at 4."""
    task, _ = busy(postgres)
    task.put(orders(range(2, 9)))
    postgres.breaks["COMMIT"] = RetriableError("the server is gone")
    task.put(orders(range(9, 11)))
    postgres.state.offsets["orders", "topic", 0] = (4, 1)
    return task


def test_a_standby_that_takes_over_behind_what_was_left_loses_nothing(postgres: FakePostgres) -> None:
    task = behind(postgres)
    with pytest.raises(RetriableError):
        task.put(orders(range(11, 13)))
    task.put(orders(range(11, 13)))
    assert sought(task) == {PLACE: 4}
    assert task.pre_commit({PLACE: 4}) == {PLACE: 4}
    assert postgres.next_offset() == 4


def test_a_flush_that_finds_the_database_behind_says_nothing_of_the_partition(postgres: FakePostgres) -> None:
    task = behind(postgres)
    with pytest.raises(RetriableError):
        task.pre_commit({PLACE: 11})
    assert task.pre_commit({PLACE: 11}) == {}
    assert (sought(task), postgres.next_offset()) == ({PLACE: 4}, 4)
