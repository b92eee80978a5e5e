"""The PostgreSQL sink's task on the real server: types, upserts, deletes, tables, bad rows, and what breaks."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.postgres.sink import PostgresSinkConnector, PostgresSinkTask
from engine.api.batch import Run, SinkBatch
from engine.api.column import MapColumn, Repeat
from engine.api.errors import ConnectError, DataError, RefusedError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
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
from tests.harness import wait
from tests.harness.contexts import FakeSinkContext
from tests.harness.postgres import LIMITED, PASSWORD, PostgresServer
from tests.harness.server import UnavailableError

pytestmark = pytest.mark.postgres

PLACE = TopicPartition("orders", 0)
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
KEYED = {"insert.mode": "upsert", "pk.mode": "record_key", "pk.fields": "id"}


class Context(FakeSinkContext):
    """Hears of bad records, if it is asked to."""

    def __init__(self, *, hears: bool) -> None:
        super().__init__()
        self._hears = hears
        self.reported: dict[int, str] = {}

    def errant_record_reporter(self) -> Any:
        return self if self._hears else None

    def report(self, record: SinkRecord, error: Exception) -> Any:
        self.reported[record.original_offset] = str(error)
        return self

    def result(self, timeout: float | None = None) -> None:
        """Kafka has it."""


class Bed:
    """A database, and tasks that write to it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self.postgres = postgres
        self.database = database
        self.tasks: list[PostgresSinkTask] = []

    def config(self, **keys: str) -> dict[str, str]:
        return {"name": "orders", "topics": "orders", "connection.url": self.postgres.url(self.database), **keys}

    def task(self, config: dict[str, str] | None = None, *, hears: bool = False) -> PostgresSinkTask:
        task = PostgresSinkTask()
        task.initialize(Context(hears=hears))
        task.start(self.config(**(config or {})))
        task.open([PLACE])
        self.tasks.append(task)
        return task

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.query(statement, self.database)

    def stored(self) -> int:
        ((offset,),) = self.sql("SELECT next_offset FROM millrace_offsets WHERE topic = 'orders' AND \"partition\" = 0")
        return int(offset)


@pytest.fixture
def bed(postgres: PostgresServer, database: str) -> Any:
    bed = Bed(postgres, database)
    yield bed
    for task in bed.tasks:
        task.stop()


def batch(
    values: Sequence[Any], keys: Sequence[Any] = (), schema: Schema | None = None, first_offset: int = 0
) -> SinkBatch:
    count = len(values)
    return SinkBatch(
        [Run("orders", 0, 0, count, first_offset, first_offset + count - 1)],
        values,
        value_schemas=[None if value is None else schema for value in values],
        keys=keys or Repeat(None, count),
        key_schemas=Repeat(None, count),
        timestamps=Repeat(None, count),
    )


def reported(task: PostgresSinkTask) -> dict[int, str]:
    assert isinstance(task.context, Context)
    return task.context.reported


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
    types = bed.sql("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0")
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
    values = {
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
    config = {"auto.create": "true", "auto.evolve": "true", "insert.mode": "upsert", "pk.mode": "record_value", "pk.fields": "id"}
    old = Schema.struct({"id": INT64, "note": STRING.as_optional()})
    new = Schema.struct({"id": INT64, "note": STRING.as_optional(), "count": INT32.replaced(default=7), "day": DATE.as_optional()})
    task = bed.task(config)
    task.put(batch([old.struct_type(id=1, note="a")], schema=old))
    task.put(batch([new.struct_type(id=2, note="b", count=3), new.struct_type(id=1, count=None)], schema=new, first_offset=1))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, None, 7, None), (2, "b", 3, None)]
    assert bed.sql("SELECT column_default FROM information_schema.columns WHERE column_name = 'count'") == [("7",)]
    strict = Schema.struct({"id": INT64, "needed": STRING})
    with pytest.raises(ConnectError, match="column needed cannot be added"):
        task.put(batch([strict.struct_type(id=3, needed="x")], schema=strict, first_offset=3))


