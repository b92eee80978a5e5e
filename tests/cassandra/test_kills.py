"""Whatever dies, every record is a row, and of each key the last one counts: what is written again changes nothing.

Task processes, pumps and the server are killed, at moments that a seed picks, while records of a topic go into two
tables: `every` keeps each record by its place in the topic, `latest` the last of each key, tombstones as deletes.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness import topics, wait
from tests.harness.cassandra import CassandraServer
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]

VICTIMS = ("rows/0 task", "rows/1 pump", "server", "rows/1 task", "rows/0 pump")
#: One of each kind; all, ten times over, with `tox -e faults`.
FEW, MANY = 3, 50
PARTITIONS = 4
KEYS = 701
RECORDS = 2_000  # before each kill
PAUSE_S = (0.0, 0.6)
DONE_S = 180.0
FIRST_MS = 1_700_000_000_000
TEXT = "org.apache.kafka.connect.storage.StringConverter"


def pipeline(bootstrap: str, topic: str, keyspace: str, cassandra: CassandraServer) -> str:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 500,
        "restart.max": 500,
        "restart.backoff.ms": 10,
        "restart.backoff.max.ms": 100,
    }
    sink = {
        "connector.class": "CassandraSink",
        "tasks.max": 2,
        "topics": topic,
        "consumer.override.group.id": topic,
        "request.timeout.ms": 2_000,
        **cassandra.keys(),
        f"topic.{topic}.{keyspace}.every.mapping": "part=partition, at=offset, v=value",
        f"topic.{topic}.{keyspace}.every.deletesEnabled": "false",
        f"topic.{topic}.{keyspace}.latest.mapping": "k=key, v=value",
    }
    return pipeline_toml(worker, {"rows": sink})


def value_of(number: int) -> str | None:
    return None if number % 5 == 0 else f"v{number}"


def produce(bootstrap: str, topic: str, first: int) -> None:
    numbers = range(first, first + RECORDS)
    topics.produce(
        bootstrap,
        topic,
        [value_of(number) for number in numbers],
        keys=[f"k{number % KEYS}" for number in numbers],
        partitions=[number % KEYS % PARTITIONS for number in numbers],
        timestamps_ms=[FIRST_MS + number for number in numbers],
    )


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_every_record_is_a_row_whatever_is_killed(
    kills: int, kafka: KafkaServer | UserKafka, topic: str, ours: CassandraServer, session: Any, keyspace: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    rng = random.Random(kills)
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    rng.shuffle(victims)
    session.execute(f"CREATE TABLE {keyspace}.every (part int, at bigint, v text, PRIMARY KEY (part, at))")
    session.execute(f"CREATE TABLE {keyspace}.latest (k text PRIMARY KEY, v text)")
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka.bootstrap, topic, keyspace, ours))
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path) as run:
        for strike, victim in enumerate(victims):
            produce(kafka.bootstrap, topic, strike * RECORDS)
            time.sleep(rng.uniform(*PAUSE_S))  # the moment of the fault is what the seed picks
            kill(victim, run, ours)
        produce(kafka.bootstrap, topic, kills * RECORDS)
        ends = {(topic, at): end for at, end in topics.end_offsets(kafka.bootstrap, topic).items()}
        wait.until(
            lambda: topics.group_offsets(kafka.bootstrap, topic) == ends,
            f"commit of all records; struck {victims}",
            timeout_s=DONE_S,
            look_every_s=0.5,
        )
        run.signal(signal.SIGTERM)
        run.wait(DONE_S)
    records = (kills + 1) * RECORDS
    stored = topics.consume_all(kafka.bootstrap, topic)
    check_every(session, keyspace, stored, f"struck {victims}")
    last = {f"k{number % KEYS}": value_of(number) for number in range(records)}
    found = {row[0]: row[1] for row in session.execute(f"SELECT k, v FROM {keyspace}.latest")}
    assert found == {key: value for key, value in last.items() if value is not None}, f"struck {victims}"


def kill(victim: str, run: Millrace, cassandra: CassandraServer) -> None:
    """Kill one, once it is there; return when there is another in its place."""
    assert run.is_running, f"the run was over before its {victim} was struck; its log:\n{run.stderr}"
    if victim == "server":
        cassandra.kill9()
        cassandra.start()
        return
    pid = run.kill9(victim)
    run.wait_for(victim, other_than=pid)


def check_every(session: Any, keyspace: str, stored: dict[int, list[topics.Stored]], told: str) -> None:
    """Each record with a value is a row, written at its own time and no other."""
    wanted = {
        (part, one.offset): ((one.value or b"").decode(), one.timestamp_ms * 1000 + one.offset % 1000)
        for part, records in stored.items()
        for one in records
        if one.value is not None
    }
    rows = session.execute(f"SELECT part, at, v, writetime(v) FROM {keyspace}.every")
    found = {(part, at): (value, written) for part, at, value, written in rows}
    assert len(found) == len(wanted), f"{len(found)} rows of {len(wanted)} records ({told})"
    assert found == wanted, told
