"""TimestampConverter: what the recorded answers of Kafka Connect leave open."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import ConnectError, DataError
from engine.api.record import SourceRecord
from engine.api.schema import DATE, INT32, INT64, STRING, TIME, TIMESTAMP, Schema
from engine.transforms.timestamp_converter import TimestampConverterConfig, TimestampConverterValue

MOMENTS = st.datetimes(timezones=st.just(datetime.UTC)).map(
    lambda one: one.replace(microsecond=one.microsecond // 1000 * 1000)
)


def converted(value: Any, schema: Schema | None = None, **keys: str) -> tuple[Any, Schema | None]:
    transform = TimestampConverterValue()
    transform.configure(TimestampConverterConfig.parse({key.replace("_", "."): given for key, given in keys.items()}))
    record = transform.apply(SourceRecord(topic="t", value=value, value_schema=schema))
    return record.value, record.value_schema


@given(MOMENTS, st.sampled_from(["milliseconds", "microseconds"]))
def test_a_timestamp_comes_back_from_a_unix_epoch(moment: datetime.datetime, precision: str) -> None:
    unix, schema = converted(moment, TIMESTAMP, target_type="unix", unix_precision=precision)
    assert schema == INT64
    assert converted(unix, schema, target_type="Timestamp", unix_precision=precision) == (moment, TIMESTAMP)


@given(MOMENTS)
def test_a_timestamp_is_its_day_and_its_time_of_day(moment: datetime.datetime) -> None:
    date, _ = converted(moment, TIMESTAMP, target_type="Date")
    time, _ = converted(moment, TIMESTAMP, target_type="Time")
    assert datetime.datetime.combine(date, time, datetime.UTC) == moment


@given(MOMENTS)
def test_a_timestamp_comes_back_from_text(moment: datetime.datetime) -> None:
    pattern = "G yyyy-MM-dd'T'HH:mm:ss.SSSXXX"
    text, schema = converted(moment, TIMESTAMP, target_type="string", format=pattern)
    assert schema == STRING
    assert converted(text, schema, target_type="Timestamp", format=pattern) == (moment, TIMESTAMP)


def test_what_python_cannot_hold_is_carried_as_a_number() -> None:
    far = 300_000_000_000_000
    assert converted(far, INT64, target_type="Timestamp") == (far, TIMESTAMP)
    assert converted(far, INT64, target_type="Date") == (far // 86_400_000, DATE)
    assert converted(far, TIMESTAMP, target_type="string", format="yyyy") == ("11476", STRING)
    assert converted(far // 86_400_000, DATE, target_type="unix") == (far // 86_400_000 * 86_400_000, INT64)


def test_an_epoch_that_is_too_large_stops_at_the_largest() -> None:
    keys: dict[str, Any] = {"target_type": "unix", "unix_precision": "nanoseconds"}
    assert converted(2**62, INT64, **keys)[0] == 2**62 // 1_000_000 * 1_000_000
    moment = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)
    assert converted(moment, **keys)[0] == 2**63 - 1


def test_a_nested_field_is_converted_under_the_second_syntax() -> None:
    keys: dict[str, Any] = {"target_type": "Timestamp", "field": "a.at", "field_syntax_version": "V2"}
    assert converted({"a": {"at": 0}}, **keys)[0] == {"a": {"at": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)}}
    inner = Schema.struct({"at": INT64})
    schema = Schema.struct({"a": inner})
    value, found = converted(schema.struct_type(a=inner.struct_type(at=0)), schema, **keys)
    assert found == Schema.struct({"a": Schema.struct({"at": TIMESTAMP})})
    assert value.a.at == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def test_a_field_that_is_no_timestamp_is_an_error_but_not_of_a_null() -> None:
    schema = Schema.struct({"a": INT32}, optional=True)
    with pytest.raises(ConnectError, match=r"Schema Schema\{INT32\} does not correspond to a known timestamp type"):
        converted(schema.struct_type(a=1), schema, target_type="unix", field="a")
    assert converted(None, schema, target_type="unix", field="a")[0] is None


def test_a_value_that_is_no_struct_is_an_error() -> None:
    with pytest.raises(DataError, match=r"\[converting timestamp formats\], found: java.lang.Integer"):
        converted(1, INT32, target_type="unix", field="a")
    with pytest.raises(DataError, match="Cannot list fields on non-struct type"):
        converted(None, INT32, target_type="unix", field="a")


def test_text_without_a_format_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="expected format to be set"):
        converted("2019", target_type="unix")


def test_a_time_alone_is_one_of_the_epochs_day() -> None:
    assert converted(datetime.time(1, 2), TIME, target_type="string", format="yyyy HH:mm") == ("1970 01:02", STRING)
    assert converted(datetime.time(1), target_type="unix") == (3_600_000, None)
