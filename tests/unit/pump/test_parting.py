"""Keys are parted as the client itself would part them, whatever partitioner it has, and one answer is heard a part."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from engine.kafka.parting import ANY, by_partition, heads_of, messages_of, parting_of, partitions_of
from engine.pump.delivery import PARTED_MAX, Delivery
from engine.shm.frame import Headers, Payloads, SourceFrame
from tests.harness.banks import VirtualClock
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer, partition_of

PARTITIONS = 4  # of a topic of the mock cluster; it makes none with more
WAIT_S = 20
KEYS: Payloads = [b"k-%d" % number for number in range(40)]


@pytest.mark.parametrize(
    "partitioner", ["murmur2", "murmur2_random", "consistent", "consistent_random", "fnv1a", "fnv1a_random", None]
)
def test_each_key_is_where_the_client_puts_it(partitioner: str | None) -> None:
    settings = {"test.mock.num.brokers": 1, "bootstrap.servers": "", "linger.ms": 0, "log_level": 0}
    settings |= {} if partitioner is None else {"partitioner": partitioner}
    rng = random.Random(7)
    keys = [rng.randbytes(rng.randint(1, 40)) for _ in range(300)]
    chosen: dict[bytes, int] = {}
    producer = Producer(settings)
    for key in keys:
        producer.produce("topic", key=key, on_delivery=partial(_note, chosen, key))
    assert producer.flush(WAIT_S) == 0
    parting = parting_of(settings)
    assert parting is not None
    assert partitions_of([*keys], parting, PARTITIONS) == [chosen[key] for key in keys]


def _note(chosen: dict[bytes, int], key: bytes, error: object, message: Any) -> None:
    assert error is None
    chosen[key] = message.partition()


def test_the_client_alone_knows_what_it_draws() -> None:
    assert parting_of({"partitioner": "random"}) is None


def test_messages_of_a_partition_stay_in_order() -> None:
    messages = messages_of([b"a", b"b", b"c", b"d"], [b"1", b"2", b"3", b"4"])
    assert by_partition(messages, [2, 0, 2, 0]) == {2: [messages[0], messages[2]], 0: [messages[1], messages[3]]}


class Noting(FakeProducer):
    """Notes the calls: partition, records, and how many of them have an answer of their own."""

    calls: list[tuple[int, int, int]]

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
        answers = sum("callback" in message for message in messages)
        self.calls.append((partition, len(messages), answers))
        super().send_batch(topic, partition, messages)


def _calls(keys: Payloads, partitions: int = PARTITIONS, *, wants_each: bool = False) -> list[tuple[int, int, int]]:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(3), clock, partitions=partitions)
    Noting.calls = []
    delivery = Delivery(
        partial(Noting, kafka), {}, wants_each=wants_each, timeout_seconds=1.0, now_ns=clock.monotonic_ns
    )
    delivery.send(SourceFrame("t", len(keys), 1, 0, [b"v"] * len(keys), keys))
    return sorted(Noting.calls)


def _parts() -> list[tuple[int, int]]:
    parts = [partition_of(key, PARTITIONS) for key in KEYS if key is not None]
    return [(at, parts.count(at)) for at in sorted(set(parts))]


def test_a_frame_of_keys_has_an_answer_for_each_partition() -> None:
    heads = [(at, count - 1, 0) for at, count in _parts() if count > 1]
    assert _calls(KEYS) == sorted([*heads, *((at, 1, 1) for at, _ in _parts())])


@given(st.lists(st.integers(0, 3), min_size=1), st.booleans())
def test_heads_and_lasts_are_all_records_in_the_order_of_each_partition(places: list[int], has_keys: bool) -> None:
    values: Payloads = [b"%d" % index for index in range(len(places))]
    keys: Payloads | None = [b"k%d" % index for index in range(len(places))] if has_keys else None
    heads = heads_of(values, keys, places)
    sent = heads.by_partition()
    for place, last in heads.lasts.items():
        sent.setdefault(place, []).append(last)
    assert sent == by_partition(messages_of(values, keys), places)
    assert heads.total == len(places)
    assert heads.counts() == Counter(places)


def test_heads_of_one_partition_are_all_but_the_last() -> None:
    heads = heads_of([b"a", b"b", b"c"], None, 2)
    assert heads.by_partition() == {2: [{"value": b"a"}, {"value": b"b"}]}
    assert heads.lasts == {2: {"value": b"c"}}
    assert (heads.total, heads.counts()) == (3, {2: 3})


@pytest.mark.parametrize("odd", [-1, PARTITIONS, 2**32])
def test_a_frame_with_a_partition_that_is_not_there_has_an_answer_for_each_record(odd: int) -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(3), clock, partitions=PARTITIONS)
    Singly.places = []
    delivery = Delivery(partial(Singly, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns)
    delivery.send(SourceFrame("t", 4, 1, 0, [b"v"] * 4, partitions=[0, odd, odd, 0]))
    assert Singly.places == [0, odd, odd, 0]


@pytest.mark.parametrize("odd", [None, b""])
def test_an_empty_key_is_left_to_the_client_and_the_others_of_its_frame_stay_where_they_are(odd: bytes | None) -> None:
    assert _calls([*KEYS, odd]) == [(ANY, 1, 1), *((at, count, count) for at, count in _parts())]


def test_records_that_are_to_be_heard_of_each_stay_where_they_are() -> None:
    assert _calls(KEYS, wants_each=True) == [(at, count, count) for at, count in _parts()]


def test_keys_of_records_with_headers_stay_where_they_are() -> None:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(3), clock, partitions=PARTITIONS)
    delivery = Delivery(partial(Singly, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns)
    Singly.places = []
    headers: list[Headers] = [[("h", b"1")]] * (len(KEYS) + 1)
    keys = [*KEYS, b""]
    delivery.send(SourceFrame("t", len(keys), 1, 0, [b"v"] * len(keys), keys, headers=headers))
    assert Singly.places == [*(partition_of(key, PARTITIONS) for key in KEYS if key is not None), ANY]


class Singly(FakeProducer):
    """Notes the partition that each record is to go to."""

    places: list[int]

    def send_each(self, topic: str, value: Any, key: Any, partition: int, *more: Any) -> None:
        self.places.append(partition)
        super().send_each(topic, value, key, partition, *more)


def test_keys_of_very_many_partitions_are_left_to_the_client() -> None:
    assert _calls(KEYS, PARTED_MAX + 1) == [(ANY, len(KEYS), len(KEYS))]
