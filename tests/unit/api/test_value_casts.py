"""Casts narrow as Java's do, take text for what it looks like, and say what cannot be cast."""

from __future__ import annotations

import ctypes
import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import value_casts
from engine.api.errors import DataError, SchemaBuilderError
from engine.api.schema import (
    BOOLEAN,
    DATE,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Float32,
    Schema,
)

WIDTHS = [
    (value_casts.as_int8, ctypes.c_int8),
    (value_casts.as_int16, ctypes.c_int16),
    (value_casts.as_int32, ctypes.c_int32),
    (value_casts.as_int64, ctypes.c_int64),
]


@pytest.mark.parametrize(("cast", "kind"), WIDTHS)
@given(number=st.integers(-(2**70), 2**70))
def test_whole_numbers_keep_their_lowest_bits(cast: Any, kind: Any, number: int) -> None:
    assert cast(number) == kind(number).value
    assert cast(str(number)) == kind(number).value
    assert cast(Decimal(number)) == kind(number).value


@pytest.mark.parametrize(("cast", "kind"), WIDTHS)
@given(number=st.floats())
def test_floats_become_the_nearest_long_first(cast: Any, kind: Any, number: float) -> None:
    whole = 0 if math.isnan(number) else int(max(min(number, 2.0**63), -(2.0**63)))
    assert cast(number) == kind(min(whole, 2**63 - 1)).value


@given(text=st.text(max_size=12))
def test_any_text_is_cast_or_refused(text: str) -> None:
    for name in value_casts.__all__:
        if name != "infer_schema":
            try:
                getattr(value_casts, name)(text)
            except DataError as error:
                assert str(error)  # noqa: PT017  # most texts are refused, some are not


@given(moment=st.datetimes(timezones=st.just(datetime.UTC)).map(lambda moment: moment.replace(microsecond=0)))
def test_a_timestamp_is_its_day_and_its_time(moment: datetime.datetime) -> None:
    time = value_casts.as_time(moment, TIMESTAMP)
    assert time == moment.time()
    assert value_casts.as_timestamp(value_casts.as_int64(moment, TIMESTAMP)) == moment
    day = value_casts.as_date(moment, TIMESTAMP)
    is_whole = moment >= datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) or moment.time() == datetime.time()
    # Towards zero, as Java divides: before the epoch it is the next day's beginning.
    assert day == (moment.date() if is_whole else moment.date() + datetime.timedelta(days=1))
    assert value_casts.as_timestamp(moment.date(), DATE) == moment.replace(hour=0, minute=0, second=0)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (True, BOOLEAN),
        (5, INT64),
        (1.5, FLOAT64),
        (Float32(1.5), FLOAT32),
        ("a", STRING),
        ([1, 2], Schema.array(INT64)),
        ([1, None], Schema.array(INT64.as_optional())),
        ({"a": "b"}, Schema.map(STRING, STRING)),
        ([], None),
        ([1, "a"], None),
        (Decimal(1), None),
        (None, None),
    ],
)
def test_a_schema_is_inferred(value: Any, schema: Schema | None) -> None:
    assert value_casts.infer_schema(value) == schema


def test_nothing_but_nulls_has_no_type() -> None:
    with pytest.raises(SchemaBuilderError, match="type cannot be null"):
        value_casts.infer_schema([None])


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(DataError, match="nested deeper than 100 levels"):
        value_casts.as_list("[" * 200 + "]" * 200)
