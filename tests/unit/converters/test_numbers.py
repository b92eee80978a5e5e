"""Converters of numbers and booleans carry a value as its bytes, and refuse what is none."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.numbers import (
    BooleanConverter,
    DoubleConverter,
    FloatConverter,
    IntegerConverter,
    LongConverter,
    ShortConverter,
)
from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import BOOLEAN, FLOAT64, INT16, INT64, OPTIONAL_INT16, STRING, Float32, Schema
from engine.api.structs import INT_RANGES

VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (ShortConverter, st.integers(*INT_RANGES["INT16"])),
    (IntegerConverter, st.integers(*INT_RANGES["INT32"])),
    (LongConverter, st.integers(*INT_RANGES["INT64"])),
    (FloatConverter, st.floats(width=32, allow_nan=False)),
    (DoubleConverter, st.floats(allow_nan=False)),
    (BooleanConverter, st.booleans()),
]
GOOD: dict[Any, Any] = {
    **dict.fromkeys((ShortConverter, IntegerConverter, LongConverter), 1),
    **dict.fromkeys((FloatConverter, DoubleConverter), 1.0),
    BooleanConverter: True,
}


@pytest.mark.parametrize(("kind", "values"), VALUES)
@given(data=st.data())
def test_a_column_comes_back_with_its_nulls(kind: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    column = data.draw(st.lists(st.none() | values, max_size=6))
    converter = kind()
    encoded = converter.from_connect("topic", column, Repeat(None, len(column)))
    assert not encoded.failures
    decoded = converter.to_connect("topic", encoded.payloads)
    assert [*decoded.values] == column
    assert [*decoded.schemas] == [converter.schema] * len(column)
    alone = [converter.from_connect_header("topic", Header("key", value)) for value in column]
    assert alone == [*encoded.payloads]
    assert [converter.to_connect_header("topic", "key", payload).value for payload in alone] == column


@pytest.mark.parametrize(
    ("kind", "value", "schema", "said"),
    [
        (ShortConverter, 70_000, None, "Failed to serialize to short (was class java.lang.Integer)"),
        (ShortConverter, True, None, "Failed to serialize to short (was class java.lang.Boolean)"),
        (ShortConverter, 5, INT64, "Failed to serialize to short (was class java.lang.Long)"),
        (LongConverter, 2**63, None, "Failed to serialize to long (was class java.math.BigInteger)"),
        (FloatConverter, 1e39, None, "1e+39 is beyond 32 bits"),
        (FloatConverter, 1.5, FLOAT64, "Failed to serialize to float (was class java.lang.Double)"),
        (DoubleConverter, 1, None, "Failed to serialize to double (was class java.lang.Integer)"),
        (BooleanConverter, 1, None, "not compatible with objects of type class java.lang.Integer"),
        (BooleanConverter, True, STRING, "Invalid schema type for BooleanConverter: STRING"),
    ],
)
def test_a_value_that_is_none_costs_itself_only(kind: Any, value: Any, schema: Schema | None, said: str) -> None:
    encoded = kind().from_connect("topic", [GOOD[kind], value, None], [None, schema, None])
    ((index, error),) = [(failure.index, failure.error) for failure in encoded.failures]
    assert index == 1
    assert isinstance(error, DataError)
    assert said in str(error)
    assert [payload is None for payload in encoded.payloads] == [False, True, True]


@pytest.mark.parametrize("kind", [kind for kind, _ in VALUES])
@pytest.mark.parametrize("payload", [b"", b"\2", b"123", b"123456789"])
def test_bytes_of_another_length_cost_themselves_only(kind: Any, payload: bytes) -> None:
    converter = kind()
    good = converter.from_connect_header("topic", Header("key", GOOD[kind]))
    if good is None or len(good) != len(payload):
        decoded = converter.to_connect("topic", [payload, None])
        (failure,) = decoded.failures
        assert failure.index == 0
        assert failure.error.whole().startswith("Failed to deserialize ")
        assert ": expected " in failure.error.whole()


def test_two_wrong_lengths_that_add_up_are_seen() -> None:
    decoded = ShortConverter().to_connect("topic", [b"\0", b"\0\0\0", b"\0\1"])
    assert [failure.index for failure in decoded.failures] == [0, 1]
    assert [*decoded.values] == [None, None, 1]


def test_a_column_of_one_value_is_one() -> None:
    assert [*LongConverter().from_connect("topic", Repeat(None, 3), Repeat(None, 3)).payloads] == [None] * 3
    assert [*ShortConverter().from_connect("topic", Repeat(7, 2), Repeat(INT16, 2)).payloads] == [b"\0\7"] * 2
    assert [*ShortConverter().to_connect("topic", Repeat(b"\0\7", 2)).values] == [7, 7]
    assert [*ShortConverter().from_connect("topic", [], Repeat(OPTIONAL_INT16, 0)).payloads] == []


def test_floats_are_rounded_to_32_bits_and_infinities_stay() -> None:
    encoded = FloatConverter().from_connect("topic", [0.1, math.inf, Float32(1.5)], Repeat(None, 3))
    assert [*encoded.payloads] == [struct.pack(">f", number) for number in (0.1, math.inf, 1.5)]


def test_the_schema_of_a_boolean_is_looked_at_for_nulls_too() -> None:
    encoded = BooleanConverter().from_connect("topic", [None, None], [BOOLEAN, STRING])
    assert [failure.index for failure in encoded.failures] == [1]
