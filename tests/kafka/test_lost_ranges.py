"""What a sink can never read is named with its range, and stops it, unless it is told to go on behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.api.errors import ConnectError
from engine.offsets.store import OffsetStore
from engine.pump import sink
from engine.shm.board import Word
from engine.shm.lost_range import LostRange
from tests.harness import topics, wait
from tests.harness.banks import SinkBanks
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.sinks import BROKER_S, Sinks, has_partitions, numbers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"


@pytest.fixture
def sinks(kafka: Kafka, tmp_path: Path) -> Iterator[Sinks]:
    store = OffsetStore(tmp_path / "store.db")
    tasks = Sinks(kafka.bootstrap, store)
    yield tasks
    tasks.close()
    store.close()


def fill(sinks: Sinks, topic: str, count: int, text: bytes = b"") -> None:
    topics.produce(sinks.bootstrap, topic, [text + number for number in numbers(count)], partitions=[0] * count)


def read_and_leave(sinks: Sinks, topic: str, count: int) -> None:
    """A sink reads and commits what is there, and is gone."""
    fill(sinks, topic, count)
    line = sinks.add(topic)
    sinks.until(lambda: sinks.offsets().get((topic, 0)) == count, "a commit")
    sinks.remove(line, leave=True)
    sinks.records.clear()


def delete_before(sinks: Sinks, topic: str, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    for deleted in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        deleted.result(BROKER_S)


def make_anew(sinks: Sinks, topic: str) -> None:
    topics.delete_topic(sinks.bootstrap, topic)
    wait.until(lambda: topic not in names(sinks.bootstrap), "the topic's end")
    topics.create_topic(sinks.bootstrap, topic)


def names(bootstrap: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=BROKER_S).topics)


def offsets_put(sinks: Sinks) -> list[int]:
    return [offset for _, _, offset, _ in sinks.records]


def check_stops(sinks: Sinks, topic: str, lost: LostRange, text: str) -> None:
    line = sinks.add(topic)
    with pytest.raises(ConnectError, match=f"topic {topic} partition 0: the offset to go on at is gone: {text}"):
        sinks.until(lambda: False, "an error")
    assert line.row.lost_ranges == [lost]
    assert not sinks.records
    sinks.remove(line, leave=True)


def go_on(sinks: Sinks, topic: str, lost: LostRange) -> SinkBanks:
    line = sinks.add(topic, passes_lost_ranges=True)
    sinks.drain()
    assert line.row.lost_ranges == [lost]
    assert line.row.get(Word.LOST_RECORDS) == lost.records
    return line


def test_records_deleted_while_the_sink_is_down(sinks: Sinks, topic: str) -> None:
    read_and_leave(sinks, topic, 100)
    fill(sinks, topic, 100)
    delete_before(sinks, topic, 150)
    lost = LostRange(topic, 0, 100, 149, "deleted")
    check_stops(sinks, topic, lost, "offsets 100 to 149 were deleted before they were read")
    go_on(sinks, topic, lost)
    assert offsets_put(sinks) == list(range(150, 200))
    assert sinks.offsets()[topic, 0] == 200


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_records_deleted_while_the_sink_lags(sinks: Sinks, topic: str, strategy: str) -> None:
    fill(sinks, topic, 100)
    line = sinks.add(topic, settings={"partition.assignment.strategy": strategy}, passes_lost_ranges=True)
    sinks.until(lambda: len(sinks.records) == 100 and has_partitions(line, 4)(), "all records")
    line.task.pause(line.task.assignment())
    sinks.until(lambda: line.pump._paused == set(line.pump._parts), "a pause")
    fill(sinks, topic, 100)
    delete_before(sinks, topic, 150)
    line.task.resume(line.task.assignment())
    sinks.drain()
    assert line.row.lost_ranges == [LostRange(topic, 0, 100, 149, "deleted")]
    assert offsets_put(sinks) == [*range(100), *range(150, 200)]
    assert sinks.offsets()[topic, 0] == 200


def test_a_group_whose_offsets_are_gone_is_no_first_start(sinks: Sinks, topic: str) -> None:
    read_and_leave(sinks, topic, 100)
    fill(sinks, topic, 20)
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    for deleted in admin.delete_consumer_groups([sinks.group]).values():
        deleted.result(BROKER_S)
    lost = LostRange(topic, 0, 100, None, "forgotten")
    line = sinks.add(topic)
    with pytest.raises(ConnectError, match=r"no committed offset any more, and had \d+ or a later one"):
        sinks.until(lambda: False, "an error")
    sinks.remove(line, leave=True)
    line = sinks.add(topic, passes_lost_ranges=True)
    sinks.drain()
    assert lost in line.row.lost_ranges
    assert offsets_put(sinks) == list(range(100, 120)), "it goes on where the worker has noted that the group was"


@pytest.mark.parametrize("records", [40, 300])
def test_a_topic_made_anew_while_the_sink_is_down(sinks: Sinks, topic: str, records: int) -> None:
    read_and_leave(sinks, topic, 100)
    make_anew(sinks, topic)
    fill(sinks, topic, records, b"new")
    line = sinks.add(topic)
    with pytest.raises(ConnectError, match="the topic was made anew"):
        sinks.until(lambda: False, "an error")
    sinks.remove(line, leave=True)
    line = sinks.add(topic, passes_lost_ranges=True)
    sinks.drain()
    assert LostRange(topic, 0, 100, None, "remade") in line.row.lost_ranges
    assert offsets_put(sinks) == list(range(records))


def test_a_topic_made_anew_beyond_the_offset_is_noticed_while_the_sink_runs(
    sinks: Sinks, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "REMADE_NS", 1_000_000_000)
    fill(sinks, topic, 100)
    line = sinks.add(topic, passes_lost_ranges=True)
    sinks.until(lambda: sinks.offsets().get((topic, 0)) == 100, "a commit")
    make_anew(sinks, topic)
    fill(sinks, topic, 300, b"new")
    sinks.until(lambda: b"new0" in {value for *_, value in sinks.records}, "the new topic's first record")
    sinks.drain()
    assert LostRange(topic, 0, line.row.lost_ranges[0].first, None, "remade") in line.row.lost_ranges
    assert set(range(300)) <= {offset for _, _, offset, value in sinks.records if value and value.startswith(b"new")}


def test_a_log_that_is_shorter_than_what_was_read_is_read_from_its_beginning(kafka: Kafka, topic: str) -> None:
    sinks = Sinks(kafka.bootstrap)  # without a store: only the length tells
    fill(sinks, topic, 40)
    line = sinks.add(topic)
    sinks.until(has_partitions(line, 4), "partitions")
    sinks.remove(line, leave=True)
    sinks.records.clear()
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    moved = ConsumerGroupTopicPartitions(sinks.group, [TopicPartition(topic, 0, 100)])
    admin.alter_consumer_group_offsets([moved])[sinks.group].result(BROKER_S)
    lost = LostRange(topic, 0, 40, 99, "truncated")
    check_stops(sinks, topic, lost, "offsets 40 to 99 are not there any more")
    go_on(sinks, topic, lost)
    assert offsets_put(sinks) == list(range(40))
    sinks.close()


def test_the_report_and_the_log_name_what_retention_took(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    short = f"{topic}-short"
    topics.create_topic(kafka.bootstrap, short, partitions=1)
    topics.produce(kafka.bootstrap, short, numbers(100))

    def pipeline(policy: str) -> None:
        worker = {
            "bootstrap.servers": kafka.bootstrap,
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.flush.interval.ms": 300,
            "lost.range.policy": policy,
        }
        copy = {"connector.class": "FileStreamSink", "topics": short, "file": tmp_path / "out.txt"}
        (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {f"copy-{topic}": copy}))

    def run() -> tuple[int, Millrace]:
        with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
            return millrace.wait(), millrace

    pipeline("stop")
    assert run()[0] == 0
    topics.produce(kafka.bootstrap, short, numbers(50))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for deleted in admin.delete_records([TopicPartition(short, 0, 120)]).values():
        deleted.result(BROKER_S)
    code, stopped = run()
    assert code == 1
    (task,) = stopped.report()["connectors"][0]["tasks"]
    named = [{"topic": short, "partition": 0, "first": 100, "last": 119, "cause": "deleted"}]
    assert task["lost_ranges"] == named
    assert "offsets 100 to 119 were deleted before they were read" in task["reason"]
    pipeline("continue")
    code, went_on = run()
    assert code == 0, went_on.stderr
    assert went_on.report()["connectors"][0]["tasks"][0]["lost_ranges"] == named
    assert "offsets 100 to 119 were deleted before they were read; going on behind it" in went_on.stderr
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 130
    topics.delete_topic(kafka.bootstrap, short)
