"""Coming to the end of what there is: a bulk sink is complete when its group has committed all of it.

    ends of all partitions of the subscription, taken once
      own partitions: read to there ──► Tail, in band ──► flushed ──► committed
      others': their pumps do the same; the group's offsets tell

A partition without records needs no commit, unless the group has committed something else than its end: then either
its commit is still on the way, or records are gone unread, which is an error, of the owner's fetch or of the drain.
Where the task keeps offsets itself and seeks back when it opens a partition, there is more to read than the group
knows: nothing is complete before the task has flushed what it has opened.
Where the end was reached over transaction markers or a compacted tail, the end itself is committed, once all before it
is flushed.

Used by: engine.pump.sink.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from engine.api.errors import RetriableError, UnreachableError
from engine.config.line import LineSpec
from engine.patience import Patience
from engine.pump.partitions import Partitions
from engine.pump.subscription import Subscriber
from engine.shm.waits import Cause, FinalError, OutsideError

__all__ = ["Drain", "DrainStart", "OffsetsPort"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]

#: How often the group's offsets are asked for while other members have not come to the end.
ASK_NS = 200_000_000
#: A member that gets nothing may never be told so: so long after it must have been told of what is its own, which waits
#: for the sessions of members that are gone, it takes the group's word.
JOIN_NS = 15_000_000_000
#: How often the task is asked to flush again while it holds something back.
FLUSH_NS = 1_000_000_000
#: After so long without progress, and again after so long, it is looked at what may be in the way.
STILL_NS = 3_000_000_000
#: So many partitions are named in the log.
NAMED_MAX = 5
#: A topic that is not there is looked for again, so often, so long: the news of it may be on its way.
ABSENT_NS = 500_000_000
ABSENT_NS_MAX = 3_000_000_000


class OffsetsPort(Protocol):
    """Whom the ends and the group's offsets are asked of (`engine.kafka.consumer.GroupConsumer`)."""

    def partitions(self, topics: Sequence[str], timeout_seconds: float) -> list[Place]: ...
    def borders(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, tuple[int, int]]: ...
    def group_offsets(self, places: Collection[Place], timeout_seconds: float) -> dict[Place, int]: ...
    def refresh_topics(self, timeout_seconds: float) -> None: ...


