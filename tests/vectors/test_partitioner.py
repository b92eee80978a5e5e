"""A record with a key goes to the partition that Java's producer would choose, so that both may write one topic."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer

from engine.kafka.parting import parting_of, partitions_of
from tests.vectors.cases import cases

pytestmark = pytest.mark.vector

PARTITIONS = 4  # of a topic of the mock cluster; it makes none with more
WAIT_S = 20


def murmur2(data: bytes) -> int:
    """The hash that Java's producer takes of a key, as a signed 32-bit number."""
    length = len(data)
    whole = length - length % 4
    mixed = (0x9747B28C ^ length) & 0xFFFFFFFF
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0x5BD1E995 & 0xFFFFFFFF
        word = (word ^ word >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        mixed = mixed * 0x5BD1E995 & 0xFFFFFFFF ^ word
    if length % 4:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    mixed ^= mixed >> 15
    return mixed - 2**32 if mixed >= 2**31 else mixed


@pytest.fixture
def chosen() -> dict[bytes, int | None]:
    """The partition that librdkafka chose for each key, with the partitioner that pumps are given."""
    partitions: dict[bytes, int | None] = {}
    producer = Producer(
        {
            "test.mock.num.brokers": 1,
            "bootstrap.servers": "",
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "log_level": 0,
        }
    )
    for case in cases("partitioner"):
        key = base64.b64decode(case["input"]["key"])
        producer.produce("topic", key=key, on_delivery=partial(_note, partitions, key))
    assert producer.flush(WAIT_S) == 0
    return partitions


def _note(partitions: dict[bytes, int | None], key: bytes, error: object, message: Any) -> None:
    partitions[key] = None if error else message.partition()


def test_every_vector_of_the_partitioner_follows_from_the_hash_of_the_key() -> None:
    unlike = {}
    for case in cases("partitioner"):
        hashed = murmur2(base64.b64decode(case["input"]["key"]))
        found = {"murmur2": hashed, "partition": (hashed & 0x7FFFFFFF) % case["input"]["partitions"]}
        if found != case["expected"]:
            unlike[case["id"]] = found
    assert unlike == {}


def test_every_key_of_the_vectors_goes_where_java_sends_it(chosen: dict[bytes, int | None]) -> None:
    recorded = {base64.b64decode(case["input"]["key"]): case["expected"]["murmur2"] for case in cases("partitioner")}
    assert chosen == {key: (hashed & 0x7FFFFFFF) % PARTITIONS for key, hashed in recorded.items()}


def test_a_pump_finds_for_every_key_the_partition_that_java_chooses() -> None:
    parting = parting_of({"partitioner": "murmur2_random"})
    assert parting is not None
    unlike = {}
    for case in cases("partitioner"):
        key = base64.b64decode(case["input"]["key"])
        found = partitions_of([key], parting, case["input"]["partitions"])
        # An empty key is left to the client, of which the test above tells.
        if found != [case["expected"]["partition"] if key else None]:
            unlike[case["id"]] = found
    assert unlike == {}
