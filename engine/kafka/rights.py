"""What a connector's Kafka user may do, asked before anything is started.

    a sink     reads its topics, and its group
    a source   writes the topic that its configuration names; others are found out by writing them

Used by: engine.commands.doctor.
Not here: whether brokers answer, and topics are there (check.py).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator

import confluent_kafka
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # exported unsaid
from msgspec import Struct

from engine.config.line import LineSpec
from engine.kafka.access import client_settings, is_allowed

__all__ = ["ADVICE", "Right", "of", "versions"]

ANSWER_SECONDS = 5.0
ADVICE = "check bootstrap.servers, the network, and security.protocol, sasl.* and ssl.* of the client's settings"


class Right(Struct, frozen=True):
    """One thing that a user must be allowed."""

    verb: str  # read or write
    kind: str  # topic or group
    name: str

    def __str__(self) -> str:
        return f"{self.verb} the {self.kind} {self.name}"

    @property
    def option(self) -> str:
        """For `kafka-acls`."""
        return f"--operation {self.verb.capitalize()} --{self.kind} {self.name}"


def of(lines: Iterable[LineSpec]) -> Iterator[tuple[str, Right, bool]]:
    """Each connector's rights, and whether its user has them; where the broker does not tell, he has."""
    seen: set[str] = set()
    for line in lines:
        if line.connector in seen or line.is_embedded:
            continue
        seen.add(line.connector)
        settings = client_settings(line.kafka)
        operation = AclOperation.READ if line.type == "sink" else AclOperation.WRITE
        for right in needed(line):
            topics, group = ((right.name,), "") if right.kind == "topic" else ((), right.name)
            yield line.connector, right, is_allowed(settings, operation, topics, group, ANSWER_SECONDS)


def needed(line: LineSpec) -> list[Right]:
    """What the user of a connector must be allowed, as far as its configuration tells."""
    if line.type == "source":
        topic = line.task_config.get("topic", "")
        return [Right("write", "topic", topic)] if topic else []
    group = str(line.kafka.get("group.id", ""))
    return [*(Right("read", "topic", topic) for topic in line.subscription.topics), Right("read", "group", group)]


def versions() -> tuple[str, str]:
    """Of confluent-kafka and of the librdkafka it uses."""
    return importlib.metadata.version("confluent-kafka"), str(confluent_kafka.libversion()[0])