class Drain:
    """The way of one pump to the end; made when it is asked for.

    Raises ConnectError when the ends cannot be read, or the group has committed what lies beyond one. waits: that is
    no more than RetriableError, because the partition's owner will go on at the beginning.
    """

    def __init__(
        self,
        offsets: OffsetsPort,
        parts: Partitions,
        topics: Sequence[str],
        timeout_seconds: float,
        note: Callable[[Exception], object],
        *,
        waits: bool,
        session_ns: int,
    ) -> None:
        """note: told what keeps it from looking, for now. session_ns: of the group's members."""
        self._note = note
        self._waits = waits
        self._join_ns = session_ns + JOIN_NS
        self._offsets = offsets
        self._parts = parts
        self._topics = topics
        self._timeout_seconds = timeout_seconds
        places = offsets.partitions(topics, timeout_seconds)
        self.missing = [topic for topic in topics if all(topic != place[0] for place in places)]
        self._all_ends = self._ends_of(places)
        self._ends = dict(self._all_ends)  # of what is not complete
        self._others: dict[Place, int] = {}  # what the group has of partitions that are not ours, as asked last
        self._join_until_ns = 0  # 0: not asked yet
        self._ask_at_ns = 0
        self._flush_at_ns = 0
        self._progress: tuple[int, ...] = ()
        self._look_at_ns = 0
        self._gone: set[Place] = set()  # at the last look
        self._has_told = False

    def is_at_end(self) -> bool:
        """Whether all own partitions have been read to where they ended."""
        return all(part.reached >= self._ends.get(place, 0) for place, part in self._parts.items())

    def wants_flush(self, now_ns: int, *, is_open: bool) -> bool:
        """Whether the task should be asked to flush; from time to time, while something is not flushed.

        is_open: the task has flushed since it has opened all partitions.
        """
        if now_ns < self._flush_at_ns or (is_open and all(part.is_flushed for _, part in self._parts.items())):
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
        """Whether the group has committed the end of every partition; asks for the offsets of others now and then.

        Not before the member has joined: whose task then opens partitions may still seek back in them.
        """
        self._join_until_ns = self._join_until_ns or now_ns + self._join_ns
        if self._all_ends and not self._parts.were_assigned and now_ns < self._join_until_ns:
            return False
        for place, part in self._parts.items():
            end = self._all_ends.get(place)
            if end is not None and part.committed >= end:
                self._ends.pop(place, None)
            elif end is not None:
                self._ends[place] = end  # also one that was complete, and in which the task has sought back
        if not self._ends:
            return True
        if now_ns < self._ask_at_ns or any(place in self._ends for place in self._parts):
            return False
        self._ask_at_ns = now_ns + ASK_NS
        self._others = self._group_offsets(self._ends)
        for place, offset in self._others.items():
            if offset >= self._ends[place]:
                del self._ends[place]
        return not self._ends

    def look(self, now_ns: int) -> None:
        """While nothing moves, look for what is in the way: partitions that the member does not know, or that are gone.

        Raises ConnectError for a partition that two looks have not found.
        """
        own = sum(part.reached + part.committed for _, part in self._parts.items())
        progress = (len(self._ends), own, len(self._others), sum(self._others.values()))
        if progress != self._progress:
            self._progress = progress
            self._look_at_ns = now_ns + STILL_NS
        if not self._ends or now_ns < self._look_at_ns:
            return
        self._look_at_ns = now_ns + STILL_NS
        self._tell_once()
        try:
            gone = self._ends.keys() - self._offsets.partitions(self._topics, self._timeout_seconds)
            if any(self._parts.get(place) is None for place in self._ends):
                self._offsets.refresh_topics(self._timeout_seconds)  # it joins anew when there are more partitions
        except (RetriableError, UnreachableError) as error:
            self._note(error)
            return
        self._gone, before = gone, self._gone
        for topic, partition in sorted(gone & before):
            raise FinalError(
                f"topic {topic} partition {partition} is gone before all of it was read and committed; "
                "start again without it, or when it is there again"
            )

    def _ends_of(self, places: Collection[Place]) -> dict[Place, int]:
        """The ends of those partitions that have something to read, or had it and lost it unread."""
        borders = self._offsets.borders(places, self._timeout_seconds)
        committed = self._offsets.group_offsets(places, self._timeout_seconds)
        # Where own partitions go on was judged when they came (lost.py).
        others = [place for place in places if place not in self._parts]
        beyond = [place for place in others if committed.get(place, 0) > borders[place][1]]
        borders.update(self._offsets.borders(beyond, self._timeout_seconds))  # a member may have gone on in between
        for topic, partition in beyond:
            offset, (_, end) = committed[topic, partition], borders[topic, partition]
            if offset > end:
                text = (
                    f"topic {topic} partition {partition}: the offset to go on at is gone (the group has committed "
                    f"{offset}, the partition ends at {end}); the topic was truncated or made anew. "
                    "Reset the group's offsets to read what it has now"
                )
                raise OutsideError(text, Cause.LEADER) if self._waits else FinalError(text)
        # Where it is emptied before what is committed, the owner's fetch fails, unless it has read it all by then.
        return {place: end for place, (first, end) in borders.items() if first < end or committed.get(place, end) < end}

    def _tell_once(self) -> None:
        if not self._has_told:
            self._has_told = True
            named = ", ".join(f"{topic}-{partition}" for topic, partition in sorted(self._ends)[:NAMED_MAX])
            more = " and others" if len(self._ends) > NAMED_MAX else ""
            logger.info("at the end, waiting for %d partitions: %s%s", len(self._ends), named, more)

    def _group_offsets(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        try:
            return self._offsets.group_offsets(list(ends), self._timeout_seconds)
        except (RetriableError, UnreachableError) as error:
            self._note(error)
            return {}


class DrainStart:
    """Finds out where the end is, which may take several looks."""

    def __init__(
        self, spec: LineSpec, offsets: OffsetsPort, parts: Partitions, subscriber: Subscriber, patience: Patience
    ) -> None:
        self._spec = spec
        self._offsets = offsets
        self._parts = parts
        self._subscriber = subscriber
        self._patience = patience
        self._look_at_ns = 0
        self._absent_until_ns = 0  # so long topics that are not there are looked for; 0: not yet

    def look(self, now_ns: int) -> Drain | None:
        """The way to the end; None: topics or ends are not known now, and are asked for again later."""
        if now_ns < self._look_at_ns:
            return None
        self._look_at_ns = now_ns + int(self._spec.timing.retry_backoff * 1e9)
        if not self._subscriber.look(now_ns):
            return None
        topics = self._subscriber.topics
        try:
            timeout_seconds = self._spec.timing.broker_timeout
            drain = Drain(
                self._offsets,
                self._parts,
                topics,
                timeout_seconds,
                self._patience.note_error,
                waits=self._spec.passes_lost_ranges,
                session_ns=int(self._spec.kafka.get("session.timeout.ms", 0)) * 1_000_000,
            )
        except (RetriableError, UnreachableError) as error:
            self._patience.note_error(error)  # asked again later
            return None
        if drain.missing or not topics:
            self._absent_until_ns = self._absent_until_ns or now_ns + ABSENT_NS_MAX
            if now_ns < self._absent_until_ns:
                self._look_at_ns = now_ns + ABSENT_NS
                return None
            absent = ", ".join(drain.missing) or f"that matches {self._spec.subscription.pattern}"
            logger.warning("there is no topic %s: nothing is read of it", absent)
        return drain
