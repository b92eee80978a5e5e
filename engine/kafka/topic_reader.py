"""A topic, read alone from where one likes to the ends that it had at the beginning, one partition after the other.

No group is joined and nothing is committed; what one has noted of the topic is told. What transactions have not
committed is not read: whoever sends records again must not send what never was.

Used by: engine.commands.dlq.
Not here: a few records for somebody to look at (sample.py), a sink's consumer (consumer.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, TopicPartition

from engine.api.errors import ConnectError, UnreachableError
from engine.clock import Clock
from engine.kafka.check import make_client
from engine.kafka.client_log import ClientLog
from engine.kafka.errors import as_ours
from engine.kafka.progress import Progress
from engine.kafka.questions import border, list_topics, offsets_in, patiently
from engine.kafka.sample import RawRecord, record_of

__all__ = ["TopicReader", "reading_alone"]

#: Each may be as large as a broker takes it.
_READ_AT_ONCE = 100
#: Whatever has come by then is taken: a read waits for as many records as it asks for.
_POLL_SECONDS = 0.05
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
    """Reads one topic; close it.

    counts: partitions of every topic that this user may see. borders: first and end offset of each partition of this
    one, as they were at the beginning. anew: partitions with records of which the group has noted nothing, once
    somebody has asked for its progress.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, seconds: float, clock: Clock) -> None:
        """settings: of `reading_alone`. seconds: for every answer of the brokers. Raises ConnectError."""
        self._topic = topic
        self._seconds = seconds
        self._clock = clock
        self.anew: list[int] = []
        client = make_client({**settings, **ClientLog().settings()}, is_sink=True)
        assert isinstance(client, Consumer)
        self._client = client
        self._group = settings["group.id"]
        try:
            self.counts = {name: len(one.partitions) for name, one in list_topics(client, seconds).items()}
            self.borders = self._look()
        except BaseException:
            client.close()
            raise

    def close(self) -> None:
        """Give the client back."""
        self._client.close()

    def progress(self) -> dict[int, Progress]:
        """What the group has noted of each partition. Raises ConnectError."""
        answers: list[TopicPartition] = []

        def ask(left: float) -> dict[tuple[str, int], int]:
            asked = [TopicPartition(self._topic, partition) for partition in self.borders]
            answers[:] = self._client.committed(asked, timeout=left)
            return offsets_in(answers)

        patiently(ask, f"what group {self._group} has noted", self._seconds)
        self.anew = [one.partition for one in answers if one.offset < 0 and self._has_records(one.partition)]
        return {answer.partition: self._progress_of(answer) for answer in answers}

    def _has_records(self, partition: int) -> bool:
        first, end = self.borders[partition]
        return first < end

    def _look(self) -> dict[int, tuple[int, int]]:
        if self._topic not in self.counts:
            raise UnreachableError(f"topic {self._topic} is not there, or this user may not see it (Describe)")
        places = [(self._topic, partition) for partition in range(self.counts[self._topic])]
        firsts = border(self._client, places, OFFSET_BEGINNING, self._seconds)
        ends = border(self._client, places, OFFSET_END, self._seconds)
        return {place[1]: (firsts[place], ends[place]) for place in places}

    def _progress_of(self, answer: TopicPartition) -> Progress:
        first, end = self.borders[answer.partition]
        if answer.offset > end:
            raise ConnectError(
                f"group {self._group} has noted offset {answer.offset} of topic {self._topic} partition "
                f"{answer.partition}, which ends at {end}: the topic was made anew; --group with another name begins "
                "anew"
            )
        progress = Progress.of_offset(answer.offset, answer.metadata or "") if answer.offset >= 0 else Progress(first)
        progress.mark(0, first)  # what was deleted is done with
        return progress

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
                record = record_of(message)
                if record.offset < end:
                    yield record
                if record.offset >= end - 1:
                    return
                deadline = self._deadline()  # what becomes of a record may take longer than any answer of a broker
            if self._clock.monotonic_ns() > deadline:
                place = f"topic {self._topic} partition {partition}"
                raise UnreachableError(f"{place}: nothing came within {self._seconds:g} s, and its end is {end}")

    def _deadline(self) -> int:
        return self._clock.monotonic_ns() + int(self._seconds * 1e9)
