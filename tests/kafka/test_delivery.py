"""What a source hands over arrives on a real broker, in order and as it was sent, or the record to blame is named.

The broker refuses single requests here, for reasons that a client cannot foresee: a record larger than its topic takes,
a timestamp too far ahead, a missing key. Everything before such a record is in Kafka and stored; of its own partition
nothing behind it is in Kafka.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from msgspec.structs import replace

from engine.api.errors import ConnectError, RecordTooLargeError
from engine.api.record import Header, SourceRecord
from engine.shm.board import Measure, Stage
from tests.harness import topics
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.source_line import AnsweredRecords, Records, SourceLine, numbered
from tests.vectors.cases import cases

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
LIMIT_S = 30.0
PARTITIONS = 4
HOUR_MS = 3_600_000
LONG = pytest.mark.long
#: "keyed answers" go in batches with an answer for each record, as keys do that the client places.
WAYS = [
    "fast",
    "keys",
    "keyed answers",
    "not idempotent",
    *(pytest.param(way, marks=LONG) for way in ("headers", "answers")),
]
SEEDS = [0, *(pytest.param(seed, marks=LONG) for seed in range(1, 10))]


def padded(number: int, size: int) -> bytes:
    return (b"%d " % number).ljust(size, b"x")


def numbers_in(bootstrap: str, topic: str) -> dict[int, list[int]]:
    """The number that each value begins with, by partition."""
    read = topics.consume_all(bootstrap, topic)
    return {partition: [int((one.value or b"").split()[0]) for one in here] for partition, here in read.items()}


def firsts(numbers: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def limit(bootstrap: str, topic: str, **settings: str) -> None:
    """Change the topic's configuration, and return when the broker tells of it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(LIMIT_S)


@pytest.fixture
def make_topic(kafka: Kafka, topic: str) -> Iterator[Callable[..., str]]:
    """Makes topics with a configuration of their own, dropped after the test."""
    made: list[str] = []

    def make(partitions: int = PARTITIONS, **config: str) -> str:
        name = f"{topic}-{len(made)}"
        topics.create_topic(
            kafka.bootstrap,
            name,
            partitions=partitions,
            config={key.replace("_", "."): value for key, value in config.items()},
        )
        made.append(name)
        return name

    yield make
    for name in made:
        topics.delete_topic(kafka.bootstrap, name)


def test_success_for_the_last_record_of_many_does_not_prove_the_others(
    kafka: Kafka, make_topic: Callable[..., str]
) -> None:
    # Why Delivery is as it is: a plain idempotent client, whose last callback reports success over a lost batch.
    topic = make_topic(1, max_message_bytes="2000")
    told: list[KafkaError | None] = []
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "enable.idempotence": True,
            "batch.num.messages": 10,
            "linger.ms": 50,
            "log_level": 2,
        }
    )

    def last(error: KafkaError | None, _: Message) -> None:
        told.append(error)

    messages: list[dict[str, Any]] = [
        {"value": padded(number, 500 if 40 <= number < 50 else 50)} for number in range(100)
    ]
    messages[-1]["callback"] = last
    producer.produce_batch(topic, messages, partition=0)
    assert producer.flush(LIMIT_S) == 0
    assert told == [None]
    assert numbers_in(kafka.bootstrap, topic)[0] == [*range(40), *range(50, 100)]


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_the_topic_does_not_take_is_named_and_nothing_is_stored_past_it(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path, way: str
) -> None:
    topic = make_topic(max_message_bytes="2000")
    more: dict[str, Any] = {}
    if way == "headers":
        more["headers"] = [Header("a", b"1")]
    if way.startswith("key"):
        more["key"] = b"one key"
    else:
        more["partition"] = 1
    records = [numbered(number, topic, padded(number, 5000 if number == 620 else 40), **more) for number in range(1000)]
    source = SourceLine(
        kafka.bootstrap,
        tmp_path,
        records,
        task=AnsweredRecords if way.endswith("answers") else Records,
        settings={"enable.idempotence": "false"} if way == "not idempotent" else {},
    )
    failure = source.run()
    assert isinstance(failure, RecordTooLargeError)
    for word in (
        topic,
        "record 21 of 50",
        f"{5007 if way.startswith('key') else 5000} bytes",
        '{"next":650}',
        "max.message.bytes",
    ):
        assert word in str(failure), f"{word} is not in: {failure}"
    assert source.stored == 600
    (seen,) = [here for here in numbers_in(kafka.bootstrap, topic).values() if here]
    if way == "not idempotent":
        assert set(seen) >= set(range(620))
        assert 620 not in seen
    else:
        assert firsts(seen) == list(range(620)), "everything before it, and nothing behind it"
    limit(kafka.bootstrap, topic, max_message_bytes="20000")
    assert source.run() is None
    (seen,) = [here for here in numbers_in(kafka.bootstrap, topic).values() if here]
    assert source.stored == 1000
    assert set(seen) == set(range(1000))
    if way != "not idempotent":
        assert firsts(seen) == list(range(1000))


