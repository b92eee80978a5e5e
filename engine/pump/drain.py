"""Coming to the end of what there is: a bulk sink is complete when its group has committed all of it.

    ends of all partitions of the subscription, taken once
      own partitions: read to there ──► Tail, in band ──► flushed ──► committed
      others': their pumps do the same; the group's offsets tell

A partition without records needs no commit. Where the end was reached over transaction markers or a compacted tail,
the end itself is committed, once all before it is flushed.

Used by: engine.pump.sink.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from engine.api.errors import RetriableError, UnreachableError
from engine.pump.partitions import Partitions

__all__ = ["Drain", "OffsetsPort"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]

#: How often the group's offsets are asked for while other members have not come to the end.
ASK_NS = 200_000_000
#: How often the task is asked to flush again while it holds something back.
FLUSH_NS = 1_000_000_000


class OffsetsPort(Protocol):
    """Whom the ends and the group's offsets are asked of (`engine.kafka.consumer.GroupConsumer`)."""

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]: ...
    def borders(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, tuple[int, int]]: ...
    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]: ...


class Drain:
    """The way of one pump to the end; made when it is asked for. Raises ConnectError when the ends cannot be read."""

    def __init__(self, offsets: OffsetsPort, parts: Partitions, topics: Sequence[str], timeout_seconds: float) -> None:
        self._offsets = offsets
        self._parts = parts
        self._timeout_seconds = timeout_seconds
        places = offsets.partitions(topics, timeout_seconds)
        self._ends = {
            place: end for place, (first, end) in offsets.borders(places, timeout_seconds).items() if first < end
        }
        self._ask_at_ns = 0
        self._flush_at_ns = 0

    def is_at_end(self) -> bool:
        """Whether all own partitions have been read to where they ended."""
        return all(part.reached >= self._ends.get(place, 0) for place, part in self._parts.items())

    def wants_flush(self, now_ns: int) -> bool:
        """Whether the task should be asked to flush; from time to time, while something is not flushed."""
        if now_ns < self._flush_at_ns or all(part.is_flushed for _, part in self._parts.items()):
            return False
        self._flush_at_ns = now_ns + FLUSH_NS
        return True

    def flush_soon(self) -> None:
        """More was read: ask the task as soon as the end is reached again."""
        self._flush_at_ns = 0

    def settle(self) -> None:
        """Take the end itself for flushed where no record stands before it that is not."""
        for place, part in self._parts.items():
            end = self._ends.get(place, 0)
            if part.is_flushed and part.reached >= end > max(part.committed, part.flushed):
                part.flushed = part.reached

    def is_complete(self, now_ns: int) -> bool:
        """Whether the group has committed the end of every partition; asks for the offsets of others now and then."""
        for place, part in self._parts.items():
            if part.committed >= self._ends.get(place, part.committed + 1):
                del self._ends[place]
        if not self._ends:
            return True
        if now_ns < self._ask_at_ns or any(place in self._ends for place in self._parts):
            return False
        self._ask_at_ns = now_ns + ASK_NS
        for place, offset in self._group_offsets(self._ends).items():
            if offset >= self._ends[place]:
                del self._ends[place]
        return not self._ends

    def _group_offsets(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        try:
            return self._offsets.group_offsets(list(ends), self._timeout_seconds)
        except (RetriableError, UnreachableError) as error:
            logger.warning("at the end, waiting for the rest of the group: %s", error)
            return {}
