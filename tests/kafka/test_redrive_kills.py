"""A re-drive into a sink that is killed again and again goes on: each record is there, once where that is idempotent.

What is put twice is at most the batch that a command had put and not noted when it was killed.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.command import run
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
LETTERS = 150
LETTERS_LONG = 1_500
AT_ONCE = 5


def has_grown(out: Path, lines: int, millrace: Millrace) -> bool:
    """Whether so many lines are there, or the command has ended."""
    return lines_of(out) >= lines or not millrace.is_running


def lines_of(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


@pytest.mark.parametrize(
    ("kills", "count"), [(3, LETTERS), pytest.param(20, LETTERS_LONG, marks=pytest.mark.long, id="20 kills")]
)
def test_each_record_is_at_the_sink_once_wherever_the_command_is_killed(
    kills: int, count: int, kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    told = {"topic": topic, "partition": "0", "offset": "0", "connector.name": "copy", "task.id": "0"}
    headers = [(f"__connect.errors.{name}", text.encode()) for name, text in told.items()]
    values = [b"letter %d" % number for number in range(count)]
    topics.create_topic(kafka.bootstrap, dead, partitions=2)
    topics.produce(kafka.bootstrap, dead, values, headers=[headers] * count)
    out, file = tmp_path / "out.txt", tmp_path / "pipeline.toml"
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": "String", "value.converter": "String"}
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": out,
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
    }
    file.write_text(pipeline_toml(worker, {"copy": sink}))
    command = ("dlq", "redrive", str(file), "--into", "copy", "--yes", "--at-once", str(AT_ONCE))
    chance = random.Random(kills)
    killed = 0
    for number in range(kills):
        wanted = lines_of(out) + chance.randint(0, count // kills // 2)
        with Millrace(*command, folder=tmp_path / f"run-{number}") as millrace:
            wait.until(partial(has_grown, out, wanted, millrace), "records at the sink", timeout_s=60)
            killed += millrace.is_running
            millrace.kill9_supervisor()
    assert killed > kills // 2, "most of them were over before they were killed"
    assert run(*command).code == 0
    lines = out.read_bytes().splitlines()
    assert set(lines) == set(values)
    assert len(lines) <= count + killed * AT_ONCE
    assert run(*command, "--json").json["sent"] == 0
