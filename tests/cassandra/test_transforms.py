"""Through a real Kafka and a chain of transforms: what the chain has made of records are rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness import topics
from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra]

ROWS = 500
TEXT = "org.apache.kafka.connect.storage.StringConverter"


def test_records_that_go_to_another_topic_are_rows_of_its_table(
    kafka: KafkaServer | UserKafka, topic: str, cassandra: CassandraServer | UserCassandra, session: Any, keyspace: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text, place text)")
    numbers = range(ROWS)
    values = [None if number % 10 == 9 else f"v{number}" for number in numbers]
    topics.produce(kafka.bootstrap, topic, values, keys=[str(number) for number in numbers])
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT}
    sink = {
        "connector.class": "CassandraSink",
        "topics": topic,
        "consumer.override.group.id": topic,
        **cassandra.keys(),
        "transforms": "route",
        "transforms.route.type": "RegexRouter",
        "transforms.route.regex": ".*",
        "transforms.route.replacement": "routed",
        f"topic.routed.{keyspace}.t.mapping": "id=key, v=value, place=topic",
    }
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"rows": sink}))
    with Millrace("run", "pipeline.toml", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
    found = {row[0]: (row[1], row[2]) for row in session.execute(f"SELECT id, v, place FROM {keyspace}.t")}
    assert found == {number: (value, "routed") for number, value in enumerate(values) if value is not None}
