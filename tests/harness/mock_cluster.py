"""librdkafka's mock cluster, told to answer with errors that a real broker gives once in a thousand restarts.

    with MockCluster("orders") as cluster:
        cluster.answer_produce_with(KafkaError.UNKNOWN_PRODUCER_ID)

Used by: tests of what clients make of such answers.
"""

from __future__ import annotations

import ctypes
from typing import Self

from engine.kafka.librdkafka_call import Library

__all__ = ["MockCluster"]

PRODUCE = 0  # the request's number in Kafka's protocol


class MockCluster:
    """One broker, in this process."""

    def __init__(self, topic: str) -> None:
        self._library = Library()
        self._client = self._library.client({"client.id": "mock"})
        self._cluster = self._library.pointer("rd_kafka_mock_cluster_new", self._client, 1)
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 1, 1)

    @property
    def bootstrap(self) -> str:
        """As `bootstrap.servers` takes it."""
        found = self._library.pointer("rd_kafka_mock_cluster_bootstraps", self._cluster)
        return ctypes.string_at(found).decode()

    def answer_produce_with(self, *codes: int) -> None:
        """Refuse the next produce requests so, in turn; 0: take one."""
        self._library.rd_kafka_mock_push_request_errors(self._cluster, PRODUCE, ctypes.c_size_t(len(codes)), *codes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)