def test_many_small_records_arrive_on_a_topic_that_takes_small_batches_only(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(max_message_bytes="2000")
    source = SourceLine(
        kafka.bootstrap, tmp_path, [numbered(number, topic, padded(number, 100)) for number in range(200)]
    )
    assert source.run() is None
    assert sorted(chain(*numbers_in(kafka.bootstrap, topic).values())) == list(range(200))


def test_a_topic_that_begins_to_take_small_batches_only_while_it_is_written_gets_all_and_none_is_blamed(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(1)

    def between(number: int) -> None:
        if number == 1000 and source.stored == 1000:
            limit(kafka.bootstrap, topic, max_message_bytes="2000")

    records = [numbered(number, topic, padded(number, 100), partition=0) for number in range(3000)]
    source = SourceLine(kafka.bootstrap, tmp_path, records, at_once=500, between=between)
    assert source.run() is None
    seen = numbers_in(kafka.bootstrap, topic)[0]
    assert firsts(seen) == list(range(3000))
    assert len(seen) - 3000 <= source.banks.row.may_be_repeated()


def test_a_second_topic_that_takes_small_batches_only_costs_the_first_nothing(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    large, small = make_topic(1), make_topic(1, max_message_bytes="2000")
    records = [
        numbered(number, small if number // 100 % 2 else large, padded(number, 100), partition=0)
        for number in range(2000)
    ]
    source = SourceLine(kafka.bootstrap, tmp_path, records, at_once=100)
    assert source.run() is None
    assert firsts(numbers_in(kafka.bootstrap, large)[0]) == [one for one in range(2000) if one // 100 % 2 == 0]
    assert firsts(numbers_in(kafka.bootstrap, small)[0]) == [one for one in range(2000) if one // 100 % 2]


def test_a_timestamp_that_the_topic_does_not_take_is_named(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(1, message_timestamp_after_max_ms=str(HOUR_MS))
    now_ms = time.time_ns() // 1_000_000
    records = [
        numbered(number, topic, timestamp=now_ms + (2 * HOUR_MS if number == 70 else 0), partition=0)
        for number in range(200)
    ]
    source = SourceLine(kafka.bootstrap, tmp_path, records)
    failure = source.run()
    assert isinstance(failure, ConnectError)
    for word in (topic, "record 21 of 50", "INVALID_TIMESTAMP"):
        assert word in str(failure), f"{word} is not in: {failure}"
    assert source.stored == 50
    assert firsts(numbers_in(kafka.bootstrap, topic)[0]) == list(range(70))


def test_a_record_without_a_key_for_a_compacted_topic_is_named(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(1, cleanup_policy="compact")
    records = [numbered(number, topic, key=None if number == 70 else b"%d" % number) for number in range(200)]
    source = SourceLine(kafka.bootstrap, tmp_path, records)
    failure = source.run()
    assert isinstance(failure, ConnectError)
    for word in (topic, "record 21 of 50", "INVALID_RECORD"):
        assert word in str(failure), f"{word} is not in: {failure}"
    assert source.stored == 50
    assert firsts(numbers_in(kafka.bootstrap, topic)[0]) == list(range(70))


def test_a_partition_that_the_topic_has_not_is_named(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(2)
    records = [numbered(number, topic, partition=5 if number == 70 else 1) for number in range(200)]
    source = SourceLine(kafka.bootstrap, tmp_path, records)
    failure = source.run()
    assert isinstance(failure, ConnectError)
    for word in (topic, "record 21 of 50", "partition"):
        assert word in str(failure), f"{word} is not in: {failure}"
    assert source.stored == 50
    seen = firsts(numbers_in(kafka.bootstrap, topic)[1])
    assert 50 <= len(seen) <= 70
    assert seen == list(range(len(seen)))


def test_keys_go_to_the_partition_that_java_chooses(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    wanted = {
        base64.b64decode(case["input"]["key"]): (case["expected"]["murmur2"] & 0x7FFFFFFF) % 7
        for case in cases("partitioner")
    }
    topic = make_topic(7)
    source = SourceLine(
        kafka.bootstrap, tmp_path, [numbered(number, topic, key=key) for number, key in enumerate(wanted)], at_once=20
    )
    assert source.run() is None
    read = topics.consume_all(kafka.bootstrap, topic)
    assert {one.key: partition for partition, here in read.items() for one in here} == wanted


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", [Records, AnsweredRecords])
def test_every_member_of_a_record_arrives_and_each_partition_keeps_the_order(
    kafka: Kafka, topic: str, tmp_path: Path, seed: int, task: type[Records]
) -> None:
    rng = random.Random(seed)
    records = [mixed(number, topic, rng) for number in range(700)]
    # Batches of all kinds: some without keys, without headers, without timestamps, without partitions.
    for begin in range(0, 700, 100):
        for member in rng.sample(["key", "headers", "timestamp", "partition"], k=rng.randint(0, 4)):
            for at in range(begin, begin + 100):
                records[at] = with_default(records[at], member)
    source = SourceLine(kafka.bootstrap, tmp_path, records, at_once=100, task=task)
    began_ms = time.time_ns() // 1_000_000
    assert source.run() is None
    read = topics.consume_all(kafka.bootstrap, topic)
    places: dict[int, tuple[int, topics.Stored]] = {}
    for partition, here in read.items():
        numbers = [number_of(one.value) for one in here]
        assert numbers == sorted(numbers), f"partition {partition} is out of order (seed {seed})"
        places.update({number_of(one.value): (partition, one) for one in here})
    assert sorted(places) == list(range(700)), f"seed {seed}"
    for number, sent in enumerate(records):
        partition, got = places[number]
        assert sent.partition in (None, partition)
        assert (got.key, got.value) == (sent.key, sent.value)
        assert got.headers == [(header.key, header.value) for header in sent.headers]
        if sent.timestamp is None:
            assert got.timestamp_ms >= began_ms - 1000
        else:
            assert got.timestamp_ms == sent.timestamp
    if task is AnsweredRecords:
        check_answers(source, topic, places)


def check_answers(source: SourceLine, topic: str, places: Mapping[int, tuple[int, topics.Stored]]) -> None:
    """Each record was answered once, in order, with its place, before the `commit` that covers it."""
    answers = [call for call in source.task.calls if not isinstance(call, str)]
    assert [number_of(value) for value, _ in answers] == list(range(len(source.records)))
    for value, metadata in answers:
        assert metadata is not None
        partition, got = places[number_of(value)]
        assert (metadata.topic, metadata.partition, metadata.offset) == (topic, partition, got.offset)
    assert source.task.calls[-1] == "commit"


def number_of(value: bytes | None) -> int:
    assert value is not None
    return int(value.split()[0])


def mixed(number: int, topic: str, rng: random.Random) -> SourceRecord:
    """A record with any of its members there or not."""
    headers = [Header(rng.choice("ab"), rng.choice([b"", b"x", None])) for _ in range(rng.randint(0, 3))]
    return numbered(
        number,
        topic,
        key=rng.choice([None, b"", b"%d" % rng.randint(0, 9)]),
        partition=rng.choice([None, rng.randrange(PARTITIONS)]),
        timestamp=rng.choice([None, 1_700_000_000_000 + number]),
        headers=headers,
    )


def with_default(sent: SourceRecord, member: str) -> SourceRecord:
    return replace(sent, **{member: () if member == "headers" else None})


def test_values_of_every_size_up_to_the_limit_and_none_arrive(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    sizes = [0, 1, 2, 999_000, 0, 500_000, 1, 1_000_000, 3, 0, 1_000_000, 1]
    values = [rb"x" * size for size in sizes]
    records = [numbered(number, topic, value, partition=0) for number, value in enumerate(values)]
    records.append(numbered(len(records), topic, None, null=True, partition=0))
    source = SourceLine(kafka.bootstrap, tmp_path, records, at_once=4)
    assert source.run() is None
    assert [one.value for one in topics.consume_all(kafka.bootstrap, topic)[0]] == [*values, None]


def test_a_record_larger_than_max_request_size_is_named_with_what_to_raise(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    records = [numbered(number, topic, padded(number, 2_000_000 if number == 70 else 10)) for number in range(200)]
    source = SourceLine(kafka.bootstrap, tmp_path, records)
    failure = source.run()
    assert isinstance(failure, RecordTooLargeError)
    for word in (topic, "2000000 bytes", "max.request.size"):
        assert word in str(failure), f"{word} is not in: {failure}"
    assert source.stored == 70
    assert set(chain(*numbers_in(kafka.bootstrap, topic).values())) == set(range(70))


def test_large_records_arrive_where_client_and_topic_take_them(
    kafka: Kafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(1, max_message_bytes="6000000")
    sizes = [10, 5_000_000, 10, 4_999_999, 3]
    records = [numbered(number, topic, padded(number, size), partition=0) for number, size in enumerate(sizes)]
    source = SourceLine(kafka.bootstrap, tmp_path, records, settings={"max.request.size": "5500000"}, at_once=2)
    assert source.run() is None
    assert [len(one.value or b"") for one in topics.consume_all(kafka.bootstrap, topic)[0]] == sizes


def test_what_was_acknowledged_is_counted_once(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    source = SourceLine(kafka.bootstrap, tmp_path, [numbered(number, topic) for number in range(500)])
    assert source.run() is None
    row = source.banks.row
    for stage in (Stage.PRODUCE, Stage.ACKNOWLEDGE, Stage.STORE):
        assert row.measured(stage, Measure.RECORDS) == 500
    assert row.may_be_repeated() == 0
