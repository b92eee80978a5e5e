"""Columns that store less than their slots read as the lists of these do."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.column import DigitColumn, MapColumn, Repeat, StructColumn, Utf8Column, has_null, listed, mapped, pick
from engine.api.schema import INT64, STRING, Schema

MAPS: list[dict[str, Any]] = [{"a-b": 1, "class": "x"}, {"a-b": 2, "class": "x"}, {"a-b": None, "class": "x"}]


def maps() -> MapColumn:
    return MapColumn({"a-b": (1, 2, None), "class": Repeat("x", 3)}, 3)


def test_maps_by_key_read_as_maps() -> None:
    column = maps()
    assert [*column] == MAPS
    assert [column[at] for at in range(3)] == MAPS
    assert (column[-1], len(column)) == (MAPS[-1], 3)
    assert [list(one) for one in column] == [["a-b", "class"]] * 3
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            column[beyond]


def test_a_part_of_maps_by_key_is_still_by_key() -> None:
    for part, expected in ((maps()[1:], MAPS[1:]), (maps()[::-2], MAPS[::-2]), (pick(maps(), [0, 0, 2]), None)):
        assert isinstance(part, MapColumn)
        assert isinstance(part.columns["class"], Repeat)
        assert [*part] == (expected or [MAPS[0], MAPS[0], MAPS[2]])


def test_a_map_that_was_looked_at_is_its_readers() -> None:
    column = maps()
    column[0]["a-b"] = 9
    for one in column:
        one.clear()
    assert [*column] == MAPS


def test_maps_without_keys_are_as_many() -> None:
    assert [*MapColumn({}, 2)] == [{}, {}]
    assert MapColumn({}, 2)[1] == {}
    assert len(MapColumn({}, 5)[1:]) == 4


def test_structs_by_field_read_as_structs() -> None:
    order = Schema.struct({"id": INT64, "a-b": STRING})
    column = StructColumn(order, [(1, 2, 3), Repeat("x", 3)], 3)
    rows = [order.struct_type(id=number, a_b="x") for number in (1, 2, 3)]
    assert [*column] == rows
    assert column[-1] == rows[-1]
    part = column[1:]
    assert isinstance(part, StructColumn)
    assert [*part] == rows[1:]
    assert [*pick(column, [0, 0])] == [rows[0], rows[0]]
    empty = Schema.struct({})
    assert [*StructColumn(empty, [], 2)] == [empty.struct_type(), empty.struct_type()]
    assert not has_null(column)


def test_numbers_that_are_still_text_read_as_numbers() -> None:
    column = DigitColumn([b"1", b"-9223372036854775808", b"0"], 64)
    numbers = [1, -(2**63), 0]
    assert [*column] == numbers
    assert column[-1] == 0
    assert -(2**63) in column
    assert None not in column
    part = column[:2]
    assert isinstance(part, DigitColumn)
    assert [*part] == numbers[:2]
    assert [*pick(column, [2, 2])] == [0, 0]
    assert [*DigitColumn([], 16)] == []


def test_columns_that_make_their_slots_late_are_made_once_for_who_looks_twice() -> None:
    assert listed(maps()) == MAPS
    text = Utf8Column([b"a"])
    assert listed(text) is text


def test_nulls_are_found_where_they_can_be() -> None:
    assert not has_null(maps())
    assert has_null(Repeat(None, 1))
    assert not has_null(Repeat(None, 0))
    assert has_null([1, None])
    assert not has_null([1, 2])
    assert has_null(Utf8Column([b"a", None]))


def test_what_is_the_same_all_along_is_changed_once() -> None:
    changed: list[int] = []

    def change(value: int) -> int:
        changed.append(value)
        return value + 1

    assert isinstance(mapped(change, Repeat(1, 3)), Repeat)
    assert mapped(change, [1, 2]) == [2, 3]
    assert changed == [1, 1, 2]
