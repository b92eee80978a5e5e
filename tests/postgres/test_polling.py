"""PostgresPollingSource on the real server: every mode finds each row once, and goes on exactly behind any of them."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from connectors.postgres.source.polling import PostgresPollingTask
from connectors.postgres.source.polling_connector import PostgresPollingSourceConnector
from engine.api.batch import SourceBatch
from engine.api.errors import ConnectError, RefusedError, RetriableError
from engine.api.record import SourceRecord
from engine.api.testing import FakeSourceContext, poll_all, records_of
from tests.harness import wait
from tests.harness.postgres import LIMITED, PASSWORD, PostgresServer

pytestmark = pytest.mark.postgres

ROWS = 12
UTC = datetime.UTC
Offsets = Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]


class Bed:
    """A database, and tasks on it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self.postgres = postgres
        self.database = database

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.query(statement, self.database)

    def keys(self, keys: Mapping[str, object]) -> dict[str, str]:
        given = {key.replace("_", "."): str(value) for key, value in keys.items()}
        return {"name": "shop", "connection.url": self.postgres.url(self.database), "topic.prefix": "shop-", **given}

    def configs(self, keys: Mapping[str, object], tasks_max: int = 1) -> list[Mapping[str, str]]:
        connector = PostgresPollingSourceConnector()
        connector.start(self.keys(keys))
        try:
            return list(connector.task_configs(tasks_max))
        finally:
            connector.stop()

    def problems(self, **keys: object) -> str:
        return "\n".join(map(str, PostgresPollingSourceConnector().validate(self.keys(keys))))

    def task(self, keys: Mapping[str, object], *, offsets: Offsets = (), is_bulk: bool = True) -> PostgresPollingTask:
        context = FakeSourceContext(is_bulk=is_bulk, offsets=offsets)
        task = PostgresPollingTask(context.monotonic_ns)
        task.initialize(context)
        task.start(self.configs(keys)[0])
        return task

    def rows(self, keys: Mapping[str, object], *, after: SourceRecord | None = None) -> list[SourceRecord]:
        """All records of a bulk run."""
        stored: Offsets = []
        if after is not None:
            partition, offset = json.loads(json.dumps([after.source_partition, after.source_offset]))
            stored = [(partition, offset)]
        task = self.task(keys, offsets=stored)
        try:
            return drained(task)
        finally:
            task.stop()


def drained(task: PostgresPollingTask) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    context = task.context
    assert isinstance(context, FakeSourceContext)
    for _ in range(1000):
        found += records_of(task.poll())
        if context.has_ended:
            return found
    raise AssertionError("no end")


def values(records: Sequence[SourceRecord], name: str = "id") -> list[Any]:
    return [getattr(record.value, name) for record in records]


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> str:
    """A database for all tests of this file: making one costs a second."""
    postgres.query("CREATE DATABASE polled")
    return "polled"


