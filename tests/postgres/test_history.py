"""PostgresSource notices on real servers when the log or the slot is not the one that its offset is of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from connectors.postgres.source.pgoutput import lsn_of, lsn_text
from engine.api.errors import ConnectError, RetriableError
from engine.api.record import SourceRecord
from engine.api.testing import records_of
from tests.harness import wait
from tests.harness.capture import Capture, context_of, polled_until
from tests.harness.postgres import DATABASE, PostgresServer
from tests.harness.server import UnavailableError

pytestmark = pytest.mark.postgres

#: More than enough; a poll waits for half a second.
POLLS_MAX = 100


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server whose data may be put back."""
    try:
        made = PostgresServer(tmp_path_factory.mktemp("postgres")).start()
    except UnavailableError as error:
        pytest.skip(f"no real PostgreSQL: {error}")
    with made:
        yield made


def told(capture: Capture, note: str) -> SourceRecord:
    """The record of a row."""
    capture.run(f"INSERT INTO orders SELECT count(*) + 1, '{note}' FROM orders")
    return capture.changes()[-1]


def promoted(server: PostgresServer) -> None:
    """Have a server that is down come up as a standby that takes the place of its primary."""
    (server.data / "standby.signal").touch()
    server.own(server.data)
    server.start()
    assert server.query("SELECT pg_promote()") == [(True,)]
    wait.until(lambda: server.query("SELECT NOT pg_is_in_recovery()")[0][0], "the promotion")
    server.query("CHECKPOINT")  # which notes the new timeline


def put_back(server: PostgresServer, backup: Path) -> None:
    """Kill a server, and put the data in place that it had when the backup was made."""
    server.kill9()
    shutil.rmtree(server.data)
    shutil.copytree(backup, server.data)
    server.own(server.data)


def test_a_log_goes_on_over_failovers_and_none_that_lacks_what_was_given_is_taken_for_it(
    own: PostgresServer, capture: Capture
) -> None:
    here = Capture(own, DATABASE)
    here.run("CREATE TABLE orders (id bigint PRIMARY KEY, note text, price numeric(10,2))")
    here.begin()
    one = told(here, "one")
    assert one.source_offset is not None
    assert one.source_offset["timeline"] == 1

    # A standby that has all of it, and its slot, takes over.
    own.kill9()
    shutil.copytree(own.data, backup := own.data.with_name("backup"))
    promoted(own)
    two = told(here, "two")
    assert two.source_offset is not None
    assert (two.source_offset["system"], two.source_offset["timeline"]) == (one.source_offset["system"], 2)
    assert [record.value.note for record in here.changes(after=one)] == ["two"]

    # The older primary is back, or a backup of it; it is found out although its log is longer by now.
    put_back(own, backup)
    own.start()
    own.query("SELECT pg_switch_wal()")
    with pytest.raises(ConnectError, match="timeline 2, from which the server's, 1, does not come"):
        here.changes(after=two)
    lost = told(here, "lost")

    # A backup from before the last transaction is rolled forward to a timeline of its own.
    put_back(own, backup)
    promoted(own)
    own.query("SELECT pg_switch_wal()")
    with pytest.raises(ConnectError, match="timeline 1, which the server left at .* a failover or restore has lost"):
        here.changes(after=lost)
    assert here.changes(after=one) == []

    # Another cluster answers.
    with pytest.raises(ConnectError, match="is of another server: its system identifier is"):
        capture.changes(after=one)


def test_a_slot_that_was_made_anew_ends_the_task(capture: Capture) -> None:
    capture.begin()
    one = told(capture, "one")
    capture.run("SELECT pg_drop_replication_slot('changes')")
    capture.run("INSERT INTO orders VALUES (2)")
    capture.run("SELECT pg_create_logical_replication_slot('changes', 'pgoutput')")
    with pytest.raises(ConnectError, match="made anew or moved on .* changes between 0/.* are lost"):
        capture.changes(after=one)
    capture.run("INSERT INTO orders VALUES (3)")
    # An offset without whose it is, as earlier versions stored them, or a person, is taken as it is.
    assert one.source_offset is not None
    plain = replace(one, source_offset={"lsn": one.source_offset["lsn"]})
    assert [record.key.id for record in capture.changes(after=plain)] == [3]


