"""The first records of a topic, for somebody to look at: read without a group, and nothing is committed.

Used by: engine.commands.trial, engine.kafka.topic_reader.
Not here: a topic as a whole (topic_reader.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from engine.api.errors import ConnectError, NotFoundError, UnreachableError
from engine.clock import Clock
from engine.kafka.check import make_client

__all__ = ["RawRecord", "record_of", "sample"]

_POLL_SECONDS = 0.5
#: What has to do with a group, which is not joined.
_READS_ALONE = {"enable.auto.commit": False, "enable.auto.offset.store": False, "enable.partition.eof": True}


class RawRecord(NamedTuple):
    """A record as Kafka stores it."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def sample(settings: Mapping[str, Any], topic: str, count: int, seconds: float, clock: Clock) -> list[RawRecord]:
    """The first `count` records that a topic still has, of each partition's beginning; fewer, when there are no more.

    settings: of a consumer. Raises UnreachableError, NotFoundError for a topic that is not there, ConnectError.
    """
    client = make_client({**settings, **_READS_ALONE}, is_sink=True)
    assert isinstance(client, Consumer)
    try:
        return _read(client, topic, count, seconds, clock)
    except KafkaException as error:
        raise ConnectError(f"topic {topic} could not be read: {error.args[0].str()}") from error
    finally:
        client.close()


def _read(client: Consumer, topic: str, count: int, seconds: float, clock: Clock) -> list[RawRecord]:
    waiting = _partitions(client, topic, seconds)
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in waiting])
    found: list[RawRecord] = []
    deadline = clock.monotonic_ns() + int(seconds * 1e9)
    while waiting and len(found) < count and clock.monotonic_ns() < deadline:
        for message in client.consume(count - len(found), _POLL_SECONDS):
            error = message.error()
            if error is None:
                found.append(record_of(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition())
            else:
                raise KafkaException(error)
    return found


def _partitions(client: Consumer, topic: str, seconds: float) -> set[int]:
    try:
        told = client.list_topics(topic, timeout=seconds).topics[topic]
    except KafkaException as error:
        raise UnreachableError(f"no broker answered within {seconds:g} s: {error.args[0].str()}") from error
    if told.error is not None or not told.partitions:
        raise NotFoundError(f"topic {topic} is not there; expected one that holds records")
    return set(told.partitions)


def record_of(message: Any) -> RawRecord:
    """A message of the client's, as ours."""
    kind, timestamp = message.timestamp()
    return RawRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        timestamp if kind else None,
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )
