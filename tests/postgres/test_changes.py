"""PostgresSource on the real server: every change becomes a record, in order, and the slot keeps what Kafka has not."""

from __future__ import annotations

import datetime
import logging
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from connectors.postgres.source.changes_connector import PostgresSourceConnector
from connectors.postgres.source.pgoutput import lsn_of
from engine.api.errors import ConnectError, RetriableError
from engine.api.record import SourceRecord
from engine.api.testing import records_of
from tests.harness import wait
from tests.harness.capture import Capture, context_of, drained, fields, polled_until, shown
from tests.harness.postgres import LIMITED, PASSWORD

pytestmark = pytest.mark.postgres

UTC = datetime.UTC


def test_inserts_updates_and_deletes_become_records_in_order(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (1, 'one', 1), (2, 'two', NULL)")
    capture.run("UPDATE orders SET note = 'uno' WHERE id = 1")
    capture.run("DELETE FROM orders WHERE id = 2")
    capture.run("UPDATE orders SET id = 3 WHERE id = 1")
    found = capture.changes()
    assert shown(found) == [
        ("public.orders", 1, (1, "one", Decimal("1.00"))),
        ("public.orders", 2, (2, "two", None)),
        ("public.orders", 1, (1, "uno", Decimal("1.00"))),
        ("public.orders", 2, ()),
        ("public.orders", 1, ()),
        ("public.orders", 3, (3, "uno", Decimal("1.00"))),
    ]
    assert [record.value_schema is None for record in found] == [False, False, False, True, True, False]
    for record in found:
        assert record.key_schema is not None
        record.key_schema.validate(record.key)
        if record.value_schema is not None:
            record.value_schema.validate(record.value)
    assert found[0].key_schema is not None
    assert found[0].key_schema.name == "public.orders.Key"


@pytest.mark.parametrize("size", [2048, 5])
def test_a_task_goes_on_behind_any_change(capture: Capture, size: int) -> None:
    capture.begin()
    for number in range(3):  # three transactions of four changes
        capture.run(f"INSERT INTO orders SELECT {number} * 4 + n, 'note', n FROM generate_series(1, 4) n")
    capture.run("UPDATE orders SET id = 100 WHERE id = 1")  # a change of two records
    found = capture.changes({"max_batch_size": size})
    assert len(found) == 14
    for at, record in enumerate(found[:12]):
        assert shown(capture.changes(after=record)) == shown(found)[at + 1 :]
    # A change that is half told is told again whole.
    assert shown(capture.changes(after=found[12])) == shown(found)[12:]
    assert capture.changes(after=found[13]) == []


def test_a_rolled_back_transaction_is_none_and_those_that_overlap_come_in_the_order_of_their_commits(
    capture: Capture,
) -> None:
    capture.begin()
    url = capture.postgres.url(capture.database)
    with psycopg.connect(url) as first, psycopg.connect(url) as second, psycopg.connect(url) as third:
        first.execute("INSERT INTO orders VALUES (1), (2)")
        second.execute("INSERT INTO orders VALUES (3)")
        third.execute("INSERT INTO orders VALUES (4)")
        first.execute("SAVEPOINT one; INSERT INTO orders VALUES (5); ROLLBACK TO one; INSERT INTO orders VALUES (6)")
        second.commit()
        third.rollback()
        first.commit()
    assert [record.key.id for record in capture.changes()] == [3, 1, 2, 6]


def test_envelopes_are_as_debezium_writes_them(capture: Capture) -> None:
    keys = {"record_format": "envelope", "topic_prefix": "shop", "skipped_operations": "none"}
    capture.run("ALTER TABLE orders REPLICA IDENTITY FULL")
    capture.begin(keys)
    capture.run("INSERT INTO orders VALUES (1, 'one', 1)")
    capture.run("UPDATE orders SET note = 'uno'")
    capture.run("UPDATE orders SET id = 2")
    capture.run("DELETE FROM orders")
    capture.run("TRUNCATE orders")
    found = capture.changes(keys)
    one, uno, two = (1, "one", Decimal("1.00")), (1, "uno", Decimal("1.00")), (2, "uno", Decimal("1.00"))
    told = [
        None if record.value is None else (record.value.op, fields(record.value.before), fields(record.value.after))
        for record in found
    ]
    assert told == [
        ("c", (), one),
        ("u", one, uno),
        ("d", uno, ()),
        None,
        ("c", (), two),
        ("d", two, ()),
        None,
        ("t", (), ()),
    ]
    assert [fields(record.key) for record in found] == [(1,), (1,), (1,), (1,), (2,), (2,), (2,), ()]
    assert {record.topic for record in found} == {"shop.public.orders"}
    source = found[0].value.source
    assert (source.db, source.schema, source.table, source.name) == (capture.database, "public", "orders", "shop")
    assert source.lsn > 0
    assert source.txId > 0
    for record in found:
        if record.value_schema is not None:
            record.value_schema.validate(record.value)
    assert len(capture.changes({**keys, "tombstones_on_delete": "false"})) == 6
    assert [record.value.op for record in capture.changes({**keys, "skipped_operations": "u,d,t"})] == ["c"]


def test_a_truncate_is_warned_of_where_no_record_can_tell_it(
    capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (1)")
    capture.run("TRUNCATE orders")
    capture.run("INSERT INTO orders VALUES (2)")
    assert [record.key.id for record in capture.changes()] == [1, 2]
    assert "table public.orders was truncated" in caplog.text


def test_every_type_is_read_as_it_was_written(capture: Capture) -> None:
    capture.run("CREATE DOMAIN price AS numeric(10,2)")
    capture.run("CREATE TYPE mood AS ENUM ('good', 'bad')")
    capture.run(
        "CREATE TABLE types (a int PRIMARY KEY, b real, c boolean, d bytea, e numeric, f date, g timestamptz, h uuid, "
        'i jsonb, j mood, k price, l int[], m text[], n text, "odd name" time)'
    )
    capture.begin()
    capture.run(
        """INSERT INTO types VALUES (1, 0.5, true, '\\x00ff', 1.25, '2024-02-29', '2024-01-31 10:00:00.1234+01',
        '0b0f7f2a-0000-0000-0000-000000000000', '{"a": 1}', 'bad', 2, '{1,NULL}', '{"a,b",c}', E'tab\\t \\\\N',
        '12:34:56.789')"""
    )
    capture.run("INSERT INTO types VALUES (2)")
    first, second = capture.changes()
    moment = datetime.datetime(2024, 1, 31, 9, 0, 0, 123_000, tzinfo=UTC)
    assert fields(first.value) == (
        1, 0.5, True, b"\0\xff", "1.25", datetime.date(2024, 2, 29), moment, "0b0f7f2a-0000-0000-0000-000000000000",
        '{"a": 1}', "bad", Decimal("2.00"), [1, None], ["a,b", "c"], "tab\t \\N", datetime.time(12, 34, 56, 789_000),
    )  # fmt: skip
    assert fields(second.value) == (2, *[None] * 14)


def test_a_large_value_that_is_not_told_has_a_placeholder_unless_the_old_row_is_told(
    capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    capture.run("ALTER TABLE orders ALTER COLUMN note SET STORAGE EXTERNAL")
    capture.run("INSERT INTO orders VALUES (1, repeat('x', 10000), 1)")
    capture.begin()
    capture.run("UPDATE orders SET price = 2")
    capture.run("ALTER TABLE orders REPLICA IDENTITY FULL")
    capture.run("UPDATE orders SET price = 3")
    without, whole = capture.changes()
    assert fields(without.value) == (1, "__debezium_unavailable_value", Decimal("2.00"))
    assert fields(whole.value) == (1, "x" * 10_000, Decimal("3.00"))
    assert "REPLICA IDENTITY FULL" in caplog.text


def test_values_that_are_not_told_never_look_like_others(capture: Capture) -> None:
    capture.run("CREATE TABLE large (id int PRIMARY KEY, a bytea, b text[], c int)")
    capture.run("ALTER TABLE large ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL")
    capture.run("INSERT INTO large VALUES (1, convert_to(repeat('x', 5000), 'UTF8'), ARRAY[repeat('y', 5000)], 1)")
    assert capture.problems() == ""
    capture.begin()
    capture.run("UPDATE large SET c = 2")
    (found,) = capture.changes({"unavailable_value_placeholder": 'not "told"'})
    assert fields(found.value) == (1, b'not "told"', ['not "told"'], 2)
    capture.run("ALTER TABLE large ADD d int[]")
    assert "nothing but null could stand for it in d (integer[])" in capture.problems()
    assert capture.problems(skipped_operations="u") == ""
    capture.run("ALTER TABLE large REPLICA IDENTITY FULL")
    assert capture.problems() == ""


def test_a_topic_has_a_name_that_kafka_takes_and_the_source_its_database(capture: Capture) -> None:
    capture.run('CREATE TABLE "größe x" (id int PRIMARY KEY)')
    url = f"postgresql://postgres@127.0.0.1:{capture.postgres.port}/?dbname={capture.database}"
    keys = {"record_format": "envelope", "connection_url": url}
    capture.begin(keys)
    capture.run('INSERT INTO "größe x" VALUES (1)')
    (found,) = capture.changes(keys)
    assert found.topic == "public.gr__e_x"
    assert found.value.source.db == capture.database


def test_a_table_that_is_altered_is_told_as_it_was_and_as_it_is(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (1, 'one', 1)")
    capture.run("ALTER TABLE orders ADD COLUMN more int DEFAULT 7, DROP COLUMN price")
    capture.run("INSERT INTO orders VALUES (2, 'two')")
    capture.run("ALTER TABLE orders ALTER COLUMN more TYPE text")
    capture.run("INSERT INTO orders VALUES (3, 'three', 'x')")
    found = capture.changes()
    assert [fields(record.value) for record in found] == [(1, "one", Decimal("1.00")), (2, "two", 7), (3, "three", "x")]
    assert len({record.value_schema for record in found}) == 3


def test_tables_without_a_primary_key_have_the_key_of_their_identity(capture: Capture) -> None:
    capture.run("CREATE TABLE whole (a int, b text)")
    capture.run("ALTER TABLE whole REPLICA IDENTITY FULL")
    capture.run("CREATE TABLE indexed (a int, b text NOT NULL UNIQUE)")
    capture.run("ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_b_key")
    capture.begin()
    capture.run("INSERT INTO whole VALUES (1, NULL)")
    capture.run("DELETE FROM whole")
    capture.run("INSERT INTO indexed VALUES (1, 'b')")
    capture.run("DELETE FROM indexed")
    found = capture.changes()
    assert [(record.topic, fields(record.key), fields(record.value)) for record in found] == [
        ("public.whole", (1, None), (1, None)),
        ("public.whole", (1, None), ()),
        ("public.indexed", ("b",), (1, "b")),
        ("public.indexed", ("b",), ()),
    ]


def test_parts_of_a_table_are_told_as_the_table(capture: Capture) -> None:
    capture.run("CREATE TABLE days (day date PRIMARY KEY, n int) PARTITION BY RANGE (day)")
    capture.run("CREATE TABLE days_2024 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
    capture.begin()
    capture.run("INSERT INTO days VALUES ('2024-05-05', 1)")
    assert [record.topic for record in capture.changes()] == ["public.days"]


def test_tables_of_one_transaction_come_in_batches_and_go_on_without_loss(capture: Capture) -> None:
    capture.run("CREATE TABLE items (id int PRIMARY KEY)")
    capture.begin()
    for number in range(5):
        capture.run(f"INSERT INTO orders VALUES ({number}); INSERT INTO items VALUES ({number})")
    found = capture.changes({"max_batch_size": 7})
    assert [record.key.id for record in found if record.topic == "public.orders"] == [*range(5)]
    assert [record.key.id for record in found if record.topic == "public.items"] == [*range(5)]
    for at, record in enumerate(found):
        if record.source_offset is not None:
            later = {(one.topic, one.key.id) for one in capture.changes(after=record)}
            assert later >= {(one.topic, one.key.id) for one in found[at + 1 :]}


def test_only_tables_that_match_are_told(capture: Capture) -> None:
    capture.run("CREATE TABLE secret (id int PRIMARY KEY)")
    keys = {"table_include_list": "public\\.orders"}
    capture.begin(keys)
    assert capture.run("SELECT tablename FROM pg_publication_tables") == [("orders",)]
    assert capture.changes({"table_include_list": "public\\.(orders|secret)", "table_exclude_list": ".*secret"}) == []
    capture.begin()  # adds the other one
    capture.run("INSERT INTO secret VALUES (1); INSERT INTO orders VALUES (1)")
    assert [record.topic for record in capture.changes(keys)] == ["public.orders"]


def test_the_slot_keeps_what_is_not_stored_and_forgets_what_is(capture: Capture) -> None:
    task = capture.task(is_bulk=False, keys={"status_update_interval_ms": 100})
    task.poll()
    before = capture.confirmed()
    capture.run("INSERT INTO orders VALUES (1)")
    capture.run("INSERT INTO orders VALUES (2)")
    found = polled_until(task, lambda found: len(found) == 2)
    for _ in range(4):
        assert records_of(task.poll()) == []
        context_of(task).wait(1)
    assert capture.confirmed() == before
    context_of(task).store(found[0])
    task.commit()
    told = lsn_of(found[0].source_offset["lsn"]) if found[0].source_offset else 0

    def is_told(_: list[SourceRecord]) -> bool:
        context_of(task).wait(1)
        return capture.confirmed() >= told

    polled_until(task, is_told)
    assert capture.confirmed() < capture.log_end()
    task.stop()
    assert [record.key.id for record in capture.changes(after=found[0])] == [2]


def test_a_quiet_table_does_not_hold_the_log(capture: Capture) -> None:
    capture.run("CREATE TABLE busy (id int)")
    task = capture.task({"table_include_list": "public\\.orders", "status_update_interval_ms": 100}, is_bulk=False)
    task.poll()
    capture.run("INSERT INTO orders VALUES (1)")
    found = polled_until(task, lambda found: len(found) == 1)
    context_of(task).store(found[0])
    task.commit()
    capture.run("INSERT INTO busy SELECT generate_series(1, 1000)")
    assert capture.polled_until_confirmed(task) == []


def test_a_connection_that_breaks_costs_nothing_and_doubles_nothing(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders SELECT n, repeat('x', 500) FROM generate_series(1, 10000) n")
    task = capture.task({"max_batch_size": 1000})
    found = records_of(task.poll())
    capture.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    broken = 0
    while not context_of(task).has_ended:
        try:
            found += records_of(task.poll())
        except RetriableError:
            broken += 1
            assert broken < 50
    assert broken
    assert [record.key.id for record in found] == [*range(1, 10_001)]


def test_much_log_that_is_kept_while_nobody_polls_is_warned_of_each_time_that_it_has_doubled(
    capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    rows = "INSERT INTO orders SELECT n, repeat('x', 500) FROM generate_series({}, {}) n"

    def warned() -> list[int]:
        return [int(kept) for kept in re.findall(r"keeps (\d+) MiB of its log for slot changes", caplog.text)]

    # How often it looks while the rows are written is the machine's: so what each warning tells is compared.
    task = capture.task({"slot_warn_bytes": 2 << 20}, is_bulk=False, guard_seconds=0.02)
    task.poll()  # and no more: Kafka takes nothing, and the ring is full
    capture.run(rows.format(1, 10_000))
    wait.until(warned, "a warning")
    capture.run("SELECT pg_sleep(0.2)")  # some looks later
    before = warned()
    capture.run(rows.format(20_001, 50_000))
    wait.until(lambda: len(warned()) > len(before), "another warning")
    capture.run("SELECT pg_sleep(0.2)")
    assert before[0] >= 2
    assert all(later >= 2 * earlier for earlier, later in pairwise(warned()))


def test_log_that_the_server_may_soon_drop_is_warned_of(capture: Capture, caplog: pytest.LogCaptureFixture) -> None:
    capture.run("ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'")
    capture.run("SELECT pg_reload_conf()")
    try:
        capture.begin()
        capture.task(is_bulk=False, guard_seconds=0.02)
        wait.until(lambda: "may soon drop log" in caplog.text, "a warning")
    finally:
        capture.run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        capture.run("SELECT pg_reload_conf()")


def test_a_slot_that_is_gone_ends_the_task_that_has_an_offset(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (1)")
    found = capture.changes()
    capture.run("SELECT pg_drop_replication_slot('changes')")
    with pytest.raises(ConnectError, match="slot changes is gone"):
        capture.changes(after=found[0])


def test_an_offset_behind_the_end_of_the_log_is_of_another_history(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (1)")
    (found,) = capture.changes()
    with pytest.raises(ConnectError, match="another history"):
        capture.changes(after=replace(found, source_offset={"lsn": "FFFF/0"}))


def test_a_bulk_run_ends_though_others_go_on_writing(capture: Capture) -> None:
    capture.begin()
    capture.run("INSERT INTO orders VALUES (0)")
    task = capture.task()
    found: list[SourceRecord] = []
    for number in range(1, 200):
        capture.run(f"INSERT INTO orders VALUES ({number})")
        found += records_of(task.poll())
        if context_of(task).has_ended:
            break
    assert context_of(task).has_ended
    assert found[0].key.id == 0


def test_of_several_hosts_the_one_that_takes_writes_is_read(capture: Capture) -> None:
    host = f"127.0.0.1:{capture.postgres.port}"
    url = f"postgresql://postgres@{host},{host}/{capture.database}?options=-cdefault_transaction_read_only%3Don"
    with pytest.raises(ConnectError, match="read-only"):
        capture.changes({"connection_url": url, "publication_autocreate_mode": "disabled"})


def test_what_is_wrong_is_told_before_a_task_starts(capture: Capture) -> None:
    assert capture.problems() == ""
    assert "slot.name=Big" in capture.problems(slot_name="Big")
    assert "no table matches nothing" in capture.problems(table_include_list="nothing")
    assert "publication.autocreate.mode=filtered needs the tables" in capture.problems(table_include_list="")
    assert "publication millrace is not there" in capture.problems(publication_autocreate_mode="disabled")
    capture.run("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION millrace FOR TABLE other")
    assert "lacks table public.orders" in capture.problems(publication_autocreate_mode="disabled")
    capture.run("SELECT pg_create_logical_replication_slot('changes', 'test_decoding')")
    assert "logical slot of test_decoding" in capture.problems()
    with pytest.raises(ConnectError, match="test_decoding"):
        capture.changes()
    capture.run("CREATE TABLE keyless (id int)")
    assert "public.keyless has no primary key" in capture.problems()


def test_a_publication_that_keeps_changes_from_us_is_told(capture: Capture) -> None:
    capture.run("CREATE TABLE days (day date PRIMARY KEY) PARTITION BY RANGE (day)")
    capture.run("CREATE TABLE days_2024 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
    capture.run("CREATE PUBLICATION millrace FOR TABLE days WITH (publish = 'insert, delete')")
    keys = {"table_include_list": "public\\.days", "publication_autocreate_mode": "disabled"}
    told = capture.problems(**keys)
    assert "changes of public.days by the names of its partitions" in told
    assert "does not tell updates" in told
    with pytest.raises(ConnectError, match="does not tell updates"):
        capture.changes(keys)
    with pytest.raises(ConnectError, match="publish_via_partition_root"):
        capture.changes({**keys, "skipped_operations": "u"})
    capture.run("ALTER PUBLICATION millrace SET (publish_via_partition_root = true)")
    assert capture.problems(**keys, skipped_operations="u") == ""
    # Whoever wants the partitions as well gets them.
    capture.run("ALTER PUBLICATION millrace SET (publish_via_partition_root = false, publish = 'insert,update,delete')")
    assert capture.problems(**{**keys, "table_include_list": "public\\.days.*"}) == ""


def test_a_table_that_appears_is_captured_and_what_is_not_is_warned_of(
    capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    task = capture.task(is_bulk=False)
    task.poll()
    capture.run("CREATE TABLE later (id int PRIMARY KEY); CREATE TABLE keyless (id int)")
    capture.run("INSERT INTO later VALUES (1)")
    for _ in range(2):
        for _ in range(16):  # the next look is half a minute later
            context_of(task).wait(2)
        task.poll()
    assert "has got the tables public.later" in caplog.text
    assert caplog.text.count("public.keyless has no primary key") == 1
    capture.run("INSERT INTO later VALUES (2); INSERT INTO keyless VALUES (2); UPDATE keyless SET id = 3")
    found = polled_until(task, lambda found: len(found) >= 1)
    assert [(record.topic, record.key.id) for record in found] == [("public.later", 2)]


def test_without_a_list_all_tables_of_the_publication_are_looked_at(capture: Capture) -> None:
    capture.run("CREATE TABLE keyless (id int); CREATE PUBLICATION millrace FOR TABLE orders")
    keys = {"table_include_list": "", "publication_autocreate_mode": "disabled"}
    assert capture.problems(**keys) == ""
    capture.run("ALTER PUBLICATION millrace ADD TABLE keyless")
    assert "public.keyless has no primary key" in capture.problems(**keys)


def test_a_slot_in_use_is_told_and_waited_for(capture: Capture) -> None:
    task = capture.task(is_bulk=False)
    task.poll()
    assert capture.problems() == ""  # the connector's own
    assert "in use by millrace shop" in capture.problems(name="other")
    second = capture.task()
    with pytest.raises(RetriableError, match="active"):
        second.poll()
    task.stop()
    for _ in range(50):
        try:
            drained(second)
            break
        except RetriableError:
            continue


def test_a_user_without_rights_is_told_what_to_do(capture: Capture) -> None:
    url = f"postgresql://127.0.0.1:{capture.postgres.port}/{capture.database}"
    told = capture.problems(connection_url=url, connection_user=LIMITED, connection_password=PASSWORD)
    assert "REPLICATION" in told
    assert PASSWORD not in told


def test_offsets_that_are_set_are_checked(capture: Capture) -> None:
    connector = PostgresSourceConnector()
    good: dict[str, Any] = {"lsn": "0/16B3748"}
    assert connector.alter_offsets(capture.keys({}), {'{"slot":"changes"}': good, "null": None}) is True
    full = {**good, "system": "7412345678901234567", "timeline": 1, "commit": "0/16B4000", "change": 3}
    assert connector.alter_offsets(capture.keys({}), {'{"slot":"changes"}': full}) is True
    for partition, offset in [
        ('{"slot":"other"}', good),
        ('{"slot":"changes"}', {**good, "system": "7412345678901234567"}),
        ('{"slot":"changes"}', {**full, "timeline": "1"}),
        ('{"slot":"changes"}', {"lsn": 5}),
        ('{"slot":"changes"}', {**good, "else": 5}),
        ('{"slot":"changes"}', {**good, "snapshot": {"part": "public.orders"}}),
        ('{"slot":"changes"}', {**good, "snapshot": 5}),
    ]:
        with pytest.raises(ConnectError, match="expected"):
            connector.alter_offsets(capture.keys({}), {partition: offset})
