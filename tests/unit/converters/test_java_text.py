"""A column is printed as its values are printed one by one, and those as Java prints them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import java_text
from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column
from engine.api.errors import DataError
from engine.api.map_keys import as_key
from engine.api.schema import DATE, FLOAT32, INT64, OPTIONAL_STRING, Float32, Schema
from tests.unit.converters.strategies import PLAIN, schemas, values_of

ROW = Schema.struct({"first": OPTIONAL_STRING, "id": INT64, "last": OPTIONAL_STRING})
ALIKE = st.fixed_dictionaries({"id": st.integers(), "price": st.floats(), "note": st.none() | st.text(max_size=3)})


def one_by_one(values: list[Any], schema: Schema | None) -> list[str]:
    return [java_text.text(value, schema) for value in values]


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "null"),
        (True, "true"),
        (2**70, "1180591620717411303424"),
        (1e7, "1.0E7"),
        (-0.0, "-0.0"),
        (float("nan"), "NaN"),
        (Float32(0.10000000149011612), "0.1"),
        (Decimal("1E+3"), "1E+3"),
        (b"\x01", "[B@0"),
        ({"a": 1, "b": [None, "x"]}, "{a=1, b=[null, x]}"),
        ({as_key([1]): as_key({"b": 2})}, "{[1]={b=2}}"),
        (datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC), "Tue Nov 14 22:13:20 UTC 2023"),
    ],
)
def test_a_value_is_printed_as_java_prints_it(value: Any, printed: str) -> None:
    assert java_text.text(value) == printed


def test_a_schema_tells_narrow_floats_and_dates_beyond_pythons_years() -> None:
    assert java_text.text(0.10000000149011612, FLOAT32) == "0.1"
    assert java_text.text(2_932_897, DATE) == "Sat Jan 01 00:00:00 UTC 10000"


def test_a_struct_is_printed_without_its_nulls() -> None:
    rows = [ROW.struct_type(first=first, id=1, last=last) for first in (None, "a") for last in (None, "z")]
    printed = ["Struct{id=1}", "Struct{id=1,last=z}", "Struct{first=a,id=1}", "Struct{first=a,id=1,last=z}"]
    assert list(java_text.texts(rows, Repeat(ROW, 4))) == printed
    assert java_text.block(rows[2:], Repeat(ROW, 2)) == b"Struct{first=a,id=1}\nStruct{first=a,id=1,last=z}\n"


def test_a_repeated_value_is_printed_in_each_slot() -> None:
    assert java_text.block(Repeat(7, 3), Repeat(None, 3)) == b"7\n7\n7\n"
    assert java_text.block(Repeat({"a": 1}, 2), Repeat(None, 2)) == b"{a=1}\n{a=1}\n"


def test_a_value_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = {"a": deep}
    with pytest.raises(DataError, match="nested too deep"):
        java_text.block([deep], Repeat(None, 1))


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert java_text.block(["a\ud800", "b"], Repeat(None, 2)) == b"a?\nb\n"


def test_text_that_came_as_bytes_is_printed_like_any_other() -> None:
    assert java_text.block(Utf8Column([b"a", None]), Repeat(None, 2)) == b"a\nnull\n"


def test_maps_stored_by_key_are_printed_like_any_other() -> None:
    values = MapColumn({"a": (1, None), "b": Repeat("x", 2), "c": ({"d": 1.5}, [True])}, 2)
    assert java_text.block(values, Repeat(None, 2)) == b"{a=1, b=x, c={d=1.5}}\n{a=null, b=x, c=[true]}\n"
    assert list(java_text.texts(values, [None, None])) == ["{a=1, b=x, c={d=1.5}}", "{a=null, b=x, c=[true]}"]
    assert java_text.block(MapColumn({}, 2), Repeat(None, 2)) == b"{}\n{}\n"


def test_structs_stored_by_field_are_printed_like_any_other() -> None:
    values = StructColumn(ROW, [(None, "a"), (1, 2), Repeat("z", 2)], 2)
    printed = ["Struct{id=1,last=z}", "Struct{first=a,id=2,last=z}"]
    assert list(java_text.texts(values, Repeat(ROW, 2))) == printed
    assert java_text.block(values[1:], Repeat(ROW, 1)) == b"Struct{first=a,id=2,last=z}\n"


@pytest.mark.parametrize("first", [Repeat(None, 2), Repeat("a", 2), ("a", "b")])
@pytest.mark.parametrize("number", [Repeat(None, 2), Repeat(5, 2), (None, 1)])
@pytest.mark.parametrize("last", [Repeat(None, 2), Repeat("z", 2), ("y", "z")])
def test_fields_that_are_the_same_in_all_rows_are_printed_like_any_other(first: Any, number: Any, last: Any) -> None:
    values = StructColumn(ROW, [first, number, last], 2)
    assert list(java_text.texts(values, Repeat(ROW, 2))) == one_by_one([*values], ROW)
    assert java_text.block(values, Repeat(ROW, 2)) == b"".join(
        b"%s\n" % one.encode() for one in one_by_one([*values], ROW)
    )


def test_maps_whose_keys_only_look_alike_together_keep_their_own() -> None:
    values = [{"a": 1, "b": 2}, {"b": 3, "a": 4}, {"a": 5}, {}]
    assert list(java_text.texts(values, Repeat(None, 4))) == ["{a=1, b=2}", "{b=3, a=4}", "{a=5}", "{}"]


@given(st.lists(PLAIN, max_size=5) | st.lists(ALIKE, max_size=5) | st.lists(st.floats(), max_size=5))
def test_a_column_without_schema_is_printed_like_its_values(values: list[Any]) -> None:
    column = Repeat(None, len(values))
    assert list(java_text.texts(values, column)) == one_by_one(values, None)
    assert java_text.block(values, column) == b"".join(
        java_text.encode(line + "\n") for line in one_by_one(values, None)
    )


@given(st.data())
def test_a_column_with_a_schema_is_printed_like_its_values(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    values = data.draw(st.lists(values_of(schema), max_size=4))
    printed = one_by_one(values, schema)
    assert list(java_text.texts(values, Repeat(schema, len(values)))) == printed
    assert java_text.block(values, [schema] * len(values)) == b"".join(
        java_text.encode(line + "\n") for line in printed
    )
