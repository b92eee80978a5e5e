"""A whole line into the real PostgreSQL, killed again and again: every record is in the table, and none is there twice.

The table has no key: what was written twice would be seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.examples import replaced, run_examples
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.postgres import PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.faults]

Kafka = KafkaServer | UserKafka
JSON = "org.apache.kafka.connect.json.JsonConverter"
SINK = "connectors.postgres.sink:PostgresSinkConnector"
PARTITIONS = 4
AT_ONCE = 200
#: At most so many rows more are seen between two kills.
SEEN = 400
WAIT_S = 120.0


@pytest.fixture
def server(postgres: PostgresServer, database: str) -> PostgresServer:
    """An empty one, which may be killed."""
    return postgres


def pipeline(folder: Path, kafka: Kafka, topic: str, server: PostgresServer, **more: object) -> None:
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": "String",
        "value.converter": JSON,
        "value.converter.schemas.enable": "false",
        "offset.flush.interval.ms": 500,
    }
    sink = {
        "connector.class": SINK,
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


@pytest.mark.parametrize(("each", "records"), [(1, 8_000), pytest.param(50, 160_000, marks=pytest.mark.long)])
def test_whoever_is_killed_each_record_takes_effect_once(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path, each: int, records: int
) -> None:
    """each: kills of each process: the task's, the pump, the server."""
    server.query("CREATE TABLE orders (id bigint, note text)")
    slow_down(server, 0.05)
    fill(kafka, topic, records)
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
        for number in range(each * len(kills)):
            goal = count() + rng.randrange(1, SEEN)
            assert goal < records, "all is over before the last kill"
            wait_for_rows(server, run, goal)
            kills[number % len(kills)]()
        server.query("DROP TRIGGER slow ON orders")
        assert run.wait(WAIT_S) == 0, run.stderr
    assert server.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(records, records)]
    assert stored(server) == [(partition, records // PARTITIONS) for partition in range(PARTITIONS)]


@pytest.mark.parametrize("lacks", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_standby_that_takes_over_has_each_record_once(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path, *, lacks: bool
) -> None:
    """lacks: the last transactions, which its primary had committed, and whose offsets the group has."""
    records = 12_000
    server.query("CREATE TABLE orders (id bigint, note text)")
    slow_down(server, 0.1)
    fill(kafka, topic, records)
    with server.standby(tmp_path / "standby") as second:
        pipeline(tmp_path, kafka, topic, server, **{"connection.url": server.url_with(second)})
        with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
            wait_for_rows(server, run, 1)
            server.wait_streaming()
            if lacks:
                second.cut_off()
                had = count_of(second)
                wait.until(lambda: committed(kafka, topic) > had, "commits of what the standby lacks", timeout_s=WAIT_S)
            server.kill9()
            assert 0 < count_of(second) < records, "it was killed before or after all"
            second.promote()
            wait_for_rows(second, run, count_of(second) + AT_ONCE)
            second.query("DROP TRIGGER slow ON orders")
            assert run.wait(WAIT_S) == 0, run.stderr
        assert second.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(records, records)]
        assert stored(second) == [(partition, records // PARTITIONS) for partition in range(PARTITIONS)]


def count_of(server: PostgresServer) -> int:
    return int(server.query("SELECT count(*) FROM orders")[0][0])


def committed(kafka: Kafka, topic: str) -> int:
    return sum(topics.group_offsets(kafka.bootstrap, f"connect-{topic}").values())


def slow_down(server: PostgresServer, seconds: float) -> None:
    """Have each statement that writes to `orders` take so long that there is something to kill."""
    server.query(
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; "
        "END'"
    )
    server.query("CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()")


def wait_for_rows(server: PostgresServer, run: Millrace, count: int) -> None:
    def is_there() -> bool:
        assert run.is_running, run.stderr
        return bool(server.query("SELECT count(*) FROM orders")[0][0] >= count)

    wait.until(is_there, f"{count} rows", timeout_s=WAIT_S)


def stored(server: PostgresServer) -> list[tuple[int, int]]:
    return server.query('SELECT "partition", next_offset FROM millrace_offsets ORDER BY 1')


#: Records that PostgreSQL refuses, by the last digits of their numbers, with its code.
REFUSED = {7: ({"note": "much too long"}, b"22001"), 57: ({"id": "many"}, b"22P02")}


def test_each_bad_record_has_its_letter_and_each_good_one_is_there_once_though_the_task_is_killed(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint, note varchar(5))")
    slow_down(server, 0.01)
    records, dead = 600, f"{topic}-dead"
    values = [{"id": number, "note": "good", **REFUSED.get(number % 100, ({}, b""))[0]} for number in range(records)]
    places = [number % PARTITIONS for number in range(records)]
    topics.produce(kafka.bootstrap, topic, [json.dumps(value).encode() for value in values], partitions=places)
    errors = {
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": True,
        "consumer.override.max.poll.records": 50,
    }
    pipeline(tmp_path, kafka, topic, server, **errors)
    try:
        with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
            wait_for_rows(server, run, 100)
            run.kill9("copy/0 task")
            assert run.wait(WAIT_S) == 0, run.stderr
        letters = [one for found in topics.consume_all(kafka.bootstrap, dead).values() for one in found]
    finally:
        topics.delete_topic(kafka.bootstrap, dead)
    good = [number for number in range(records) if number % 100 not in REFUSED]
    assert server.query("SELECT count(*) FROM orders") == [(len(good),)]
    assert server.query("SELECT id FROM orders ORDER BY id") == [(number,) for number in good]
    assert stored(server) == [(partition, records // PARTITIONS) for partition in range(PARTITIONS)]
    told = {}
    for letter in letters:
        headers = dict(letter.headers)
        at = [int(headers[f"__connect.errors.{name}"] or b"") for name in ("partition", "offset")]
        number = at[1] * PARTITIONS + at[0]
        assert letter.value == json.dumps(values[number]).encode()
        told[number] = headers["__millrace.errors.code"]
    assert told == {number: REFUSED[number % 100][1] for number in range(records) if number % 100 in REFUSED}


def test_the_database_knows_how_far_it_is_whatever_the_group_says(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint, note text)")
    fill(kafka, topic, 4_000)
    pipeline(tmp_path, kafka, topic, server)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait_for_rows(server, run, 1)
        # leaving kills all that is left of it

    def run_to_the_end() -> None:
        with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
            assert run.wait(WAIT_S) == 0, run.stderr
        assert server.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(4_000, 4_000)]
        assert stored(server) == [(partition, 1_000) for partition in range(PARTITIONS)]

    # A new group reads all of it again.
    pipeline(tmp_path, kafka, topic, server, **{"consumer.override.group.id": f"connect-{topic}-new"})
    run_to_the_end()
    # A backup, of a time when it was less far than the group is now.
    server.query(
        f"DELETE FROM orders WHERE id >= 2000; UPDATE millrace_offsets SET next_offset = {2_000 // PARTITIONS}"
    )
    run_to_the_end()


def test_a_run_that_begins_before_its_server_waits_for_it(
    kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path
) -> None:
    server.query("CREATE TABLE orders (id bigint, note text)")
    fill(kafka, topic, 400)
    pipeline(tmp_path, kafka, topic, server)
    server.stop()
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        run.wait_for("copy/0 task")
        assert "it could not be checked whole: cannot connect to PostgreSQL at 127.0.0.1" in run.stderr
        server.start()
        assert run.wait(WAIT_S) == 0, run.stderr
    assert server.query("SELECT count(*), count(DISTINCT id) FROM orders") == [(400, 400)]


def test_the_example_loads_all_orders(kafka: Kafka, topic: str, server: PostgresServer, tmp_path: Path) -> None:
    texts = {
        '"orders"\nformat': f'"{topic}"\nformat',
        'topics = "orders"': f'topics = "{topic}"\n"table.name.format" = "orders"',
    }
    servers = ["--kafka", kafka.bootstrap, "--postgres", server.url()]
    shown = run_examples(tmp_path, "postgres", *servers, *replaced(texts))
    assert "100000 | 100000" in shown.lines[2]
    assert server.query("SELECT count(*), count(DISTINCT sequence) FROM orders") == [(100_000, 100_000)]