def is_true_of_each(told: dict[int, str], expected: dict[int, Sequence[str]]) -> bool:
    assert told.keys() == expected.keys()
    return all(word in told[offset] for offset, words in expected.items() for word in words)


def test_each_bad_record_is_told_with_table_column_place_and_what_to_do(bed: Bed) -> None:
    bed.sql("CREATE TABLE goods (id bigint PRIMARY KEY); INSERT INTO goods VALUES (1)")
    bed.sql(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(5) NOT NULL, count smallint, day date, more jsonb, "
        "price numeric(4,2) CHECK (price > 0), good bigint REFERENCES goods DEFERRABLE INITIALLY DEFERRED)"
    )
    good = {"note": "fine", "count": 1, "day": "2024-01-31", "more": {}, "price": 1, "good": 1}
    values = [
        {"id": 0, **good},
        {"id": 1, **good, "note": "too long"},
        {"id": 2, **good, "note": None},
        {"id": 3, **good, "count": 40_000},
        {"id": 4, **good, "count": "many"},
        {"id": 5, **good, "day": "yesterday maybe"},
        {"id": 6, **good, "more": "{"},
        {"id": 7, **good, "price": -1},
        {"id": 8, **good, "good": 2},
        {"id": 0, **good},
        {"id": None, **good},
        {"id": 11, **good, "note": "a\0b"},
        {"id": 12, **good, "note": "\ud800"},
        {"id": 13, **good, "more": {"a": "\0"}},
        {"id": 14, **good, "price": 1000},
        {"id": 15, **good},
    ]
    task = bed.task(hears=True)
    task.put(batch(values))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (15,)]
    assert bed.stored() == 16
    told = reported(task)
    assert is_true_of_each(
        told,
        {
            1: ["connector orders: table orders, column note: the record at orders-0@1", "character varying(5)", "longer"],
            2: ["column note", "default"],
            3: ["column count", "smallint (INT16)"],
            4: ["column count", "convert it by a transform"],
            5: ["column day", "TimestampConverter"],
            6: ["column more", "jsonb"],
            7: ["orders_price_check"],
            8: ["orders_good_fkey", "refers to"],
            9: ["orders_pkey", "insert.mode=upsert"],
            10: ["column id"],
            11: ["zero character"],
            12: ["surrogate"],
            13: ["zero character"],
            14: ["column price"],
        },
    )


def test_a_null_in_a_key_is_told_without_asking_the_server(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    task = bed.task({**KEYED, "pk.mode": "record_value"}, hears=True)
    task.put(batch([{"id": 1, "note": "a"}, {"id": None, "note": "b"}]))
    assert reported(task) == {
        1: "connector orders: table orders, column id: the record at orders-0@1: null in a column of the key: "
        "expected a value; a row is told by it"
    }
    assert bed.sql("SELECT id FROM orders") == [(1,)]


def test_a_bad_version_of_a_row_leaves_the_good_one_before_it(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(3))")
    task = bed.task(KEYED, hears=True)
    task.put(batch([{"note": "a"}, {"note": "b"}, {"note": "too long"}], [1, 2, 1]))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "a"), (2, "b")]
    assert [*reported(task)] == [2]


def test_one_bad_record_of_many_costs_few_calls(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint, note varchar(9))")
    task = bed.task(hears=True)
    count, bad = 3000, 1234
    values = MapColumn({"id": range(count), "note": ["x" * 10 if row == bad else "x" for row in range(count)]}, count)
    calls = []
    made = task._writer()
    copy = made.session.copy
    made.session.copy = lambda *given: calls.append(1) or copy(*given)  # type: ignore[method-assign]
    task.put(batch(values))
    assert [*reported(task)] == [bad]
    assert len(calls) - 1 <= math.ceil(math.log2(count)) + 1
    assert bed.sql("SELECT count(*), count(DISTINCT id) FROM orders") == [(count - 1, count - 1)]


