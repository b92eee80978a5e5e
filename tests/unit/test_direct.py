"""Records that are handed to librdkafka as an array arrive as those do that are handed over one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from engine.kafka.direct import Direct
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


@pytest.mark.parametrize("other", [object(), [1, 2, 3], b"x" * 100, Heads([], None, 0, {})])
def test_what_is_no_client_is_not_called(other: object) -> None:
    assert Direct.of(other) is None


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
def test_records_of_one_partition_arrive_with_those_that_are_empty(
    cluster: MockCluster, values: Payloads
) -> None:
    assert sent(cluster, Heads(values, None, 2, {})) == {2: [(None, value) for value in values]}


def test_a_full_queue_is_told() -> None:
    producer = BatchProducer({"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 10, "log_level": 0})
    with pytest.raises(Refused) as refused:
        producer.send_many(TOPIC, Heads([b"x"] * 20, None, 0, {}))
    assert refused.value.error is not None
    assert refused.value.error.code() == KafkaError._QUEUE_FULL
    producer.close()
