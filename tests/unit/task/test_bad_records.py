"""A record that cannot be read ends its task with a reason that tells where it is, where in it, what was expected."""

from __future__ import annotations

import random

from converters.byte_array import ByteArrayConverter
from converters.json import JsonConverter
from converters.simple_header import SimpleHeaderConverter
from engine.api.errors import DataError
from engine.bank import describe
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.stages.convert import Converters
from engine.stages.work import Stages
from tests.harness.banks import CollectingSink, SinkBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka

SCHEMA = (
    b'{"type":"struct","optional":false,"fields":[{"field":"items","type":"array","optional":false,"items":'
    b'{"type":"struct","optional":false,"fields":[{"field":"price","type":"int32","optional":false}]}}]}'
)
STEPS_MAX = 200


def order(*prices: bytes) -> bytes:
    items = b",".join(b'{"price":%s}' % price for price in prices)
    return b'{"schema":%s,"payload":{"items":[%s]}}' % (SCHEMA, items)


def failure_of(*values: bytes) -> str:
    """Why a sink of these records ends."""
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(1), clock, partitions=1)
    for value in values:
        kafka.store(("one", 0), value)

    def join(member: Member) -> FakeConsumer:
        consumer = FakeConsumer(kafka, member, ("one",))
        consumer.decide([("one", 0)])
        return consumer

    spec = line_spec("sink", subscription=Subscription(topics=("one",)), ring_bytes=1024 * 1024, timing=Timing())
    banks = SinkBanks(spec, join, lambda: CollectingSink([]), clock)
    banks.start()
    converters = Converters(ByteArrayConverter(), JsonConverter(), SimpleHeaderConverter())
    banks.task._stages = Stages((), converters)
    for _ in range(STEPS_MAX):
        clock.advance(0.02)
        banks.step()
        if banks.task.failure is not None:
            return describe(banks.task.failure)
    raise AssertionError("the task goes on")


def test_the_place_in_the_topic_and_in_the_value_are_told() -> None:
    assert failure_of(order(b"1"), order(b"1", b"2", b"null")) == (
        "the record at topic one, partition 0, offset 1 could not be converted: "
        "Invalid null value for required INT32 field at $.items[2].price"
    )


def test_what_was_expected_is_told() -> None:
    assert failure_of(b'{"schema":null,').endswith(
        "offset 0 could not be converted: Converting byte[] to Kafka Connect data failed due to serialization error: "
        "expected JSON (no member name at 15)"
    )


def test_an_error_without_a_place_is_told_as_it_is() -> None:
    assert describe(DataError("Bad")) == "Bad"
