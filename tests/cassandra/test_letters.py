"""Through a real Kafka: a record that two tables refuse is one dead letter, with the code that Cassandra has for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness import topics
from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra]

TEXT = "org.apache.kafka.connect.storage.StringConverter"


def test_a_record_that_two_tables_refuse_is_one_letter(
    kafka: KafkaServer | UserKafka, topic: str, cassandra: CassandraServer | UserCassandra, session: Any,
    keyspace: str, tmp_path: Path,
) -> None:  # fmt: skip
    dead = f"{topic}-dead"
    for name in ("one", "other"):
        session.execute(f"CREATE TABLE {keyspace}.{name} (id text PRIMARY KEY, v text)")
    keys: list[str | None] = ["a", "", "b", None, "c"]  # an empty one Cassandra refuses, none is no row here
    topics.produce(kafka.bootstrap, topic, [f"v{at}" for at in range(len(keys))], keys=keys, partitions=[0] * len(keys))
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT}
    sink = {
        "connector.class": "CassandraSink",
        "topics": topic,
        "consumer.override.group.id": topic,
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
        **cassandra.keys(),
        f"topic.{topic}.{keyspace}.one.mapping": "id=key, v=value",
        f"topic.{topic}.{keyspace}.other.mapping": "id=key, v=value",
    }
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"rows": sink}))
    with Millrace("run", "pipeline.toml", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
    letters = [one for stored in topics.consume_all(kafka.bootstrap, dead).values() for one in stored]
    topics.delete_topic(kafka.bootstrap, dead)
    told = {one.value: {name: (text or b"").decode() for name, text in one.headers} for one in letters}
    assert len(letters) == 2
    assert {value: one["__millrace.errors.code"] for value, one in told.items()} == {
        b"v1": "InvalidRequest",
        b"v3": "record",
    }
    for headers in told.values():
        assert all(f"{keyspace}.{name}: " in headers["__connect.errors.exception.message"] for name in ("one", "other"))
    for name in ("one", "other"):
        assert sorted(row[0] for row in session.execute(f"SELECT id FROM {keyspace}.{name}")) == ["a", "b", "c"]
