"""Whole lines out of the real PostgreSQL: task process, pump and server are killed in turn, and every row arrives.

MILLRACE_POSTGRES_KILLS=150 pytest -m faults tests/postgres/test_source_line.py        each of the three 50 times
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
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
#: A partition is read within one range: of several, each life reads some.
PART_ROWS = 1_000
#: A transform that has 2,000 rows a second at most pass, as long as there is a file.
SLOW = """
import time
from pathlib import Path

def slowly(columns):
    if Path({file!r}).exists():
        time.sleep(len(columns) / 2000)
"""
SLOWLY = {
    "transforms": "drop,slow",
    "transforms.drop.type": "org.apache.kafka.connect.transforms.ReplaceField$Value",
    "transforms.drop.exclude": "pad",
    "transforms.slow.type": "Python",
    "transforms.slow.function": "slowing:slowly",
    "transforms.slow.batch": True,
}
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
        before = count()  # what is written may all be there before one looks again
        write(step)
        wait.until(partial(is_more, count, before), "more records", timeout_s=WAIT_S)
        write(rng.randrange(1, 50))
        kills[number % len(kills)]()
    write(step)


def polling(url: str, topic: str) -> dict[str, object]:
    """A source that polls `orders`."""
    return {
        "connector.class": POLLING,
        "connection.url": url,
        "mode": "incrementing",
        "query": "SELECT * FROM orders",
        "incrementing.column.name": "id",
        "topic.prefix": topic,
        "poll.interval.ms": 20,
        "batch.max.rows": 100,
    }


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


class Orders:
    """Rows that are added, changed, deleted and added again. No two changes of a key look alike."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._random = random.Random(11)
        self._turn = 0
        self.changes: dict[int, list[str | None]] = {}  # of each key; None: it is deleted, which happens once

    def write(self, rows: int) -> None:
        """Add rows and change others; in one transaction, or each statement in one of its own."""
        added = range(len(self.changes), len(self.changes) + rows)
        statements = [self._insert(added), self._update(), self._update()]
        gone = self._some([key for key, changes in self.changes.items() if None not in changes])
        statements.append(f"DELETE FROM orders WHERE id IN ({_list(gone)})")
        self._note(gone, None)
        statements += [self._insert(gone[::2]), self._update()]
        for statement in ["; ".join(statements)] if self._random.random() < 0.5 else statements:
            self._server.query(statement)

    def _insert(self, keys: Sequence[int]) -> str:
        self._turn += 1
        self._note(keys, f"{self._turn}")
        return f"INSERT INTO orders SELECT unnest(ARRAY[{_list(keys)}]::bigint[]), '{self._turn}'"

    def _update(self) -> str:
        self._turn += 1
        keys = self._some([key for key, changes in self.changes.items() if changes[-1] is not None])
        self._note(keys, f"{self._turn}")
        return f"UPDATE orders SET note = '{self._turn}' WHERE id IN ({_list(keys)})"

    def _some(self, keys: Sequence[int]) -> list[int]:
        return self._random.sample(keys, min(len(keys), 50))

    def _note(self, keys: Sequence[int], note: str | None) -> None:
        for key in keys:
            self.changes.setdefault(key, []).append(note)


def _list(keys: Sequence[int]) -> str:
    return ", ".join(map(str, keys))


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
    pipeline(tmp_path, kafka, polling(server.url(), topic))

    def write(rows: int) -> None:
        server.query(f"INSERT INTO orders (note) SELECT 'note' FROM generate_series(1, {rows})")

    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        killed_again_and_again(run, server, lambda: ends(kafka, topic), write)
        expected = {row[0] for row in server.query("SELECT id FROM orders")}
        wait.until(lambda: ends(kafka, topic) >= len(expected), "as many records as rows", timeout_s=WAIT_S)
        wait.until(lambda: set(numbers(kafka, topic)) == expected, "every row", timeout_s=WAIT_S)


@pytest.mark.faults
def test_every_polled_row_arrives_when_a_standby_takes_over(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pad text)")
    slow = tmp_path / "slow"
    slow.touch()
    (tmp_path / "slowing.py").write_text(SLOW.format(file=str(slow)))
    # More than the sockets between take: what was read before the kill is not all.
    write = f"INSERT INTO orders (pad) SELECT repeat('x', 8000) FROM generate_series(1, {ROWS})"
    server.query(write)
    with server.standby(tmp_path / "standby") as second:
        pipeline(tmp_path, kafka, {**polling(server.url_with(second), topic), **SLOWLY})
        environment = {"PYTHONPATH": str(tmp_path)}
        with Millrace("standalone", "pipeline.toml", folder=tmp_path, environment=environment):
            wait.until(lambda: ends(kafka, topic), "records", timeout_s=WAIT_S)
            server.wait_streaming()
            server.kill9()
            read = ends(kafka, topic)
            assert read < ROWS // 2, "most was read before the kill"
            slow.unlink()
            wait.until(lambda: ends(kafka, topic) >= ROWS, "the rest, of a standby", timeout_s=WAIT_S)
            second.promote()
            second.query(write)
            expected = {row[0] for row in second.query("SELECT id FROM orders")}
            assert len(expected) == 2 * ROWS
            wait.until(lambda: ends(kafka, topic) >= 2 * ROWS, "as many records as rows", timeout_s=WAIT_S)
            wait.until(lambda: set(numbers(kafka, topic)) == expected, "every row", timeout_s=WAIT_S)
            assert second.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'millrace shop'")


