"""A thousand poisoned records among a million go by dead letters and come back: once mended, each is at the sink once.

The converter that mends them is a user's own. Half of the letters go to their topic again and from there through the
sink, the other half straight into it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.exits import ExitCode
from tests.harness import topics
from tests.harness.command import run
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
PARTITIONS = 4
AT_ONCE = 100_000  # records that the test holds as values
WAIT_S = 600.0
CONVERTER = '''
from converters.json import JsonConverter

class MendingConverter(JsonConverter):
    """Closes what was left open."""

    def to_connect(self, topic, payloads):
        return super().to_connect(topic, [one if one.endswith(b"}") else one + b"}" for one in payloads])
'''


def written(folder: Path, kafka: Kafka, topic: str, dead: str, name: str, converter: str) -> Path:
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": "String", "value.converter": "Json"}
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "value.converter": converter,
        "value.converter.schemas.enable": "false",
        "consumer.override.group.id": f"connect-{topic}",
        "consumer.override.isolation.level": "read_committed",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
    }
    path = folder / name
    path.write_text(pipeline_toml(worker, {"copy": sink}))
    return path


def produce(kafka: Kafka, topic: str, count: int, poisoned: set[int]) -> None:
    for begin in range(0, count, AT_ONCE):
        numbers = range(begin, min(count, begin + AT_ONCE))
        values = [b'{"n": %d%s' % (number, b"" if number in poisoned else b"}") for number in numbers]
        topics.produce(kafka.bootstrap, topic, values, partitions=[number % PARTITIONS for number in numbers])


def ledger_of(file: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    with Millrace("run", file.name, "--json", folder=file.parent, environment=environment) as millrace:
        assert millrace.wait(WAIT_S) == 0, millrace.stderr
        ledger: dict[str, Any] = millrace.report()["totals"]["sinks"]
        return ledger


def sent(*arguments: str) -> int:
    done = run("dlq", "redrive", *arguments, "--yes", "--json")
    assert done.code == ExitCode.OK, done.err
    return int(done.json["sent"])


@pytest.mark.parametrize(
    ("count", "bad"), [(4_000, 80), pytest.param(1_000_000, 1_000, id="million", marks=pytest.mark.long)]
)
def test_poisoned_records_are_mended_and_each_record_is_at_the_sink_once(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, bad: int
) -> None:
    poisoned = {*random.Random(count).sample(range(count), bad)}
    produce(kafka, topic, count, poisoned)
    (tmp_path / "mending.py").write_text(CONVERTER)
    monkeypatch.syspath_prepend(tmp_path)
    paths = {"PYTHONPATH": str(tmp_path)}
    began = [time.monotonic()]
    first = ledger_of(written(tmp_path, kafka, topic, dead, "pipeline.toml", "Json"), paths)
    began.append(time.monotonic())
    assert (first["skipped"], sum(topics.end_offsets(kafka.bootstrap, dead).values())) == (bad, bad)
    mended = written(tmp_path, kafka, topic, dead, "mended.toml", "mending.MendingConverter")
    to_topic = sent(str(mended), "--limit", str(bad // 2))
    began.append(time.monotonic())
    second = ledger_of(mended, paths)
    began.append(time.monotonic())
    into = sent(str(mended), "--into", "copy")
    began.append(time.monotonic())
    assert (to_topic, into) == (bad // 2, bad - bad // 2)
    assert (second["skipped"], second["records_out"]) == (0, to_topic)
    lines = (tmp_path / "out.txt").read_bytes().splitlines()
    assert len(lines) == count
    assert {*lines} == {b"{n=%d}" % number for number in range(count)}
    took = [round(after - before, 1) for before, after in pairwise(began)]
    print(json.dumps({"records": count, "poisoned": bad, "seconds": took}))
