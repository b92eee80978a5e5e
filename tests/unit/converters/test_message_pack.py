"""MessagePack: what comes back, how structs are written, and what is refused where."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given

from converters.message_pack import DEPTH_MAX, MessagePackConverter
from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.schema import DATE, INT32, STRING, Schema
from tests.unit.converters.strategies import PLAIN


@given(PLAIN)
def test_values_come_back_as_they_were(value: Any) -> None:
    converter = MessagePackConverter()
    written = converter.from_connect("topic", [value, value], Repeat(None, 2))
    assert not written.failures
    assert [*converter.to_connect("topic", written.payloads).values] == [value, value]


def test_a_struct_is_the_map_of_its_fields() -> None:
    schema = Schema.struct({"a-b": INT32, "day": DATE, "price": Schema.decimal(2), "m": Schema.map(INT32, STRING)})
    name = schema.struct_type.__struct_fields__[0]
    value = schema.struct_type(**{name: 1}, day=datetime.date(2024, 2, 29), price=Decimal("1.50"), m={1: "x"})
    (payload,) = MessagePackConverter().from_connect("topic", [value], [schema]).payloads
    assert payload is not None
    assert msgspec.msgpack.decode(payload) == {"a-b": 1, "day": "2024-02-29", "price": "1.50", "m": {1: "x"}}


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "truncated"),
        (b"\x01\x01", "trailing"),
        (b"\xc1", "malformed"),
        (b"\xc7\x01\x05a", "an extension of type 5"),
        (b"\x81\xa1a\x91\xcf" + b"\xff" * 8, "is out of range at $.a[0]"),
        (b"\x91" * (DEPTH_MAX + 1) + b"\x01", f"nested deeper than {DEPTH_MAX}"),
        (b"\x91" * 100_000, "is no MessagePack"),
        (b"\x81\x91\x01\x01", "a key of class"),
    ],
)
def test_bytes_that_are_no_value_cost_themselves(payload: bytes, told: str) -> None:
    read = MessagePackConverter().to_connect("topic", [b"\x01", payload, None])
    (failure,) = read.failures
    assert failure.index == 1
    assert isinstance(failure.error, DataError)
    assert told in failure.error.whole()
    assert [*read.values] == [1, None, None]


@pytest.mark.parametrize("value", [2**70, "\ud800", object(), {"a": {"b": [2**65]}}])
def test_a_value_without_a_form_is_refused(value: Any) -> None:
    written = MessagePackConverter().from_connect("topic", [value, 1], Repeat(None, 2))
    assert [failure.index for failure in written.failures] == [0]
    assert isinstance(written.failures[0].error, DataError)
    assert written.payloads == [None, b"\x01"]