def test_without_somebody_to_hear_of_it_nothing_of_the_batch_is_written(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task()
    with pytest.raises(DataError, match=r"connector orders: table orders, column id: the record at orders-0@1: "):
        task.put(batch([{"id": 1}, {"id": "x"}, {"id": 2}]))
    assert bed.sql("SELECT * FROM orders") == []
    task.put(batch([{"id": 1}]))
    assert bed.stored() == 1


@pytest.mark.parametrize(
    ("made", "keys", "told"),
    [
        ("", {}, "table orders is not there"),
        ("CREATE TABLE orders (id bigint, note text)", KEYED, r"ALTER TABLE \"orders\" ADD PRIMARY KEY \(\"id\"\)"),
        ("CREATE TABLE orders (note text)", {}, "the table has no column id"),
        ("CREATE TABLE orders (note text)", {"auto.evolve": "true"}, "the table has no column id"),
    ],
)
def test_tables_that_do_not_fit_are_told(bed: Bed, made: str, keys: dict[str, str], told: str) -> None:
    bed.sql(made or "SELECT 1")
    with pytest.raises(ConnectError, match=told):
        bed.task(keys).put(batch([{"id": 1, "note": "a"}], [1]))


def test_a_right_that_is_missing_is_told_and_waited_for(bed: Bed) -> None:
    bed.sql(f"CREATE TABLE orders (id bigint); GRANT CREATE ON SCHEMA public TO {LIMITED}")
    config = {"connection.user": LIMITED, "connection.password": PASSWORD}
    task = bed.task({**config, "connection.url": bed.postgres.url(bed.database).replace("postgres@", "")})
    with pytest.raises(RefusedError, match="permission denied for table orders"):
        task.put(batch([{"id": 1}]))
    bed.sql(f"GRANT INSERT ON orders TO {LIMITED}")
    task.put(batch([{"id": 1}]))
    assert bed.sql("SELECT * FROM orders") == [(1,)]


def test_credentials_that_rotate_count_from_the_next_connection_on(bed: Bed, tmp_path: Path) -> None:
    bed.sql(f"CREATE TABLE orders (id bigint); GRANT CREATE ON SCHEMA public TO {LIMITED}; GRANT INSERT ON orders TO {LIMITED}")
    file = tmp_path / "credentials"
    file.write_text(f"user={LIMITED}\npassword={PASSWORD}\n")
    url = bed.postgres.url(bed.database).replace("postgres@", "")
    task = bed.task({"connection.credentials.file": str(file), "connection.url": url})
    task.put(batch([{"id": 1}]))
    try:
        bed.sql(f"ALTER ROLE {LIMITED} PASSWORD 'another'")
        disconnect(bed)
        with pytest.raises(RetriableError):
            task.put(batch([{"id": 2}], first_offset=1))
        with pytest.raises(RefusedError, match="password authentication failed") as caught:
            task.put(batch([{"id": 2}], first_offset=1))
        assert PASSWORD not in str(caught.value)
        file.write_text(f"user={LIMITED}\npassword=another\n")
        task.put(batch([{"id": 2}], first_offset=1))
        assert bed.sql("SELECT id FROM orders ORDER BY id") == [(1,), (2,)]
    finally:
        bed.sql(f"ALTER ROLE {LIMITED} PASSWORD '{PASSWORD}'")


def disconnect(bed: Bed) -> None:
    bed.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace orders'")


def test_a_connection_that_is_cut_costs_nothing(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task()
    task.put(batch([{"id": 0}]))
    for number in range(1, 4):
        disconnect(bed)
        with pytest.raises(RetriableError):
            task.put(batch([{"id": number}], first_offset=number))
        task.put(batch([{"id": number}], first_offset=number))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,), (3,)]


def test_a_statement_that_takes_too_long_is_tried_again(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task({"statement.timeout.ms": "1000"})
    task.put(batch([{"id": 0}]))
    import psycopg

    with psycopg.connect(bed.postgres.url(bed.database)) as other:
        other.execute("LOCK TABLE orders")
        with pytest.raises(RetriableError, match="57014"):
            task.put(batch([{"id": 1}], first_offset=1))
    task.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,)]


