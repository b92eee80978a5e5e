"""The hash that Java's producer takes of a key, written down once more, a word at a time.

Used by: tests/vectors/test_partitioner.py, tests/unit/test_partitioner.py, tests.harness.fake_producer.
"""

from __future__ import annotations

__all__ = ["murmur2", "partition_of"]


def murmur2(data: bytes) -> int:
    """As a signed 32-bit number."""
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


def partition_of(key: bytes, partitions: int) -> int:
    """Where Java's producer, and librdkafka as it is set, put records of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
