"""The PostgreSQL sink's task on the real server: types, upserts, deletes, and tables that are made."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from engine.api.batch import SinkBatch
from engine.api.column import MapColumn, Repeat
from engine.api.errors import ConnectError
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
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
)
from tests.harness.postgres_bed import KEYED, Bed, batch, reported

pytestmark = pytest.mark.postgres

UTC = datetime.UTC
EVERYTHING = Schema.struct(
    {
        "int8": INT8,
        "int16": INT16,
        "int32": INT32,
        "int64": INT64,
        "float32": FLOAT32,
        "float64": FLOAT64,
        "truth": BOOLEAN,
        "words": STRING,
        "raw": BYTES,
        "price": Schema.decimal(2),
        "day": DATE,
        "clock": TIME,
        "moment": TIMESTAMP,
        "numbers": Schema.array(INT32.as_optional()),
        "days": Schema.array(DATE),
        "names": Schema.array(STRING),
        "map": Schema.map(STRING, INT32),
        "inner": Schema.struct({"x": INT32, "price": Schema.decimal(1)}),
        "points": Schema.array(Schema.struct({"x": INT32})),
    }
)
INNER = EVERYTHING.fields[17].schema
POINT = Schema.struct({"x": INT32})


def everything() -> Any:
    return EVERYTHING.struct_type(
        int8=-128,
        int16=32767,
        int32=-(2**31),
        int64=2**63 - 1,
        float32=0.5,
        float64=1e300,
        truth=True,
        words="tab\t, line\nand \\N, Ü",
        raw=b"\x00\\x\xff",
        price=Decimal("12.30"),
        day=datetime.date(2024, 2, 29),
        clock=datetime.time(23, 59, 59, 999_000),
        moment=datetime.datetime(2024, 2, 29, 1, 2, 3, 4_000, UTC),
        numbers=[1, None],
        days=[datetime.date(1, 1, 1)],
        names=['a "b"', "c,d", "\\", ""],
        map={"a": 1},
        inner=INNER.struct_type(x=1, price=Decimal("0.1")),
        points=[POINT.struct_type(x=7)],
    )


def test_all_types_arrive_in_a_table_that_is_made_for_them(bed: Bed) -> None:
    task = bed.task({"auto.create": "true"})
    task.put(batch([everything()], schema=EVERYTHING))
    value = everything()
    (row,) = bed.sql("SELECT * FROM orders")
    assert row[:15] == tuple(getattr(value, field.name) for field in EVERYTHING.fields[:15])
    assert row[15:] == (value.names, {"a": 1}, {"x": 1, "price": 0.1}, [{"x": 7}])
    types = bed.sql(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0"
    )
    assert [name for (name,) in types] == [
        "smallint", "smallint", "integer", "bigint", "real", "double precision", "boolean", "text", "bytea", "numeric",
        "date", "time without time zone", "timestamp with time zone", "integer[]", "date[]", "text[]", "jsonb", "jsonb",
        "jsonb",
    ]  # fmt: skip


def test_dates_beyond_python_arrive(bed: Bed) -> None:
    schema = Schema.struct({"day": DATE, "moment": TIMESTAMP, "clock": TIME})
    task = bed.task({"auto.create": "true"})
    value = schema.struct_type(day=2_932_897, moment=-62_135_596_800_001, clock=86_400_000)
    task.put(batch([value], schema=schema))
    (row,) = bed.sql("SELECT day::text, (moment AT TIME ZONE 'UTC')::text, clock::text FROM orders")
    assert row == ("10000-01-01", "0001-12-31 23:59:59.999 BC", "24:00:00")


def test_maps_without_a_schema_take_the_types_of_the_columns(bed: Bed) -> None:
    bed.sql(
        "CREATE TABLE orders (id bigint, price numeric(8,2), day date, at timestamptz, tags text[], more jsonb, "
        "note varchar(9), ok boolean DEFAULT true, key uuid)"
    )
    task = bed.task()
    values: dict[str, Sequence[Any]] = {
        "id": [1, 2],
        "price": [1.5, "2.25"],
        "day": ["2024-01-31", None],
        "at": ["2024-01-31T10:00:00Z", None],
        "tags": [["a", None], []],
        "more": [{"a": [1, {"b": None}]}, [1, "x"]],
        "note": [7, "seven"],
        "key": ["5b0a7bed-4502-4502-8502-5b0a7bed4502", None],
    }
    task.put(batch(MapColumn(values, 2)))
    rows = bed.sql("SELECT id, price::text, day::text, at = '2024-01-31 10:00+00', tags, more, note, ok FROM orders")
    assert rows == [
        (1, "1.50", "2024-01-31", True, ["a", None], {"a": [1, {"b": None}]}, "7", True),
        (2, "2.25", None, None, [], [1, "x"], "seven", True),
    ]


def test_of_rows_with_one_key_the_last_counts(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text, other text DEFAULT 'kept')")
    task = bed.task(KEYED)
    task.put(batch([{"note": "a"}, {"note": "b"}, {"note": "c"}], [1, 2, 1]))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "c", "kept"), (2, "b", "kept")]
    bed.sql("UPDATE orders SET other = 'changed'")
    task.put(batch([{"note": "d"}, {"note": "e", "other": "x"}, {"note": "f"}], [2, 2, 3], first_offset=3))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "c", "changed"), (2, "e", "x"), (3, "f", "kept")]
    assert bed.stored() == 6


def test_keys_that_only_the_server_takes_for_one_are_one(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id char(3) PRIMARY KEY, note text)")
    task = bed.task(KEYED)
    task.put(batch([{"note": "a"}, {"note": "b"}], ["x", "x  "]))
    assert bed.sql("SELECT note FROM orders") == [("b",)]


def test_a_row_that_is_nothing_but_its_key_is_there_once(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY)")
    task = bed.task({**KEYED, "pk.mode": "record_value"})
    task.put(batch([{"id": 1}, {"id": 1}, {"id": 2}]))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(1,), (2,)]


def test_null_values_delete_in_the_order_of_the_records(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL)")
    task = bed.task({**KEYED, "delete.enabled": "true"})
    task.put(batch([{"note": "a"}, {"note": "b"}, {"note": "c"}], [1, 2, 3]))
    values = [None, {"note": "again"}, {"note": "gone"}, None, None, {"note": "new"}, None]
    task.put(batch(values, [1, 1, 2, 2, 9, 4, 5], first_offset=3))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "again"), (3, "c"), (4, "new")]
    task.put(batch([None, None], [1, 4], first_offset=10))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(3, "c")]


def test_of_a_row_that_is_deleted_and_written_again_nothing_old_is_left(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text, other text DEFAULT 'new')")
    bed.sql("INSERT INTO orders VALUES (1, 'a', 'old'), (2, 'b', 'old')")
    task = bed.task({**KEYED, "delete.enabled": "true"})
    task.put(batch([{"note": "x"}, None, {"note": "y"}, {"note": "z"}], [1, 1, 1, 2]))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "y", "new"), (2, "z", "old")]


@pytest.mark.parametrize("mode", ["insert", "upsert"])
@pytest.mark.parametrize("made", [True, False])
def test_deletes_and_a_table_that_is_made_or_grows_meet_in_one_batch(bed: Bed, mode: str, *, made: bool) -> None:
    keys = {**KEYED, "insert.mode": mode, "delete.enabled": "true", "auto.create": "true", "auto.evolve": "true"}
    if made:
        bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY); INSERT INTO orders VALUES (1), (2)")
    schema = Schema.struct({"note": STRING.as_optional()})
    task = bed.task(keys)
    task.put(keyed([None, schema.struct_type(note="a")], [1, 1], schema))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "a"), *([(2, None)] if made else [])]


def keyed(values: Sequence[Any], keys: Sequence[int], schema: Schema) -> SinkBatch:
    """A batch whose keys have a schema."""
    plain = batch(values, keys, schema)
    return SinkBatch(
        plain.runs,
        plain.values,
        value_schemas=plain.value_schemas,
        keys=keys,
        key_schemas=Repeat(INT64, len(keys)),
        timestamps=plain.timestamps,
    )


def test_null_values_delete_beside_plain_inserts(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint, note text)")
    task = bed.task({**KEYED, "insert.mode": "insert", "delete.enabled": "true"})
    task.put(batch([{"note": "a"}, {"note": "b"}, None, {"note": "c"}], [1, 1, 1, 1]))
    assert bed.sql("SELECT * FROM orders") == [(1, "c")]


def test_deletes_go_on_where_the_rows_beside_them_cannot_be_written(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'a'), (2, 'b')")
    task = bed.task({**KEYED, "delete.enabled": "true"}, hears=True)
    task.put(batch([{"other": "x"}, None, "text", None], [3, 1, 4, 2]))
    assert bed.sql("SELECT * FROM orders") == []
    assert [*reported(task)] == [0, 2]


def test_a_table_is_made_with_its_key_and_grows_with_the_schema(bed: Bed) -> None:
    config = {
        "auto.create": "true",
        "auto.evolve": "true",
        "insert.mode": "upsert",
        "pk.mode": "record_value",
        "pk.fields": "id",
    }
    old = Schema.struct({"id": INT64, "note": STRING.as_optional()})
    new = Schema.struct(
        {"id": INT64, "note": STRING.as_optional(), "count": INT32.replaced(default=7), "day": DATE.as_optional()}
    )
    task = bed.task(config)
    task.put(batch([old.struct_type(id=1, note="a")], schema=old))
    task.put(
        batch([new.struct_type(id=2, note="b", count=3), new.struct_type(id=1, count=None)], schema=new, first_offset=1)
    )
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, None, 7, None), (2, "b", 3, None)]
    assert bed.sql("SELECT column_default FROM information_schema.columns WHERE column_name = 'count'") == [("7",)]
    strict = Schema.struct({"id": INT64, "needed": STRING})
    with pytest.raises(ConnectError, match="column needed cannot be added"):
        task.put(batch([strict.struct_type(id=3, needed="x")], schema=strict, first_offset=3))
