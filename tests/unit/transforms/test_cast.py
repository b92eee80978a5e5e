"""Cast narrows as Java narrows, whichever way a value takes; what the recorded answers of Kafka Connect leave open."""

from __future__ import annotations

import datetime
import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import ConfigError, DataError
from engine.api.record import SourceRecord
from engine.api.schema import (
    DATE,
    FLOAT64,
    INT8,
    INT32,
    INT64,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Float32,
    Schema,
)
from engine.transforms.cast import CastConfig, CastValue
from engine.transforms.casting import caster

INTS = {"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"}
LONGS = st.integers(-(2**63), 2**63 - 1)


def cast(spec: str, **keys: str) -> CastValue:
    made = CastValue()
    made.configure(CastConfig.parse({"spec": spec, **keys}))
    return made


def cast_value(spec: str, value: Any, schema: Schema | None = None, **keys: str) -> SourceRecord:
    return cast(spec, **keys).apply(SourceRecord(topic="t", value=value, value_schema=schema))


@given(LONGS, st.sampled_from(sorted(INTS)))
def test_a_whole_number_keeps_its_lowest_bits(number: int, target: str) -> None:
    size = struct.calcsize(INTS[target])
    (expected,) = struct.unpack(f"<{INTS[target]}", struct.pack("<q", number)[:size])
    assert caster(None, target)(number) == expected
    assert caster(INT64, target)(number) == expected
    assert caster(Schema.decimal(0), target)(Decimal(number)) == expected


@given(st.floats(), st.sampled_from(sorted(INTS)))
def test_a_float_is_cut_to_an_int_or_long_and_then_narrowed(number: float, target: str) -> None:
    bits = 63 if target == "INT64" else 31
    whole = 0 if math.isnan(number) else max(-(2**bits), min(2**bits - 1, math.trunc(max(-1e300, min(1e300, number)))))
    assert caster(FLOAT64, target)(number) == caster(None, target)(whole)


@given(LONGS)
def test_a_number_casts_to_text_and_back(number: int) -> None:
    assert caster(STRING, "INT64")(caster(INT64, "STRING")(number)) == number


@given(st.floats(allow_nan=False))
def test_a_float_casts_to_text_and_back(number: float) -> None:
    assert caster(STRING, "FLOAT64")(caster(FLOAT64, "STRING")(number)) == number


@given(LONGS)
def test_a_long_is_rounded_once_on_its_way_to_a_32_bit_float(number: int) -> None:
    found = Decimal(caster(INT64, "FLOAT32")(number))
    below, above = (Decimal(neighbour(float(found), up=up)) for up in (False, True))
    assert abs(found - number) <= min(abs(below - number), abs(above - number))


def neighbour(number: float, *, up: bool) -> float:
    (bits,) = struct.unpack("<i", struct.pack("<f", number))
    step = 1 if up == (bits >= 0) else -1
    if bits == 0 and not up:
        return -1e-45
    (found,) = struct.unpack("<f", struct.pack("<i", bits + step))
    return float(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x1.8p1", 3.0),
        (" -.5e1D ", -5.0),
        ("1.f", 1.0),
        ("-Infinity", -math.inf),
        ("16777217", 16777216.0),
        ("1e999999999", math.inf),
        ("7.006492321624086e-46", 1e-45),  # half of the smallest, and a little more: rounded once
    ],
)
def test_text_is_read_as_java_reads_a_float(text: str, expected: float) -> None:
    found = caster(None, "FLOAT32")(text)
    assert isinstance(found, Float32)
    assert found == struct.unpack("<f", struct.pack("<f", expected))[0]


@pytest.mark.parametrize("text", ["", " ", "1_0", "inf", "nan", "0x1", "1e", "--1", "\u0661", "1 2"])
def test_text_that_is_no_float_to_java_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"Value \(.*\) was out of range"):
        caster(None, "FLOAT64")(text)


def test_a_minus_zero_keeps_its_sign() -> None:
    assert math.copysign(1, caster(None, "FLOAT32")("-0.0")) == -1
    assert math.copysign(1, caster(None, "FLOAT64")("-0")) == -1


def test_a_date_is_the_number_of_its_days_and_a_time_that_of_its_milliseconds() -> None:
    assert caster(DATE, "INT64")(datetime.date(1970, 1, 3)) == 2
    assert caster(DATE, "INT64")(5_000_000) == 5_000_000  # a year that Python does not have
    assert caster(TIME, "STRING")(datetime.time(1, 2, 3)) == "01:02:03.000Z"
    assert caster(TIMESTAMP, "FLOAT64")(datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)) == 1000.0
    with pytest.raises(DataError, match="should not have any time fields"):
        caster(DATE, "INT32")(datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.UTC))


def test_nested_fields_are_cast_under_the_second_syntax() -> None:
    schema = Schema.struct(
        {"a": Schema.struct({"b": INT64, "c": INT64}, optional=True, name="A"), "a.b": INT64}, name="R", optional=True
    )
    value = schema.struct_type(a=schema.fields[0].schema.struct_type(b=300, c=300), a_b=300)
    record = cast_value("a.b:int8,x.y:int8", value, schema, **{"field.syntax.version": "V2"})
    inner = Schema.struct({"b": INT8, "c": INT64}, optional=True, name="A")
    assert record.value_schema == Schema.struct({"a": inner, "a.b": INT64}, name="R", optional=True)
    assert record.value.a == inner.struct_type(b=44, c=300)
    assert record.value.a_b == 300
    first = cast_value("a.b:int8", value, schema)
    assert (first.value.a.b, first.value.a_b) == (300, 44)


def test_a_struct_whose_nested_struct_is_null_is_cast_all_the_same() -> None:
    schema = Schema.struct({"a": Schema.struct({"b": INT64}, optional=True)})
    record = cast_value("a.b:string", schema.struct_type(a=None), schema, **{"field.syntax.version": "V2"})
    assert record.value.a is None


def test_a_null_of_a_required_field_is_an_error_where_its_default_may_not_stand_for_it() -> None:
    schema = Schema.struct({"a": Schema("INT32", default=3), "b": OPTIONAL_STRING})
    value = schema.struct_type(a=None, b=None)
    assert cast_value("b:string", value, schema).value.a == 3
    with pytest.raises(DataError, match='null used for required field: "a", schema type: INT32'):
        cast_value("b:string", value, schema, **{"replace.null.with.default": "false"})


def test_a_default_that_cannot_be_cast_is_an_error_of_the_schema() -> None:
    schema = Schema.struct({"a": Schema("STRING", default="x")})
    with pytest.raises(DataError, match=r"Value \(x\) was out of range"):
        cast_value("a:int8", schema.struct_type(a="1"), schema)


def test_what_went_in_is_not_changed() -> None:
    before = {"a": 1, "b": {"c": 1}}
    after = cast_value("a:string,b.c:string", before, None, **{"field.syntax.version": "V2"}).value
    assert (before, after) == ({"a": 1, "b": {"c": 1}}, {"a": "1", "b": {"c": "1"}})


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("a:b:int8", "Invalid rename mapping: a:b:int8"),
        ("a:map", "does not support casting to MAP"),
        ("a:int", "No enum constant .*Type.INT for configuration Invalid type found in casting spec: int"),
        (":", "Invalid type found in casting spec"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        cast(spec)
    assert [problem.key for problem in raised.value.problems] == ["spec"]


def test_an_int_beyond_64_bits_is_no_value_of_connect() -> None:
    with pytest.raises(DataError, match=r"class java.math.BigInteger which is not supported"):
        cast_value("string", 2**63)
    assert cast_value("int32", True, INT32).value == 1
