"""Records become rows by columns; one that is no row costs itself, and is told with its column."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.cassandra.columns import shapes_of
from connectors.cassandra.mapping import TableMapping, read_mappings
from connectors.cassandra.plans import Rows, encoded_rows, plan_of
from connectors.cassandra.sender import Limits, requests_of
from connectors.cassandra.tables import Table, create_table, misfits, targets_for, type_for
from connectors.cassandra.times import WriteTimes
from engine.api.batch import SinkBatch
from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import DATE, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, TIME, TIMESTAMP, Schema
from engine.api.testing import sink_batch
from engine.stages.convert import TransformedBatch, columns_of

UNSET = object()
TABLE = Table("shop", "orders", {"id": "int", "name": "text", "price": "double"}, ("id",), ())
CUSTOMER = Schema.struct({"name": OPTIONAL_STRING}, optional=True)
ORDER = Schema.struct({"id": INT32, "price": FLOAT64, "customer": CUSTOMER})


def mapping_of(table: Table = TABLE, **settings: str) -> TableMapping:
    keys = {f"topic.topic.{table.keyspace}.{table.name}.{name}": text for name, text in settings.items()}
    (mapping,) = read_mappings(keys)
    return mapping


def rows_by_shape(batch: SinkBatch, table: Table = TABLE, **settings: str) -> list[Rows]:
    mapping = mapping_of(table, **settings)
    shapes = [*shapes_of(batch)]
    return [
        encoded_rows(plan_of(mapping, one, table, "ONE"), one, times, UNSET)
        for one, times in zip(shapes, WriteTimes(mapping).of(shapes), strict=True)
    ]


def rows(batch: SinkBatch, table: Table = TABLE, **settings: str) -> Rows:
    (found,) = rows_by_shape(batch, table, **settings)
    return found


def int32(number: int) -> bytes:
    return struct.pack(">i", number)


def int64(number: int) -> bytes:
    return struct.pack(">q", number)


def orders(*names: str | None) -> list[Any]:
    made = CUSTOMER.struct_type
    return [
        ORDER.struct_type(id=at, price=0.5, customer=None if name is None else made(name=name))
        for at, name in enumerate(names)
    ]


def test_structs_become_rows() -> None:
    batch = sink_batch(orders("Ann", None), value_schema=ORDER, timestamps=[7, 7], first_offset=999)
    found = rows(batch, mapping="id=value.id, name=value.customer.name, price=value.price")
    price = struct.pack(">d", 0.5)
    assert found.statement.cql == (
        'INSERT INTO "shop"."orders" ("id", "name", "price") VALUES (?, ?, ?) USING TIMESTAMP ?'
    )
    assert found.rows == [(int32(0), b"Ann", price, int64(7_999)), (int32(1), UNSET, price, int64(8_000))]
    assert (list(found.indexes), found.failures) == ([0, 1], [])


@pytest.mark.parametrize(
    "values",
    [
        [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        MapColumn({"id": [1, 2], "name": Utf8Column([b"a", b"b"])}, 2),
    ],
)
def test_maps_become_rows(values: Sequence[Any]) -> None:
    found = rows(sink_batch(values), mapping="value.*")
    assert [row[:2] for row in found.rows] == [(int32(1), b"a"), (int32(2), b"b")]


def test_structs_that_are_columns_are_not_made() -> None:
    whole = sink_batch(orders("Ann", "Bob"), value_schema=ORDER)
    customers = StructColumn(CUSTOMER, [Utf8Column([b"Ann", b"Bob"])], 2)
    columns = sink_batch(StructColumn(ORDER, [[0, 1], [0.5, 0.5], customers], 2), value_schema=ORDER)
    mapping = "id=value.id, name=value.customer.name, price=value.price"
    assert rows(columns, mapping=mapping).rows == rows(whole, mapping=mapping).rows


def test_parts_beside_the_value_become_columns() -> None:
    table = Table(
        "k", "t", {"t": "text", "p": "int", "o": "bigint", "at": "timestamp", "h": "text"}, ("t",), ("p", "o")
    )
    headers = [[Header("h", "old"), Header("h", "new")], []]
    batch = sink_batch([1, 2], timestamps=[5, 6], headers=headers, first_offset=3, partition=2)
    found = rows(batch, table, mapping="t=topic, p=partition, o=offset, at=timestamp, h=header.h")
    assert found.rows[0] == (b"topic", int32(2), int64(3), int64(5), b"new", int64(5_003))
    assert found.rows[1][4] is UNSET
    assert found.statement.partition_slots == (0,)


def test_text_goes_as_the_bytes_it_came_as_if_it_is_utf8() -> None:
    table = Table("k", "t", {"id": "text"}, ("id",), ())
    batch = sink_batch([1, 2, 3], keys=Utf8Column([b"a", "é".encode(), b"\xff"]))
    assert [row[0] for row in rows(batch, table, mapping="id=key").rows] == [b"a", "é".encode(), "\ufffd".encode()]
    halves = sink_batch([1, 2], keys=Utf8Column(["é".encode()[:1], "é".encode()[1:]]))
    assert [row[0] for row in rows(halves, table, mapping="id=key").rows] == ["\ufffd".encode()] * 2


def test_null_leaves_a_column_as_it_is_or_empties_it() -> None:
    batch = sink_batch([{"id": 1, "name": None}])
    assert rows(batch, mapping="value.*").rows[0][1] is UNSET
    assert rows(batch, mapping="value.*", nullToUnset="false").rows[0][1] is None


def test_a_record_without_a_value_deletes_its_row() -> None:
    batch = sink_batch([None, {"name": "a"}, None], keys=[1, 2, 3], timestamps=[1, 1, 1])
    deleted, written = rows_by_shape(batch, mapping="id=key, name=value.name")
    assert deleted.statement.cql == 'DELETE FROM "shop"."orders" USING TIMESTAMP ? WHERE "id" = ?'
    assert deleted.rows == [(int64(1_000), int32(1)), (int64(1_002), int32(3))]
    assert deleted.statement.partition_slots == (1,)
    assert list(deleted.indexes) == [0, 2]
    assert list(written.indexes) == [1]


def test_a_delete_whose_key_would_come_from_the_value_is_refused() -> None:
    with pytest.raises(DataError, match="column id of the primary key is taken from the value") as caught:
        rows(sink_batch([None]), mapping="id=value.id")
    assert "topic.topic.shop.orders.deletesEnabled=false" in str(caught.value)


def test_records_of_different_schemas_are_rows_of_their_own() -> None:
    later = ORDER.with_fields({"note": OPTIONAL_STRING})
    values = [*orders("Ann"), later.struct_type(id=9, price=1.0, customer=None)]
    batch = sink_batch(values)
    batch.value_schemas = [ORDER, later]
    assert [len(one.rows) for one in rows_by_shape(batch, mapping="id=value.id")] == [1, 1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"id": "secret", "name": "a"},
            "column id gets a str that is no int: expected a whole number from -2147483648",
        ),
        ({"id": None, "name": "a"}, "column id of the primary key is null: the record has no value.id"),
        ({"name": "a"}, "column id of the primary key is null"),
        ({"id": 3, "name": ["secret"]}, "column name gets a list that is no text: expected text"),
        ("secret", "a str has no field id; expected a map"),
        ({"id": 3, "stray": 1}, "shop.orders has no column stray, for value.stray; add the column, or set add.columns"),
    ],
)
def test_a_bad_record_costs_itself(value: Any, words: str) -> None:
    found = rows(sink_batch([{"id": 1, "name": "a"}, value, {"id": 2, "name": "b"}]), mapping="value.*")
    assert [row[0] for row in found.rows] == [int32(1), int32(2)]
    ((index, error),) = found.failures
    assert index == 1
    assert words in error.whole()
    assert "secret" not in error.whole()


def test_the_same_bad_value_all_along_is_told_for_each() -> None:
    table = Table("k", "t", {"id": "int", "t": "int"}, ("id",), ())
    found = rows(sink_batch([1, 2]), table, mapping="id=value, t=topic")
    assert [index for index, _ in found.failures] == [0, 1]


def test_rows_live_as_long_as_is_said() -> None:
    assert rows(sink_batch([{"id": 1}]), mapping="value.*", ttl="2", ttlTimeUnit="MINUTES").rows[0][-1] == int32(120)
    batch = sink_batch([{"id": 1, "ttl": 5}, {"id": 2}, {"id": 3, "ttl": -1}])
    found = rows(batch, mapping="id=value.id", ttl="value.ttl")
    assert found.statement.cql.endswith("USING TIMESTAMP ? AND TTL ?")
    assert [row[-1] for row in found.rows] == [int32(5), UNSET]
    assert "not from 0 to 630720000 seconds" in found.failures[0][1].whole()


def test_a_field_that_no_record_can_have_is_told_with_those_there_are() -> None:
    with pytest.raises(DataError, match="column id gets value.number: its schema has no field number") as caught:
        rows(sink_batch(orders("Ann"), value_schema=ORDER), mapping="id=value.number")
    assert "expected one of id, price, customer" in caught.value.whole()


def test_lists_that_repeats_would_double_and_counters_are_refused() -> None:
    table = Table("k", "t", {"id": "int", "l": "list<int>", "f": "frozen<list<int>>", "c": "counter"}, ("id",), ())
    (mapping,) = read_mappings({"topic.topic.k.t.mapping": "id=key, l=value.l, f=value.f, x=value.x"})
    told = misfits(mapping, table, may_add=False)
    assert ["frozen<list<int>>" in told[0], "k.t has no column x" in told[1], "counters (c)" in told[2]] == [True] * 3
    assert len(told) == 3
    assert len(misfits(mapping, table, may_add=True)) == 2


def test_a_key_column_that_gets_nothing_is_told() -> None:
    (mapping,) = read_mappings({"topic.topic.shop.orders.mapping": "name=value"})
    assert misfits(mapping, TABLE, may_add=False) == [
        "shop.orders: nothing goes into column id of the primary key (id)"
    ]


def test_a_table_is_made_from_schemas() -> None:
    schema = Schema.struct(
        {"tags": Schema.array(STRING), "n": Schema.map(STRING, Schema.array(INT64)), "d": Schema.decimal(2)}
    )
    key = Schema.struct({"id": INT64})
    batch = sink_batch(
        [schema.struct_type(tags=[], n={}, d=None)], value_schema=schema, keys=[key.struct_type(id=1)], key_schema=key
    )
    (mapping,) = read_mappings(
        {"topic.topic.k.t.mapping": "key.*, value.*, at=timestamp", "topic.topic.k.t.primaryKey": "id, at"}
    )
    (records,) = shapes_of(batch)
    assert create_table(mapping, targets_for(mapping, records), records) == (
        'CREATE TABLE IF NOT EXISTS "k"."t" ("at" timestamp, "id" bigint, "tags" frozen<list<text>>, '
        '"n" frozen<map<text, frozen<list<bigint>>>>, "d" decimal, PRIMARY KEY (("id"), "at"))'
    )


def test_logical_types_have_types_of_their_own() -> None:
    assert [type_for(one) for one in (DATE, TIME, TIMESTAMP)] == ["date", "time", "timestamp"]
    with pytest.raises(DataError, match="no type of CQL for a STRUCT"):
        type_for(ORDER)


def test_rows_of_a_partition_go_together_within_limits() -> None:
    batch = sink_batch([{"id": at % 2, "name": "x" * 10} for at in range(10)])
    found = rows(batch, mapping="value.*")
    requests = [*requests_of(found, batch, Limits(rows=3, bytes=1_000))]
    assert [list(one.indexes) for one in requests] == [[0, 2, 4], [6, 8], [1, 3, 5], [7, 9]]
    requests = [*requests_of(found, batch, Limits(rows=100, bytes=50))]
    assert [len(one.rows) for one in requests] == [2, 2, 1, 2, 2, 1]
    assert all(len(one.rows) == 1 for one in requests_of(found, batch, Limits(rows=1, bytes=50)))
    together = [*requests_of(found, batch, Limits(rows=100, bytes=10_000), hosts_of=lambda key: None)]
    assert [len(one.rows) for one in together] == [10]


def test_a_part_of_a_key_that_is_too_long_costs_its_record() -> None:
    table = Table("k", "t", {"a": "text", "b": "int"}, ("a", "b"), ())
    batch = sink_batch([1, 2], keys=["x" * 65_536, "x" * 65_535])
    found = rows(batch, table, mapping="a=key, b=value")
    assert [len(row[0]) for row in found.rows] == [65_535]
    ((index, error),) = found.failures
    assert index == 0
    assert error.whole() == "k.t: column a of the primary key has 65536 bytes: expected at most 65535"


def test_a_view_is_refused() -> None:
    view = Table("k", "t", {"id": "int"}, ("id",), (), is_view=True)
    (told,) = misfits(mapping_of(mapping="id=key"), view, may_add=False)
    assert "is a materialized view" in told


def test_batches_that_transforms_have_changed_have_rows_too() -> None:
    columns = columns_of(sink_batch([{"id": at} for at in range(4)], timestamps=[1] * 4, first_offset=7))
    columns.topics = ["topic", "topic", "other", "topic"]
    found = rows_by_shape(TransformedBatch(columns), mapping="value.*")
    assert [list(one.indexes) for one in found] == [[0, 1], [2], [3]]
    assert [row[:] for row in found[2].rows] == [(int32(3), int64(1_010))]
    columns.topics = Repeat("topic", 4)
    assert [len(one.rows) for one in rows_by_shape(TransformedBatch(columns), mapping="value.*")] == [4]


def test_a_column_that_is_the_same_all_along_is_encoded_once() -> None:
    found = rows(sink_batch(Repeat(None, 2), keys=Repeat(7, 2)), mapping="id=key")
    assert found.rows[0][1] == int32(7)
    assert len(found.rows) == 2
