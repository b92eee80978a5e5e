"""A generated record depends on seed, settings and number alone: not on tasks, batches or restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.generator.bodies import laps
from connectors.generator.source import BATCH_BYTES_MAX, GeneratorSourceConnector, GeneratorSourceTask
from engine.api.errors import ConnectError
from engine.api.record import Header, SourceRecord
from engine.api.testing import FakeSourceContext, poll_all

NOON_NS = 1_700_000_000_123_456_789
FORMATS = ("orders", "text", "sequence", "bytes")


def connector(**keys: str) -> GeneratorSourceConnector:
    made = GeneratorSourceConnector()
    made.start({"topic": "orders"} | {name.replace("_", "."): value for name, value in keys.items()})
    return made


def started(
    config: Mapping[str, str],
    *,
    is_bulk: bool = True,
    stored: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> GeneratorSourceTask:
    context = FakeSourceContext(is_bulk=is_bulk, offsets=[stored] if stored else [])
    task = GeneratorSourceTask(monotonic_ns=context.monotonic_ns, time_ns=lambda: NOON_NS + context.now_ns)
    task.initialize(context)
    task.start(config)
    return task


def make(*, tasks: int = 1, **keys: str) -> list[list[SourceRecord]]:
    """The records of each task."""
    return [poll_all(started(config)) for config in connector(**keys).task_configs(tasks)]


@pytest.mark.parametrize("format", FORMATS)
def test_values_do_not_depend_on_batches_or_tasks(format: str) -> None:
    (alone,) = make(format=format, records="10500", key="sequence")
    assert [record.key for record in alone] == [str(number) for number in range(10_500)]
    striped = make(tasks=3, format=format, records="10500", key="sequence", batch_size="77")
    together = sorted((record for records in striped for record in records), key=lambda record: int(record.key))
    assert [record.value for record in together] == [record.value for record in alone]


@pytest.mark.parametrize("tasks", [1, 3, 7])
def test_tasks_make_exactly_the_bound_together(tasks: int) -> None:
    for records in (0, 1, 5, 1000):
        numbers = [
            int(record.value) for made in make(tasks=tasks, format="sequence", records=str(records)) for record in made
        ]
        assert sorted(numbers) == list(range(records))


@pytest.mark.parametrize("format", FORMATS)
def test_a_restart_goes_on_after_the_stored_record(format: str) -> None:
    config = connector(format=format, records="300", batch_size="10").task_configs(2)[1]
    whole = poll_all(started(config))
    for index in (0, 9, 10, 148, 149):
        partition, offset = whole[index].source_partition, whole[index].source_offset
        assert partition is not None and offset is not None
        rest = poll_all(started(config, stored=(partition, offset)))
        assert [record.value for record in rest] == [record.value for record in whole[index + 1 :]]


def test_another_number_of_tasks_has_other_source_partitions() -> None:
    partitions = [records[0].source_partition for records in make(tasks=2, records="10")]
    assert partitions == [{"stripe": 0, "stripes": 2}, {"stripe": 1, "stripes": 2}]


def test_another_seed_makes_other_values() -> None:
    for format in ("orders", "text", "bytes"):
        (first,), (same,), (other,) = (make(format=format, records="5", seed=seed) for seed in ("1", "1", "2"))
        assert [record.value for record in first] == [record.value for record in same]
        assert [record.value for record in first] != [record.value for record in other]


@pytest.mark.parametrize("size", [13, 100, 5000, 100_000, 5_000_000])
def test_texts_have_their_size_and_begin_with_their_number(size: int) -> None:
    (records,) = make(format="text", records="3", size=str(size))
    assert [record.value[:13] for record in records] == ["000000000000 ", "000000000001 ", "000000000002 "]
    assert {len(record.value) for record in records} == {size}


@pytest.mark.parametrize("size", [0, 1, 100, 5_000_000])
def test_bytes_have_their_size(size: int) -> None:
    (records,) = make(format="bytes", records="3", size=str(size))
    assert [len(record.value) for record in records] == [size] * 3


def test_batches_of_large_values_are_short() -> None:
    size = BATCH_BYTES_MAX // 3
    batch = started(connector(format="bytes", size=str(size)).task_configs(1)[0]).poll()
    assert batch is not None and len(batch) == 3


def test_orders_are_about_146_bytes_of_json() -> None:
    (records,) = make(records="4096")
    sizes = [len(json.dumps(record.value, separators=(",", ":"))) for record in records]
    assert 140 < sum(sizes) / len(sizes) < 152


def test_orders_do_not_share_what_a_transform_may_change() -> None:
    (records,) = make(records="4097")
    records[0].value["city"] = "elsewhere"
    assert records[4096].value["city"] != "elsewhere"


def test_keys_headers_partitions_and_timestamps_are_as_asked_for() -> None:
    ((_, _, record),) = make(
        records="3", key="cycle", key_cardinality="2", headers="2", partitions="2", timestamps="true"
    )
    assert (record.key, record.partition, record.timestamp) == ("key-0", 0, NOON_NS // 1_000_000)
    assert [header[:2] for header in record.headers] == [("header-0", "value-0"), ("header-1", "value-1")]
    ((plain,),) = make(records="1")
    assert (plain.key, plain.partition, plain.timestamp, plain.headers) == (None, None, None, ())
    assert isinstance(record.headers[0], Header)


def test_a_stamp_is_the_microsecond_of_making() -> None:
    ((order,),) = make(records="1", stamp="true")
    assert order.value["stamp"] == NOON_NS // 1000
    ((text,),) = make(records="1", stamp="true", format="text", size="40")
    assert text.value[:30] == f"000000000000 {NOON_NS // 1000} "
    assert len(text.value) == 40


def test_a_bound_ends_the_task_also_when_it_is_not_a_bulk_run() -> None:
    task = started(connector(records="2000").task_configs(1)[0], is_bulk=False)
    assert len(task.poll() or ()) == 2000
    assert task.context.has_ended  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rate", "tasks", "largest"), [(10, 1, 1), (1000, 1, 11), (1000, 4, 4), (100_000, 2, 510)])
def test_a_rate_is_kept_in_small_even_batches(rate: int, tasks: int, largest: int) -> None:
    made = 0
    for config in connector(rate=str(rate), format="sequence").task_configs(tasks):
        task = started(config)
        while task.context.now_ns < 2_000_000_000:  # type: ignore[attr-defined]
            batch = task.poll()
            assert len(batch or ()) <= largest
            made += len(batch or ())
    assert abs(made - 2 * rate) <= tasks * largest


def test_a_task_that_was_held_up_catches_up_one_second_at_most() -> None:
    task = started(connector(rate="100", format="sequence").task_configs(1)[0])
    task.poll()
    task.context.wait(2)
    for _ in range(30):
        task.context.wait(2)
    batch = task.poll()
    assert len(batch or ()) == 101
    assert len(task.poll() or ()) <= 1


@pytest.mark.parametrize("sequence", [3, -2, "2"])
def test_a_stored_offset_of_another_stripe_is_an_error(sequence: Any) -> None:
    config = connector(records="10").task_configs(2)[0]
    with pytest.raises(ConnectError, match="no number of stripe 0 of 2"):
        started(config, stored=({"stripe": 0, "stripes": 2}, {"sequence": sequence}))


@pytest.mark.parametrize(
    ("keys", "bad"),
    [
        ({"format": "bytes", "stamp": "true"}, ["stamp"]),
        ({"format": "text", "size": "12"}, ["size"]),
        ({"format": "text", "stamp": "true", "size": "29"}, ["size"]),
        ({"format": "text", "stamp": "true", "size": "30"}, []),
        ({"format": "text", "size.min": "20"}, ["size.min"]),
        ({"format": "bytes", "size.min": "200"}, ["size.min"]),
        ({"format": "bytes", "size.min": "146"}, []),
        ({"format": "no such"}, []),  # a single key's fault is told elsewhere
    ],
)
def test_keys_that_do_not_go_together_are_named(keys: dict[str, str], bad: list[str]) -> None:
    problems = GeneratorSourceConnector().validate({"topic": "t", **keys})
    assert [problem.key for problem in problems] == bad


@settings(max_examples=200)
@given(st.integers(0, 100), st.integers(0, 60), st.integers(1, 9), st.integers(1, 12))
def test_laps_cut_numbers_at_the_ends_of_the_cycle(first: int, count: int, step: int, length: int) -> None:
    numbers = range(first, first + count * step, step)
    cycle = range(length)
    found = [lap * length + place for lap, part in laps(numbers, length) for place in cycle[part]]
    assert found == list(numbers)


def test_sizes_are_mixed_from_the_least_to_the_largest_and_come_again() -> None:
    (records,) = make(format="bytes", records="9000", size="100000", size_min="0")
    sizes = [len(record.value) for record in records]
    assert {0, 100_000} <= set(sizes)
    assert max(sizes) == 100_000
    assert sum(size < 100 for size in sizes) > 1000
    assert sum(size > 10_000 for size in sizes) > 1000
    striped = make(tasks=2, format="bytes", records="9000", size="100000", size_min="0")
    assert [record.value for record in striped[0]] == [record.value for record in records[::2]]


@pytest.mark.parametrize(
    ("partition", "offset", "is_good"),
    [
        ({"stripe": 1, "stripes": 3}, {"sequence": 7}, True),
        ({"stripe": 1, "stripes": 3}, None, True),
        (None, None, True),
        ({"stripe": 1, "stripes": 3}, {"sequence": 8}, False),
        ({"stripe": 1, "stripes": 3}, {"sequence": -2}, False),
        ({"stripe": 1, "stripes": 3}, {"sequence": 7.0}, False),
        ({"stripe": 1, "stripes": 3}, {"position": 7}, False),
        ({"stripe": 1, "stripes": 0}, {"sequence": 7}, False),
        ({"stripe": 1}, {"sequence": 7}, False),
        (None, {"sequence": 7}, False),
    ],
)
def test_only_numbers_of_its_stripes_may_be_stored_as_offsets(
    partition: Mapping[str, int] | None, offset: Mapping[str, object] | None, is_good: bool
) -> None:
    offsets = {json.dumps(partition): offset}
    if is_good:
        assert GeneratorSourceConnector().alter_offsets({"topic": "t"}, offsets)
    else:
        with pytest.raises(ConnectError, match="expected"):
            GeneratorSourceConnector().alter_offsets({"topic": "t"}, offsets)
