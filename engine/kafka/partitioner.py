"""To which partition a key belongs: Java's default partitioner, for many keys at once.

    keys of one length    "key1"   "key2"   ...          of each the same 4 bytes go into a lane of 64 bits of one
    a word of each        |   1yek|   2yek|              large number; what murmur2 does to a word, it does to all
                          * 0x5BD1E995 & masks ^ ...     lanes at once: 0.1 to 0.2 us a key instead of 3

A callback of librdkafka for each record, which is the other way to learn where it went, costs 0.8 us.

A topic whose keys were once left to librdkafka stays left to it, so that they move once when the topic grows: our count
of partitions is never younger than librdkafka's, which hears the answer whenever we ask.

Used by: engine.pump.delivery.
Not here: records without a key, which librdkafka spreads.
Source: MurmurHash2 by Austin Appleby (public domain), as Apache Kafka's clients have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

__all__ = ["KeyPartitions", "partitions_of"]

#: librdkafka's names of the partitioners that do this to a key that is not empty.
_MURMUR2 = frozenset(("murmur2", "murmur2_random"))
#: With more, a call for each of a frame's partitions costs more than a callback for each record.
PARTITIONS_MAX = 256
#: A longer key costs more than it brings.
KEY_BYTES_MAX = 64
#: So many keys of each length pay for a number of their own; a few such numbers are nothing beside a frame.
KEYS_MIN, KINDS_FEW = 16, 4

_SEED, _FACTOR = 0x9747B28C, 0x5BD1E995
_WORD = 0xFFFFFFFF
_WORD_BYTES, _LANE_BYTES = 4, 8


class KeyPartitions:
    """Where one producer's records with keys go, while all of their topic's are found here."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """settings: of the producer, in librdkafka's names."""
        self._is_murmur2 = str(settings.get("partitioner")) in _MURMUR2
        self._left: set[str] = set()  # topics that are librdkafka's from now on

    def of(self, topic: str, keys: Sequence[bytes | None], count: int) -> list[int] | None:
        """As `partitions_of`; None as well where librdkafka has to do it for another reason."""
        if not self._is_murmur2 or topic in self._left:
            return None
        found = None if count > PARTITIONS_MAX else partitions_of(keys, count)
        if found is None:
            self._left.add(topic)
        return found


def partitions_of(keys: Sequence[bytes | None], count: int) -> list[int] | None:
    """The partition of each key, of `count`; None: these are not keys of which that is found cheaply."""
    try:
        kinds = set(map(len, keys))  # type: ignore[arg-type]  # None is caught
    except TypeError:
        return None
    if not 0 < min(kinds) <= max(kinds) <= KEY_BYTES_MAX or len(kinds) > max(KINDS_FEW, len(keys) // KEYS_MIN):
        return None
    if len(kinds) == 1:
        return [hashed % count for hashed in _hashes(keys, kinds.pop())]
    found = [0] * len(keys)
    lengths = [*map(len, keys)]  # type: ignore[arg-type]  # none is None
    for kind in kinds:
        these = [*map(kind.__eq__, lengths)]
        hashes = _hashes([*compress(keys, these)], kind)
        for at, hashed in zip(compress(range(len(keys)), these), hashes, strict=True):
            found[at] = hashed % count
    return found


def _hashes(keys: Sequence[bytes | None], length: int) -> list[int]:
    """Murmur2 of keys of this length, without the sign."""
    ones = _ones(len(keys))
    mask = ones * _WORD
    padding = bytes(-length % _WORD_BYTES)
    words = memoryview(padding.join(keys) + padding).cast("I")  # type: ignore[arg-type]  # none is None
    each = len(words) // len(keys)
    mixed = ones * (_SEED ^ length)
    for at in range(each):
        lanes = bytearray(len(keys) * _LANE_BYTES)
        memoryview(lanes).cast("I")[::2] = words[at::each]
        word = int.from_bytes(lanes, "little")
        if at * _WORD_BYTES + _WORD_BYTES > length:
            mixed = (mixed ^ word) * _FACTOR & mask
        else:
            word = word * _FACTOR & mask
            word = (word ^ word >> 24) & mask  # what has come from the next lane is cut off
            mixed = (mixed * _FACTOR ^ word * _FACTOR) & mask
    mixed = ((mixed ^ mixed >> 13) & mask) * _FACTOR & mask
    mixed = (mixed ^ mixed >> 15) & ones * (_WORD >> 1)
    return memoryview(mixed.to_bytes(len(keys) * _LANE_BYTES, "little")).cast("I")[::2].tolist()


@lru_cache(maxsize=8)
def _ones(lanes: int) -> int:
    """A 1 in each of so many lanes."""
    return int.from_bytes((b"\1" + bytes(_LANE_BYTES - 1)) * lanes, "little")
