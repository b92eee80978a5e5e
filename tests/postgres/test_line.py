"""A whole line into the real PostgreSQL, killed again and again: every record is in the table, and none is there twice.

The table has no key: what was written twice would be seen.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.postgres import PostgresServer
from tests.harness.server import UnavailableError
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.faults]

Kafka = KafkaServer | UserKafka
JSON = "org.apache.kafka.connect.json.JsonConverter"
SINK = "connectors.postgres.sink:PostgresSinkConnector"
PARTITIONS = 4
RECORDS = 40_000
AT_ONCE = 200
#: tox -e faults widens them.
KILLS = int(os.environ.get("MILLRACE_POSTGRES_KILLS", "9"))
SEEN = 400
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


def pipeline(folder: Path, kafka: Kafka, topic: str, server: PostgresServer, **more: object) -> None:
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": "String", "offset.flush.interval.ms": 500}
    sink = {
        "connector.class": SINK,
        "value.converter": JSON,
        "value.converter.schemas.enable": "false",
        "topics": topic,
        "table.name.format": "orders",
        "connection.url": server.url(),
        "consumer.override.group.id": f"connect-{topic}",
        "consumer.override.max.poll.records": AT_ONCE,
        "restart.backoff.ms": 100,
        **more,
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"copy": sink}))


def fill(kafka: Kafka, topic: str, count: int) -> None:
    values = [json.dumps({"id": number, "note": f"note {number}"}).encode() for number in range(count)]
    topics.produce(kafka.bootstrap, topic, values, partitions=[number % PARTITIONS for number in range(count)])


def test_whoever_is_killed_each_record_takes_effect_once(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint, note text)")
    # Slow enough that there is something to kill.
    server.query(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END'"
    )
    server.query("CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    fill(kafka, topic, RECORDS)
    pipeline(tmp_path, kafka, topic, server)
    rng = random.Random(7)

    def count() -> int:
        return int(server.query("SELECT count(*) FROM orders")[0][0])

    def kill_server() -> None:
        server.kill9()
        server.start()

    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        kills: list[Callable[[], object]] = [
            lambda: run.kill9("copy/0 task"),
            lambda: run.kill9("copy/0 pump"),
            kill_server,
        ]
        killed = 0
        for number in range(KILLS):
            before = count()
            goal = min(RECORDS, before + rng.randrange(1, SEEN))
            wait.until(lambda goal=goal: count() >= goal, "more rows", timeout_s=WAIT_S)
            if count() >= RECORDS:
                break
            kills[number % len(kills)]()
            killed += 1
        assert killed == KILLS, "all was over before the last kill"
        server.query("DROP TRIGGER slow ON orders")
        assert run.wait(WAIT_S) == 0, run.stderr
    assert server.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(RECORDS, RECORDS)]
    stored = server.query('SELECT "partition", next_offset FROM millrace_offsets ORDER BY 1')
    assert stored == [(partition, RECORDS // PARTITIONS) for partition in range(PARTITIONS)]


def test_a_run_after_all_was_killed_repeats_nothing(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint, note text)")
    fill(kafka, topic, 4_000)
    pipeline(tmp_path, kafka, topic, server, **{"consumer.override.auto.offset.reset": "earliest"})
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: server.query("SELECT count(*) FROM orders")[0][0], "some rows", timeout_s=WAIT_S)
        # leaving kills all that is left of it
    pipeline(tmp_path, kafka, topic, server, **{"consumer.override.group.id": f"connect-{topic}-new"})
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait(WAIT_S) == 0, run.stderr
    assert server.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(4_000, 4_000)]


def test_the_example_loads_all_orders(kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path) -> None:
    example = ROOT / "examples" / "postgres"
    text = (example / "pipeline.toml").read_text()
    replaced = {
        "localhost:9092": kafka.bootstrap,
        '"orders"\nformat': f'"{topic}"\nformat',
        'topics = "orders"': f'topics = "{topic}"\n"table.name.format" = "orders"',
        '"PostgresSink"': f'"{SINK}"',
        "postgresql://postgres@localhost:5432/shop": server.url(),
    }
    for old, new in replaced.items():
        assert old in text, f"{old} is nowhere in the example"
        text = text.replace(old, new)
    (tmp_path / "pipeline.toml").write_text(text)
    server.query((example / "table.sql").read_text())
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait(WAIT_S) == 0, run.stderr
    assert server.query("SELECT count(*), count(DISTINCT sequence) FROM orders") == [(100_000, 100_000)]
