"""Questions to a cluster through a consumer's client: topics, first and end offsets; asked again while leaders move.

Used by: engine.kafka.consumer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import TopicMetadata  # type: ignore[attr-defined]  # exported unsaid

from engine.kafka.errors import as_ours
from engine.shm.waits import Cause, OutsideError

__all__ = ["border", "list_topics", "offsets_in", "patiently"]

Place = tuple[str, int]  # topic, partition

RETRY_SECONDS = 0.1


def list_topics(client: Consumer, timeout_seconds: float) -> dict[str, TopicMetadata]:
    """Every topic of the cluster by its name. Raises ConnectError."""
    try:
        topics: dict[str, TopicMetadata] = client.list_topics(timeout=timeout_seconds).topics
    except KafkaException as error:
        raise as_ours(error.args[0], "list topics") from error
    return topics


def border(client: Consumer, places: Collection[Place], logical: int, timeout_seconds: float) -> dict[Place, int]:
    """Each partition\'s first (`OFFSET_BEGINNING`) or end offset (`OFFSET_END`). Raises ConnectError."""
    if not places:
        return {}
    # The request by time takes the two logical offsets for times, and keeps the isolation level.
    asked = [TopicPartition(*place, logical) for place in places]
    return patiently(
        lambda left: offsets_in(client.offsets_for_times(asked, timeout=left)),
        "first or end offsets",
        timeout_seconds,
    )


def patiently(ask: Callable[[float], dict[Place, int]], what: str, timeout_seconds: float) -> dict[Place, int]:
    """The answer, asked for again while coordinator or leaders are moving. Raises ConnectError."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = max(RETRY_SECONDS, deadline - time.monotonic())
        try:
            return ask(left)
        except KafkaException as error:
            ours = as_ours(error.args[0], f"read {what}")
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
                # What is asked about was listed before: with all brokers away librdkafka takes it for unknown.
                ours = OutsideError(f"cannot read {what}: no leader is known ({error.args[0].str()})", Cause.LEADER)
            is_moving = isinstance(ours, OutsideError) and ours.cause == Cause.LEADER
            if not is_moving or left <= RETRY_SECONDS:
                raise ours from error
        time.sleep(RETRY_SECONDS)


def offsets_in(answers: Sequence[TopicPartition]) -> dict[Place, int]:
    """Offsets by partition. Raises KafkaException for an answer that is an error."""
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return {(answer.topic, answer.partition): answer.offset for answer in answers}
