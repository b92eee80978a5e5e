"""SimpleHeaderConverter reads headers as what they look like, and writes text that does look like it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.simple_header import SimpleHeaderConverter
from engine.api import values
from engine.api.errors import DataError
from engine.api.java_scalars import datetime_of_ms
from engine.api.map_keys import as_key
from engine.api.record import Header
from engine.api.schema import BYTES, DATE, FLOAT32, INT8, INT32, INT64, STRING, TIMESTAMP, Float32, Schema
from engine.api.validation import DAY_MS, TIMESTAMP_MS
from engine.api.value_text import to_text
from tests.unit.converters.strategies import INT64 as INTS
from tests.unit.converters.strategies import TEXTS


def read(payload: bytes | None) -> tuple[Any, Schema | None]:
    header = SimpleHeaderConverter().to_connect_header("topic", "key", payload)
    assert header.key == "key"
    return header.value, header.schema


def write(value: Any, schema: Schema | None = None) -> bytes | None:
    return SimpleHeaderConverter().from_connect_header("topic", Header("key", value, schema))


@pytest.mark.parametrize(
    ("payload", "value", "schema"),
    [
        (None, None, None),
        (b"null", None, None),
        (b"", "", STRING),
        (b"12", 12, INT8),
        (b"-129", -129, Schema("INT16")),
        (b"999999999999999999", 999_999_999_999_999_999, INT64),
        (b"9223372036854775808", Decimal(2**63), Schema.decimal(0)),
        (b"1.5", 1.5, FLOAT32),
        (b"12:30", 12, INT8),
        (b"a\xff", "a\ufffd", STRING),
        (b"2024-01-31", datetime.date(2024, 1, 31), DATE),
        (b'{"a":[1,2]}', {"a": [1, 2]}, Schema.map(STRING, Schema.array(INT8))),
        (b"{[1]:2}", {(1,): 2}, Schema.map(Schema.array(INT8), INT8)),
        (b"{true:1,1:2}", "{true:1,1:2}", STRING),
        (b'[", "]', [","], Schema.array(STRING)),
        (b"[1,", "[1,", STRING),
    ],
)
def test_a_header_is_read_as_what_it_looks_like(payload: bytes | None, value: Any, schema: Schema | None) -> None:
    assert read(payload) == (value, schema)


def test_a_header_nested_too_deep_stays_bytes() -> None:
    payload = b"[" * 20_000
    assert read(payload) == (payload, BYTES)


def test_a_moment_in_a_list_of_unlike_elements_is_a_datetime() -> None:
    value, schema = read(b'["a",2024-01-31]')
    assert value == ["a", datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC)]
    assert schema == Schema("ARRAY")


def test_narrow_floats_in_a_list_of_unlike_elements_stay_narrow() -> None:
    value, _ = read(b'["a",0.1]')
    assert isinstance(value[1], Float32)
    assert write(value) == b'["a",0.1]'


def test_a_date_before_october_1582_is_one_of_javas_calendar() -> None:
    # 4 October 1582 of the Julian calendar was followed by 15 October of the Gregorian.
    (before, _), (after, _) = read(b"1582-10-04"), read(b"1582-10-15")
    assert after - before == datetime.timedelta(days=1)


def test_a_float_is_rounded_once() -> None:
    # By 64 bits, which would take it for the middle between two floats, it would come out as 1.0.
    value, schema = read(b"1.00000005960464477540")
    assert (value, schema) == (1.0000001192092896, FLOAT32)


@pytest.mark.parametrize(
    ("value", "schema", "payload"),
    [
        (None, STRING, None),
        ('a"b', None, b'a"b'),
        (['a"b\\'], None, b'["a\\"b\\\\"]'),
        (b"abc", None, b"YWJj"),
        ([b"abc"], None, b'["YWJj"]'),
        (1e10, None, b"1.0E10"),
        (0.10000000149011612, FLOAT32, b"0.1"),
        (Decimal("1E+3"), None, b"1E+3"),
        (datetime.date(2024, 1, 31), DATE, b"2024-01-31"),
        (datetime.datetime(1969, 7, 20, 20, 17, tzinfo=datetime.UTC), TIMESTAMP, b"20:17:00.000Z"),
        (2_932_897, DATE, b"10000-01-01"),
        ({as_key([1]): None, "b": True}, None, b'{[1]:null,"b":true}'),
        (Schema.struct({"a": INT32}).struct_type(a=1), None, b'{"a":1}'),
        ("\ud800", None, b"?"),
    ],
)
def test_a_value_is_written_as_text(value: Any, schema: Schema | None, payload: bytes | None) -> None:
    assert write(value, schema) == payload


def test_a_value_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(DataError, match="Failed to serialize unexpected value type"):
        write(object())


@given(st.text() | st.text(alphabet='truefalsn01 9.-+eE:{}[]",\\'))
def test_any_text_is_read_as_something(text: str) -> None:
    value, schema = values.parse(text)
    assert value is None or schema is not None


@given(st.booleans() | INTS | st.lists(INTS, max_size=4) | st.dictionaries(TEXTS.filter(str.isalpha), INTS))
def test_what_is_written_is_read_back(value: Any) -> None:
    text = to_text(value)
    assert values.parse(text)[0] == value


@given(st.dates(datetime.date(1970, 1, 2)))
def test_dates_are_read_back(day: datetime.date) -> None:
    assert values.parse(to_text(day, DATE)) == (day, DATE)


@given(st.integers(DAY_MS, TIMESTAMP_MS[1]).filter(lambda milliseconds: milliseconds % DAY_MS))
def test_timestamps_are_read_back(milliseconds: int) -> None:
    moment = datetime_of_ms(milliseconds)
    assert values.parse(to_text(moment, TIMESTAMP)) == (moment, TIMESTAMP)
