"""Sends records and notes which ones of another topic are done by it, both in one transaction: both happen, or neither.

    begin_transaction ──► produce ... ──► acknowledged ──► offsets of the group ──► commit_transaction
                              └── refused ──► abort: whose fault it is, the caller finds by sending fewer

Whoever is killed on the way: the next one with the same name ends what he has left, and then reads how far it came.
One of two at the same time is refused by Kafka (fenced).

Used by: engine.commands.dlq, engine.commands.redrive, engine.commands.into.
Not here: which records, and what is done (engine.commands.redrive, progress.py).
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from engine.api.errors import ConnectError, DataError
from engine.kafka.check import make_client
from engine.kafka.client_log import ClientLog
from engine.kafka.errors import as_ours
from engine.kafka.progress import Progress
from engine.kafka.sample import RawRecord
from engine.shm.lease import RivalError

__all__ = ["Going", "Noted", "Resender", "TopicRefusedError"]

_POLL_SECONDS = 0.1
_ABORT_SECONDS = 10.0
#: What a transaction settles by itself: idempotence, all acknowledgements, and a message's time within its own.
_SETTLED = {
    "acks",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "max.in.flight.requests.per.connection",
    "message.send.max.retries",
    "retries",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "debug",
}
#: Kafka may refuse one record so, and take its neighbours.
_OF_A_RECORD = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
}
#: Of a message whose transaction has failed already.
_PURGED = {
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001  its public name
}
#: What an aborted transaction may leave: librdkafka goes on with the sequence numbers of what was refused there, so
#: that the next one fails, and mends it when that ends.
_AGAIN = {KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER}
#: Kafka may refuse all records of one topic so, and take those of others.
_OF_A_TOPIC = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
}
_TRIES_MAX = 3
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001  its public name
    KafkaError.INVALID_PRODUCER_EPOCH,
}


class TopicRefusedError(ConnectError):
    """Kafka takes no record of a topic from this user: of one of those of the batch."""


class Going(NamedTuple):
    """A record on its way."""

    letter: RawRecord  # as it lies in the topic that progress is of
    record: RawRecord  # as it is sent; partition -1: the key decides


#: What is done of a partition once a batch is sent, but for the records at these indexes, which are refused.
Noted = Callable[[Collection[int]], Progress]


class Resender:
    """Sends in the name of one group; close it."""

    def __init__(
        self, settings: Mapping[str, Any], reading: Mapping[str, Any], topic: str, group: str, seconds: float
    ) -> None:
        """settings: of a producer. reading: of a consumer, of topic's cluster. Raises ConnectError."""
        kept = {key: value for key, value in settings.items() if key not in _SETTLED}
        self._topic = topic
        self._group = group
        self._seconds = seconds
        made = make_client({**kept, "transactional.id": group, **ClientLog().settings()}, is_sink=False)
        assert isinstance(made, Producer)
        self._producer = made
        # Joins nothing: it is there to say whose offsets these are.
        member = make_client({**reading, "group.id": group, **ClientLog().settings()}, is_sink=True)
        assert isinstance(member, Consumer)
        self._member = member

    def begin(self) -> None:
        """End what an earlier one with this name has left open. Raises ConnectError."""
        self._patiently(lambda: self._producer.init_transactions(self._seconds), f"begin as {self._group}")

    def renew(self, progress: Mapping[int, Progress]) -> None:
        """Write what is noted of these partitions once more: a broker forgets what is old. Raises ConnectError."""
        noted = {partition: one.as_offset() for partition, one in progress.items()}
        self._transaction((), [TopicPartition(self._topic, at, offset, note) for at, (offset, note) in noted.items()])

    def close(self) -> None:
        """Give the clients back."""
        self._member.close()

    def send(self, batch: Sequence[Going], partition: int, noted: Noted) -> dict[int, str]:
        """All of these and the progress of a partition are in Kafka, or none of it.

        Returns which are refused: none. Raises DataError, why, where Kafka refuses any of them: which, it may not have
        said; TopicRefusedError, and nothing is sent; ConnectError.
        """
        offset, note = noted(()).as_offset()
        begun = [TopicPartition(self._topic, partition, offset, note)]
        records = [one.record for one in batch]
        for attempt in itertools.count(1):
            error = self._transaction(records, begun)
            if error is None:
                break
            if error.code() not in _AGAIN:
                raise DataError(error.str())
            if attempt == _TRIES_MAX:
                raise self._ours(error, f"send to topic {records[0].topic}")
        return {}

    def _transaction(self, records: Sequence[RawRecord], begun: Sequence[TopicPartition]) -> KafkaError | None:
        """A whole one; returns why it is aborted, if a record's fault or the last one's. Raises ConnectError."""
        self._patiently(self._producer.begin_transaction, "begin a transaction")
        try:
            error = self._produced(records)
            if error is None:
                self._patiently(
                    lambda: self._producer.send_offsets_to_transaction(
                        [*begun], self._member.consumer_group_metadata(), self._seconds
                    ),
                    f"note the progress of group {self._group}",
                )
                self._patiently(lambda: self._producer.commit_transaction(self._seconds), "commit a transaction")
                return None
        except BaseException:
            # Readers of what is committed would wait for what is open.
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(_ABORT_SECONDS)
            raise
        self._patiently(lambda: self._producer.abort_transaction(_ABORT_SECONDS), "abort a transaction")
        return error

    def _produced(self, records: Sequence[RawRecord]) -> KafkaError | None:
        """None: Kafka has all of them; else as `_transaction`. Raises ConnectError for what is nobody's fault here."""
        refusals: list[KafkaError] = []

        def answered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                refusals.append(error)

        for record in records:
            self._produce(record, answered, refusals)
            if refusals:
                break
        # Each message has its time: message.timeout.ms.
        while len(self._producer) and not refusals:
            self._patiently(lambda: self._producer.poll(_POLL_SECONDS), "send")
        if not refusals:
            return None
        error = self._why_purged(refusals[0]) if refusals[0].code() in _PURGED else refusals[0]
        if error.code() in _AGAIN | _OF_A_RECORD:
            return error
        ours = self._ours(error, f"send to topic {records[0].topic}")
        raise TopicRefusedError(str(ours)) if error.code() in _OF_A_TOPIC else ours

    def _why_purged(self, purged: KafkaError) -> KafkaError:
        """What the transaction has failed of: it cannot be committed any more, and says why."""
        try:
            self._producer.commit_transaction(self._seconds)
        except KafkaException as error:
            found: KafkaError = error.args[0]
            return found
        return purged

    def _produce(self, record: RawRecord, answered: Any, refusals: list[KafkaError]) -> None:
        more: dict[str, Any] = {} if record.timestamp is None else {"timestamp": record.timestamp}
        while not refusals:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=answered,
                    headers=list(record.headers),
                    **more,
                )
                return
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                refusals.append(error.args[0])

    def _patiently(self, act: Callable[[], object], doing: str) -> None:
        """It is done, tried again for as long as librdkafka says that it may be. Raises ConnectError."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                act()
                return
            except KafkaException as error:
                cause = error.args[0]
                if not cause.retriable() or time.monotonic() > deadline:
                    raise self._ours(cause, doing) from error

    def _ours(self, error: KafkaError, doing: str) -> ConnectError:
        if error.code() in _FENCED:
            return RivalError(f"cannot {doing}: another re-drive of group {self._group} has begun ({error.str()})")
        return as_ours(error, doing)