def test_who_lost_a_partition_can_write_nothing_more(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    frozen, other = bed.task(), bed.task()
    frozen.put(batch([{"id": 0}]))
    other.put(batch([{"id": 1}], first_offset=1))
    with pytest.raises(ConnectError, match="another task has opened orders-0"):
        frozen.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,)]


def test_offsets_are_set_and_forgotten_with_those_of_the_group(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    bed.task().put(batch([{"id": 0}, {"id": 1}]))
    connector = PostgresSinkConnector()
    assert connector.alter_offsets(bed.config(), {PLACE: 1, TopicPartition("it's", 3): 5})
    task = bed.task()
    assert task.pre_commit({PLACE: 1}) == {PLACE: 1}
    task.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (1,)]
    assert connector.alter_offsets(bed.config(), {PLACE: None})
    assert bed.sql("SELECT topic, next_offset FROM millrace_offsets") == [("it's", 5)]


def problems(bed: Bed, **keys: str) -> dict[str, str]:
    given = {key.replace("_", "."): text for key, text in keys.items()}
    return {one.key: one.message for one in PostgresSinkConnector().validate(bed.config(**given))}


def test_validation_finds_what_is_missing(bed: Bed) -> None:
    assert "table orders of topic orders is not there" in problems(bed)["table.name.format"]
    assert problems(bed, auto_create="true") == {}
    bed.sql("CREATE TABLE orders (id bigint, note text)")
    assert problems(bed) == {}
    keyed = {key.replace(".", "_"): text for key, text in KEYED.items()}
    assert "has no primary key or unique index" in problems(bed, **keyed)["pk.fields"]
    assert "has no column other" in problems(bed, **{**keyed, "pk_fields": "other"})["pk.fields"]
    bed.sql("ALTER TABLE orders ADD PRIMARY KEY (id)")
    assert problems(bed, **keyed) == {}
    url = bed.postgres.url(bed.database).replace("postgres@", "")
    limited = {"connection_url": url, "connection_user": LIMITED, "connection_password": PASSWORD}
    told = problems(bed, **limited)
    assert "may not INSERT on table orders" in told["connection.user"]
    assert "the right CREATE on schema public" in told["offsets.table"]
    told = problems(bed, **{**limited, "connection_password": "wrong"})
    assert "password authentication failed" in told["connection.user"]
    assert problems(bed, connection_url="postgresql://postgres@127.0.0.1:1/shop") == {}  # not there now: the task waits
    assert "does not exist" in problems(bed, connection_url=bed.postgres.url("nowhere"))["connection.url"]
    assert "sslmod" in problems(bed, connection_url=f"{bed.postgres.url()}?sslmod=x")["connection.url"]


@pytest.fixture
def own_server(tmp_path: Path) -> Any:
    try:
        server = PostgresServer(tmp_path / "postgres").start()
    except UnavailableError as error:
        pytest.skip(f"no real PostgreSQL: {error}")
    with server:
        yield server


@pytest.mark.slow
@pytest.mark.faults
def test_a_server_that_is_killed_repeats_and_loses_nothing(own_server: PostgresServer) -> None:
    own_server.query("CREATE TABLE orders (id bigint)")
    bed = Bed(own_server, "postgres")
    task = bed.task()
    size = 500
    for number in range(0, 10 * size, size):
        task.put(batch(MapColumn({"id": range(number, number + size)}, size), first_offset=number))
        if number % (3 * size) == 0:
            own_server.kill9()
            with pytest.raises(RetriableError):
                task.put(batch(MapColumn({"id": range(number + size, number + 2 * size)}, size), first_offset=number + size))
            own_server.start()
    put_until_taken(task, batch(MapColumn({"id": range(10 * size, 11 * size)}, size), first_offset=10 * size))
    assert bed.sql("SELECT count(*), count(DISTINCT id), max(id) FROM orders") == [(11 * size, 11 * size, 11 * size - 1)]
    task.stop()


def put_until_taken(task: PostgresSinkTask, given: SinkBatch) -> None:
    def taken() -> bool:
        try:
            task.put(given)
        except RetriableError:
            return False
        return True

    wait.until(taken, "batch taken")


