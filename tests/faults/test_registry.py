"""A schema registry that is away costs time and nothing else: the run waits, says so, and goes on by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.proxy import Proxy
from tests.harness.registry import SchemaRegistry
from tests.harness.server import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

RECORDS = 30_000
RATE = 5_000
PARTITIONS = 4
RUN_S = 120.0
TEXT = "org.apache.kafka.connect.storage.StringConverter"
AVRO = "io.confluent.connect.avro.AvroConverter"
WAITS = "a converter cannot convert yet"


def pipeline(bootstrap: str, registry: str, topic: str, folder: Path) -> None:
    """Numbers through a topic, as Avro, into out.txt."""
    own = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": AVRO,
        "value.converter.schema.registry.url": registry,
        "offset.flush.interval.ms": 500,
    }
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "records": RECORDS,
        "rate": RATE,
        "format": "sequence",
        "partitions": PARTITIONS,
    }
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.group.id": f"connect-{topic}",
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(own, {"numbers": source, "copy": sink}))


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [*map(int, out.read_bytes().splitlines())] if out.exists() else []


def test_a_registry_that_is_away_is_waited_for_at_the_start_and_in_the_middle_and_nothing_is_lost(
    kafka: KafkaServer | UserKafka, topic: str, registry: SchemaRegistry, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    url = registry.url.replace(f":{registry.port}/", f":{port}/")
    pipeline(kafka.bootstrap, url, topic, tmp_path)
    with Proxy(tmp_path / "proxy", {port: registry.port}) as way:
        way.cut()
        check(way, kafka, topic, tmp_path, url)


def check(way: Proxy, kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path, url: str) -> None:
    """A run, to its end, whose way to the registry is cut at the start and once more."""
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: WAITS in run.stderr, "the source waits", timeout_s=RUN_S)
        assert sum(topics.end_offsets(kafka.bootstrap, topic).values()) == 0
        way.flow()
        wait.until(lambda: len(numbers(tmp_path)) > 1_000, "lines", timeout_s=RUN_S)
        way.cut()
        told = run.stderr.count(WAITS)
        run.kill9("copy/0 task")  # the next one has to ask for the schema
        wait.until(lambda: run.stderr.count(WAITS) > told, "the sink waits", timeout_s=RUN_S)
        way.flow()
        assert run.wait(RUN_S) == 0, run.stderr
        report = run.report()
    seen = numbers(tmp_path)
    assert set(seen) == set(range(RECORDS))
    repeated = sum(count - 1 for count in Counter(seen).values())
    assert repeated <= report["totals"]["repeated_at_most"]
    assert url.partition("/apis")[0] in run.stderr
