"""A `put` may take longer than max.poll.interval.ms: the pump goes on polling, and gives partitions up in time.

With two processes a task, which is the default. The long test (tox -e faults) has a put of 20 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}
PARTITIONS = 4
RECORDS = 4_000
AT_ONCE = 500
INTERVAL_MS = 6_000  # and the session too, which is never longer


def pipeline(kafka: Kafka, topic: str, folder: Path, sink: Mapping[str, object]) -> None:
    """The topic into out.txt; the group is the topic's own."""
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 300,
    }
    slow = {
        "connector.class": "slow_sink:SlowSinkConnector",
        "topics": topic,
        "file": folder / "out.txt",
        "notes": folder / "notes.txt",
        "held": folder / "held",
        "consumer.override.group.id": f"connect-{topic}",
        "consumer.override.max.poll.interval.ms": INTERVAL_MS,
        "consumer.override.max.poll.records": AT_ONCE,
        **sink,
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"slow": slow}))
    numbers = [b"%d" % number for number in range(RECORDS)]
    topics.produce(kafka.bootstrap, topic, numbers, partitions=[number % PARTITIONS for number in range(RECORDS)])


def start(folder: Path) -> Millrace:
    return Millrace("run", "pipeline.toml", "--json", folder=folder, environment=PLUGINS)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def written(folder: Path) -> list[int]:
    return [int(line) for line in lines(folder / "out.txt")]


@pytest.mark.parametrize("seconds", [8, pytest.param(20, marks=pytest.mark.long)])
def test_a_put_beyond_the_poll_interval_costs_no_rebalance_and_no_duplicate(
    seconds: int, kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path, {"seconds": seconds})
    with start(tmp_path) as run:
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert sorted(written(tmp_path)) == list(range(RECORDS))
    notes = lines(tmp_path / "notes.txt")
    print(notes, f"{report['seconds']} s", report["totals"])
    assert notes == ["open 0 1 2 3", "put", "close 0 1 2 3"]
    assert report["totals"]["restarts"] == report["totals"]["repeated_at_most"] == 0
    assert report["seconds"] > seconds
    assert "taken away by the group" not in run.stderr


def test_partitions_that_are_wanted_while_a_put_runs_go_within_the_deadline_and_what_it_wrote_is_counted(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path, {})
    (tmp_path / "held").touch()
    with start(tmp_path) as run:
        wait.until(lambda: "put" in lines(tmp_path / "notes.txt"), "a put")
        taken = join_and_read(kafka, topic, f"connect-{topic}")
        assert not written(tmp_path), "the put still runs"
        # As the pump has told: before it would have been excluded for not polling.
        assert "the task did not let go of 4 partitions within 3 s; they are given up without a commit" in run.stderr
        assert "taken away by the group" not in run.stderr
        (tmp_path / "held").unlink()
        assert run.wait() == 0, run.stderr
        report = run.report()
    seen = [*taken, *written(tmp_path)]
    repeated = sum(count - 1 for count in Counter(seen).values())
    bound = report["totals"]["repeated_at_most"]
    print(f"{len(taken)} by the other member, {repeated} repeated, at most {bound}; {report['totals']}")
    print(lines(tmp_path / "notes.txt"), run.stderr)
    assert set(seen) == set(range(RECORDS))
    assert repeated <= bound
    assert report["findings"] == []
    assert report["totals"]["restarts"] == 0, run.stderr


def join_and_read(kafka: Kafka, topic: str, group: str) -> Sequence[int]:
    """Be a second member; returns what its share of the partitions had, having committed it and left."""
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "partition.assignment.strategy": "range"})
    consumer.subscribe([topic])
    taken: dict[int, list[int]] = {}

    def has_all_of_its_share() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            partition, value = message.partition(), message.value()
            assert partition is not None and value is not None
            taken.setdefault(partition, []).append(int(value))
        return sum(map(len, taken.values())) == RECORDS // 2

    wait.until(has_all_of_its_share, "all records of two partitions", look_every_s=0)
    offsets = [TopicPartition(topic, partition, len(numbers)) for partition, numbers in taken.items()]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()
    return [number for numbers in taken.values() for number in numbers]
