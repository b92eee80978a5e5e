"""Records that are handed to librdkafka as an array arrive as those do that are handed over one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from engine.kafka.direct import Direct
from engine.kafka.librdkafka_call import Library
from engine.kafka.parting import Heads
from engine.kafka.producer import BatchProducer, Refused
from engine.shm.frame import Payloads
from tests.harness import wait
from tests.harness.mock_cluster import MockCluster

TOPIC = "parted"  # made when it is asked for, with 4 partitions
PARTITIONS = 4
WAIT_S = 20.0


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster("orders") as cluster:
        yield cluster


def sent(cluster: MockCluster, heads: Heads) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    """Keys and values of each partition, once all are delivered."""
    producer = BatchProducer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})
    assert producer.partition_count(TOPIC, WAIT_S) == PARTITIONS
    assert producer._direct is not None
    producer.send_many(TOPIC, heads)

    def is_over() -> bool:
        producer.poll()
        return not len(producer)

    wait.until(is_over, "all records delivered")
    reader: Any = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "check", "enable.auto.commit": False})
    reader.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for _ in heads.values:
        message = reader.poll(WAIT_S)
        assert message is not None
        assert message.error() is None
        found.setdefault(message.partition(), []).append((message.key(), message.value()))
    reader.close()
    return found


def test_this_client_is_built_as_it_is_known_to_be() -> None:
    assert Direct.of(Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})) is not None


def test_what_is_no_producer_is_not_called() -> None:
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "none", "log_level": 0})
    assert Direct.of(consumer) is None
    assert Direct.of(object()) is None
    consumer.close()


@pytest.mark.parametrize("error", [OSError("(deleted)"), AttributeError("rd_kafka_opaque")])
def test_a_library_that_cannot_be_called_leaves_records_to_the_client(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise error

    monkeypatch.setattr(Library, "__init__", missing)
    assert BatchProducer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})._direct is None


@pytest.mark.parametrize("has_keys", [False, True])
def test_each_record_arrives_in_its_partition_in_order(cluster: MockCluster, has_keys: bool) -> None:
    rng = random.Random(5)
    values: Payloads = [rng.randbytes(rng.randint(1, 3000)) for _ in range(500)]
    keys: Payloads = [rng.randbytes(rng.randint(1, 40)) for _ in values]
    places = [rng.randrange(PARTITIONS) for _ in values]
    found = sent(cluster, Heads(values, keys if has_keys else None, places, {}))
    wanted: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for key, value, place in zip(keys, values, places, strict=True):
        wanted.setdefault(place, []).append((key if has_keys else None, value))
    assert found == wanted


@pytest.mark.parametrize("values", [[b"a", b"b", b"c"], [b"a", None, b"", b"c"]])
def test_records_of_one_partition_arrive_with_those_that_are_empty(cluster: MockCluster, values: Payloads) -> None:
    assert sent(cluster, Heads(values, None, 2, {})) == {2: [(None, value) for value in values]}


@pytest.mark.parametrize(
    ("values", "places", "code"),
    [
        ([b"a", b"b", b"c"], [0, PARTITIONS + 5, 1], KafkaError._UNKNOWN_PARTITION),
        ([b"a", b"b" * 2_000_000, b"c"], [0, 0, 1], KafkaError.MSG_SIZE_TOO_LARGE),
        ([b"a", b"b" * 2_000_000, b"c"], 0, KafkaError.MSG_SIZE_TOO_LARGE),
    ],
)
def test_a_record_that_is_refused_in_the_middle_is_told(
    cluster: MockCluster, values: Payloads, places: int | list[int], code: int
) -> None:
    producer = BatchProducer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "log_level": 0})
    assert producer.partition_count(TOPIC, WAIT_S) == PARTITIONS
    with pytest.raises(Refused) as refused:
        producer.send_many(TOPIC, Heads(values, None, places, {}))
    assert refused.value.error is not None
    assert refused.value.error.code() == code
    producer.close()


def test_a_full_queue_is_told() -> None:
    producer = BatchProducer({"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 10, "log_level": 0})
    with pytest.raises(Refused) as refused:
        producer.send_many(TOPIC, Heads([b"x"] * 20, None, 0, {}))
    assert refused.value.error is not None
    assert refused.value.error.code() == KafkaError._QUEUE_FULL
    producer.close()
