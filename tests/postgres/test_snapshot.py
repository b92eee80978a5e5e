"""PostgresSource's snapshot on the real server: what was there before the slot comes first and once, range by range."""

from __future__ import annotations

import json
import os
import signal
import time
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from connectors.postgres.source import snapshot
from engine.api.errors import RetriableError
from engine.api.record import SourceRecord
from engine.api.testing import records_of
from tests.harness import wait
from tests.harness.capture import Capture, context_of, drained, fields, polled_until
from tests.harness.postgres import LIMITED, PASSWORD

pytestmark = pytest.mark.postgres

INITIAL: dict[str, object] = {"snapshot_mode": "initial"}
COPYING = "FROM pg_stat_activity WHERE application_name = 'millrace shop copy'"
#: More than enough; a poll waits for half a second.
POLLS_MAX = 100
WIDE = "INSERT INTO orders SELECT n, repeat('x', 1000), n FROM generate_series({}, {}) n"


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small tables have several: eight rows of WIDE fill a page."""
    monkeypatch.setattr(snapshot, "RANGE_PAGES", 3)


def ids(records: list[SourceRecord]) -> list[Any]:
    return [record.key.id for record in records]


def page_of(record: SourceRecord) -> int:
    """How far its part is read behind it."""
    offset = record.source_offset or {}
    return int(offset["snapshot"]["page"] or 0)


def test_rows_that_are_there_come_before_changes(capture: Capture) -> None:
    capture.run("INSERT INTO orders VALUES (1, 'one', 1), (2, E'tab\\t', NULL)")
    found = capture.changes(INITIAL)
    assert [fields(record.value) for record in found] == [(1, "one", Decimal("1.00")), (2, "tab\t", None)]
    capture.run("UPDATE orders SET note = 'uno' WHERE id = 1")
    later = capture.changes(INITIAL, after=found[-1])
    assert [fields(record.value) for record in later] == [(1, "uno", Decimal("1.00"))]
    assert later[0].value_schema == found[0].value_schema
    assert later[0].key_schema == found[0].key_schema


def test_each_row_is_told_once_while_others_write(capture: Capture) -> None:
    capture.run(WIDE.format(1, 500))
    task = capture.task({**INITIAL, "max_batch_size": 50})
    found = records_of(task.poll())
    capture.run(WIDE.format(501, 600))
    capture.run("UPDATE orders SET note = 'new' WHERE id <= 100")
    capture.run("DELETE FROM orders WHERE id > 590")
    found += drained(task)
    task.stop()
    assert sorted(ids(found[:500])) == [*range(1, 501)]
    assert {record.value.note for record in found[:500]} == {"x" * 1000}
    # The run's end is before the others' writes, which another run reads.
    later = capture.changes(INITIAL, after=found[-1])
    assert len(later) + len(found) - 500 == 100 + 100 + 10


@pytest.mark.parametrize("threads", [1, 3])
def test_a_task_goes_on_with_the_range_in_which_it_was(capture: Capture, threads: int) -> None:
    capture.run("CREATE TABLE items (id bigint PRIMARY KEY, note text)")
    capture.run("INSERT INTO items SELECT n, repeat('x', 1000) FROM generate_series(1, 60) n")
    capture.run(WIDE.format(1, 60))
    keys = {**INITIAL, "max_batch_size": 10, "snapshot_max_threads": threads}
    found = capture.changes(keys)
    assert len(found) == 120
    all_told = {(record.topic, record.key.id) for record in found}
    places = {json.dumps(record.source_offset): at for at, record in enumerate(found)}
    assert len(places) > 4
    for at in places.values():
        rest = [(record.topic, record.key.id) for record in capture.changes(keys, after=found[at])]
        told = {(record.topic, record.key.id) for record in found[: at + 1]}
        assert told | set(rest) == all_told
        assert len(rest) <= 120 - at + threads * 3 * 8
    assert capture.changes(keys, after=found[-1]) == []


@pytest.mark.parametrize("threads", [1, 4])
def test_connections_that_break_in_a_snapshot_lose_no_row(capture: Capture, threads: int) -> None:
    capture.run(WIDE.format(1, 5000))
    task = capture.task({**INITIAL, "snapshot_max_threads": threads})
    found = records_of(task.poll())
    ended = capture.run(f"SELECT pg_terminate_backend(pid) {COPYING}")
    assert len(ended) == threads
    capture.run("INSERT INTO orders VALUES (6000)")
    broken = 0
    while not context_of(task).has_ended:
        try:
            found += records_of(task.poll())
        except RetriableError:
            broken += 1
    assert broken == 1
    assert {*ids(found)} >= {*range(1, 5001)}


def test_a_range_that_has_nothing_yet_holds_only_those_up_that_are_too_far_ahead(capture: Capture) -> None:
    capture.run(WIDE.format(1, 120))
    places = dict(capture.run("SELECT id, floor((ctid::text::point)[0] / 3)::int FROM orders"))
    keys = {**INITIAL, "max_batch_size": 10, "snapshot_max_threads": 2}
    task = capture.task(keys)
    found = records_of(task.poll())
    first = f"SELECT pid {COPYING} AND strpos(query, '(0,0)') > 0"
    wait.until(lambda: bool(capture.run(f"{first} AND state = 'idle in transaction'")), "all of the first range sent")
    ((stopped,),) = capture.run(first)
    os.kill(stopped, signal.SIGSTOP)  # it was the first range's, and is the third's then
    try:
        for _ in range(POLLS_MAX):
            found += records_of(task.poll())
            if {places[key] for key in ids(found)} >= {0, 1, 3}:
                break
        while polled := task.poll():
            found += records_of(polled)
    finally:
        os.kill(stopped, signal.SIGCONT)
    last = found[-1]
    assert {places[key] for key in ids(found)} == {0, 1, 3}
    assert page_of(last) == 2 * 3
    rest = ids(capture.changes(keys, after=last))
    assert {places[key] for key in rest} == {*places.values()} - {0, 1}
    assert sorted(ids(found + drained(task))) == [*range(1, 121)]


def test_no_more_connections_are_made_than_there_are_ranges(capture: Capture) -> None:
    capture.run(WIDE.format(1, 30))  # four pages, of which a range has three
    task = capture.task({**INITIAL, "max_batch_size": 10, "snapshot_max_threads": 8})
    assert task.poll() is not None
    assert len(capture.run(f"SELECT pid {COPYING}")) == 2


def test_envelopes_of_rows_that_are_there_say_so(capture: Capture) -> None:
    capture.run("INSERT INTO orders VALUES (1, 'one', 1)")
    (record,) = capture.changes({**INITIAL, "record_format": "envelope"})
    assert (record.value.op, record.value.before, record.value.source.snapshot) == ("r", None, "true")
    assert fields(record.value.after) == (1, "one", Decimal("1.00"))
    assert record.value_schema is not None
    record.value_schema.validate(record.value)


def test_parts_of_a_table_are_read_as_the_table(capture: Capture) -> None:
    capture.run("CREATE TABLE days (day date PRIMARY KEY, n int) PARTITION BY RANGE (day)")
    for year in (2023, 2024):
        capture.run(
            f"CREATE TABLE days_{year} PARTITION OF days FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )
    capture.run("INSERT INTO days VALUES ('2024-05-05', 1), ('2023-05-05', 2)")
    found = capture.changes(INITIAL)
    assert [(record.topic, record.value.n) for record in found] == [("public.days", 2), ("public.days", 1)]


def test_after_a_snapshot_the_slot_goes_on_though_nothing_changes(capture: Capture) -> None:
    capture.run("INSERT INTO orders VALUES (1)")
    capture.run("CREATE TABLE busy (id int)")
    keys = {**INITIAL, "table_include_list": "public\\.orders", "status_update_interval_ms": 100}
    task = capture.task(keys, is_bulk=False)
    found = polled_until(task, lambda found: len(found) == 1)
    context_of(task).store(found[0])
    task.commit()
    capture.run("INSERT INTO busy VALUES (1)")
    assert capture.polled_until_confirmed(task) == []


def test_tables_without_rows_and_none_at_all_are_no_trouble(capture: Capture) -> None:
    assert capture.changes(INITIAL) == []
    capture.run("INSERT INTO orders VALUES (1)")
    assert capture.changes(INITIAL)  # of the slot that is there, without an offset: rows once more


def test_a_user_who_may_not_read_is_told(capture: Capture) -> None:
    url = f"postgresql://127.0.0.1:{capture.postgres.port}/{capture.database}"
    user = {"connection_url": url, "connection_user": LIMITED, "connection_password": PASSWORD}
    assert "GRANT SELECT" in capture.problems(**INITIAL, **user)
    assert "GRANT SELECT" not in capture.problems(**user)


def test_a_table_that_was_written_anew_meanwhile_is_read_from_its_beginning(capture: Capture) -> None:
    capture.run(WIDE.format(1, 200))
    capture.run("DELETE FROM orders WHERE id <= 60")
    keys = {**INITIAL, "max_batch_size": 10}
    found = capture.changes(keys)
    at = next(at for at, one in enumerate(found) if page_of(one) > 9)
    capture.run("VACUUM FULL orders")  # its rows are eight pages further ahead now
    rest = capture.changes(keys, after=found[at])
    assert {*ids(found[: at + 1]), *ids(rest)} == {*range(61, 201)}


@pytest.mark.parametrize("skipped", ["none", "u"])
def test_a_row_whose_update_is_left_out_is_not_lost_when_it_moves_to_pages_that_were_read(
    capture: Capture, skipped: str
) -> None:
    capture.run(WIDE.format(1, 200))
    keys = {**INITIAL, "max_batch_size": 10, "skipped_operations": skipped}
    found = capture.changes(keys)
    at = next(at for at, one in enumerate(found) if page_of(one) > 9)
    capture.run("DELETE FROM orders WHERE id <= 60")
    capture.run("VACUUM orders")
    capture.run("UPDATE orders SET note = repeat('y', 1000) WHERE id > 150")
    moved = f"SELECT count(*) > 40 FROM orders WHERE id > 150 AND ctid < '({page_of(found[at])},0)'"
    assert capture.run(moved) == [(True,)]
    rest = capture.changes(keys, after=found[at])
    assert {*ids(found[: at + 1]), *ids(rest)} >= {*range(61, 201)}


@pytest.mark.parametrize("skipped", ["none", "c", "u"])
@pytest.mark.parametrize("via_root", [True, False])
def test_a_row_that_moves_to_a_partition_that_was_read_is_not_lost(
    capture: Capture, skipped: str, via_root: bool
) -> None:
    capture.run("CREATE TABLE days (day int, id bigint, PRIMARY KEY (day, id)) PARTITION BY LIST (day)")
    for day in (1, 2):
        capture.run(f"CREATE TABLE days_{day} PARTITION OF days FOR VALUES IN ({day})")
    capture.run("INSERT INTO days SELECT 1 + n / 100, n FROM generate_series(0, 199) n")
    table = "days" if via_root else "days_1, days_2"
    capture.run(f"CREATE PUBLICATION millrace FOR TABLE {table} WITH (publish_via_partition_root = {via_root})")
    include = "public\\.days" + ("" if via_root else "_.")
    keys = {**INITIAL, "max_batch_size": 10, "skipped_operations": skipped, "table_include_list": include}
    keys["publication_autocreate_mode"] = "disabled"
    found = capture.changes(keys)
    places = [(one.source_offset or {})["snapshot"] for one in found]
    at = next(at for at, one in enumerate(found) if one.key.day == 2 and places[at]["page"] is None)
    assert places[at]["part"] == "public.days_1"
    capture.run("UPDATE days SET day = 1 WHERE day = 2")
    rest = capture.changes(keys, after=found[at])
    rows = [one for one in [*found[: at + 1], *rest] if one.value is not None]  # the others tell of deletes
    assert {*ids(rows)} == {*range(200)}


def test_a_large_value_of_a_row_that_has_moved_to_pages_that_were_read_is_not_lost(capture: Capture) -> None:
    capture.run("ALTER TABLE orders ADD COLUMN big text; ALTER TABLE orders ALTER COLUMN big SET STORAGE EXTERNAL")
    big = "CASE n WHEN 90 THEN repeat('y', 5000) END"
    capture.run(f"INSERT INTO orders SELECT n, repeat('x', 1000), n, {big} FROM generate_series(1, 100) n")
    capture.run("DELETE FROM orders WHERE id <= 8")
    capture.run("VACUUM orders")
    keys = {**INITIAL, "max_batch_size": 10}
    found = capture.changes(keys)
    at = next(at for at, one in enumerate(found) if page_of(one))
    assert 90 not in ids(found[: at + 1])
    capture.run("UPDATE orders SET price = 0 WHERE id = 90")  # its page is full, and there is room at the beginning
    assert capture.run(f"SELECT ctid < '({page_of(found[at])},0)' FROM orders WHERE id = 90") == [(True,)]
    rest = capture.changes(keys, after=found[at])
    assert "y" * 5000 in {record.value.big for record in rest}


def test_a_table_is_locked_from_the_beginning(capture: Capture) -> None:
    capture.run("CREATE TABLE zebras (id bigint PRIMARY KEY)")
    capture.run(WIDE.format(1, 100))
    task = capture.task({**INITIAL, "max_batch_size": 10})
    assert task.poll() is not None
    with pytest.raises(psycopg.errors.LockNotAvailable):
        capture.run("SET lock_timeout = 100; ALTER TABLE zebras ALTER COLUMN id TYPE numeric")


def test_limits_of_the_role_do_not_end_a_snapshot(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "RANGE_PAGES", 4096)
    capture.run(WIDE.format(1, 10_000))
    limits = "-cstatement_timeout%3D1s%20-cidle_in_transaction_session_timeout%3D1s"
    task = capture.task({**INITIAL, "connection_url": f"{capture.postgres.url(capture.database)}?options={limits}"})
    found = records_of(task.poll())
    time.sleep(1.5)  # more than the limits, within a statement
    found += drained(task)
    assert ids(found) == [*range(1, 10_001)]


def test_log_that_is_kept_is_warned_of_while_rows_are_read(capture: Capture, caplog: pytest.LogCaptureFixture) -> None:
    capture.run(WIDE.format(1, 100))
    task = capture.task({**INITIAL, "max_batch_size": 10, "slot_warn_bytes": 1_000_000}, guard_seconds=0.02)
    assert task.poll() is not None
    capture.run(WIDE.format(1001, 3000))
    wait.until(lambda: "of its log for slot changes" in caplog.text, "a warning")


def test_rows_and_columns_that_the_publication_does_not_tell_are_not_read(capture: Capture) -> None:
    if int(capture.run("SHOW server_version_num")[0][0]) < 150_000:
        pytest.skip("publications with lists of columns are of PostgreSQL 15 and later")
    capture.run("INSERT INTO orders VALUES (1, 'one', 1), (2, 'two', 2)")
    capture.run("CREATE PUBLICATION millrace FOR TABLE orders (id, price) WHERE (id > 1)")
    keys = {**INITIAL, "publication_autocreate_mode": "disabled"}
    found = capture.changes(keys)
    assert [fields(record.value) for record in found] == [(2, Decimal("2.00"))]
    capture.run("INSERT INTO orders VALUES (3, 'three', 3)")
    (later,) = capture.changes(keys, after=found[-1])
    assert later.value_schema == found[0].value_schema