def test_a_slot_that_went_on_while_tables_were_quiet_is_no_other(capture: Capture) -> None:
    capture.run("CREATE TABLE busy (id int)")
    keys = {"table_include_list": "public\\.orders", "status_update_interval_ms": 100}
    task = capture.task(keys, is_bulk=False)
    task.poll()
    told_before = capture.log_end()
    capture.run("INSERT INTO busy SELECT generate_series(1, 1000)")
    assert capture.polled_until_confirmed(task) == []
    offset = context_of(task).offset({"slot": "changes"})
    assert capture.confirmed() > told_before
    task.stop()
    capture.run("INSERT INTO orders VALUES (1)")
    after = SourceRecord(topic="", source_partition={"slot": "changes"}, source_offset=offset)
    assert [record.key.id for record in capture.changes(keys, after=after)] == [1]


def test_a_server_that_stops_is_told_at_once_that_nothing_is_left(own: PostgresServer) -> None:
    here = Capture(own, DATABASE)
    here.run("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, note text)")
    task = here.task(is_bulk=False)
    task.poll()
    here.polled_until_confirmed(task)
    own.ask_to_stop()
    is_over = False
    for _ in range(100):
        try:
            context_of(task).store_all(task.poll())
            task.commit()
        except RetriableError:  # the stream has ended
            is_over = True
            break
    task.stop()
    wait.until(lambda: not own.is_running, "the end of a server that asks to be told")
    own.start()
    assert is_over


def test_what_is_not_stored_is_not_confirmed_by_a_stream_that_begins_anew(capture: Capture) -> None:
    task = capture.task({"status_update_interval_ms": 100}, is_bulk=False)
    task.poll()
    before = capture.confirmed()
    capture.run("INSERT INTO orders VALUES (1)")
    polled_until(task, lambda found: len(found) == 1)
    capture.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    with pytest.raises(RetriableError):
        polled_until(task, lambda _: False)
    capture.run("INSERT INTO orders VALUES (2)")
    found: list[SourceRecord] = []
    for _ in range(POLLS_MAX):
        try:
            found += records_of(task.poll())
        except RetriableError:  # the server still holds the slot
            continue
        if found:
            break
    for _ in range(4):
        task.poll()
        context_of(task).wait(1)
    assert [record.key.id for record in found] == [2]
    assert capture.confirmed() == before
    task.stop()
    assert [record.key.id for record in capture.changes()] == [1, 2]


def test_a_transaction_that_is_cut_after_a_quiet_time_goes_on_behind_what_is_confirmed(capture: Capture) -> None:
    capture.run("CREATE TABLE busy (id int)")
    keys = {"table_include_list": "public\\.orders", "status_update_interval_ms": 100, "max_batch_size": 5}
    task = capture.task(keys, is_bulk=False)
    task.poll()
    before = capture.confirmed()
    capture.run("INSERT INTO busy SELECT generate_series(1, 1000)")
    assert capture.polled_until_confirmed(task) == []
    quiet = capture.confirmed()
    assert quiet > before

    capture.run("INSERT INTO orders SELECT generate_series(1, 30)")
    found = polled_until(task, lambda found: len(found) >= 7)
    last = found[-1]
    assert last.source_offset is not None
    assert last.source_offset["change"] == len(found) < 30
    assert lsn_of(last.source_offset["lsn"]) >= quiet
    context_of(task).store(last)
    task.commit()
    task.stop()
    assert capture.confirmed() >= quiet
    rest = [*range(len(found) + 1, 31)]
    assert [record.key.id for record in capture.changes(keys, after=last)] == rest

    # One from before the quiet time, as earlier versions stored it: nothing of ours is committed between.
    older = replace(last, source_offset={**last.source_offset, "lsn": lsn_text(before)})
    assert [record.key.id for record in capture.changes(keys, after=older)] == rest
    # But a slot that is behind the transaction's commit has lost the rest of it.
    wait.until(lambda: not capture.run("SELECT 1 FROM pg_replication_slots WHERE active"), "a slot that nobody reads")
    capture.run("SELECT pg_replication_slot_advance('changes', pg_current_wal_lsn())")
    for one in (last, older):
        with pytest.raises(ConnectError, match="made anew or moved on .* changes between 0/.* are lost"):
            capture.changes(keys, after=one)
