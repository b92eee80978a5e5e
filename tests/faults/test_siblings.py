"""A killed pump does not freeze its siblings: a sink of three tasks goes on. One that is waited for takes 42 s."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

TASKS = 3
PARTITIONS = 6
#: Two seconds are asked for; 1.9 to 2.1 were seen on the slowest machine, 42 without static members.
GOES_ON_S = 10.0
TEXT = "org.apache.kafka.connect.storage.StringConverter"


def test_a_sink_of_three_tasks_goes_on_when_a_pump_is_killed(kafka: KafkaServer | UserKafka, tmp_path: Path) -> None:
    topic = f"siblings-{tmp_path.name}"
    topics.create_topic(kafka.bootstrap, topic, partitions=PARTITIONS)
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT}
    source = {"connector.class": "Generator", "topic": topic, "rate": 3000, "format": "sequence", "partitions": 6}
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "consumer.override.group.id": f"connect-{topic}",
        "tasks.max": TASKS,
        "file": tmp_path / "out.txt",
    }
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, "copy": sink}))
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path) as run:
        wait.until(lambda: seen(tmp_path) == set(range(PARTITIONS)), "records of all partitions")
        run.kill9("copy/1 pump")
        killed_at = time.monotonic()
        # A record made after the kill, of every partition: all tasks are at work again.
        last = max(numbers(tmp_path))
        wait.until(lambda: seen(tmp_path, after=last + 1000) == set(range(PARTITIONS)), "records of all partitions")
        took_s = time.monotonic() - killed_at
    assert took_s < GOES_ON_S, f"it took {took_s:.1f} s; its log:\n{run.stderr}"


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [int(line) for line in out.read_bytes().split(b"\n")[:-1]] if out.exists() else []


def seen(folder: Path, after: int = -1) -> set[int]:
    return {number % PARTITIONS for number in numbers(folder) if number > after}
