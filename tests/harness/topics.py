"""What a test does with topics and groups: make, fill, read whole, ask where they end.

Every function makes its own client and gives it up; none is for speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
)
from msgspec import Struct

from tests.harness import wait
from tests.harness.server import answers

__all__ = [
    "Stored",
    "consume_all",
    "create_topic",
    "delete_topic",
    "end_offsets",
    "group_members",
    "group_offsets",
    "produce",
]

ASK_S = 20.0
ANSWER_S = 30.0
#: While a broker makes or reads the topic of offsets.
COORDINATORS = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
LOG_LEVEL = 2  # of syslog: errors come as exceptions, and a client is given up soon
READ_S = 1.0
READ_AT_ONCE = 10_000
QUEUE_ROOM_S = 0.1

Headers = Sequence[tuple[str, bytes | None]]


class Stored(Struct, frozen=True):
    """A record as it lies in a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp_ms: int


def create_topic(
    bootstrap: str,
    topic: str,
    *,
    partitions: int = 4,
    replication: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Return when all partitions of the new topic can be asked; its records stay, however old.

    Raises KafkaException when it cannot be made.
    """
    admin = _admin(bootstrap)
    new = NewTopic(
        topic,
        num_partitions=partitions,
        replication_factor=replication,
        config={"retention.ms": "-1", **(config or {})},
    )
    admin.create_topics([new], request_timeout=ASK_S)[topic].result(ANSWER_S)
    # The broker knows of a topic some moments before its partitions have a leader.
    wait.until(
        lambda: answers(lambda: _ends(bootstrap, topic), KafkaException, KeyError),
        f"leaders of {topic}",
        timeout_s=ASK_S,
    )


def configure_topic(bootstrap: str, topic: str, config: Mapping[str, str]) -> None:
    """The topic has these settings besides its others."""
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = _admin(bootstrap)
    admin.incremental_alter_configs([resource])[resource].result()


def delete_topic(bootstrap: str, topic: str) -> None:
    """Ask the broker to drop the topic. Raises KafkaException when there is none."""
    admin = _admin(bootstrap)
    admin.delete_topics([topic], request_timeout=ASK_S)[topic].result(ANSWER_S)


def produce(
    bootstrap: str,
    topic: str,
    values: Sequence[bytes | str | None],
    *,
    keys: Sequence[bytes | str | None] | None = None,
    headers: Sequence[Headers] | None = None,
    partitions: Sequence[int] | None = None,
    timestamps_ms: Sequence[int] | None = None,
) -> None:
    """Return when the broker has acknowledged all n records; each column, where given, has n slots.

    Raises AssertionError when one was refused.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "partitioner": "murmur2_random"})
    refused: list[object] = []
    for index, value in enumerate(values):
        optional: dict[str, Any] = {}
        if headers is not None:
            optional["headers"] = list(headers[index])
        if partitions is not None:
            optional["partition"] = partitions[index]
        if timestamps_ms is not None:
            optional["timestamp"] = timestamps_ms[index]
        while len(producer) >= READ_AT_ONCE:
            producer.poll(QUEUE_ROOM_S)
        key = None if keys is None else keys[index]
        producer.produce(
            topic, value, key, on_delivery=lambda error, _: refused.append(error) if error else None, **optional
        )
    unsent = producer.flush(ASK_S)
    assert unsent == 0, f"{unsent} of {len(values)} records were not acknowledged within {ASK_S} s"
    assert not refused, f"{len(refused)} of {len(values)} records were refused, first: {refused[0]}"


def consume_all(bootstrap: str, topic: str, *, isolation: str = "read_uncommitted") -> dict[int, list[Stored]]:
    """Every record from each partition's first offset to its end at the moment of the call, in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reads-all",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "fetch.queue.backoff.ms": 10,
        }
    )
    open_until = {at.partition: at.offset for at in _ends(bootstrap, topic)}
    read: dict[int, list[Stored]] = {partition: [] for partition in open_until}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in open_until])
    unread = {partition for partition, end in open_until.items() if end > 0}
    try:
        while unread:
            messages = consumer.consume(READ_AT_ONCE, READ_S)
            for message in messages:
                error = message.error()
                at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
                if error is not None and not at_end:
                    raise KafkaException(error)
                partition, offset = _place(message)
                if not at_end and offset < open_until[partition]:
                    read[partition].append(_stored(message))
                if at_end or offset >= open_until[partition] - 1:
                    unread.discard(partition)
    finally:
        consumer.close()
    return read


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset that the next record of each partition will get."""
    return {at.partition: at.offset for at in _ends(bootstrap, topic)}


def group_offsets(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """The committed offset of each (topic, partition) of a group; empty when it has none.

    Where the broker is still making the topic of offsets, or reading it, librdkafka 2.16 would end the process (SIGSEGV
    in rd_kafka_cgrp_op, called for an admin client that has no group): that is waited for.
    """
    asked = ConsumerGroupTopicPartitions(group)
    admin = _admin(bootstrap)
    wait.until(lambda: _described(admin, group), f"coordinator of group {group}")
    answer = admin.list_consumer_group_offsets([asked], request_timeout=ASK_S)[group].result(ANSWER_S)
    return {(at.topic, at.partition): at.offset for at in answer.topic_partitions or [] if at.offset >= 0}


def group_members(bootstrap: str, group: str) -> dict[str, list[tuple[str, int]]]:
    """The (topic, partition)s that each member of a group has now, by member id."""
    admin = _admin(bootstrap)
    said = wait.until(lambda: _described(admin, group), f"coordinator of group {group}")
    assert said is not None
    return {
        member.member_id: [(at.topic, at.partition) for at in member.assignment.topic_partitions]
        for member in said.result().members
    }


def _described(admin: AdminClient, group: str) -> Future[Any] | None:
    """What the coordinator says of a group, if only an error; None: it has none yet."""
    said: Future[Any] = admin.describe_consumer_groups([group], request_timeout=ASK_S)[group]
    error = said.exception(ANSWER_S)
    return None if isinstance(error, KafkaException) and error.args[0].code() in COORDINATORS else said


def _admin(bootstrap: str) -> AdminClient:
    # Keep it in a name until the answer is there: the futures of a client that is gone are never done.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": LOG_LEVEL})


def _ends(bootstrap: str, topic: str) -> list[TopicPartition]:
    admin = _admin(bootstrap)
    metadata = admin.list_topics(topic, timeout=ASK_S).topics[topic]
    if metadata.error is not None:
        raise KeyError(f"{topic}: {metadata.error}")
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, partition): latest for partition in metadata.partitions}
    ends = admin.list_offsets(asked, request_timeout=ASK_S)
    return [TopicPartition(topic, at.partition, future.result(ANSWER_S).offset) for at, future in ends.items()]


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _stored(message: Message) -> Stored:
    headers: Any = message.headers() or ()
    return Stored(
        offset=_place(message)[1],
        key=message.key(),
        value=message.value(),
        headers=list(headers),
        timestamp_ms=message.timestamp()[1],
    )
