"""Whatever value of Python can be in a record crosses as it is, with its class; what cannot is refused by its name."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT8,
    INT64,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Float32,
    Schema,
)
from engine.stages import carrying
from engine.stages.carrying import NotCarriedError, Packer, Unpacker

ADDRESS = Schema.struct({"street": STRING, "number": INT64}, name="shop.Address", optional=True)
ORDER = Schema.struct(
    {
        "id": INT64,
        "a-b": OPTIONAL_STRING,
        "class": BOOLEAN,
        "price": Schema.decimal(2),
        "day": DATE,
        "at": TIMESTAMP,
        "time": TIME,
        "raw": BYTES,
        "ratio": FLOAT64,
        "to": ADDRESS,
        "tags": Schema("ARRAY", value_schema=STRING),
        "more": Schema.map(STRING, ADDRESS),
    },
    name="shop.Order",
    version=3,
    doc="An order.",
    parameters={"b": "2", "a": "1"},
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times().map(lambda one: one.replace(fold=0))
    | st.datetimes(timezones=st.just(UTC)).map(lambda one: one.replace(fold=0))
    | st.floats(width=32, allow_nan=False).map(Float32)
)
addresses = st.builds(ADDRESS.struct_type, street=st.text(), number=st.integers())
values = st.recursive(
    scalars | addresses,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=10,
)


def crossed(column: Any, packer: Packer | None = None, unpacker: Unpacker | None = None) -> Any:
    packer, unpacker = packer or Packer(), unpacker or Unpacker()
    sealed = packer.seal(packer.column(column))
    return unpacker.column(unpacker.open(memoryview(sealed)))


def order(number: int) -> Any:
    to = ADDRESS.struct_type(street="high", number=number) if number % 3 else None
    return ORDER.struct_type(
        id=number,
        a_b=None if number % 2 else "x",
        class_=True,
        price=Decimal("1.50"),
        day=date(2024, 2, 29) if number % 5 else 4_000_000,  # beyond the years of a date: as Connect encodes it
        at=datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC),
        time=time(1, 2, 3, 4000),
        raw=b"\xff",
        ratio=number / 3,
        to=to,
        tags=["a"] * (number % 4),
        more={"k": to},
    )


def shape(value: Any) -> Any:
    """A value with the classes of all that is in it."""
    if isinstance(value, dict):
        return dict, [(shape(key), shape(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [shape(one) for one in value]
    if isinstance(value, msgspec.Struct):
        return type(value), [shape(getattr(value, name)) for name in value.__struct_fields__]
    return type(value), repr(value)


@given(st.lists(values, max_size=12))
def test_a_column_of_anything_comes_out_as_it_went_in(column: list[Any]) -> None:
    assert shape(crossed(column)) == shape(column)


@given(st.lists(st.fixed_dictionaries({"id": st.integers(), "note": values}), max_size=8))
def test_dicts_of_the_same_keys_are_dicts_again_in_the_same_order(column: list[Any]) -> None:
    assert shape(crossed(column)) == shape(column)


def test_structs_with_all_kinds_of_fields_are_structs_of_the_same_class() -> None:
    column = [order(number) for number in range(30)]
    found = crossed(column)
    assert found == column
    assert shape(found) == shape(column)
    assert {type(one) for one in found} == {ORDER.struct_type}


def test_keys_in_another_order_stay_in_it() -> None:
    column = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}]
    assert [list(one) for one in crossed(column)] == [["a", "b"], ["b", "a"], ["a"]]


def test_special_floats_and_texts_keep_their_bits() -> None:
    found = crossed([float("inf"), -0.0, float("nan"), "\ud800", 2**70])
    assert repr(found) == "[inf, -0.0, nan, '\\ud800', 1180591620717411303424]"


def test_columns_that_store_less_than_their_slots_still_do() -> None:
    repeated = crossed(Repeat({"a": [1]}, 1000))
    assert isinstance(repeated, Repeat)
    assert (repeated.value, len(repeated)) == ({"a": [1]}, 1000)
    assert crossed(range(5, 50, 3)) == range(5, 50, 3)
    text = crossed(Utf8Column([b"\xff", None, b"a"]))
    assert isinstance(text, Utf8Column)
    assert text.encoded == [b"\xff", None, b"a"]
    order = Schema.struct({"a": INT64, "a-b": STRING})
    structs = crossed(StructColumn(order, [(1, 2), Repeat("x", 2)], 2))
    assert isinstance(structs, StructColumn)
    assert isinstance(structs.columns[1], Repeat)
    assert [*structs] == [order.struct_type(a=1, a_b="x"), order.struct_type(a=2, a_b="x")]
    maps = crossed(MapColumn({"a-b": (1, [2]), "c": Repeat("x", 2)}, 2))
    assert isinstance(maps, MapColumn)
    assert isinstance(maps.columns["c"], Repeat)
    assert [*maps] == [{"a-b": 1, "c": "x"}, {"a-b": [2], "c": "x"}]


class Colour(Enum):
    RED = 1


class Text(str):
    __slots__ = ()


class Own(msgspec.Struct):
    a: int


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Colour.RED, "Colour"),
        (Text("a"), "Text"),
        (Own(1), "Own"),
        ({1, 2}, "set"),
        (UUID(int=1), "uuid.UUID"),
        (timedelta(1), "timedelta"),
        (bytearray(b"a"), "bytearray"),
        (datetime(2024, 1, 1), "datetime that is not in UTC"),  # noqa: DTZ001  that is the point
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))), "datetime that is not in UTC"),
        (time(1, tzinfo=UTC), "time"),
        (object(), "object"),
    ],
)
def test_what_cannot_be_carried_exactly_is_refused_by_its_class(value: object, named: str) -> None:
    for column in ([value], [{"a": [value]}], [1, {"b": value}]):
        with pytest.raises(NotCarriedError, match=named):
            crossed(column)


def test_a_value_that_is_too_deep_is_refused_and_costs_no_stack() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NotCarriedError, match="levels"):
        crossed([deep])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotCarriedError, match="levels"):
        crossed([loop])


def test_a_schema_is_told_once_and_is_equal_at_the_other_end() -> None:
    packer, unpacker = Packer(), Unpacker()
    with_defaults = Schema.struct(
        {
            "when": TIMESTAMP.replaced(default=datetime(2024, 1, 1, tzinfo=UTC)),
            "to": ADDRESS,
            "small": INT8,
            "f": FLOAT32,
        }
    )
    column = [ORDER, None, with_defaults, ORDER, STRING]
    first = packer.seal(packer.schemas(column))
    again = packer.seal(packer.schemas(column))
    assert len(again) < len(first) / 5
    found = unpacker.schemas(unpacker.open(first))
    assert list(found) == column
    assert found[0] is not None and found[0].parameters is not None
    assert list(found[0].parameters) == ["b", "a"]
    later = unpacker.schemas(unpacker.open(again))
    assert all(one is other for one, other in zip(found, later, strict=True))
    repeated = packer.schemas(Repeat(ORDER, 5))
    assert unpacker.schemas(unpacker.open(packer.seal(repeated)))[4] is found[0]


def test_schemas_of_which_there_are_too_many_are_told_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "SCHEMAS_MAX", 4)
    packer, unpacker = Packer(), Unpacker()
    for number in range(20):
        column = [Schema.struct({f"f{number % 7}": INT64}), ADDRESS]
        assert list(unpacker.schemas(unpacker.open(packer.seal(packer.schemas(column))))) == column


def test_schemas_that_were_given_a_number_before_a_value_was_refused_are_told_with_the_next_message() -> None:
    packer, unpacker = Packer(), Unpacker()
    with pytest.raises(NotCarriedError):
        packer.column([order(1), {1}])
    assert crossed([order(2)], packer, unpacker) == [order(2)]
