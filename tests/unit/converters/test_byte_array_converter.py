"""ByteArrayConverter passes bytes and refuses everything else."""

from __future__ import annotations

from typing import Any

import pytest

from converters.byte_array import ByteArrayConverter
from engine.api.column import Repeat, Utf8Column
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import BYTES, INT32, OPTIONAL_BYTES, STRING, Schema


def test_bytes_go_through_in_both_directions() -> None:
    payloads = [b"a", None, b""]
    found = ByteArrayConverter().to_connect("topic", payloads)
    assert (list(found.values), list(found.schemas)) == (payloads, [OPTIONAL_BYTES] * 3)
    assert list(ByteArrayConverter().from_connect("topic", payloads, [BYTES, None, BYTES]).payloads) == payloads


@pytest.mark.parametrize(
    ("value", "schema", "said"),
    [
        ("a", None, "not compatible with objects of type class java.lang.String"),
        (5, None, "not compatible with objects of type class java.lang.Integer"),
        (b"a", STRING, "Invalid schema type for ByteArrayConverter: STRING"),
        (None, INT32, "Invalid schema type for ByteArrayConverter: INT32"),
    ],
)
def test_a_value_that_is_no_bytes_costs_itself_only(value: Any, schema: Schema | None, said: str) -> None:
    found = ByteArrayConverter().from_connect("topic", [b"x", value, b"y"], [None, schema, BYTES])
    assert list(found.payloads) == [b"x", None, b"y"]
    ((index, error),) = [(failure.index, failure.error) for failure in found.failures]
    assert index == 1
    assert isinstance(error, DataError)
    assert said in str(error)


def test_buffers_are_copied() -> None:
    buffer = bytearray(b"ab")
    payloads = ByteArrayConverter().from_connect("topic", [buffer, memoryview(b"c")], Repeat(None, 2)).payloads
    buffer[0] = 0
    assert list(payloads) == [b"ab", b"c"]


def test_text_that_is_still_bytes_is_text_all_the_same() -> None:
    found = ByteArrayConverter().from_connect("topic", Utf8Column([b"a"]), Repeat(None, 1))
    assert len(found.failures) == 1


def test_headers_are_converted_like_values() -> None:
    made = ByteArrayConverter()
    assert made.from_connect_header("topic", Header("key", b"a", BYTES)) == b"a"
    assert made.to_connect_header("topic", "key", None) == Header("key", None, OPTIONAL_BYTES)
    with pytest.raises(DataError):
        made.from_connect_header("topic", Header("key", "a", STRING))
