"""Values become the text that COPY reads; schemas become types, and types schemas."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest

from connectors.postgres.texts import block_of, lines_of, texts_of
from connectors.postgres.types import Kind, connect_words, default_sql, kind_of_type, schema_of_type, sql_type
from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.map_keys import MapKey
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Float32,
    Schema,
)

POINT = Schema.struct({"x": INT32, "at": TIMESTAMP})
NOW = datetime.datetime(2024, 1, 31, 12, 0, 0, 123_000, datetime.UTC)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, -3], "plain", ["1", "\\N", "-3"]),
        ([1, 2.5, Float32(0.5)], "plain", ["1", "2.5", "0.5"]),
        ([float("inf"), float("nan")], "plain", ["inf", "nan"]),
        ([True, None, False], "plain", ["true", "\\N", "false"]),
        (["a", "é"], "plain", ["a", "é"]),
        (["\\N", "a\tb", "c\nd\r", None], "plain", ["\\\\N", "a\\tb", "c\\nd\\r", "\\N"]),
        ([b"\x00\xff", None], "bytes", ["\\\\x00ff", "\\N"]),
        ([Decimal("9.50"), Decimal("1E+3")], "plain", ["9.50", "1E+3"]),
        ([datetime.date(2024, 1, 31)], "plain", ["2024-01-31"]),
        ([datetime.time(1, 2, 3, 4000)], "plain", ["01:02:03.004000"]),
        ([NOW], "plain", ["2024-01-31 12:00:00.123000+00:00"]),
        ([[1, None], ["a,b", 'q"\\'], []], "array", ["{1,NULL}", '{"a,b","q\\\\"\\\\\\\\"}', "{}"]),
        ([[[1], [2]]], "array", ["{{1},{2}}"]),
        ([[b"\x01"]], "array", ['{"\\\\\\\\x01"}']),
        ([{"a": 1, "b": [None, "\t"]}], "json", ['{"a":1,"b":[null,"\\\\t"]}']),
        ([{"a": Decimal("1.50")}], "json", ['{"a":1.50}']),
        ([{1: "a", MapKey({"b": 1}): 2}], "json", ['{"1":"a","{\\\\"b\\\\":1}":2}']),
        ([POINT.struct_type(x=1, at=NOW)], "json", ['{"x":1,"at":"2024-01-31T12:00:00.123000Z"}']),
        ([{"a": 1}, [1, 2], 3], "plain", ['{"a":1}', "[1,2]", "3"]),
        (["1", 1, True, None], "plain", ["1", "1", "true", "\\N"]),
        ([None, None], "plain", ["\\N", "\\N"]),
    ],
)
def test_values_are_written_as_copy_reads_them(values: list[Any], kind: Kind, expected: list[str]) -> None:
    assert [*texts_of(values, kind)] == expected


def test_what_python_has_no_date_for_is_written_by_its_number() -> None:
    assert texts_of([-719_163, 0], "plain", "Date") == ["J1721425", "J2440588"]
    assert texts_of([86_400_000], "plain", "Time") == ["24:00:00.000"]
    assert texts_of([1_001], "plain", "Timestamp") == ["J2440588 00:00:01.001+00"]


def test_a_column_that_is_the_same_all_along_is_written_once() -> None:
    texts = texts_of(Repeat("a\n", 3), "plain")
    assert isinstance(texts, Repeat)
    assert [*texts] == ["a\\n"] * 3


def test_lines_are_rows() -> None:
    lines = lines_of([["1", "2"], Repeat("x", 2)])
    assert lines == ["1\tx", "2\tx"]
    assert block_of(lines) == b"1\tx\n2\tx\n"


def test_what_cannot_be_written_is_a_bad_value() -> None:
    with pytest.raises(DataError, match="not bytea"):
        texts_of([b"1"], "plain")
    with pytest.raises(DataError, match="surrogate"):
        block_of(["\ud800"])


TYPES = [
    (INT16, "smallint"),
    (INT32, "integer"),
    (INT64, "bigint"),
    (FLOAT32, "real"),
    (FLOAT64, "double precision"),
    (BOOLEAN, "boolean"),
    (STRING, "text"),
    (BYTES, "bytea"),
    (DATE, "date"),
    (TIME, "time without time zone"),
    (TIMESTAMP, "timestamp with time zone"),
    (Schema.array(OPTIONAL_STRING), "text[]"),
]


@pytest.mark.parametrize(("schema", "type_name"), TYPES)
def test_types_are_mapped_both_ways(schema: Schema, type_name: str) -> None:
    assert sql_type(schema) == type_name
    assert schema_of_type(type_name) == schema


def test_what_postgresql_has_no_equal_for_is_the_nearest() -> None:
    assert sql_type(INT8) == "smallint"
    assert sql_type(Schema.decimal(2)) == "numeric"
    assert sql_type(Schema.map(STRING, INT32)) == sql_type(POINT) == sql_type(Schema.array(POINT)) == "jsonb"
    assert sql_type(Schema.array(Schema.array(INT32))) == "jsonb"
    assert schema_of_type("numeric(10,2)") == Schema.decimal(2)
    assert schema_of_type("numeric(10)") == Schema.decimal(0)
    assert schema_of_type("numeric") == schema_of_type("uuid") == STRING
    assert schema_of_type("character varying(3)") == STRING
    assert schema_of_type("timestamp(3) without time zone") == TIMESTAMP
    assert connect_words(schema_of_type("timestamp with time zone[]")) == "ARRAY of Timestamp"


@pytest.mark.parametrize("value", [[math.nan], [1.0, None, math.inf], {"a": {"b": -math.inf}}, (1, math.nan)])
def test_a_number_that_json_has_not_is_no_null(value: Any) -> None:
    with pytest.raises(DataError, match="is no number there"):
        texts_of([value], "json")


def test_what_is_nested_too_deeply_costs_itself() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(DataError, match="cannot be written as JSON"):
        texts_of([value], "json")


def test_columns_are_of_four_kinds() -> None:
    assert [kind_of_type(*one) for one in (("A", "_int4"), ("U", "jsonb"), ("U", "bytea"), ("N", "int4"))] == [
        "array", "json", "bytes", "plain",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (STRING.replaced(default="it's"), "E'it''s'"),
        (INT32.replaced(default=7), "E'7'"),
        (BOOLEAN.replaced(default=False), "false"),
        (BYTES.replaced(default=b"\x01"), "E'\\\\x01'"),
        (DATE.replaced(default=datetime.date(2024, 1, 31)), "E'2024-01-31'"),
        (Schema.array(INT32, default=[1]), ""),
        (STRING, ""),
    ],
)
def test_defaults_of_schemas_are_those_of_columns(schema: Schema, expected: str) -> None:
    assert default_sql(schema) == expected
