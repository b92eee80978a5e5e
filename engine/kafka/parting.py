"""A frame's records as librdkafka's client takes them, and by partition, where the client itself would put them.

    values, keys ──► messages ──► by partition     each goes in one call, and one answer stands for all of it

The hashes are the client's own, called here, so that a key stays where it was before this way was taken, and where
the slow way puts it.

Used by: engine.pump.delivery.
Not here: when that is safe (engine.pump.delivery), records without keys.
Source: librdkafka's partitioners; confluent_kafka passes their hashes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from confluent_kafka import consistent, fnv1a, murmur2

from engine.shm.frame import Payloads

__all__ = ["ANY", "Parting", "Targets", "by_partition", "messages_of", "parting_of", "partitions_of"]

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
