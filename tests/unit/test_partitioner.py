"""Partitions that are known before librdkafka is asked are those that it and Java's producer choose, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kafka.partitioner import KEY_BYTES_MAX, KEYS_MIN, PARTITIONS_MAX, KeyPartitions, partitions_of
from tests.harness.murmur import partition_of


def key_sets() -> st.SearchStrategy[list[bytes]]:
    """Of one length, or of a few."""
    lengths = st.lists(st.integers(1, KEY_BYTES_MAX), min_size=1, max_size=3)
    return lengths.flatmap(
        lambda found: st.lists(
            st.one_of([st.binary(min_size=one, max_size=one) for one in found]),
            min_size=3 * KEYS_MIN,
            max_size=4 * KEYS_MIN,
        )
    )


@given(key_sets(), st.integers(1, 2**31 - 1))
def test_each_key_goes_where_its_hash_alone_would_send_it(keys: list[bytes], count: int) -> None:
    assert partitions_of(keys, count) == [partition_of(key, count) for key in keys]


@pytest.mark.parametrize(
    "edge",
    [b"\0" * 8, b"\xff" * 8, b"\xff" * 7, b"\x80\0\0\0", b"\xff"],
    ids=["zeros", "ones", "seven", "highest bit", "one"],
)
def test_no_key_disturbs_its_neighbour(edge: bytes) -> None:
    other = bytes(255 - byte for byte in edge)
    keys = [edge, other, other, edge] * KEYS_MIN
    assert partitions_of(keys, 1000) == [partition_of(key, 1000) for key in keys]


@pytest.mark.parametrize(
    "keys",
    [
        [b"k"] * KEYS_MIN + [None],
        [None] * KEYS_MIN,
        [b""] * KEYS_MIN,
        [b"k"] * KEYS_MIN + [b""],
        [b"k" * (KEY_BYTES_MAX + 1)] * KEYS_MIN,
        [b"k" * length for length in range(1, KEYS_MIN)],
    ],
    ids=["a null", "nulls", "empty", "one empty", "long", "all lengths"],
)
def test_keys_that_are_not_hashed_cheaply_are_left_to_the_client(keys: list[bytes | None]) -> None:
    assert partitions_of(keys, 4) is None


def test_a_single_key_is_known_too() -> None:
    assert partitions_of([b"key"], 7) == [partition_of(b"key", 7)]


def test_a_topic_that_was_left_to_the_client_stays_left_to_it() -> None:
    known = KeyPartitions({"partitioner": "murmur2_random"})
    keys = [b"key"] * 2
    assert known.of("t", keys, 4) is not None
    assert known.of("t", [b"key", None], 4) is None
    assert known.of("t", keys, 4) is None
    assert known.of("u", keys, 4) is not None
    assert known.of("u", keys, PARTITIONS_MAX + 1) is None


@pytest.mark.parametrize("settings", [{}, {"partitioner": "consistent_random"}, {"partitioner": "random"}])
def test_other_partitioners_are_the_clients_own(settings: dict[str, str]) -> None:
    assert KeyPartitions(settings).of("t", [b"key"] * KEYS_MIN, 4) is None
