"""Making and deleting a topic of the demo's on brokers of the user's.

Used by: engine.demo, in a child that ends with its client.
Not here: topics of connectors, which the brokers create when they are asked for.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported unsaid

from engine.api.errors import ConnectError
from engine.kafka.errors import as_ours

__all__ = ["create_topic", "delete_topic"]

BROKERS_CHOICE = -1  # of the number of replicas
#: librdkafka's own complaints: what it says again becomes one error here.
_LOG_LEVEL = 2


def create_topic(bootstrap: str, topic: str, partitions: int, timeout_seconds: float) -> None:
    """The topic is there, with as many replicas as the brokers' default. Raises ConnectError."""
    admin = _admin(bootstrap)
    wanted = NewTopic(topic, partitions, BROKERS_CHOICE)
    try:
        admin.create_topics([wanted], request_timeout=timeout_seconds)[topic].result()
    except KafkaException as error:
        raise as_ours(error.args[0], f"create topic {topic} on {bootstrap}") from error


def delete_topic(bootstrap: str, topic: str, group: str, timeout_seconds: float) -> None:
    """The topic and the group that read it are gone. Raises ConnectError."""
    admin = _admin(bootstrap)
    try:
        admin.delete_topics([topic], request_timeout=timeout_seconds)[topic].result()
        admin.delete_consumer_groups([group], request_timeout=timeout_seconds)[group].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise as_ours(error.args[0], f"delete topic {topic} and group {group} on {bootstrap}") from error


def _admin(bootstrap: str) -> AdminClient:
    try:
        return AdminClient({"bootstrap.servers": bootstrap, "log_level": _LOG_LEVEL})
    except KafkaException as error:
        raise ConnectError(f"bootstrap servers {bootstrap}: {error.args[0].str()}") from error
