"""After an error no answer is believed, and a producer sends one frame at a time until all that failed is delivered."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError

from engine.kafka.producer import Refused
from engine.pump.delivery import SMALL_BYTES, Delivery
from engine.shm.frame import SourceFrame
from tests.harness.banks import VirtualClock
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import Delivered, FakeProducer

FRAMES = 6
RECORDS = 8
POLLS_MAX = 10_000


class Rig:
    """A delivery of FRAMES frames to a Kafka that refuses requests of more than one record."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(3), self.clock, partitions=1)
        self.settings: list[dict[str, Any]] = []
        self.delivery = Delivery(self._make, {}, wants_each=False, timeout_seconds=1.0, now_ns=self.clock.monotonic_ns)
        self.frames = [
            SourceFrame(
                "t", RECORDS, RECORDS, 0, [b"%d" % (frame * RECORDS + at) for at in range(RECORDS)], None, [0] * 8
            )
            for frame in range(FRAMES)
        ]

    def _make(self, settings: Mapping[str, Any]) -> FakeProducer:
        self.settings.append(dict(settings))
        return FakeProducer(self.kafka, settings)

    def fail(self) -> None:
        """Send all, meet an error, mend it."""
        self.kafka.batch_max = 1
        self.delivery.send(self.frames[0])
        for frame in self.frames[1:]:
            if self.delivery.has_room(frame):
                self.delivery.send(frame)
        for _ in range(POLLS_MAX):
            self.clock.advance(0.001)
            self.delivery.poll()
            if self.delivery.error is not None:
                break
        assert self.delivery.mend() == FRAMES

    def deliver(self) -> list[int]:
        """Send all again; returns how many frames were on their way at each look."""
        going: list[int] = []
        rest = list(self.frames)
        done = 0
        for _ in range(POLLS_MAX):
            while rest and self.delivery.has_room(rest[0]):
                self.delivery.send(rest.pop(0))
            going.append(FRAMES - len(rest) - done)
            self.clock.advance(0.001)
            self.delivery.poll()
            while self.delivery.acknowledged() is not None:
                done += 1
            if done == FRAMES:
                return going
        raise AssertionError("not delivered")


def test_the_slow_way_has_one_frame_on_its_way() -> None:
    rig = Rig()
    rig.fail()
    assert max(rig.deliver()) == 1


def test_full_speed_comes_back_after_the_slow_way() -> None:
    rig = Rig()
    rig.fail()
    assert rig.settings[-1]["batch.num.messages"] == 1
    rig.deliver()
    assert "batch.num.messages" not in rig.settings[-1]
    rig.kafka.batch_max = None
    assert max(rig.deliver()) == FRAMES


class Asked(FakeProducer):
    """Notes which topics' limits are asked for."""

    def __init__(self, kafka: FakeKafka, asked: list[str], settings: Mapping[str, Any]) -> None:
        super().__init__(kafka, settings)
        self._asked = asked

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        self._asked.append(topic)
        return None


def test_a_topic_is_asked_for_its_limit_when_more_than_a_little_is_on_its_way() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(3), clock, partitions=1)
    asked: list[str] = []
    make = partial(Asked, kafka, asked)
    delivery = Delivery(make, {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns)

    def deliver() -> None:
        for _ in range(POLLS_MAX):
            clock.advance(0.001)
            delivery.poll()
            if delivery.acknowledged() is not None:
                return
        raise AssertionError("not delivered")

    little, much = (SourceFrame("t", 1, size, 0, [b"x" * size], None, [0]) for size in (600, SMALL_BYTES + 1))
    other = SourceFrame("u", 1, SMALL_BYTES + 1, 0, much.values, None, [0])
    for _ in range(3):
        delivery.send(little)
        deliver()
    assert asked == []
    delivery.send(little)
    assert not delivery.has_room(little)  # two are more than a little
    deliver()
    assert delivery.has_room(little)
    delivery.send(little)
    assert asked == ["t"]
    assert delivery.has_room(much)
    delivery.send(much)
    deliver()
    deliver()
    delivery.send(other)
    assert asked == ["t", "u"]


class Liar(FakeProducer):
    """Says that it has stopped, and after that, that all went well."""

    def poll(self) -> None:
        queued = [one for queue in self._queues.values() for one in queue]
        if queued:
            self._queues.clear()
            for one in queued:
                if one.callback is not None:
                    self._last = one.callback
            raise Refused(KafkaError(KafkaError._FATAL))
        if self._last is not None:
            self._last(None, Delivered(0, RECORDS - 1))
            self._last = None

    _last: Any = None


class Slow(FakeProducer):
    """Its last words come when it was given up long ago."""

    def close(self) -> None:
        """Nothing yet."""

    def say_last_words(self) -> None:
        super().close()


def test_what_a_producer_says_after_it_was_given_up_is_not_believed() -> None:
    clock, made = VirtualClock(), []
    kafka = FakeKafka(random.Random(3), clock, partitions=1)
    kafka.batch_max = 1

    def make(settings: Mapping[str, Any]) -> Slow:
        made.append(Slow(kafka, settings))
        return made[-1]

    delivery = Delivery(
        make, {"batch.num.messages": 4}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns
    )
    for frame in Rig().frames[:2]:
        delivery.send(frame)
    while delivery.error is None:
        clock.advance(0.001)
        delivery.poll()
    assert delivery.mend() == 2
    delivery.send(Rig().frames[0])
    made[0].say_last_words()
    while delivery.acknowledged() is None:
        clock.advance(0.001)
        delivery.poll()
        assert delivery.error is None
        assert delivery.refusal is None


def test_after_an_error_no_answer_is_believed() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(3), clock, partitions=1)
    delivery = Delivery(partial(Liar, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns)
    delivery.send(Rig().frames[0])
    delivery.poll()
    assert delivery.error is not None
    delivery.poll()
    assert delivery.acknowledged() is None
