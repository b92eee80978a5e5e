"""A sink's pump on a real broker: nothing lost, nothing waited for in vain, and the group is told what is true."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # exported unsaid

from engine.api.errors import ConnectError, RecordTooLargeError
from engine.config.line import Subscription, Timing
from engine.shm.board import Measure, Stage, Target
from tests.harness import topics
from tests.harness.banks import CollectingSink, values_by_partition
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.sinks import BROKER_S, Sinks, has_partitions, numbers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka


@pytest.fixture
def sinks(kafka: Kafka) -> Iterator[Sinks]:
    tasks = Sinks(kafka.bootstrap)
    yield tasks
    tasks.close()


def test_all_there_is_comes_out_once_in_order_and_is_committed(sinks: Sinks, topic: str) -> None:
    values = numbers(20_000)
    topics.produce(sinks.bootstrap, topic, values, partitions=[number % 4 for number in range(20_000)])
    line = sinks.add(topic)
    sinks.drain()
    for partition in range(4):
        assert values_by_partition(sinks.records)[topic, partition] == values[partition::4]
        assert sinks.offsets()[topic, partition] == 5_000
    assert line.row.measured(Stage.CONSUME, Measure.RECORDS) == 20_000
    assert line.row.measured(Stage.COMMIT, Measure.RECORDS) == 20_000
    assert line.row.may_be_repeated() == 0


def test_keys_headers_and_timestamps_come_as_they_were_written(sinks: Sinks, topic: str) -> None:
    stamps = [1_700_000_000_000 + number for number in range(100)]
    keys = [None if number % 3 else b"k%d" % number for number in range(100)]
    headers = [[] if number % 2 else [("a", b"1"), ("a", None)] for number in range(100)]
    topics.produce(
        sinks.bootstrap,
        topic,
        [None if number == 7 else b"v%d" % number for number in range(100)],
        keys=keys,
        headers=headers,
        timestamps_ms=stamps,
        partitions=[0] * 100,
    )
    line = sinks.add(topic)
    sinks.drain()
    task = line.task._task
    assert isinstance(task, CollectingSink)
    records = [record for batch in task.batches for record in batch]
    assert [record.key for record in records] == keys
    assert [record.timestamp for record in records] == stamps
    assert [[(header.key, header.value) for header in record.headers] for record in records] == headers
    assert [record.value for record in records][7:9] == [None, b"v8"]


@pytest.mark.parametrize("level", ["read_uncommitted", "read_committed"])
def test_a_drain_gets_over_transaction_markers_and_commits_the_end(sinks: Sinks, topic: str, level: str) -> None:
    producer = Producer({"bootstrap.servers": sinks.bootstrap, "transactional.id": topic})
    producer.init_transactions()
    for is_kept in (True, False):
        producer.begin_transaction()
        for partition in (0, 1):
            producer.produce(topic, b"kept" if is_kept else b"dropped", partition=partition)
        producer.flush()
        producer.commit_transaction() if is_kept else producer.abort_transaction()
    producer.begin_transaction()
    producer.produce(topic, b"dropped", partition=2)
    producer.flush()
    producer.abort_transaction()
    sinks.add(topic, settings={"isolation.level": level})
    sinks.drain()
    assert [value for *_, value in sinks.records].count(b"kept") == 2
    assert sinks.offsets() == {(topic, 0): 4, (topic, 1): 4, (topic, 2): 2, (topic, 3): 0}


def test_a_second_drain_of_the_same_group_has_nothing_to_do(sinks: Sinks, topic: str) -> None:
    topics.produce(sinks.bootstrap, topic, numbers(100))
    sinks.add(topic)
    sinks.drain()
    sinks.remove(sinks.lines[0], leave=True)
    sinks.add(topic)
    sinks.drain()
    assert len(sinks.records) == 100


def test_a_topic_that_is_not_there_is_named_and_the_drain_ends(sinks: Sinks, caplog: pytest.LogCaptureFixture) -> None:
    missing = "not-there-" + uuid.uuid4().hex
    sinks.add(missing)
    sinks.drain()
    assert sinks.records == []
    assert f"there is no topic {missing}: nothing is read of it" in [log.getMessage() for log in caplog.records]


def test_partitions_that_were_added_a_moment_ago_are_drained(sinks: Sinks, topic: str) -> None:
    line = sinks.add(topic)
    sinks.until(has_partitions(line, 4), "partitions")
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    for added in admin.create_partitions([NewPartitions(topic, 5)]).values():
        added.result(BROKER_S)
    topics.produce(sinks.bootstrap, topic, [b"added"], partitions=[4])
    sinks.drain()
    assert sinks.records == [(topic, 4, 0, b"added")]


def test_a_topic_that_is_deleted_before_its_end_is_an_error(sinks: Sinks, topic: str) -> None:
    short = topic + "-short"
    topics.create_topic(sinks.bootstrap, short, partitions=1)
    topics.produce(sinks.bootstrap, short, numbers(10))
    line = sinks.add(short, timing=Timing(commit_interval=60, broker_timeout=BROKER_S))
    sinks.until(lambda: len(sinks.records) == 10, "all records")
    line.task.pause(line.task.assignment())
    topics.produce(sinks.bootstrap, short, [b"unread"])
    line.memory.aim(Target.DRAIN)
    sinks.until(lambda: line.pump._drain is not None, "a drain")
    topics.delete_topic(sinks.bootstrap, short)
    with pytest.raises(ConnectError, match=f"topic {short} partition 0 is gone"):
        sinks.until(lambda: False, "an error")


def test_a_topic_that_comes_later_is_read_soon(sinks: Sinks, topic: str) -> None:
    late = topic + "-late"
    line = sinks.add(topic, late)
    sinks.until(has_partitions(line, 4), "the first topic's partitions")
    topics.create_topic(sinks.bootstrap, late, partitions=1)
    try:
        topics.produce(sinks.bootstrap, late, [b"late"])
        assert sinks.until(lambda: (late, 0, 0, b"late") in sinks.records, "the late topic's record") < 10
    finally:
        topics.delete_topic(sinks.bootstrap, late)


def test_a_pattern_takes_whole_names_as_java_does(sinks: Sinks, topic: str) -> None:
    other = topic + "-not"
    topics.create_topic(sinks.bootstrap, other, partitions=1)
    try:
        topics.produce(sinks.bootstrap, topic, [b"taken"], partitions=[0])
        topics.produce(sinks.bootstrap, other, [b"left"])
        sinks.add(subscription=Subscription(pattern=topic[:-3] + "..."))
        sinks.drain()
        assert [value for *_, value in sinks.records] == [b"taken"]
    finally:
        topics.delete_topic(sinks.bootstrap, other)


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_member_that_joins_takes_over_where_the_other_has_flushed(sinks: Sinks, topic: str, strategy: str) -> None:
    settings = {"partition.assignment.strategy": strategy}
    topics.produce(sinks.bootstrap, topic, numbers(4_000))
    first = sinks.add(topic, settings=settings, timing=Timing(commit_interval=60, broker_timeout=BROKER_S))
    sinks.until(lambda: len(sinks.records) == 4_000, "all records")
    second = sinks.add(topic, settings=settings)
    sinks.until(lambda: has_partitions(first, 2)() and has_partitions(second, 2)(), "two partitions each")
    topics.produce(sinks.bootstrap, topic, [b"more"] * 400)
    sinks.drain()
    assert len(sinks.records) == 4_400, "nothing twice: what was put had been committed when partitions moved"


def test_a_static_member_that_comes_back_finds_its_partitions_and_leaves_the_other_alone(
    sinks: Sinks, topic: str
) -> None:
    first, second = sinks.add(topic), sinks.add(topic)
    sinks.until(lambda: has_partitions(first, 2)() and has_partitions(second, 2)(), "two partitions each")
    revoked_before = len(second.task._task.closed)  # type: ignore[attr-defined]
    sinks.remove(first, leave=False)
    again = sinks.add(topic, member=0)
    assert sinks.until(has_partitions(again, 2), "its partitions") < 2
    assert len(second.task._task.closed) == revoked_before  # type: ignore[attr-defined]


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_static_member_that_leaves_gives_its_partitions_to_the_other_at_once(
    sinks: Sinks, topic: str, strategy: str
) -> None:
    settings = {"partition.assignment.strategy": strategy}
    first, second = sinks.add(topic, settings=settings), sinks.add(topic, settings=settings)
    sinks.until(lambda: has_partitions(first, 2)() and has_partitions(second, 2)(), "two partitions each")
    sinks.remove(first, leave=True)
    assert sinks.until(has_partitions(second, 4), "all partitions") < 2


def test_a_full_ring_pauses_the_partitions_and_nothing_is_lost(sinks: Sinks, topic: str) -> None:
    values = [b"%06d" % number + bytes(500) for number in range(4_000)]
    topics.produce(sinks.bootstrap, topic, values, partitions=[0] * 4_000)
    line = sinks.add(topic, ring_bytes=64 * 1024)
    begin = time.monotonic()
    while time.monotonic() - begin < 3:  # the task is busy: only the pump steps
        line.pump.step(0.005)
    assert line.pump._paused == {(topic, partition) for partition in range(4)}
    assert len(line.pump._held) * line.pump.ring.frame_bytes_max < 20 * 1024 * 1024
    sinks.drain()
    assert [value for *_, value in sinks.records] == values


def test_a_record_that_fits_no_frame_is_an_error_that_names_it(sinks: Sinks, topic: str) -> None:
    topics.produce(sinks.bootstrap, topic, [b"small", bytes(100_000)], partitions=[3, 3])
    sinks.add(topic, ring_bytes=64 * 1024)
    with pytest.raises(RecordTooLargeError, match=rf"topic {topic}, partition 3, offset 1 .*ring\.bytes"):
        sinks.until(lambda: False, "an error")


def test_records_that_were_deleted_before_they_were_read_are_an_error(sinks: Sinks, topic: str) -> None:
    topics.produce(sinks.bootstrap, topic, numbers(100), partitions=[0] * 100)
    line = sinks.add(topic)
    sinks.until(lambda: sinks.offsets().get((topic, 0)) == 100, "a commit")
    sinks.remove(line, leave=True)
    topics.produce(sinks.bootstrap, topic, numbers(100), partitions=[0] * 100)
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 150)]).values():
        deleted.result(BROKER_S)
    sinks.add(topic)
    with pytest.raises(ConnectError, match=rf"topic {topic} partition 0: the offset to go on at is gone"):
        sinks.until(lambda: False, "an error")


@pytest.mark.parametrize(("committed", "first"), [(50, 100), (1_000, 0)])
def test_a_drain_of_a_partition_without_the_committed_offset_is_an_error(
    sinks: Sinks, topic: str, committed: int, first: int
) -> None:
    topics.produce(sinks.bootstrap, topic, numbers(100), partitions=[0] * 100)
    client = Consumer({"bootstrap.servers": sinks.bootstrap, "group.id": sinks.group})
    client.commit(offsets=[TopicPartition(topic, 0, committed)], asynchronous=False)
    client.close()
    admin = AdminClient({"bootstrap.servers": sinks.bootstrap})
    for deleted in admin.delete_records([TopicPartition(topic, 0, first)]).values():
        deleted.result(BROKER_S)
    sinks.add(topic)
    with pytest.raises(ConnectError, match=rf"topic {topic} partition 0: the offset to go on at is gone"):
        sinks.drain()


def test_a_first_start_at_the_end_is_kept_by_the_group(sinks: Sinks, topic: str) -> None:
    topics.produce(sinks.bootstrap, topic, numbers(10), partitions=[0] * 10)
    line = sinks.add(topic, start_at="latest")
    sinks.until(lambda: sinks.offsets() == {(topic, p): 10 if p == 0 else 0 for p in range(4)}, "commits")
    sinks.remove(line, leave=True)
    topics.produce(sinks.bootstrap, topic, [b"between"], partitions=[0])
    sinks.add(topic, start_at="latest")
    sinks.drain()
    assert sinks.records == [(topic, 0, 10, b"between")]


def test_a_seek_delivers_again_from_there(sinks: Sinks, topic: str) -> None:
    topics.produce(sinks.bootstrap, topic, numbers(100), partitions=[0] * 100)
    line = sinks.add(topic)
    sinks.until(lambda: len(sinks.records) == 100, "all records")
    place = next(place for place in line.task.assignment() if place.partition == 0)
    line.task.seek({place: 60})
    sinks.drain()
    assert [offset for _, _, offset, _ in sinks.records] == [*range(100), *range(60, 100)]


def test_what_is_paused_is_delivered_when_it_is_resumed(sinks: Sinks, topic: str) -> None:
    line = sinks.add(topic)
    sinks.until(has_partitions(line, 4), "partitions")
    place = next(place for place in line.task.assignment() if place.partition == 0)
    line.task.pause([place])
    topics.produce(sinks.bootstrap, topic, [*numbers(50), b"x"], partitions=[0] * 50 + [1])
    sinks.until(lambda: len(sinks.records) == 1, "the other partition's record")
    line.task.resume([place])
    sinks.drain()
    assert values_by_partition(sinks.records)[topic, 0] == numbers(50)
