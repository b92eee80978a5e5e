"""A topic, read alone from where one likes to the ends that it had at the beginning, one partition after the other.

No group is joined and nothing is committed. What transactions have not committed is not read: whoever sends records
again must not send what never was.

Used by: engine.commands.dlq.
Not here: a few records for somebody to look at (sample.py), a sink's consumer (consumer.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, TopicPartition

from engine.api.errors import UnreachableError
from engine.clock import Clock
from engine.kafka.check import make_client
from engine.kafka.client_log import ClientLog
from engine.kafka.errors import as_ours
from engine.kafka.questions import border
from engine.kafka.sample import RawRecord, record_of

__all__ = ["TopicReader", "reading_alone"]

#: Each may be as large as a broker takes it.
_READ_AT_ONCE = 100
_POLL_SECONDS = 0.5
_READS_ALONE: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
}


def reading_alone(settings: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Settings of a consumer that reads as described above. group: whose offsets it may ask for."""
    kept = {key: value for key, value in settings.items() if key != "group.instance.id"}
    return {**kept, **_READS_ALONE, "group.id": group}


class TopicReader:
    """Reads one topic; close it."""

    def __init__(
        self, settings: Mapping[str, Any], topic: str, partitions: Collection[int], seconds: float, clock: Clock
    ) -> None:
        """settings: of `reading_alone`. seconds: for every answer of the brokers. Raises ConnectError."""
        self._topic = topic
        self._seconds = seconds
        self._clock = clock
        client = make_client({**settings, **ClientLog().settings()}, is_sink=True)
        assert isinstance(client, Consumer)
        self._client = client
        places = [(topic, partition) for partition in partitions]
        firsts = border(client, places, OFFSET_BEGINNING, seconds)
        ends = border(client, places, OFFSET_END, seconds)
        #: First and end offset of each partition, as they were at the beginning.
        self.borders = {partition: (firsts[topic, partition], ends[topic, partition]) for partition in partitions}

    def close(self) -> None:
        """Give the client back."""
        self._client.close()

    def records(self, partition: int, start: int) -> Iterator[RawRecord]:
        """What a partition has from this offset on, in order. Raises ConnectError."""
        first, end = self.borders[partition]
        at = max(first, start)
        if at >= end:
            return
        self._client.assign([TopicPartition(self._topic, partition, at)])
        deadline = self._deadline()
        while True:
            for message in self._client.consume(_READ_AT_ONCE, _POLL_SECONDS):
                error = message.error()
                is_end = error is not None and error.code() == KafkaError._PARTITION_EOF
                if error is not None and not is_end and not error.retriable():
                    raise as_ours(error, f"read topic {self._topic}")
                if message.partition() != partition:
                    continue  # fetched before the partition changed
                if is_end:
                    return
                if error is not None:
                    continue
                deadline = self._deadline()
                record = record_of(message)
                if record.offset < end:
                    yield record
                if record.offset >= end - 1:
                    return
            if self._clock.monotonic_ns() > deadline:
                place = f"topic {self._topic} partition {partition}"
                raise UnreachableError(f"{place}: nothing came within {self._seconds:g} s, and its end is {end}")

    def _deadline(self) -> int:
        return self._clock.monotonic_ns() + int(self._seconds * 1e9)
