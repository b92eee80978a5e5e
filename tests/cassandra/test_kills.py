"""Whatever dies, every record is a row, and of each key the last one counts: what is written again changes nothing.

Task processes, pumps and the server are killed in turn, while records of a topic go into two tables: `every` keeps each
record by its place in the topic, `latest` the last of each key, tombstones as deletes. The moment is that at which a
part of the last records, which a seed picks, are rows and the others are not.

MILLRACE_CASSANDRA_KILLS=150 pytest -m long tests/cassandra/test_kills.py        each of the three 50 times
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from msgspec import Struct

from tests.harness import topics, wait
from tests.harness.cassandra import CassandraServer
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]

VICTIMS = ("rows/0 task", "rows/1 pump", "server", "rows/1 task", "rows/0 pump", "server")
#: In all, one kind after the other; tox -e faults widens them.
KILLS = int(os.environ.get("MILLRACE_CASSANDRA_KILLS", "6"))
PARTITIONS = 4
KEYS = 701
RECORDS = 2_000  # before each kill
#: How many of them are rows when a kill is due, as a part of one.
STRUCK_AT = (0.0, 0.6)
BUSY_S = 60.0
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
        "batch.rows": 1,  # slow enough that there is something to kill
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


class Line(Struct):
    """What is written, as far as it got."""

    session: Any
    keyspace: str
    ends: dict[int, int] = {}  # of the partitions, before the last records were produced

    def arrived(self) -> int:
        """How many of the last records are rows."""
        query = f"SELECT count(*) FROM {self.keyspace}.every WHERE part = %s AND at >= %s"
        return sum(self.session.execute(query, (part, end)).one()[0] for part, end in self.ends.items())


def test_every_record_is_a_row_whatever_is_killed(
    kafka: KafkaServer | UserKafka, topic: str, ours: CassandraServer, session: Any, keyspace: str, tmp_path: Path
) -> None:
    rng = random.Random(KILLS)
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(KILLS)]
    session.execute(f"CREATE TABLE {keyspace}.every (part int, at bigint, v text, PRIMARY KEY (part, at))")
    session.execute(f"CREATE TABLE {keyspace}.latest (k text PRIMARY KEY, v text)")
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka.bootstrap, topic, keyspace, ours))
    line = Line(session, keyspace, dict.fromkeys(range(PARTITIONS), 0))
    missing = []
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path) as run:
        for strike, victim in enumerate(victims):
            produce(kafka.bootstrap, topic, strike * RECORDS)
            wanted = sum(value_of(number) is not None for number in range(RECORDS))
            due = 1 + int(rng.uniform(*STRUCK_AT) * wanted)
            wait.until(partial(is_due, line, due), "rows", timeout_s=BUSY_S, look_every_s=0.001)
            missing.append(wanted - kill(victim, run, ours, line.arrived))
            line.ends = topics.end_offsets(kafka.bootstrap, topic)
        produce(kafka.bootstrap, topic, KILLS * RECORDS)
        ends = {(topic, at): end for at, end in topics.end_offsets(kafka.bootstrap, topic).items()}
        wait.until(
            lambda: topics.group_offsets(kafka.bootstrap, topic) == ends,
            f"commit of all records; struck {victims}",
            timeout_s=DONE_S,
            look_every_s=0.5,
        )
        run.signal(signal.SIGTERM)
        run.wait(DONE_S)
    with ours.session() as fresh:  # the other one may not have heard yet that the server is back
        check(fresh, keyspace, topics.consume_all(kafka.bootstrap, topic), f"struck {victims}")
    check_busy(victims, missing)


def is_due(line: Line, rows: int) -> bool:
    try:
        return line.arrived() >= rows
    except (DriverException, NoHostAvailable):  # of a server that comes back
        return False


def check_busy(victims: Sequence[str], missing: Sequence[int]) -> None:
    """Most kills have struck while rows were missing, whoever was killed."""
    for kind in ("task", "pump", "server"):
        left = [count for victim, count in zip(victims, missing, strict=True) if victim.endswith(kind)]
        busy = sum(count > 0 for count in left)
        print(f"{kind}: {busy} of {len(left)} kills left rows missing, {sum(left)} in all")
        assert busy * 2 >= len(left), f"{kind}: rows that were missing after each kill: {left}"


def kill(victim: str, run: Millrace, cassandra: CassandraServer, count: Callable[[], int]) -> int:
    """Kill one that is there; return when there is another in its place. Returns what was counted at the kill.

    That is behind the kill of a process, whose neighbours go on, and before that of the server, which answers nobody
    afterwards.
    """
    assert run.is_running, f"the run was over before its {victim} was struck; its log:\n{run.stderr}"
    if victim == "server":
        counted = count()
        cassandra.kill9()
        cassandra.start()
        return counted
    pid = run.kill9(victim)
    counted = count()
    run.wait_for(victim, other_than=pid)
    return counted


def check(session: Any, keyspace: str, stored: dict[int, list[topics.Stored]], told: str) -> None:
    """Every record is a row of `every`, the last of each key one of `latest`."""
    check_every(session, keyspace, stored, told)
    last = {(one.key or b"").decode(): one.value for records in stored.values() for one in records}
    found = {row[0]: row[1].encode() for row in session.execute(f"SELECT k, v FROM {keyspace}.latest")}
    assert found == {key: value for key, value in last.items() if value is not None}, told


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
