"""A member of a sink's consumer group: batches of columns out, rebalances as calls.

Used by: engine.pump.sink.
Not here: frames, positions, what happens at a revocation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from engine.api.errors import ConnectError
from engine.kafka.errors import as_ours

__all__ = ["Fetched", "GroupConsumer", "Member", "Slice"]

logger = logging.getLogger("millrace.kafka")

Place = tuple[str, int]  # topic, partition


class Slice(NamedTuple):
    """Neighbours of one partition in what was fetched."""

    topic: str
    partition: int
    offsets: list[int]


class Fetched(NamedTuple):
    """Records in the order they came, as columns."""

    slices: list[Slice]
    values: list[bytes | None]
    keys: list[bytes | None] | None
    timestamps: list[tuple[int, int]]  # (type, milliseconds)
    headers: list[list[tuple[str, bytes | None]] | None] | None


class Member(Protocol):
    """Who hears of rebalances; called from within `fetch` and `close`."""

    def assigned(self, places: Sequence[Place]) -> None: ...
    def revoked(self, places: Sequence[Place]) -> None: ...
    def lost(self, places: Sequence[Place]) -> None: ...
    def committed(self, offsets: Mapping[Place, int], error: ConnectError | None) -> None: ...


class GroupConsumer:
    """One librdkafka consumer in a group; make it after the fork."""

    def __init__(self, settings: Mapping[str, Any], member: Member, start_at: str, timeout_seconds: float) -> None:
        self._settings = dict(settings)
        self._member = member
        self._start_at = start_at
        self._timeout_seconds = timeout_seconds
        self._protocol_is_cooperative = "cooperative" in str(settings.get("partition.assignment.strategy", ""))
        self._client = Consumer({
            **self._settings,
            "on_commit": self._on_commit,
            "error_cb": _log_error,
            "logger": logger,
        })
        self._admin: AdminClient | None = None
        self._ends: dict[Place, int] = {}
        self._error: ConnectError | None = None

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for these topics (a pattern begins with ^)."""
        self._client.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def fetch(self, seconds: float, records_max: int) -> Fetched | None:
        """Records that are there, waiting at most so long for the first; None: none came. Raises ConnectError."""
        first = self._client.poll(seconds)
        if self._error is not None:
            raise self._error
        if first is None:
            return None
        messages = self._client.consume(records_max - 1, 0) if records_max > 1 else []
        messages.insert(0, first)
        if any(map(Message.error, messages)):
            messages = self._without_events(messages)
            if not messages:
                return None
        keys = list(map(Message.key, messages))
        headers = list(map(Message.headers, messages))
        return Fetched(
            _slices(messages),
            list(map(Message.value, messages)),
            None if keys.count(None) == len(keys) else keys,
            list(map(Message.timestamp, messages)),
            headers if any(headers) else None,
        )

    def take_ends(self) -> dict[Place, int]:
        """Ends of partitions that were reached since the last call: an offset that has no record yet."""
        ends, self._ends = self._ends, {}
        return ends

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch no more of these; what is fetched already is dropped and fetched again later."""
        self._client.pause([TopicPartition(*place) for place in places])

    def resume(self, places: Iterable[Place]) -> None:
        """Fetch these again."""
        self._client.resume([TopicPartition(*place) for place in places])

    def seek(self, place: Place, offset: int) -> None:
        """Go on at this offset. Raises ConnectError."""
        try:
            self._client.seek(TopicPartition(*place, offset))
        except KafkaException as error:
            raise as_ours(error.args[0], f"seek topic {place[0]} partition {place[1]} to {offset}") from error

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Commit; the answer comes to `Member.committed` within a later `fetch`."""
        try:
            self._client.commit(offsets=_listed(offsets), asynchronous=True)
        except KafkaException as error:
            self._member.committed(offsets, as_ours(error.args[0], "commit offsets"))

    def commit_now(self, offsets: Mapping[Place, int]) -> None:
        """Commit and wait for the answer. Raises ConnectError."""
        try:
            answers = self._client.commit(offsets=_listed(offsets), asynchronous=False)
        except KafkaException as error:
            raise as_ours(error.args[0], "commit offsets") from error
        for answer in answers or ():
            if answer.error is not None:
                raise as_ours(answer.error, f"commit topic {answer.topic} partition {answer.partition}")

    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]:
        """What the group has committed of any partitions; only those that have an offset. Raises ConnectError."""
        if not places:
            return {}
        try:
            answers = self._client.committed([TopicPartition(*place) for place in places], timeout=timeout_seconds)
        except KafkaException as error:
            raise as_ours(error.args[0], "read the group's committed offsets") from error
        for answer in answers:
            if answer.error is not None:
                raise as_ours(answer.error, f"read the group's offset of {answer.topic} {answer.partition}")
        return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]:
        """Every partition there is of topics, or of all topics matched by a predicate. Raises ConnectError."""
        try:
            known = self._client.list_topics(timeout=timeout_seconds).topics
        except KafkaException as error:
            raise as_ours(error.args[0], "list topics") from error
        return [(topic, partition) for topic in topics if topic in known for partition in known[topic].partitions]

    def topic_names(self, timeout_seconds: float) -> list[str]:
        """Every topic of the cluster. Raises ConnectError."""
        try:
            return list(self._client.list_topics(timeout=timeout_seconds).topics)
        except KafkaException as error:
            raise as_ours(error.args[0], "list topics") from error

    def borders(self, places: Sequence[Place], timeout_seconds: float) -> dict[Place, tuple[int, int]]:
        """First and end offset of partitions, under the consumer's isolation level. Raises ConnectError."""
        if not places:
            return {}
        if self._admin is None:
            self._admin = AdminClient(client_settings(self._settings))
        committed_only = self._settings.get("isolation.level") == "read_committed"
        level = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        answers: list[dict[Place, int]] = []
        try:
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
                wanted = {TopicPartition(*place): spec for place in places}
                futures = self._admin.list_offsets(wanted, isolation_level=level, request_timeout=timeout_seconds)
                answers.append({(at.topic, at.partition): future.result().offset for at, future in futures.items()})
        except KafkaException as error:
            raise as_ours(error.args[0], "read the end offsets") from error
        first, end = answers
        return {place: (first[place], end[place]) for place in places}

    def lag(self, positions: Mapping[Place, int]) -> int:
        """Records between positions and the ends as last heard of, without asking."""
        behind = 0
        for place, position in positions.items():
            _, high = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high > 0 and position >= 0:
                behind += max(0, high - position)
        return behind

    def leave(self, timeout_seconds: float) -> None:
        """Leave the group, so that the partitions go to others at once, and close.

        A static member's `close` alone would leave them idle until its session ends (measured: 45 s);
        unsubscribing first sends the request to leave (measured with librdkafka 2.16: taken over in one heartbeat).
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            self._client.unsubscribe()
            while self._client.assignment() and time.monotonic() < deadline:
                self._client.poll(0.02)
        except KafkaException as error:
            logger.warning("leaving the group: %s", error)
        self._client.close()

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            placed = self._placed(partitions)
            self._member.assigned([(part.topic, part.partition) for part in placed])
            if self._protocol_is_cooperative:
                self._client.incremental_assign(placed)
            else:
                self._client.assign(placed)
        except ConnectError as error:
            self._error = error
        except KafkaException as error:
            self._error = as_ours(error.args[0], "take the assigned partitions")

    def _placed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Partitions with the offset to begin at. A first start is resolved here, so that a lost range is an error."""
        places = [(part.topic, part.partition) for part in partitions]
        committed = self.group_offsets(places, self._timeout_seconds)
        placed = []
        for place in places:
            offset = committed.get(place)
            if offset is None:
                if self._start_at == "none":
                    raise ConnectError(
                        f"topic {place[0]} partition {place[1]}: the group has no committed offset, "
                        "and consumer.override.auto.offset.reset is none"
                    )
                offset = OFFSET_END if self._start_at == "latest" else OFFSET_BEGINNING
            placed.append(TopicPartition(*place, offset))
        return placed

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._member.revoked([(part.topic, part.partition) for part in partitions])

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._member.lost([(part.topic, part.partition) for part in partitions])

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        offsets = {(part.topic, part.partition): part.offset for part in partitions if part.offset != OFFSET_INVALID}
        bad = error or next((part.error for part in partitions if part.error is not None), None)
        self._member.committed(offsets, None if bad is None else as_ours(bad, "commit offsets"))

    def _without_events(self, messages: list[Message]) -> list[Message]:
        kept = []
        for message in messages:
            error = message.error()
            if error is None:
                kept.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends[message.topic(), message.partition()] = message.offset()
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise ConnectError(
                    f"topic {message.topic()} partition {message.partition()}: the offset to go on at is gone "
                    f"({error.str()}); records may have been deleted before they were read. "
                    "Reset the group's offsets to accept that"
                )
            elif error.fatal() or not (error.retriable() or error.code() in _PASSING):
                raise as_ours(error, f"read topic {message.topic()}")
        return kept


def client_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a client's settings, those that say how to reach the cluster."""
    prefixes = ("bootstrap.", "sasl.", "ssl.", "security.", "client.", "broker.", "socket.", "metadata.", "reconnect.")
    return {
        key: value
        for key, value in settings.items()
        if key.startswith(prefixes) or key == "enable.ssl.certificate.verification"
    }


_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # the topic is not there yet; librdkafka looks again
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._MAX_POLL_EXCEEDED,
}


def _slices(messages: list[Message]) -> list[Slice]:
    partitions = list(map(Message.partition, messages))
    offsets = list(map(Message.offset, messages))
    topics = list(map(Message.topic, messages))
    slices = []
    at = 0
    for (topic, partition), group in groupby(zip(topics, partitions, offsets, strict=True), key=itemgetter(0, 1)):
        count = sum(1 for _ in group)
        slices.append(Slice(topic, partition, offsets[at : at + count]))
        at += count
    return slices


def _listed(offsets: Mapping[Place, int]) -> list[TopicPartition]:
    return [TopicPartition(*place, offset) for place, offset in offsets.items()]


def _log_error(error: KafkaError) -> None:
    # librdkafka goes on trying by itself; a person should know that something is away.
    logger.warning("kafka: %s", error)
