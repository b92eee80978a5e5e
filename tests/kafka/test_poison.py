"""On a real broker: a record that kills its process becomes a dead letter, wherever it does so, and costs itself alone.

The tasks beside it do not notice: nobody else's process ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import KafkaException

from engine.exits import ExitCode
from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
PLUGINS = {"PYTHONPATH": str(Path(__file__).parents[1] / "faults" / "plugins")}
TASKS = 3
#: Of the fixture's topics.
PARTITIONS = 4
#: The deadly ones are of one partition, and of one source task.
RECORDS, DEADLY = 240, (101,)
RECORDS_LONG, DEADLY_LONG = 1_500, (301, 901)
TEXT = "org.apache.kafka.connect.storage.StringConverter"
MEMORY_BYTES = 512 * 1024 * 1024


class Way(NamedTuple):
    """How records kill, and what runs beside them."""

    where: str
    how: str
    more: Mapping[str, Any]
    records: int = RECORDS
    deadly: tuple[int, ...] = DEADLY

    @property
    def good(self) -> set[int]:
        """Numbers of records that are not deadly."""
        return set(range(self.records)).difference(self.deadly)


def transform(how: str, **more: Any) -> Way:
    """In a transform. more: keys of the connector, with _ for dots."""
    keys = {"transforms": "kill", "transforms.kill.type": "deadly:Kill", "transforms.kill.how": how}
    return Way("transform", how, {**keys, **{key.replace("_", "."): value for key, value in more.items()}})


def ways(main: list[Way], long: list[Way]) -> list[Any]:
    """All of them; the second ones are left to the long tests."""
    more = [way._replace(records=RECORDS_LONG, deadly=DEADLY_LONG) for way in long]
    marked = [*((way, ()) for way in main), *((way, (pytest.mark.long,)) for way in more)]
    return [pytest.param(way, marks=marks, id=f"{way.where} {way.how}") for way, marks in marked]


def pipeline(kafka: Kafka, dead: str, connector: Mapping[str, Any], way: Way) -> str:
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 1000,
        "restart.backoff.ms": 10,
        "restart.backoff.max.ms": 50,
    }
    letters = {
        "tasks.max": TASKS,
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
    }
    return pipeline_toml(worker, {"copy": {**connector, **letters, **way.more}})


def check_letters(kafka: Kafka, dead: str, way: Way) -> None:
    letters = [one for stored in topics.consume_all(kafka.bootstrap, dead).values() for one in stored]
    assert sorted(one.value or b"" for one in letters) == sorted(b"deadly %d" % number for number in way.deadly)
    headers = dict(letters[0].headers)
    message = headers["__connect.errors.exception.message"]
    assert message == b"3 processes have died with this record alone in hand"
    assert (headers["__millrace.errors.code"], headers["__millrace.errors.attempts"]) == (b"crash", b"3")


def is_shared_out(kafka: Kafka, group: str) -> bool:
    """Whether each task has partitions."""
    try:
        return sorted(map(len, topics.group_members(kafka.bootstrap, group).values())) == [1, 1, 2]
    except KafkaException:  # it knows no coordinator yet
        return False


def check_neighbours(stderr: str) -> None:
    """Of all tasks one has ended."""
    ended = {number for number in range(TASKS) if f"copy/{number}: " in stderr}
    assert len(ended) == 1, stderr


SINK_WAYS = ways(
    [
        Way("flush", "exit1", {"how": "exit1", "buffers": "true"}),
    ],
    [
        Way("put", "segfault", {"how": "segfault"}),
        transform("memory", stage_processes=1, task_memory_max=MEMORY_BYTES),
        Way("put in one process", "exit0", {"how": "exit0", "task.processes": 1}),
        Way("put", "sys.exit", {"how": "sys.exit"}),
        Way("flush in one process", "segfault", {"how": "segfault", "buffers": "true", "task.processes": 1}),
        transform("exit0", stage_processes=2),
    ],
)


@pytest.mark.parametrize("way", SINK_WAYS)
def test_a_record_that_kills_a_sinks_process_is_a_dead_letter(
    way: Way, kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    group, out = f"connect-{topic}", tmp_path / "out.txt"
    sink = {
        "connector.class": "deadly_sink:DeadlySinkConnector",
        "topics": topic,
        "file": out,
        "consumer.override.group.id": group,
    }
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka, dead, sink, way))
    with Millrace("run", "pipeline.toml", "--forever", "--json", folder=tmp_path, environment=PLUGINS) as run:
        wait.until(lambda: is_shared_out(kafka, group), "partitions for each task")
        values = [str(number) if number in way.good else f"deadly {number}" for number in range(way.records)]
        partitions = [number % PARTITIONS for number in range(way.records)]
        topics.produce(kafka.bootstrap, topic, [value.encode() for value in values], partitions=partitions)
        ends = {(topic, partition): way.records // PARTITIONS for partition in range(PARTITIONS)}
        wait.until(lambda: topics.group_offsets(kafka.bootstrap, group) == ends, "all committed", timeout_s=90)
        run.interrupt()
        assert run.wait() == ExitCode.INTERRUPTED, run.stderr
        report = run.report()
        check_neighbours(run.stderr)
    assert set(map(int, out.read_text().split())) == way.good
    check_letters(kafka, dead, way)
    assert report["totals"]["sinks"]["skipped"] == len(way.deadly)


SOURCE_WAYS = ways(
    [transform("exit1")],
    [
        transform("segfault", stage_processes=1),
        transform("memory", task_memory_max=MEMORY_BYTES),
        transform("segfault", task_processes=1),
        transform("sys.exit"),
        transform("exit0", stage_processes=2),
    ],
)


@pytest.mark.parametrize("way", SOURCE_WAYS)
def test_a_record_that_kills_a_sources_process_is_a_dead_letter(
    way: Way, kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    source = {
        "connector.class": "counting_source:CountingSourceConnector",
        "topic": topic,
        "numbers": way.records,
        "deadly": ",".join(map(str, way.deadly)),
    }
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka, dead, source, way))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=PLUGINS) as run:
        assert run.wait(timeout_s=120) == 0, run.stderr
        report = run.report()
        check_neighbours(run.stderr)
    stored = topics.consume_all(kafka.bootstrap, topic)
    assert {int(one.value or b"") for found in stored.values() for one in found} == way.good
    check_letters(kafka, dead, way)
    assert report["totals"]["sources"]["skipped"] == len(way.deadly)


def test_where_poll_itself_kills_nothing_is_skipped_and_the_error_says_so(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    source = {
        "connector.class": "counting_source:CountingSourceConnector",
        "topic": topic,
        "numbers": RECORDS,
        "deadly": str(DEADLY[0]),
        "kills.poll": "true",
        "restart.max": 2,
    }
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka, dead, source, Way("poll", "exit1", {})))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=PLUGINS) as run:
        assert run.wait(timeout_s=120) == 1, run.stderr
        assert "exit code 1: where poll itself ends its process, there is no record to skip" in run.stderr
    assert topics.consume_all(kafka.bootstrap, dead) in ({}, {0: []})
