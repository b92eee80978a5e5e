"""The first records of a topic are read without a group and without a trace of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from engine.api.errors import NotFoundError, UnreachableError
from engine.clock import SystemClock
from engine.exits import ExitCode
from engine.kafka.group_offsets import list_offsets
from engine.kafka.sample import RawRecord, sample
from tests.harness.command import run
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = pytest.mark.kafka

SECONDS = 20.0
STARTED_MS = 1_566_570_894_346


def produce(kafka: KafkaServer | UserKafka, topic: str) -> None:
    """Three records on one partition of the topic."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(3):
        producer.produce(
            topic,
            json.dumps({"id": number}),
            key=f"k{number}",
            partition=0,
            timestamp=STARTED_MS + number,
            headers=[("trace", b"x")],
        )
    assert producer.flush(SECONDS) == 0


def settings(kafka: KafkaServer | UserKafka, group: str) -> dict[str, str]:
    return {"bootstrap.servers": kafka.bootstrap, "group.id": group, "auto.offset.reset": "latest"}


def test_the_first_records_are_read_and_nothing_is_committed(kafka: KafkaServer | UserKafka, topic: str) -> None:
    produce(kafka, topic)
    client, group = settings(kafka, f"group-{topic}"), f"group-{topic}"
    found = sample(client, topic, 2, SECONDS, SystemClock())
    assert found == [
        RawRecord(topic, 0, number, STARTED_MS + number, b"k%d" % number, b'{"id": %d}' % number, (("trace", b"x"),))
        for number in range(2)
    ]
    assert len(sample(client, topic, 100, SECONDS, SystemClock())) == 3  # it ends where the topic does
    assert list_offsets(client, group, SECONDS) == {}


def test_a_topic_or_broker_that_is_not_there_is_told(kafka: KafkaServer | UserKafka, topic: str) -> None:
    with pytest.raises(NotFoundError, match="is not there"):
        sample(settings(kafka, "none"), f"no-{topic}", 1, SECONDS, SystemClock())
    with pytest.raises(UnreachableError, match="no broker answered within 1 s"):
        sample({"bootstrap.servers": "127.0.0.1:1", "group.id": "none"}, topic, 1, 1.0, SystemClock())


def test_a_chain_is_tried_on_a_topic(kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path) -> None:
    produce(kafka, topic)
    file = tmp_path / "pipeline.toml"
    file.write_text(
        f'[worker]\n"bootstrap.servers" = "{kafka.bootstrap}"\n"key.converter" = "String"\n"value.converter" = "Json"\n'
        '"value.converter.schemas.enable" = false\n'
        f'[connectors.sink]\n"connector.class" = "FileStreamSink"\ntopics = "{topic}"\nfile = "{tmp_path / "out"}"\n'
        'transforms = "id"\n"transforms.id.type" = "ExtractField$Value"\n"transforms.id.field" = "id"\n'
    )
    done = run("try", str(file), "--topic", topic, "-n", "2", "--json")
    assert done.code == ExitCode.OK, done.err
    assert [one["steps"][-1]["record"]["value"] for one in done.json] == [0, 1]
