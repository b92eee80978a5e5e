"""A producer as the pump sees it: whole batches in, answers by `poll`.

Three ways: `send_many` (values and keys, no callback), `send_batch` (one partition, values and keys) and `send_each`
(headers, timestamps), these two with a callback for each record that wants one.

Used by: engine.pump.delivery, which knows when which way is safe.
Not here: order, acknowledgement, offsets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in its __all__

from engine.api.errors import ConnectError, UnreachableError
from engine.kafka.access import CredentialFiles, client_settings, is_allowed
from engine.kafka.answers import answer_of
from engine.kafka.client_log import ClientLog
from engine.kafka.direct import Direct
from engine.kafka.errors import as_ours
from engine.kafka.parting import Heads
from engine.kafka.replicas import shortage_in, unreachable
from engine.shm.waits import Trouble

__all__ = ["BatchProducer", "Refused"]

logger = logging.getLogger("millrace.kafka")

OnDelivery = Callable[[KafkaError | None, Message], None]
#: While a topic is being created its leader is unknown for a moment.
TOPIC_RETRY_SECONDS = 0.1


class Refused(Exception):  # noqa: N818  an answer, not an error of ours
    """The client took only a part of what it was given, or none; it can no longer be trusted to keep order."""

    def __init__(self, error: KafkaError | None) -> None:
        self.error = error
        super().__init__(str(error))


class BatchProducer:
    """One librdkafka producer; make it after the fork."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._log = ClientLog()
        self._files = CredentialFiles(settings)
        self._in_sync_min: dict[str, int] = {}  # of topics whose configuration was read
        # It says only so when it numbers anew (client_log.py).
        debug = ",".join(filter(None, (self._settings.get("debug"), "eos")))
        self._client = Producer({**self._settings, "debug": debug, **self._log.settings()})

    @cached_property
    def _direct(self) -> Direct | None:
        # Looked for by who needs it: producers of dead letters never do.
        return Direct.of(self._client)

    def __len__(self) -> int:
        """Records handed over that are not answered yet."""
        return len(self._client)

    def close(self) -> None:
        """Forget what is queued; the last callbacks, of what is purged, come within this call."""
        try:
            self._client.purge()
            self._client.poll(0)
        except KafkaException:
            pass  # a client after a fatal error says so once more

    def poll(self) -> None:
        """Call the callbacks of all answers that are there. Raises Refused, once, after a fatal error."""
        try:
            self._client.poll(0)
        except KafkaException as error:
            raise Refused(error.args[0]) from error

    def take_new_numbers(self) -> int:
        """How often what is on its way may have been stored once more since the last call, as KIP-360 lets it come to.

        librdkafka does so when a batch is refused behind one that failed, as at a broker's restart.
        """
        return self._log.take_new_numbers()

    def take_troubles(self) -> list[Trouble]:
        """What was heard of since the last call and may pass; librdkafka goes on trying."""
        return self._log.take_troubles()

    def is_answering(self, seconds: float) -> bool:
        """Whether any broker answers this client within so long."""
        try:
            self._client.list_topics(timeout=seconds)
        except KafkaException:
            return False
        return True

    def is_allowed(self, topics: Collection[str], seconds: float) -> bool:
        """Whether a new client could log in now and write to these topics."""
        return is_allowed(client_settings(self._settings), AclOperation.WRITE, topics, "", seconds)

    def shortage(self, topics: Collection[str], seconds: float) -> Trouble | None:
        """Why Kafka cannot acknowledge what is sent to these topics, if it knows: librdkafka tells of neither."""
        # A broker answers one request of a connection after the other, and ours waits behind what is not acknowledged.
        asking = AdminClient({**client_settings(self._settings), **ClientLog().settings()})
        for topic in topics:
            try:
                metadata = asking.list_topics(topic, timeout=seconds)
            except KafkaException:
                return None
            if topic not in self._in_sync_min:
                self.largest_batch_bytes(topic, seconds)
            wanted = self._in_sync_min.setdefault(topic, 1)
            if (trouble := shortage_in(topic, metadata, wanted, unreachable(metadata, seconds))) is not None:
                return trouble
        return None

    def has_new_files(self) -> bool:
        """Whether certificates or keys have been replaced since this client was made, which has read the old ones."""
        return self._files.have_changed()

    def send_many(self, topic: str, heads: Heads) -> None:
        """Queue the records that have no answer of their own. Raises Refused when not all were taken."""
        direct, keys = self._direct, heads.keys
        if direct is None or not all(heads.values) or not (keys is None or all(keys)):
            for partition, group in heads.by_partition().items():
                self.send_batch(topic, partition, group)
            return
        code = direct.send(topic, heads.values, keys, heads.partitions)
        if code:
            raise Refused(KafkaError(code))

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
        """Queue records; messages are dicts of value, key and perhaps `callback`. partition -1: by key.

        Raises Refused when not all were taken.
        """
        try:
            taken = self._client.produce_batch(topic, messages, partition=partition)
        except (KafkaException, BufferError) as error:
            raise Refused(error.args[0] if isinstance(error, KafkaException) else None) from error
        if taken != len(messages):
            raise Refused(next((message["_error"] for message in messages if "_error" in message), None))

    def send_each(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        timestamp: int | None,
        headers: Sequence[tuple[str, bytes | None]] | None,
        on_delivery: OnDelivery | None,
    ) -> None:
        """Queue one record. Raises Refused."""
        extra: dict[str, Any] = {}
        if timestamp is not None:
            extra["timestamp"] = timestamp
        if headers:
            extra["headers"] = list(headers)
        if on_delivery is not None:
            extra["on_delivery"] = on_delivery
        try:
            self._client.produce(topic, value, key, partition, **extra)
        except (KafkaException, BufferError) as error:
            raise Refused(error.args[0] if isinstance(error, KafkaException) else None) from error

    def partition_count(self, topic: str, timeout_seconds: float) -> int:
        """Partitions of a topic; asks the broker, which may create it. Raises ConnectError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                metadata = self._client.list_topics(topic, timeout=max(0.1, left)).topics[topic]
            except KafkaException as error:
                raise as_ours(error.args[0], f"find topic {topic}") from error
            if metadata.error is None and metadata.partitions:
                return len(metadata.partitions)
            if left <= 0:
                if metadata.error is None:
                    raise UnreachableError(f"topic {topic} has no partitions after {timeout_seconds:.0f} s")
                raise as_ours(metadata.error, f"find topic {topic}")
            if metadata.error is not None and metadata.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise as_ours(metadata.error, f"produce to topic {topic}")
            time.sleep(TOPIC_RETRY_SECONDS)

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        """The topic's `max.message.bytes`; None where the broker does not tell."""
        # Asked once a topic: a client that stays would go on connecting for nothing.
        admin = AdminClient({**client_settings(self._settings), **ClientLog().settings()})
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            answer = answer_of(admin.describe_configs([resource], request_timeout=timeout_seconds)[resource])
            self._in_sync_min[topic] = int(answer["min.insync.replicas"].value)
            return int(answer["max.message.bytes"].value)
        except (KafkaException, KeyError, TypeError, ValueError) as error:
            logger.info("topic %s: its max.message.bytes cannot be read (%s); assuming the client's", topic, error)
            return None


def check_settings(settings: Mapping[str, Any]) -> None:
    """Let librdkafka read producer settings. Raises ConnectError with its complaint."""
    try:
        Producer(dict(settings))
    except KafkaException as error:
        raise ConnectError(error.args[0].str()) from error
    except (TypeError, ValueError) as error:
        raise ConnectError(str(error)) from error