@pytest.fixture
def bed(postgres: PostgresServer, shop: str) -> Bed:
    if not postgres.is_running:
        postgres.start()
    made = Bed(postgres, shop)
    made.run("DROP SCHEMA IF EXISTS other CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    made.run("GRANT USAGE ON SCHEMA public TO PUBLIC")
    made.run(
        "CREATE TABLE orders "
        "(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, changed timestamptz NOT NULL)"
    )
    made.run(
        # Four rows of each timestamp: what is between equal ones must not be lost.
        f"INSERT INTO orders (note, changed) SELECT 'note ' || n, timestamptz '2024-01-31 10:00:00.000001+00' "
        f"+ interval '1 s' * (n / 4) FROM generate_series(1, {ROWS}) n ORDER BY n DESC"
    )
    return made


MODES: dict[str, dict[str, object]] = {
    "incrementing": {"mode": "incrementing", "table_whitelist": "orders"},
    "incrementing by name": {
        "mode": "incrementing",
        "table_whitelist": "public.orders",
        "incrementing_column_name": "id",
    },
    "timestamp": {"mode": "timestamp", "table_whitelist": "orders", "timestamp_column_name": "changed"},
    "both": {"mode": "timestamp+incrementing", "table_include_list": ".*orders", "timestamp_column_name": "changed"},
    "query": {
        "mode": "timestamp",
        "query": "SELECT * FROM orders WHERE id > 0 -- all\n;",
        "timestamp_column_name": "changed",
    },
}


@pytest.mark.parametrize("mode", MODES)
def test_a_task_goes_on_behind_any_row(bed: Bed, mode: str) -> None:
    keys = {**MODES[mode], "batch_max_rows": 5}
    found = bed.rows(keys)
    assert sorted(values(found)) == [*range(1, ROWS + 1)]
    for at, record in enumerate(found):
        assert values(bed.rows(keys, after=record)) == values(found)[at + 1 :]


SAME: dict[str, dict[str, object]] = {
    "numbers that are not unique": {
        "mode": "incrementing",
        "incrementing_column_name": "number",
        "query": "SELECT id / 4 AS number, id, note FROM orders",
    },
    "numbers and timestamps": {
        "mode": "timestamp+incrementing",
        "incrementing_column_name": "number",
        "timestamp_column_name": "changed",
        "query": "SELECT id / 4 AS number, changed, id, note FROM orders",
    },
    "rows that are the same": {
        "mode": "timestamp",
        "timestamp_column_name": "changed",
        "table_whitelist": "twice",
    },
    "one number": {
        "mode": "incrementing",
        "incrementing_column_name": "number",
        "query": "SELECT 1 AS number, id, note FROM orders",
    },
}


@pytest.mark.parametrize("rows", [pytest.param(1, marks=pytest.mark.long), 5])
@pytest.mark.parametrize("same", SAME)
def test_a_task_never_goes_on_amid_rows_that_nothing_tells_apart(bed: Bed, same: str, rows: int) -> None:
    bed.run("CREATE VIEW twice AS SELECT note, changed FROM orders CROSS JOIN generate_series(1, 3)")
    keys = {**SAME[same], "batch_max_rows": rows}
    found = values(bed.rows(keys), "note")
    assert len(found) == ROWS * (3 if same == "rows that are the same" else 1)
    groups = 1 if same == "one number" else 3
    for at, record in enumerate(bed.rows(keys)):
        later = values(bed.rows(keys, after=record), "note")
        assert not Counter(found) - Counter(found[: at + 1]) - Counter(later), f"lost behind {record.source_offset}"
        assert len(later) < len(found) - at - 1 + len(found) // groups + 3, "more than a group comes again"
    if groups == 1:
        assert {record.source_offset is None for record in bed.rows(keys)[:-1]} == {True}
    assert later == [], "nothing is there behind the last"


def test_what_is_new_from_the_first_look_on_is_found(bed: Bed) -> None:
    for mode in ("timestamp", "both"):
        keys = {**MODES[mode], "timestamp_initial": -1, "poll_interval_ms": 1}
        task = bed.task(keys, is_bulk=False)
        beginning = task.poll()
        assert isinstance(beginning, SourceBatch)
        assert not len(beginning)
        assert poll_all(task) == []
        bed.run(f"INSERT INTO orders (note, changed) VALUES ('{mode}', now())")
        assert beginning.source_offsets
        stored = [(beginning.source_partition or {}, beginning.source_offsets[-1])]
        again = bed.task(keys, is_bulk=False, offsets=stored)
        for one in (task, again):
            one.context.wait(0.1)
            assert values(records_of(one.poll()) or records_of(one.poll()), "note") == [mode]
            one.stop()
        connector = PostgresPollingSourceConnector()
        assert connector.alter_offsets(bed.keys(keys), {'{"table":"public.orders"}': stored[0][1]})


@pytest.mark.parametrize("ddl", ["", "ALTER TABLE orders DROP CONSTRAINT orders_pkey"])
def test_a_bulk_pass_goes_on_where_it_was_and_begins_anew_when_it_was_over(bed: Bed, ddl: str) -> None:
    if ddl:
        bed.run(ddl)
    keys = {"mode": "bulk", "table_whitelist": "orders", "batch_max_rows": 5}
    found = bed.rows(keys)
    assert sorted(values(found)) == [*range(1, ROWS + 1)]
    for at, record in enumerate(found[:-1]):
        assert values(bed.rows(keys, after=record)) == values(found)[at + 1 :]
    assert values(bed.rows(keys, after=found[-1])) == values(found)


def test_a_bulk_query_is_read_whole_each_time(bed: Bed) -> None:
    found = bed.rows({"mode": "bulk", "query": "SELECT note FROM orders"})
    assert len(found) == ROWS
    assert {record.source_offset for record in found} == {None}
    assert {record.topic for record in found} == {"shop-"}


@pytest.mark.parametrize("mode", ["incrementing", "timestamp", "both", "query"])
def test_new_rows_are_found_at_the_next_interval_and_old_ones_are_not_given_again(bed: Bed, mode: str) -> None:
    task = bed.task({**MODES[mode], "poll_interval_ms": 1000}, is_bulk=False)
    assert len(poll_all(task)) == ROWS
    assert poll_all(task) == []  # waits for the interval
    bed.run("INSERT INTO orders (note, changed) VALUES ('new', now() - interval '1 s')")
    wait_ns = task.context.monotonic_ns  # type: ignore[attr-defined]  # a fake
    before = wait_ns()
    found: list[SourceRecord] = []
    while not found and wait_ns() - before < 5_000_000_000:
        found = records_of(task.poll())
    assert values(found, "note") == ["new"]
    assert poll_all(task) == []
    task.stop()


def test_an_update_is_found_by_its_timestamp(bed: Bed) -> None:
    found = bed.rows(MODES["timestamp"])
    bed.run("UPDATE orders SET note = 'changed', changed = now() - interval '1 s' WHERE id = 3")
    later = bed.rows(MODES["timestamp"], after=found[-1])
    assert [(record.value.id, record.value.note) for record in later] == [(3, "changed")]


def test_rows_that_are_too_young_wait(bed: Bed) -> None:
    bed.run(
        "INSERT INTO orders (note, changed) "
        "VALUES ('young', now() - interval '10 s'), ('future', now() + interval '1 day')"
    )
    keys = MODES["timestamp"]
    assert len(bed.rows(keys)) == ROWS + 1
    assert len(bed.rows({**keys, "timestamp_delay_interval_ms": 60_000})) == ROWS
    assert bed.rows({**keys, "timestamp_initial": -1}) == []
    moment = int(datetime.datetime(2024, 1, 31, 10, 0, 1, tzinfo=UTC).timestamp() * 1000)
    assert len(bed.rows({**keys, "timestamp_initial": moment})) == 1 + ROWS - 3


def test_the_first_timestamp_that_is_not_null_counts(bed: Bed) -> None:
    bed.run("ALTER TABLE orders ADD COLUMN touched timestamptz")
    bed.run("UPDATE orders SET touched = changed + interval '1 year' WHERE id = 1")
    found = bed.rows({**MODES["timestamp"], "timestamp_column_name": "touched,changed"})
    assert values(found)[-1] == 1
    assert len(found) == ROWS


def test_every_type_is_read_as_it_was_written(bed: Bed) -> None:
    bed.run("CREATE TYPE mood AS ENUM ('good', 'bad')")
    bed.run("CREATE DOMAIN price AS numeric(10,2)")
    bed.run(
        'CREATE TABLE "Types" (a smallint NOT NULL, b int, c bigint, d real, e double precision, f boolean, g text, '
        "h bytea, i numeric(10,2), j numeric, k date, l time, m timestamp, n timestamptz, o uuid, p jsonb, q mood, r "
        "price, "
        's int[], t text[], u interval, v char(3), w timestamptz[], "odd name" int)'
    )
    bed.run(
        """INSERT INTO "Types" VALUES (1, 2, 3, 0.5, 0.1, true, E'tab\\t line\\n back\\\\slash \\\\N', '\\x00ff',
        9.5, 1.25, '2024-02-29', '12:34:56.789', '2024-01-31 10:00:00.123', '2024-01-31 10:00:00.123+01',
        '0b0f7f2a-0000-0000-0000-000000000000', '{"a": [1]}', 'good', 2, '{1,NULL}', E'{"a\\\\"b",c}', '1 day', 'x',
        '{2024-01-31 10:00:00+00}', 7)"""
    )
    bed.run('INSERT INTO "Types" (a) VALUES (2)')
    records = bed.rows({"mode": "bulk", "table_whitelist": "Types"})
    row = records[0].value
    moment = datetime.datetime(2024, 1, 31, 10, 0, 0, 123_000, tzinfo=UTC)
    assert [getattr(row, name) for name in row.__struct_fields__] == [
        1, 2, 3, 0.5, 0.1, True, "tab\t line\n back\\slash \\N", b"\0\xff", Decimal("9.50"), "1.25",
        datetime.date(2024, 2, 29), datetime.time(12, 34, 56, 789_000), moment, moment - datetime.timedelta(hours=1),
        "0b0f7f2a-0000-0000-0000-000000000000", '{"a": [1]}', "good", Decimal("2.00"), [1, None], ['a"b', "c"],
        "P1D", "x  ", [datetime.datetime(2024, 1, 31, 10, tzinfo=UTC)], 7,
    ]  # fmt: skip
    empty = records[1].value
    assert [getattr(empty, name) for name in empty.__struct_fields__] == [2, *[None] * 23]
    schema = records[0].value_schema
    assert schema is not None
    schema.validate(row)
    schema.validate(empty)
    assert schema.name == "Types"
    assert records[0].topic == "shop-Types"


def test_tables_are_dealt_to_tasks_and_patterns_leave_out(bed: Bed) -> None:
    for name in ("a", "b", "c"):
        bed.run(f"CREATE TABLE {name} (id serial PRIMARY KEY)")
    bed.run("CREATE VIEW seen AS SELECT * FROM a")
    found = bed.configs({"mode": "bulk", "table_include_list": "public\\..*", "table_exclude_list": ".*\\.b"}, 2)
    assert [json.loads(config["task.tables"]) for config in found] == [
        [["public", "a"], ["public", "orders"]],
        [["public", "c"]],
    ]
    found = bed.configs({"mode": "bulk", "table_include_list": "public\\.seen", "table_types": "VIEW"}, 5)
    assert [json.loads(config["task.tables"]) for config in found] == [[["public", "seen"]]]


def test_a_connector_tells_of_tables_that_come(bed: Bed) -> None:
    class Context:
        asked = 0

        def request_task_reconfiguration(self) -> None:
            self.asked += 1

    connector, context = PostgresPollingSourceConnector(), Context()
    connector.initialize(context)  # type: ignore[arg-type]  # the others are not asked for
    connector.start(bed.keys({"mode": "bulk", "table_include_list": "public.*", "table_poll_interval_ms": 1000}))
    try:
        assert "late" not in str(connector.task_configs(1))
        bed.run("CREATE TABLE late (id int)")
        wait.until(lambda: context.asked, "request for other tasks")
        assert "late" in str(connector.task_configs(1))
    finally:
        connector.stop()


def test_a_column_that_is_added_is_read_from_the_next_pass_on(bed: Bed) -> None:
    task = bed.task({"mode": "incrementing", "table_whitelist": "orders", "poll_interval_ms": 1}, is_bulk=False)
    assert len(poll_all(task)) == ROWS
    bed.run("ALTER TABLE orders ADD COLUMN more int DEFAULT 5")
    bed.run("ALTER TABLE orders DROP COLUMN note")
    bed.run("INSERT INTO orders (changed) VALUES (now())")
    found: list[SourceRecord] = []
    for _ in range(10):
        found += records_of(task.poll())
    assert [record.value.more for record in found] == [5]
    assert found[0].value_schema is not None
    assert found[0].value_schema.field("note") is None
    task.stop()


def test_a_connection_that_breaks_costs_no_row(bed: Bed) -> None:
    bed.run("INSERT INTO orders (note, changed) SELECT repeat('x', 1000), now() FROM generate_series(1, 20000)")
    task = bed.task({**MODES["incrementing"], "batch_max_rows": 1000})
    found = records_of(task.poll())
    bed.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace shop'")
    broken = 0
    context = task.context
    assert isinstance(context, FakeSourceContext)
    while not context.has_ended:
        try:
            found += records_of(task.poll())
        except RetriableError:
            broken += 1
    assert broken == 1
    assert values(found) == [*range(1, ROWS + 20_001)]


def test_what_is_wrong_is_told_before_a_task_starts(bed: Bed) -> None:
    orders = {"table_whitelist": "orders"}
    assert bed.problems(mode="incrementing", **orders) == ""
    assert "exactly one of" in bed.problems(mode="bulk", **orders, query="SELECT 1")
    assert "timestamp.column.name" in bed.problems(mode="timestamp", **orders)
    assert "table nothing is not there" in bed.problems(mode="bulk", table_whitelist="nothing")
    assert "no column x" in bed.problems(mode="incrementing", **orders, incrementing_column_name="x")
    assert "note (incrementing.column.name) is text" in bed.problems(
        mode="incrementing", **orders, incrementing_column_name="note"
    )
    assert "note (timestamp.column.name) is text" in bed.problems(
        mode="timestamp", **orders, timestamp_column_name="note"
    )
    assert "query does not work" in bed.problems(mode="bulk", query="SELECT * FROM nothing")
    assert "two columns a" in bed.problems(mode="bulk", query="SELECT 1 AS a, 2 AS a")
    assert "no regular expression" in bed.problems(mode="bulk", table_include_list="(")
    assert "db.timezone" in bed.problems(mode="bulk", **orders, db_timezone="Nowhere")
    bed.run("ALTER TABLE orders ALTER COLUMN changed DROP NOT NULL")
    assert "changed may be null" in bed.problems(mode="timestamp", **orders, timestamp_column_name="changed")
    checked = {"timestamp_column_name": "changed", "validate_non_null": "false"}
    assert bed.problems(mode="timestamp", **orders, **checked) == ""
    bed.run("CREATE SCHEMA other; CREATE TABLE other.orders (id int)")
    assert "shop-orders would get" in bed.problems(mode="bulk", table_whitelist="public.orders,other.orders")


def test_a_user_without_rights_is_told_what_to_grant(bed: Bed) -> None:
    keys: dict[str, object] = {
        "mode": "bulk",
        "table_whitelist": "orders",
        "connection_user": LIMITED,
        "connection_password": PASSWORD,
        "connection_url": f"postgresql://127.0.0.1:{bed.postgres.port}/{bed.database}",
    }
    assert "GRANT SELECT" in bed.problems(**keys)
    with pytest.raises(RefusedError, match="orders"):
        bed.rows(keys)
    assert PASSWORD not in bed.problems(**{**keys, "connection_password": PASSWORD + "x"})


def test_a_table_that_goes_ends_the_task_if_it_is_named_and_is_waited_for_if_it_was_found(bed: Bed) -> None:
    named = bed.task({"mode": "bulk", "table_whitelist": "orders"}, is_bulk=False)
    found = bed.task({"mode": "bulk", "table_include_list": "public.orders", "poll_interval_ms": 1}, is_bulk=False)
    bed.run("ALTER TABLE orders RENAME TO gone")
    with pytest.raises(ConnectError, match="table orders is not there"):
        named.poll()
    assert found.poll() is None
    bed.run("ALTER TABLE gone RENAME TO orders")
    assert len(poll_all(found) or poll_all(found)) == ROWS


def test_offsets_that_are_set_are_checked(bed: Bed) -> None:
    connector = PostgresPollingSourceConnector()
    keys = bed.keys(MODES["both"])
    good: dict[str, Any] = {"timestamp": "2024-01-31 10:00:00+00", "incrementing": 7}
    assert connector.alter_offsets(keys, {'{"table":"public.orders"}': good, "null": None}) is True
    for partition, offset in [
        ('{"file":"x"}', good),
        ('{"table":"x"}', {"incrementing": 7}),
        ('{"table":"x"}', {**good, "timestamp": 5}),
        ('{"table":"x"}', {**good, "else": 5}),
    ]:
        with pytest.raises(ConnectError, match="expected"):
            connector.alter_offsets(keys, {partition: offset})