@pytest.mark.faults
def test_whoever_is_killed_every_change_arrives_in_order(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    pipeline(tmp_path, kafka, changes(server, topic))
    orders = Orders(server)
    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        is_read = "SELECT 1 FROM pg_replication_slots WHERE active"
        wait.until(lambda: server.query(is_read), "the slot", timeout_s=WAIT_S)
        killed_again_and_again(run, server, lambda: ends(kafka, topic), orders.write)

        def firsts() -> dict[int, list[str | None]]:
            return {key: [*dict.fromkeys(found)] for key, found in changes_of(kafka, topic).items()}

        # What comes again after a kill begins somewhere before, and goes on from there in the same order.
        wait.until(lambda: firsts() == orders.changes, "all changes of each key in order", timeout_s=WAIT_S)
        lasts = {key: [*dict.fromkeys(found[::-1])][::-1] for key, found in changes_of(kafka, topic).items()}
        assert lasts == orders.changes
        assert table_of(kafka, topic) == {f"{key}": note for key, note in server.query("SELECT id, note FROM orders")}
        # What is stored is confirmed, so that the server keeps no more log.
        goal = server.query("SELECT pg_current_wal_lsn()")[0][0]
        reached = f"SELECT confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots"
        wait.until(lambda: server.query(reached)[0][0], "the slot to go on", timeout_s=WAIT_S)


@pytest.mark.faults
@pytest.mark.long
def test_log_that_the_server_keeps_is_warned_of_while_kafka_is_away(
    broker: KafkaServer, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    topics.create_topic(broker.bootstrap, "orders")
    pipeline(tmp_path, broker, {**changes(server, "orders"), "slot.warn.bytes": 50_000_000})
    with Millrace("standalone", "pipeline.toml", folder=tmp_path) as run:
        is_read = "SELECT 1 FROM pg_replication_slots WHERE active"
        wait.until(lambda: server.query(is_read), "the slot", timeout_s=WAIT_S)
        broker.kill9()
        # More than ring and client take: after that the task is not polled any more.
        server.query("INSERT INTO orders SELECT n, repeat('x', 500) FROM generate_series(1, 150000) n")
        wait.until(lambda: "of its log for slot millrace" in run.stderr, "a warning", timeout_s=WAIT_S)


@pytest.mark.faults
@pytest.mark.parametrize("parts", [1, pytest.param(KILLS, marks=pytest.mark.long)])
def test_whoever_is_killed_while_a_snapshot_is_read_the_table_arrives_as_it_is(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path, parts: int
) -> None:
    """parts: 1: of several ranges; else of one range each."""
    make_orders(server, parts)
    slow = tmp_path / "slow"
    slow.touch()
    (tmp_path / "slowing.py").write_text(SLOW.format(file=str(slow)))
    slowly = {**SLOWLY, "transforms": "route,drop,slow"}
    pipeline(tmp_path, kafka, {**changes(server, topic), **slowly})
    is_copying = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'millrace%copy%'"
    within = 0
    rng = random.Random(7)
    with Millrace("standalone", "pipeline.toml", folder=tmp_path, environment={"PYTHONPATH": str(tmp_path)}) as run:
        kills = killers(run, server)
        for number in range(KILLS):
            goal = ends(kafka, topic) + rng.randrange(PART_ROWS)
            wait.until(partial(is_more, lambda: ends(kafka, topic), goal), "more records", timeout_s=WAIT_S)
            within += bool(server.query(is_copying))
            kills[number % len(kills)]()
            server.query(f"UPDATE orders SET note = 'new {number}' WHERE id % 997 = {number}")
            server.query(f"DELETE FROM orders WHERE id % 991 = {number}")
        slow.unlink()
        goal = server.query("SELECT pg_current_wal_lsn()")[0][0]
        reached = f"SELECT confirmed_flush_lsn >= '{goal}' FROM pg_replication_slots"
        wait.until(lambda: server.query(reached)[0][0], "the slot to go on", timeout_s=WAIT_S)
        assert within > KILLS / 2, "the snapshot was over before most of the kills"
        assert table_of(kafka, topic) == {f"{key}": note for key, note in server.query("SELECT id, note FROM orders")}


def make_orders(server: PostgresServer, parts: int) -> None:
    rows = SNAPSHOT_ROWS if parts == 1 else PART_ROWS * parts
    columns = "id bigint PRIMARY KEY, note text, pad text"
    server.query(f"CREATE TABLE orders ({columns}) {'PARTITION BY RANGE (id)' if parts > 1 else ''}")
    for part in range(parts if parts > 1 else 0):
        begin = 1 + part * PART_ROWS
        bounds = f"FROM ({begin}) TO ({begin + PART_ROWS})"
        server.query(f"CREATE TABLE orders_{part} PARTITION OF orders FOR VALUES {bounds}")
    server.query(f"INSERT INTO orders SELECT n, 'old', repeat('x', 700) FROM generate_series(1, {rows}) n")


def changes_of(kafka: Kafka, topic: str) -> dict[int, list[str | None]]:
    """What records say of each key, in their order; None: it is deleted."""
    found: dict[int, list[str | None]] = {}
    for records in topics.consume_all(kafka.bootstrap, topic).values():
        for record in records:
            note = None if record.value is None else json.loads(record.value)["note"]
            found.setdefault(json.loads(record.key or b"{}")["id"], []).append(note)
    return found


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
