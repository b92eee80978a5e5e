"""Headers are a multimap whose order counts."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from engine.api.errors import DataError
from engine.api.headers import Headers
from engine.api.record import Header, SourceRecord
from engine.api.schema import INT8, INT32, OPTIONAL_BYTES, OPTIONAL_STRING, STRING, TIMESTAMP, Schema


def keys(headers: Headers) -> list[str]:
    return [header.key for header in headers]


def some() -> Headers:
    return Headers().add("a", 1).add("b", 2).add("a", 3)


def test_all_and_the_last_of_a_key_are_found() -> None:
    assert [header.value for header in some().all("a")] == [1, 3]
    assert some().last("a") == Header("a", 3)
    assert some().last("c") is None


def test_of_each_key_or_of_one_the_last_is_kept_in_its_place() -> None:
    assert some().retain_latest() == [Header("b", 2), Header("a", 3)]
    assert some().add("b", 4).retain_latest("b") == [Header("a", 1), Header("a", 3), Header("b", 4)]


def test_a_key_is_taken_out() -> None:
    assert keys(some().without("a")) == ["b"]


def test_apply_replaces_and_takes_out() -> None:
    doubled = some().apply(lambda header: header._replace(value=header.value * 2), "a")
    assert [header.value for header in doubled] == [2, 2, 6]
    assert keys(some().apply(lambda header: header if header.key == "b" else None)) == ["b"]


def test_what_apply_makes_is_checked_and_changes_nothing_when_it_is_bad() -> None:
    headers = some()
    with pytest.raises(DataError, match='header "a"'):
        headers.apply(lambda header: Header(header.key, "x", INT32))
    assert headers == some()


def test_a_value_is_one_of_its_schema() -> None:
    with pytest.raises(DataError, match='header "size": Invalid Java object for schema with type INT8'):
        Headers().add("size", 300, INT8)
    with pytest.raises(DataError, match="Null header names"):
        Headers().add(None, 1)  # type: ignore[arg-type]


def test_typed_ones_attach_their_schema() -> None:
    moment = datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC)
    order = Schema.struct({"id": INT32}).struct_type(id=1)
    headers = (
        Headers()
        .add_boolean("a", value=True)
        .add_int8("a", 1)
        .add_int16("a", 1)
        .add_int32("a", 1)
        .add_int64("a", 1)
        .add_float32("a", 1.5)
        .add_float64("a", 1.5)
        .add_string("a", "x")
        .add_bytes("a", b"x")
        .add_decimal("a", Decimal("1.50"))
        .add_date("a", moment.date())
        .add_time("a", moment.time())
        .add_timestamp("a", moment)
        .add_list("a", ["x"], Schema.array(STRING))
        .add_map("a", {"x": 1}, Schema.map(STRING, INT32))
        .add_struct("a", order)
    )
    found = [header.schema for header in headers if header.schema is not None]
    assert [schema.type for schema in found] == [
        *("BOOLEAN", "INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64", "STRING", "BYTES"),
        *("BYTES", "INT32", "INT32", "INT64", "ARRAY", "MAP", "STRUCT"),
    ]
    assert found[9] == Schema.decimal(2)
    assert found[12] == TIMESTAMP


def test_nulls_have_an_optional_schema_or_none() -> None:
    headers = Headers().add_string("a", None).add_bytes("b", None).add_decimal("c", None).add_struct("d", None)
    headers.add_list("e", None, Schema.array(STRING)).add_map("f", None, Schema.map(STRING, STRING))
    assert [header.schema for header in headers] == [OPTIONAL_STRING, OPTIONAL_BYTES, None, None, None, None]


def test_they_go_wherever_headers_go_and_a_copy_is_another() -> None:
    record = SourceRecord(topic="t", headers=some())
    copy = Headers(record.headers).copy().add("c", 1)
    assert keys(copy) == ["a", "b", "a", "c"]
    assert len(record.headers) == 3
