"""NullSink drops everything, and knows what it has dropped."""

from __future__ import annotations

import logging

import pytest

from connectors.null import NullSinkConnector, NullSinkTask
from engine.api.column import Utf8Column
from engine.api.errors import ConnectError
from engine.api.record import TopicPartition
from engine.api.testing import FakeSinkContext, sink_batch


def started(**keys: str) -> NullSinkTask:
    task = NullSinkTask()
    task.initialize(FakeSinkContext())
    task.start({name.replace("_", "."): value for name, value in keys.items()})
    return task


def numbers(*values: int) -> Utf8Column:
    return Utf8Column([b"%012d and more" % value for value in values])


def test_records_and_bytes_are_counted() -> None:
    task = started()
    task.put(sink_batch(Utf8Column([b"one", None, "é".encode()])))
    task.put(sink_batch(["é", b"abc", None, {"a": 1}]))
    assert (task.counts.records, task.counts.bytes) == (7, 10)


def test_repeated_numbers_are_counted_in_each_partition() -> None:
    task = started(check="sequence")
    task.put(sink_batch(numbers(0, 2, 2, 1, 9)))
    task.put(sink_batch(numbers(1, 3), partition=1))
    assert (task.counts.repeated, task.counts.gaps) == (2, 0)


def test_stripes_have_an_order_each() -> None:
    task = started(check="sequence", check_stripes="2", check_step="2")
    task.put(sink_batch(numbers(10, 1, 12, 3, 5, 16)))
    assert (task.counts.repeated, task.counts.gaps) == (0, 1)


@pytest.mark.parametrize("values", [["7 a", "8 b"], [b"7", b"8"], [{"sequence": 7}, {"sequence": 8}]])
def test_numbers_are_found_in_text_bytes_and_maps(values: list[object]) -> None:
    task = started(check="sequence", check_step="1", check_fail="true")
    task.put(sink_batch(values))
    assert (task.counts.repeated, task.counts.gaps) == (0, 0)


@pytest.mark.parametrize(
    ("keys", "second", "message"),
    [
        ({}, 4, "expected number more than 4, got 4"),
        ({"check_step": "2"}, 8, "expected number 6, got 8"),
    ],
)
def test_a_record_out_of_order_fails_the_task_by_its_place(keys: dict[str, str], second: int, message: str) -> None:
    task = started(check="sequence", check_fail="true", **keys)
    with pytest.raises(ConnectError, match=f"topic topic, partition 3, offset 101 is out of order: {message}"):
        task.put(sink_batch(numbers(4, second), partition=3, first_offset=100))


def test_a_value_without_a_number_fails_the_task() -> None:
    task = started(check="sequence")
    for value in ("seven", None, {"id": 7}):
        with pytest.raises(ConnectError, match="offset 5 has no number"):
            task.put(sink_batch([value], first_offset=5))


def test_a_partition_opened_again_begins_anew() -> None:
    task = started(check="sequence", check_fail="true")
    task.put(sink_batch(numbers(5, 6)))
    task.open([TopicPartition("topic", 0)])
    task.put(sink_batch(numbers(5)))


def test_faults_are_logged_once_when_there_are_new_ones(caplog: pytest.LogCaptureFixture) -> None:
    task = started(check="sequence")
    task.put(sink_batch(numbers(1, 1)))
    task.flush({})
    task.flush({})
    assert caplog.messages == ["check so far: repeated or out of order: 1, gaps: 0"]


def test_the_end_is_logged_with_totals(caplog: pytest.LogCaptureFixture) -> None:
    task = started()
    task.put(sink_batch(["abc"]))
    with caplog.at_level(logging.INFO):
        task.stop()
    assert caplog.messages == ["taken: 1 records, 3 bytes; repeated or out of order: 0, gaps: 0"]


def test_a_slow_sink_takes_its_time_for_each_put() -> None:
    slept: list[float] = []
    task = NullSinkTask(sleep=slept.append)
    task.start({"delay.ms": "250"})
    task.put(sink_batch(["a", "b"]))
    assert slept == [0.25]


def test_there_are_as_many_tasks_as_allowed() -> None:
    connector = NullSinkConnector()
    connector.start({"check": "none"})
    assert connector.task_configs(3) == [{"check": "none"}] * 3
