"""A producer that numbers its records anew says so: what was on its way then may be in Kafka twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from engine.kafka.producer import BatchProducer
from tests.harness import wait
from tests.harness.mock_cluster import MockCluster

TOPIC = "orders"


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(TOPIC) as cluster:
        yield cluster


def producer_of(cluster: MockCluster) -> BatchProducer:
    settings = {"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "enable.gapless.guarantee": True}
    return BatchProducer(settings)


def deliver(producer: BatchProducer, value: bytes) -> None:
    answers: list[KafkaError | None] = []
    producer.send_batch(TOPIC, 0, [{"value": value, "callback": lambda error, _: answers.append(error)}])

    def is_answered() -> bool:
        producer.poll()
        return bool(answers)

    wait.until(is_answered, "an answer for the record")
    assert answers == [None]


def test_a_producer_whose_numbers_the_broker_has_forgotten_says_once_that_it_begins_anew(cluster: MockCluster) -> None:
    producer = producer_of(cluster)
    deliver(producer, b"1")
    assert not producer.take_new_numbers()
    cluster.answer_produce_with(KafkaError.UNKNOWN_PRODUCER_ID)
    deliver(producer, b"2")
    assert producer.take_new_numbers() == 1
    assert producer.take_new_numbers() == 0


def test_a_record_that_is_sent_again_with_its_number_is_no_news(cluster: MockCluster) -> None:
    producer = producer_of(cluster)
    cluster.answer_produce_with(KafkaError.REQUEST_TIMED_OUT)
    deliver(producer, b"1")
    assert not producer.take_new_numbers()
