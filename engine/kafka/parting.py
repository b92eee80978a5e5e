"""A frame's records as librdkafka's client takes them, and by partition, where the client itself would put them.

    values, keys ──► messages ──► by partition     each goes in one call, with an answer of each record
                 ──► heads, and of each partition its last: one call for all heads, and one answer stands for all of it

The hashes are the client's own, called here, so that a key stays where it was before this way was taken, and where
the slow way puts it.

Used by: engine.pump.delivery, engine.kafka.producer.
Not here: when that is safe (engine.pump.delivery), records without keys.
Source: librdkafka's partitioners; confluent_kafka passes their hashes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from confluent_kafka import consistent, fnv1a, murmur2

from engine.shm.frame import Payloads

__all__ = [
    "ANY",
    "Heads",
    "Parting",
    "Targets",
    "by_partition",
    "heads_of",
    "messages_of",
    "parting_of",
    "partitions_of",
]

Message = dict[str, Any]
#: From a key, and how many partitions there are, to the partition.
Parting = Callable[[bytes, int], int]
#: Where each record of a frame goes; None among them: the client draws it.
Targets = Sequence[int | None] | None
#: The partition of what the client is to place.
ANY = -1

_DEFAULT = "consistent_random"
#: By librdkafka's names of them; with `_random` behind they are the same where there is a key.
_HASHES: Mapping[str, Parting] = {"murmur2": murmur2, "consistent": consistent, "fnv1a": fnv1a}


class Heads(NamedTuple):
    """A frame's records without the last of each partition, whose answer stands for them."""

    values: Payloads
    keys: Payloads | None
    partitions: int | list[int]  # of all of these, or of each
    lasts: dict[int, Message]  # by partition

    @property
    def total(self) -> int:
        """How many records there are, the last ones among them."""
        return len(self.values) + len(self.lasts)

    def by_partition(self) -> dict[int, list[Message]]:
        """The messages of each partition, without the last ones."""
        messages = messages_of(self.values, self.keys)
        if isinstance(self.partitions, int):
            return {self.partitions: messages}
        return by_partition(messages, self.partitions)

    def counts(self) -> Mapping[int, int]:
        """How many records go to each partition, its last one among them."""
        if isinstance(self.partitions, int):
            return {self.partitions: self.total}
        return Counter([*self.partitions, *self.lasts])


def heads_of(values: Payloads, keys: Payloads | None, partitions: int | Sequence[int | None]) -> Heads:
    """Records (at least one) by what stands for them. partitions: of all of them, or of each; none is None."""
    if isinstance(partitions, int):
        last = messages_of(values[-1:], keys and keys[-1:])
        return Heads(values[:-1], keys and keys[:-1], partitions, {partitions: last[0]})
    values, places = [*values], [*map(int, partitions)]  # type: ignore[arg-type]  # none is None
    keys = keys and [*keys]
    indexes = {place: index for index, place in enumerate(places)}  # the last of each
    lasts = {}
    for place, index in sorted(indexes.items(), key=itemgetter(1), reverse=True):
        del places[index]
        key = None if keys is None else [keys.pop(index)]
        lasts[place] = messages_of([values.pop(index)], key)[0]
    return Heads(values, keys, places, lasts)


def messages_of(values: Payloads, keys: Payloads | None) -> list[Message]:
    """A message for each record."""
    if keys is None:
        return [{"value": value} for value in values]
    return [{"value": value, "key": key} for value, key in zip(values, keys, strict=True)]


def parting_of(settings: Mapping[str, Any]) -> Parting | None:
    """Where a producer of these settings puts keys that are not empty; None: it alone knows."""
    name = str(settings.get("partitioner", _DEFAULT)).removesuffix("_random")
    return _HASHES.get(name)


def partitions_of(keys: Payloads, parting: Parting, partitions: int) -> list[int | None]:
    """The partition of each key; None where it is empty, or none."""
    if all(keys):
        return [*map(parting, keys, repeat(partitions))]  # type: ignore[arg-type]  # none is None
    return [parting(key, partitions) if key else None for key in keys]


def by_partition(messages: Sequence[Message], targets: Sequence[int | None]) -> dict[int, list[Message]]:
    """The messages of each partition, in order. targets: the partition of each; of None, `ANY`."""
    places = [ANY if target is None else target for target in targets] if None in targets else targets
    groups: dict[int, list[Message]] = {place: [] for place in set(places)}  # type: ignore[misc]  # none is None
    for place, message in zip(places, messages, strict=True):
        groups[place].append(message)  # type: ignore[index]  # none is None
    return groups
