"""On a real broker: a record that kills its process becomes a dead letter, and the tasks beside it do not notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
PLUGINS = {"PYTHONPATH": str(Path(__file__).parents[1] / "faults" / "plugins")}
PARTITIONS = 4
RECORDS = 2_000
DEADLY = (701, 1_334)


@pytest.mark.parametrize(("how", "processes"), [("segfault", 2), pytest.param("exit", 1, marks=pytest.mark.long)])
def test_a_record_that_kills_its_process_is_a_dead_letter(
    how: str, processes: int, kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    values = [f"deadly {number}" if number in DEADLY else str(number) for number in range(RECORDS)]
    partitions = [number % PARTITIONS for number in range(RECORDS)]
    topics.produce(kafka.bootstrap, topic, [value.encode() for value in values], partitions=partitions)
    text = "org.apache.kafka.connect.storage.StringConverter"
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": text,
        "value.converter": text,
        "offset.flush.interval.ms": 1000,
        "restart.backoff.ms": 10,
        "restart.backoff.max.ms": 50,
    }
    sink = {
        "connector.class": "deadly_sink:DeadlySinkConnector",
        "tasks.max": 2,
        "topics": topic,
        "file": tmp_path / "out.txt",
        "how": how,
        "task.processes": processes,
        "consumer.override.group.id": f"connect-{topic}",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
    }
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"copy": sink}))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=PLUGINS) as run:
        assert run.wait(timeout_s=120) == 0, run.stderr
        report = run.report()
    written = set((tmp_path / "out.txt").read_text().split())
    assert written == {str(number) for number in range(RECORDS) if number not in DEADLY}
    letters = [one for stored in topics.consume_all(kafka.bootstrap, dead).values() for one in stored]
    assert {one.value for one in letters} == {b"deadly %d" % number for number in DEADLY}
    message = dict(letters[0].headers)["__connect.errors.exception.message"]
    assert b"processes have died with this record alone in hand" in (message or b"")
    assert report["totals"]["sinks"]["skipped"] == len(DEADLY)
