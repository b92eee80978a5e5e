"""A batch becomes groups of rows with the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.postgres.config import PostgresSinkConfig
from connectors.postgres.rows import Group, groups_of
from engine.api.batch import Run, SinkBatch
from engine.api.column import MapColumn, Repeat, StructColumn
from engine.api.schema import INT32, INT64, OPTIONAL_STRING, STRING, Schema

ORDER = Schema.struct({"id": INT64, "note": OPTIONAL_STRING})
NEWER = Schema.struct({"id": INT64, "note": STRING.replaced(default="-", optional=True), "count": INT32})
KEY = Schema.struct({"id": INT64, "shop": INT32})


def settings(**keys: str) -> PostgresSinkConfig:
    given = {key.replace("_", "."): text for key, text in keys.items()}
    return PostgresSinkConfig.parse({"connection.url": "postgresql://db", **given})


def batch(values: Sequence[Any], keys: Sequence[Any] = (), *, runs: Sequence[Run] = (), **schemas: Any) -> SinkBatch:
    count = len(values)
    return SinkBatch(
        runs or [Run("orders", 0, 0, count, 10, 9 + count)],
        values,
        value_schemas=schemas.get("value_schemas", Repeat(None, count)),
        keys=keys or Repeat(None, count),
        key_schemas=schemas.get("key_schemas", Repeat(None, count)),
        timestamps=Repeat(None, count),
    )


def grouped(given: SinkBatch, **keys: str) -> list[Group]:
    return groups_of(given, range(len(given)), settings(**keys))


def rows(group: Group) -> list[tuple[Any, ...]]:
    return [*zip(*group.columns, strict=True)]


def order(number: int, note: str | None = None) -> Any:
    return ORDER.struct_type(id=number, note=note)


def test_structs_that_are_stored_by_field_are_taken_so() -> None:
    values = StructColumn(NEWER, [[1, 2], ["a", None], range(2)], 2)
    (group,) = grouped(batch(values, value_schemas=Repeat(NEWER, 2)), pk_mode="record_value", pk_fields="count")
    assert (group.names, rows(group)) == (("count", "id", "note"), [(0, 1, "a"), (1, 2, "-")])
    assert group.columns[1] is values.columns[0]


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_column_has_costs_its_records(name: str) -> None:
    (group,) = grouped(batch([{name: 1}]))
    assert "is the name of no column" in str(group.error)


def test_a_name_that_postgresql_would_cut_is_that_of_no_column_unless_it_is_left_out() -> None:
    value = {"id": 1, "ü" * 32: 2}
    (group,) = grouped(batch([value]))
    assert group.error is not None
    assert "at most 63 bytes" in group.error.whole()
    (group,) = grouped(batch([value]), fields_whitelist="id")
    assert (group.error, group.names) == (None, ("id",))


def test_structs_of_one_schema_are_one_group_with_its_fields_as_columns() -> None:
    (group,) = grouped(batch([order(1, "a"), order(2)], value_schemas=Repeat(ORDER, 2)))
    assert (str(group.target), group.names, group.keys, group.error) == ("orders", ("id", "note"), (), None)
    assert rows(group) == [(1, "a"), (2, None)]
    assert group.schemas == (INT64, OPTIONAL_STRING)


def test_maps_that_are_columns_are_taken_as_they_are() -> None:
    numbers = [1, 2]
    (group,) = grouped(batch(MapColumn({"id": numbers, "b": Repeat("x", 2)}, 2)))
    assert group.names == ("id", "b")
    assert group.columns[0] is numbers


def test_maps_without_a_schema_are_grouped_by_their_names() -> None:
    values = [{"a": 1}, {"a": 2, "b": 3}, {"a": 4}]
    groups = grouped(batch(values))
    assert [(group.names, rows(group), list(group.indexes)) for group in groups] == [
        (("a",), [(1,), (4,)], [0, 2]),
        (("a", "b"), [(2, 3)], [1]),
    ]


def test_where_rows_are_replaced_groups_are_of_neighbours() -> None:
    values = [{"a": 1}, {"a": 2, "b": 3}, {"a": 4}]
    groups = grouped(batch(values), insert_mode="upsert", pk_mode="record_value", pk_fields="a")
    assert [list(group.indexes) for group in groups] == [[0], [1], [2]]


def test_a_null_takes_the_default_of_its_field() -> None:
    values = [NEWER.struct_type(id=1, note=None, count=2)]
    (group,) = grouped(batch(values, value_schemas=Repeat(NEWER, 1)))
    assert rows(group) == [(1, "-", 2)]


def test_the_key_of_a_row_may_be_the_records_key() -> None:
    keys = [KEY.struct_type(id=5, shop=6)]
    schemas = {"value_schemas": Repeat(ORDER, 1), "key_schemas": Repeat(KEY, 1)}
    given = batch([order(1, "a")], keys, **schemas)
    (group,) = grouped(given, pk_mode="record_key")
    assert (group.names, group.keys, rows(group)) == (("id", "shop", "note"), ("id", "shop"), [(5, 6, "a")])
    (group,) = grouped(given, pk_mode="record_key", pk_fields="shop")
    assert (group.names, rows(group)) == (("shop", "id", "note"), [(6, 1, "a")])
    (group,) = grouped(batch([{"a": 1}], ["k"]), pk_mode="record_key", pk_fields="key")
    assert (group.names, group.keys, rows(group)) == (("key", "a"), ("key",), [("k", 1)])


def test_the_key_of_a_row_may_be_where_its_record_was() -> None:
    runs = [Run("orders", 0, 0, 1, 7, 7), Run("orders", 1, 0, 2, 3, 4)]
    groups = grouped(batch([{"a": 1}, {"a": 2}, {"a": 3}], runs=runs), pk_mode="kafka", pk_fields="t,p,o")
    assert rows(groups[0]) == [("orders", 0, 7, 1), ("orders", 1, 3, 2), ("orders", 1, 4, 3)]


def test_fields_are_chosen_and_the_keys_are_always_there() -> None:
    keys = {"pk_mode": "record_value", "pk_fields": "a", "fields_whitelist": "c"}
    (group,) = grouped(batch([{"a": 1, "b": 2, "c": 3}]), **keys)
    assert (group.names, rows(group)) == (("a", "c"), [(1, 3)])


def test_topics_go_to_their_tables() -> None:
    runs = [Run("orders", 0, 0, 1, 7, 7), Run("goods", 0, 0, 1, 3, 3), Run("orders", 1, 0, 1, 0, 0)]
    groups = grouped(batch([{"a": 1}, {"a": 2}, {"a": 3}], runs=runs), topic_to_table_map="goods:shop.goods")
    assert [(str(group.target), list(group.indexes)) for group in groups] == [("orders", [0, 2]), ("shop.goods", [1])]


def test_only_what_is_asked_for_is_grouped() -> None:
    (group,) = groups_of(batch([{"a": 1}, {"a": 2}, {"a": 3}]), [1, 2], settings())
    assert (rows(group), list(group.indexes)) == ([(2,), (3,)], [1, 2])


DELETES = {"insert_mode": "upsert", "pk_mode": "record_key", "pk_fields": "k", "delete_enabled": "true"}


def test_deletes_go_with_the_rows_before_them() -> None:
    (group,) = grouped(batch([{"a": 1}, None, {"a": 3}], ["x", "x", "y"]), **DELETES)
    assert group.gone == [False, True, False]
    assert rows(group) == [("x", 1), ("x", None), ("y", 3)]
    assert not group.is_delete


def test_nothing_but_deletes_is_a_group_of_keys() -> None:
    (group,) = grouped(batch([None, None], ["x", "y"]), **DELETES)
    assert (group.is_delete, group.names, rows(group)) == (True, ("k",), [("x",), ("y",)])


def test_with_plain_inserts_deletes_are_groups_of_their_own() -> None:
    groups = grouped(batch([{"a": 1}, None, {"a": 3}], ["x", "x", "y"]), **{**DELETES, "insert_mode": "insert"})
    assert [(group.is_delete, list(group.indexes)) for group in groups] == [(False, [0]), (True, [1]), (False, [2])]


@pytest.mark.parametrize(
    ("value", "key", "keys", "told"),
    [
        ("text", None, {}, "no struct or map"),
        (None, None, {}, "the value is null"),
        ({1: 2}, None, {}, "1 is the name of no column"),
        ({}, None, {}, "no field of it"),
        ({"a": 1}, None, {"fields_whitelist": "b"}, "no field of it"),
        ({"a": 1}, None, {"pk_mode": "record_key", "pk_fields": "k"}, "no key"),
        ({"a": 1}, "x", {"pk_mode": "record_key"}, "pk.fields names 0 columns"),
        ({"a": 1}, None, {"pk_mode": "record_value", "pk_fields": "b"}, "no field b"),
        ({"a": 1}, {"a": 1}, {"pk_mode": "record_key", "pk_fields": "b"}, "the key has no field b"),
    ],
)
def test_what_is_no_row_costs_itself(value: Any, key: Any, keys: dict[str, str], told: str) -> None:
    (bad,) = grouped(batch([value], [key]), **keys)
    assert told in str(bad.error)
    assert bad.error is not None
    assert bad.error.expected


def test_the_rows_beside_it_are_written() -> None:
    groups = grouped(batch([{"a": 1}, "text", {"a": 2}]))
    assert [(list(group.indexes), group.error is None) for group in groups] == [([0, 2], True), ([1], False)]
