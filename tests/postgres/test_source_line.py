"""Whole lines out of the real PostgreSQL: task process, pump and server are killed in turn, and every row arrives.

MILLRACE_POSTGRES_KILLS=150 pytest -m faults tests/postgres/test_source_line.py        each of the three 50 times
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.postgres import PostgresServer
from tests.harness.server import UnavailableError

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
JSON = "org.apache.kafka.connect.json.JsonConverter"
POLLING = "connectors.postgres.source.polling_connector:PostgresPollingSourceConnector"
CHANGES = "connectors.postgres.source.changes_connector:PostgresSourceConnector"
ROWS = 4_000
#: Of all three; tox -e faults widens them.
KILLS = int(os.environ.get("MILLRACE_POSTGRES_KILLS", "3"))
#: More than a range of a snapshot's pages, and read again from its beginning after each kill.
SNAPSHOT_ROWS = 60_000
WAIT_S = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """One that may be killed."""
    try:
        made = PostgresServer(tmp_path / "postgres").start()
    except UnavailableError as error:
        pytest.skip(f"no real PostgreSQL: {error}")
    with made:
        yield made


def pipeline(folder: Path, kafka: Kafka, source: dict[str, object]) -> None:
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": JSON,
        "key.converter.schemas.enable": "false",
        "value.converter": JSON,
        "value.converter.schemas.enable": "false",
        "offset.storage.file.filename": folder / "offsets",
        "offset.flush.interval.ms": 200,
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"shop": {"restart.backoff.ms": 100, **source}}))


def killers(run: Millrace, server: PostgresServer) -> list[Callable[[], object]]:
    """Kill whoever has to do with the rows."""

    def kill_server() -> None:
        server.kill9()
        server.start()

    return [lambda: run.kill9("shop/0 task"), lambda: run.kill9("shop/0 pump"), kill_server]


def killed_again_and_again(
    run: Millrace, server: PostgresServer, count: Callable[[], int], write: Callable[[int], None]
) -> None:
    """Write rows and kill in turn."""
    rng = random.Random(7)
    kills = killers(run, server)
    step = ROWS // KILLS
    for number in range(KILLS):
        write(step)
        wait.until(partial(is_more, count, count()), "more records", timeout_s=WAIT_S)
        write(rng.randrange(1, 50))
        kills[number % len(kills)]()
    write(step)


def changes(server: PostgresServer, topic: str) -> dict[str, object]:
    """A source of the changes of `orders`."""
    return {
        "connector.class": CHANGES,
        "connection.url": server.url(),
        "table.include.list": "public.orders",
        "transforms": "route",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": ".*",
        "transforms.route.replacement": topic,
        "status.update.interval.ms": 100,
        "max.batch.size": 100,
    }


def is_more(count: Callable[[], int], before: int) -> bool:
    return count() > before


def numbers(kafka: Kafka, topic: str) -> list[int]:
    found = topics.consume_all(kafka.bootstrap, topic)
    return [json.loads(record.value)["id"] for records in found.values() for record in records if record.value]


def ends(kafka: Kafka, topic: str) -> int:
    return sum(topics.end_offsets(kafka.bootstrap, topic).values())


@pytest.mark.faults
def test_whoever_is_killed_every_polled_row_arrives(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
    source = {
        "connector.class": POLLING,
        "connection.url": server.url(),
        "mode": "incrementing",
        "query": "SELECT * FROM orders",
        "incrementing.column.name": "id",
        "topic.prefix": topic,
        "poll.interval.ms": 20,
        "batch.max.rows": 100,
    }
    pipeline(tmp_path, kafka, source)

    def write(rows: int) -> None:
        server.query(f"INSERT INTO orders (note) SELECT 'note' FROM generate_series(1, {rows})")

    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        killed_again_and_again(run, server, lambda: ends(kafka, topic), write)
        expected = {row[0] for row in server.query("SELECT id FROM orders")}
        wait.until(lambda: ends(kafka, topic) >= len(expected), "as many records as rows", timeout_s=WAIT_S)
        wait.until(lambda: set(numbers(kafka, topic)) == expected, "every row", timeout_s=WAIT_S)


def test_whoever_is_killed_every_change_arrives_in_order(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
    pipeline(tmp_path, kafka, changes(server, topic))

    def write(rows: int) -> None:
        server.query(f"INSERT INTO orders (note) SELECT 'old' FROM generate_series(1, {rows})")

    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        is_read = "SELECT 1 FROM pg_replication_slots WHERE active"
        wait.until(lambda: server.query(is_read), "the slot", timeout_s=WAIT_S)
        killed_again_and_again(run, server, lambda: ends(kafka, topic), write)
        server.query("UPDATE orders SET note = 'new' WHERE id % 2 = 0")
        server.query("DELETE FROM orders WHERE id % 3 = 0")
        expected = {f"{key}": note for key, note in server.query("SELECT id, note FROM orders")}
        wait.until(lambda: table_of(kafka, topic) == expected, "the table as it is", timeout_s=WAIT_S)
        # What is stored is confirmed, so that the server keeps no more log.
        goal = server.query("SELECT pg_current_wal_lsn()")[0][0]
        reached = f"SELECT confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots"
        wait.until(lambda: server.query(reached)[0][0], "the slot to go on", timeout_s=WAIT_S)


@pytest.mark.faults
def test_whoever_is_killed_while_a_snapshot_is_read_the_table_arrives_as_it_is(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint PRIMARY KEY, note text, pad text)")
    rows = f"SELECT n, 'old', repeat('x', 700) FROM generate_series(1, {SNAPSHOT_ROWS}) n"
    server.query(f"INSERT INTO orders {rows}")
    drop = {
        "transforms": "route,drop",
        "transforms.drop.type": "org.apache.kafka.connect.transforms.ReplaceField$Value",
        "transforms.drop.exclude": "pad",
    }
    pipeline(tmp_path, kafka, {**changes(server, topic), **drop})
    is_copying = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'millrace%copy%'"
    within = 0
    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        kills = killers(run, server)
        for number in range(KILLS):
            wait.until(
                partial(is_more, lambda: ends(kafka, topic), ends(kafka, topic)), "more records", timeout_s=WAIT_S
            )
            within += bool(server.query(is_copying))
            kills[number % len(kills)]()
            server.query(f"UPDATE orders SET note = 'new {number}' WHERE id % 997 = {number}")
            server.query(f"DELETE FROM orders WHERE id % 991 = {number}")
        goal = server.query("SELECT pg_current_wal_lsn()")[0][0]
        reached = f"SELECT confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots"
        wait.until(lambda: server.query(reached)[0][0], "the slot to go on", timeout_s=WAIT_S)
        assert within
        assert table_of(kafka, topic) == {f"{key}": note for key, note in server.query("SELECT id, note FROM orders")}


def table_of(kafka: Kafka, topic: str) -> dict[str, str]:
    """The table that the records make, whose order is that of each key."""
    made: dict[str, str] = {}
    for records in topics.consume_all(kafka.bootstrap, topic).values():
        for record in records:
            key = str(json.loads(record.key or b"{}")["id"])
            if record.value is None:
                made.pop(key, None)
            else:
                made[key] = json.loads(record.value)["note"]
    return made
