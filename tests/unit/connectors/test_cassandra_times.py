"""Of one row the record that came last counts, whatever the unit of its time, its offset, and how often it comes."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from connectors.cassandra.columns import shapes_of
from connectors.cassandra.mapping import read_mappings
from connectors.cassandra.times import WriteTimes
from engine.api.batch import SinkBatch
from engine.api.column import Repeat
from engine.api.errors import ConfigError
from engine.api.schema import INT32, Schema
from engine.api.testing import sink_batch
from engine.stages.convert import TransformedBatch, columns_of

NOW_US = 1_700_000_000_000_000


def write_times(**settings: str) -> WriteTimes:
    texts = {"mapping": "id=key", **settings}
    (mapping,) = read_mappings({f"topic.topic.k.t.{name}": text for name, text in texts.items()})
    return WriteTimes(mapping, lambda: NOW_US * 1_000)


def of(times: WriteTimes, batch: SinkBatch) -> list[int | str]:
    """In the records' order; of one that is bad the reason."""
    shapes = [*shapes_of(batch)]
    found: dict[int, int | str] = {}
    for records, made in zip(shapes, times.of(shapes), strict=True):
        told: dict[int, int | str] = {at: error.whole() for at, error in made.failures.items()}
        for at, index in enumerate(records.indexes):
            found[index] = told.get(at, made.microseconds[at])
    return [found[index] for index in sorted(found)]


def by_field(*values: Any) -> SinkBatch:
    return sink_batch([{"t": value} for value in values], timestamps=Repeat(7, len(values)))


def test_records_of_a_millisecond_keep_their_order_by_their_offsets() -> None:
    batch = sink_batch([1, 2, 3], timestamps=[5, 5, 6], first_offset=10)
    assert of(write_times(), batch) == [5_010, 5_011, 6_012]


def test_offsets_that_pass_a_thousand_do_not_turn_records_round() -> None:
    times = write_times()
    first = sink_batch([1, None, 3], timestamps=[5, 5, 5], first_offset=1_998)
    assert of(times, first) == [5_998, 5_999, 6_000]
    assert of(times, sink_batch([4, 5], timestamps=[5, 7], first_offset=2_001)) == [6_001, 7_002]


def test_records_that_come_again_keep_the_times_they_had_and_new_ones_come_after_them() -> None:
    times = write_times()
    batch = sink_batch([1, 2], timestamps=[5, 5], first_offset=1_999)
    assert of(times, batch) == [5_999, 6_000]
    assert of(times, batch) == [5_999, 5_000]  # which is no later than what is there
    assert of(times, sink_batch([3], timestamps=[5], first_offset=2_001)) == [6_001]


def test_who_starts_again_between_two_of_one_moment_may_write_the_later_one_before_the_older() -> None:
    """As docs/connectors/cassandra-sink.md says: what the life before has given is not known."""
    assert of(write_times(), sink_batch([1], timestamps=[5], first_offset=1_999)) == [5_999]
    assert of(write_times(), sink_batch([2], timestamps=[5], first_offset=2_000)) == [5_000]


def test_a_late_record_keeps_its_own_time() -> None:
    assert of(write_times(), sink_batch([1, 2, 3], timestamps=[5, 4, 5])) == [5_000, 4_001, 5_002]


def test_partitions_do_not_wait_for_each_other() -> None:
    times = write_times()
    assert of(times, sink_batch([1], timestamps=[5], first_offset=999)) == [5_999]
    assert of(times, sink_batch([1], timestamps=[5], partition=1)) == [5_000]


def test_several_records_of_one_keep_their_order() -> None:
    columns = columns_of(sink_batch([1, 2], timestamps=[5, 5]))
    columns.pick([0, 0, 0, 1])
    assert of(write_times(), TransformedBatch(columns)) == [5_000, 5_001, 5_002, 5_003]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("SECONDS", [3_000_000, 3_000_001, 4_000_002]),
        ("MILLISECONDS", [3_000, 3_001, 4_002]),
        ("MICROSECONDS", [3, 4, 5]),
        ("NANOSECONDS", [0, 1, 2]),
    ],
)
def test_the_time_may_be_a_field_of_any_unit(unit: str, expected: list[int]) -> None:
    times = write_times(timestamp="value.t", timestampTimeUnit=unit, deletesEnabled="false")
    assert of(times, by_field(3, "3", 4)) == expected


def test_moments_are_taken_as_they_are() -> None:
    moments = [datetime.datetime(1970, 1, 1, 0, 0, 1, micros, datetime.UTC) for micros in (0, 0, 5)]
    times = write_times(timestamp="value.t", deletesEnabled="false")
    assert of(times, by_field(*moments)) == [1_000_000, 1_000_001, 1_000_005]


def test_a_null_is_the_records_own_time_and_without_that_ours_which_rises() -> None:
    times = write_times(timestamp="value.t", timestampTimeUnit="MILLISECONDS", deletesEnabled="false")
    assert of(times, by_field(None, 8)) == [7_000, 8_001]
    batch = sink_batch([1, None, 3], timestamps=[None, None, None], first_offset=4)
    assert of(write_times(), batch) == [NOW_US, NOW_US + 1, NOW_US + 2]


def test_what_is_no_time_is_told_and_costs_itself() -> None:
    nanoseconds = 1_700_000_000_000_000_000
    found = of(write_times(), sink_batch([1, 2], timestamps=[nanoseconds, 5]))
    assert "k.t: the record's timestamp is no time of writing: expected a moment in MILLISECONDS" in str(found[0])
    assert found[1] == 5_001
    times = write_times(timestamp="value.t", timestampTimeUnit="MILLISECONDS", deletesEnabled="false")
    found = of(times, by_field("secret", nanoseconds, True, 8))
    assert "its time of writing gets a str that is no time: expected a moment in MILLISECONDS" in str(found[0])
    assert [isinstance(one, str) for one in found] == [True, True, True, False]
    assert "secret" not in str(found)


def test_a_field_that_no_record_of_a_shape_has_costs_that_shape() -> None:
    schema = Schema.struct({"id": INT32})
    batch = sink_batch([schema.struct_type(id=1)], value_schema=schema)
    (told,) = of(write_times(timestamp="value.t", deletesEnabled="false"), batch)
    assert "k.t: its time of writing is value.t: its schema has no field t" in str(told)


def test_a_time_of_the_value_is_refused_where_records_without_one_delete() -> None:
    with pytest.raises(ConfigError, match=r"has no value\.t to say when; expected deletesEnabled=false") as caught:
        write_times(timestamp="value.t")
    assert caught.value.problems[0].key == "topic.topic.k.t.timestamp"
