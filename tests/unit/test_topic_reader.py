"""A topic is read to the ends that it had, however slow its reader is; a broker that says nothing is told."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from engine.api.errors import ConnectError, UnreachableError
from engine.kafka import topic_reader
from engine.kafka.topic_reader import TopicReader, reading_alone
from tests.harness.banks import VirtualClock

ANSWER_SECONDS = 10.0


class Message:
    """A record of the topic, or an error in its place."""

    def __init__(self, offset: int, error: KafkaError | None = None) -> None:
        self._offset = offset
        self._error = error

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "dead"

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000 + self._offset

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b"%d" % self._offset

    def headers(self) -> None:
        return None


class Broker(Consumer):
    """Answers as brokers do; asks nobody."""

    borders: Sequence[tuple[int, int]] = ()
    noted: Sequence[tuple[int, str]] = ()
    answers: list[list[Message]]  # one each time somebody asks for records

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__({"group.id": "group"})
        self._clock = clock
        self.answers = []
        self.started: list[int] = []

    def list_topics(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(topics={"dead": SimpleNamespace(partitions=range(len(self.borders)))})

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = 0.0) -> list[TopicPartition]:
        at = [int(one.offset != OFFSET_BEGINNING) for one in partitions]
        return [
            TopicPartition(one.topic, one.partition, self.borders[one.partition][which])
            for one, which in zip(partitions, at, strict=True)
        ]

    def committed(self, partitions: list[TopicPartition], timeout: float = 0.0) -> list[TopicPartition]:
        noted = {**dict(enumerate(self.noted))}
        return [TopicPartition(one.topic, one.partition, *noted.get(one.partition, (-1001, ""))) for one in partitions]

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.started += [one.offset for one in partitions]

    def consume(self, *_: Any, **__: Any) -> Any:
        self._clock.advance(1.0)
        return self.answers.pop(0) if self.answers else []


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker(clock)
    monkeypatch.setattr(topic_reader, "make_client", lambda *_, **__: made)
    return made


def reader_of(clock: VirtualClock) -> TopicReader:
    return TopicReader(reading_alone({}, "group"), "dead", ANSWER_SECONDS, clock)


def test_whoever_takes_long_over_a_record_gets_the_next_one(broker: Broker, clock: VirtualClock) -> None:
    broker.borders = [(0, 3)]
    broker.answers = [[Message(0)], [], [Message(1)], [], [Message(2)]]
    found = []
    for record in reader_of(clock).records(0, 0):
        found.append(record.offset)
        clock.advance(10 * ANSWER_SECONDS)
    assert found == [0, 1, 2]


def test_a_broker_that_says_nothing_is_told(broker: Broker, clock: VirtualClock) -> None:
    broker.borders = [(0, 3)]
    broker.answers = [[Message(0)]]
    found = []
    with pytest.raises(UnreachableError, match="topic dead partition 0: nothing came within 10 s, and its end is 3"):
        found += [record.offset for record in reader_of(clock).records(0, 0)]
    assert clock.now_ns > int(ANSWER_SECONDS * 1e9)


def test_what_came_after_the_reader_was_made_is_not_read(broker: Broker, clock: VirtualClock) -> None:
    broker.borders = [(2, 4)]
    broker.answers = [[Message(2), Message(3), Message(4)]]
    assert [record.offset for record in reader_of(clock).records(0, 0)] == [2, 3]
    assert broker.started == [2]
    assert [*reader_of(clock).records(0, 4)] == []


def test_what_was_deleted_is_done_and_a_partition_that_was_added_begins(broker: Broker, clock: VirtualClock) -> None:
    broker.borders = [(5, 9), (3, 4)]
    broker.noted = [(2, "")]
    reader = reader_of(clock)
    first, added = reader.progress().values()
    assert reader.anew == [1]
    assert [offset in first for offset in (4, 5)] == [True, False]
    assert added.as_offset() == (3, "")


def test_a_topic_that_was_made_anew_is_told(broker: Broker, clock: VirtualClock) -> None:
    broker.borders = [(0, 3)]
    broker.noted = [(7, "")]
    with pytest.raises(ConnectError, match="which ends at 3: the topic was made anew"):
        reader_of(clock).progress()
