"""StringConverter: encodings, what it prints, and text that is moved without being looked at."""

from __future__ import annotations

from typing import Any

import pytest

from converters.string import StringConfig, StringConverter
from engine.api.column import Repeat, Utf8Column
from engine.api.errors import ConfigError, DataError
from engine.api.record import Header
from engine.api.schema import INT32, OPTIONAL_STRING


def converter(encoding: str = "UTF-8") -> StringConverter:
    made = StringConverter()
    made.configure(StringConfig.parse({"converter.encoding": encoding}))
    return made


def written(made: StringConverter, *values: Any) -> list[bytes | None]:
    encoded = made.from_connect("topic", values, Repeat(None, len(values)))
    assert not encoded.failures
    return [*encoded.payloads]


def test_text_goes_through_as_the_bytes_it_came_as() -> None:
    payloads = [b"a", None, "é水".encode()]
    found = converter().to_connect("topic", payloads)
    assert isinstance(found.values, Utf8Column)
    assert found.values.encoded is payloads
    assert list(found.values) == ["a", None, "é水"]
    assert list(found.schemas) == [OPTIONAL_STRING] * 3
    assert list(converter().from_connect("topic", found.values, found.schemas).payloads) == payloads


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    found = converter().to_connect("topic", [b"a\xff", b"\xed\xa0\x80"])
    assert list(found.values) == ["a\ufffd", "\ufffd"]
    assert list(converter().from_connect("topic", found.values, found.schemas).payloads) == [
        "a\ufffd".encode(),
        "\ufffd".encode(),
    ]


def test_what_is_no_text_is_written_as_java_prints_it() -> None:
    assert written(converter(), 1, None, True, 1e10, {"a": [1, None]}) == [
        b"1",
        None,
        b"true",
        b"1.0E10",
        b"{a=[1, null]}",
    ]


def test_a_value_nested_too_deep_costs_itself_only() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    found = converter().from_connect("topic", [1, deep, {"a": 2}], Repeat(None, 3))
    assert list(found.payloads) == [b"1", None, b"{a=2}"]
    assert [(failure.index, type(failure.error)) for failure in found.failures] == [(1, DataError)]


def test_a_repeated_value_is_written_in_each_slot() -> None:
    assert list(converter().from_connect("topic", Repeat(7, 3), Repeat(INT32, 3)).payloads) == [b"7"] * 3
    assert list(converter().from_connect("topic", Repeat(7, 0), Repeat(INT32, 0)).payloads) == []


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        ("ISO-8859-1", b"\xe9?"),
        ("UTF-16", b"\xfe\xff\x00\xe9\x6c\x34"),
        ("UTF-16LE", b"\xe9\x00\x34\x6c"),
        ("US-ASCII", b"??"),
    ],
)
def test_other_encodings_write_what_java_writes(encoding: str, payload: bytes) -> None:
    assert written(converter(encoding), "é水") == [payload]


def test_a_byte_order_mark_tells_how_to_read() -> None:
    payloads = ["é".encode("utf-16-be"), b"\xfe\xff\x00\xe9", b"\xff\xfe\xe9\x00", None]
    assert list(converter("UTF-16").to_connect("topic", payloads).values) == ["é", "é", "é", None]


def test_half_a_surrogate_pair_is_written_as_a_question_mark() -> None:
    assert written(converter(), "a\ud800", "b") == [b"a?", b"b"]


@pytest.mark.parametrize("encoding", ["bogus", "base64", ""])
def test_an_unknown_encoding_is_refused_by_its_name(encoding: str) -> None:
    with pytest.raises(ConfigError, match=f"Invalid value {encoding} for configuration converter.encoding"):
        converter(encoding)


def test_headers_are_converted_like_values() -> None:
    made = converter()
    assert made.from_connect_header("topic", Header("key", 1, INT32)) == b"1"
    assert made.from_connect_header("topic", Header("key", None)) is None
    assert made.to_connect_header("topic", "key", b"1") == Header("key", "1", OPTIONAL_STRING)
