"""What a sink can never read: found, named, and stopped at or gone past (`lost.range.policy`).

    committed    log: first ... end     topic        noted          found
    100          150 ... 200            same         any            deleted: 100 to 149
    1000         0 ... 200              same         any            truncated: 200 to 999
    any          any                    another      any            remade: from the offset to go on at
    none         any                    same         100            forgotten: the group has lost its offset
    none         any                    any          nothing        (a first start)

What is noted stands in the worker's store. Without a note, or without topic ids (brokers before 2.8), a group that has
lost its offsets is a first start, and a topic that was made anew is noticed only where it is shorter than the old one.

Used by: engine.pump.sink.
Not here: asking Kafka (engine.kafka.consumer), giving partitions up and taking them again (sink.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from engine.api.errors import ConnectError
from engine.kafka.consumer import Found, Start
from engine.offsets.store import SinkPosition
from engine.pump.partitions import Partitions
from engine.shm.board import Row
from engine.shm.lost_range import LostRange
from engine.shm.waits import FinalError

__all__ = ["LostRanges", "Notes"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]

#: How far a group has committed is noted again after so long; that it has, at once.
NOTE_NS = 10_000_000_000

_TEXTS = {
    "deleted": "offsets {first} to {last} were deleted before they were read",
    "truncated": "offsets {first} to {last} are not there any more: the log was truncated, or the topic made anew",
    "remade": "the topic was made anew; what the old one had from offset {first} on is gone unread",
    "forgotten": "the group has no committed offset any more, and had {first} or a later one: expired or deleted",
}
_ADVICE = (
    "Reset the group's offsets to where it should go on, or start with lost.range.policy=continue, which goes on at "
    "the earliest record there is"
)


class Notes(Protocol):
    """Where it is noted how far a group has committed (`engine.offsets.store.OffsetStore`)."""

    def sink_positions(self, group: str) -> dict[Place, SinkPosition]: ...
    def note_sink_positions(self, group: str, positions: Mapping[Place, SinkPosition]) -> None: ...


class LostRanges:
    """Judges where partitions go on, for one pump."""

    def __init__(self, group: str, row: Row, notes: Notes | None, *, passes: bool) -> None:
        """passes: go on behind what is lost, instead of raising. notes: None where there is no store."""
        self._group = group
        self._row = row
        self._notes = notes
        self._passes = passes
        self._ids: dict[str, str] = {}  # of topics, as they were at the last assignment; only what is known
        self._noted: dict[Place, SinkPosition] = {}  # by this pump
        self._note_at_ns = 0

    @property
    def topics(self) -> list[str]:
        """Those whose id is known."""
        return list(self._ids)

    def starts(self, found: Mapping[Place, Found]) -> dict[Place, Start]:
        """Where assigned partitions begin. Raises ConnectError where something is lost and the policy is to stop."""
        before = {} if self._notes is None else self._notes.sink_positions(self._group)
        starts: dict[Place, Start] = {}
        lost: list[LostRange] = []
        for place, at in found.items():
            note = before.get(place, SinkPosition(-1, ""))
            offset = note.offset if at.committed is None else at.committed
            if offset < 0:
                starts[place] = Start(at.fresh, is_committed=False)
                continue
            is_remade = bool(note.topic_id and at.topic_id and note.topic_id != at.topic_id)
            gone = _judged(place, offset, at, is_remade=is_remade)
            if gone is not None:
                starts[place] = Start(at.first, is_committed=False)
            else:
                starts[place] = Start(offset, is_committed=at.committed is not None)
                gone = None if at.committed is not None else LostRange(*place, offset, None, "forgotten")
            if gone is not None:
                lost.append(gone)
        self._tell(lost)
        for (topic, _), at in found.items():
            if at.topic_id:
                self._ids[topic] = at.topic_id
        return starts

    def go_on(self, found: Mapping[Place, Found]) -> dict[Place, int]:
        """Where partitions go on whose next offset (`Found.committed`) cannot be fetched any more.

        Raises ConnectError where the policy is to stop.
        """
        lost = []
        for place, at in found.items():
            offset = at.committed or 0
            is_remade = self.is_remade(place[0], at.topic_id)
            # Where the offset is there again, what stood before it has been replaced.
            gone = _judged(place, offset, at, is_remade=is_remade)
            lost.append(gone or LostRange(*place, at.first, max(at.first, offset - 1), "truncated"))
        self._tell(lost)
        for (topic, _), at in found.items():
            if at.topic_id:
                self._ids[topic] = at.topic_id
        return {place: at.first for place, at in found.items()}

    def is_remade(self, topic: str, topic_id: str) -> bool:
        """Whether this is another topic than the one of that name that was assigned."""
        return bool(topic_id and self._ids.get(topic, topic_id) != topic_id)

    def note(self, parts: Partitions, now_ns: int) -> None:
        """Note how far the group has committed, if it is time, or if a partition is new to the notes."""
        if self._notes is None:
            return
        is_new = any(part.committed >= 0 and place not in self._noted for place, part in parts.items())
        if is_new or now_ns >= self._note_at_ns:
            self._note_at_ns = now_ns + NOTE_NS
            self._write(parts, list(parts))

    def give_up(self, parts: Partitions, places: Iterable[Place]) -> None:
        """Note how far the group has committed of partitions that go."""
        given = list(places)
        self._write(parts, given)
        for place in given:
            self._noted.pop(place, None)  # others may go on with it

    def _write(self, parts: Partitions, places: Iterable[Place]) -> None:
        if self._notes is None:
            return
        fresh = {}
        for place in places:
            part = parts.get(place)
            if part is not None and part.committed >= 0:
                position = SinkPosition(part.committed, self._ids.get(place[0], ""))
                if self._noted.get(place) != position:
                    fresh[place] = position
        if not fresh:
            return
        try:
            self._notes.note_sink_positions(self._group, fresh)
        except ConnectError as error:
            logger.warning("%s; a loss of the group's offsets may go unnoticed until it can be", error)
            return
        self._noted |= fresh

    def _tell(self, lost: list[LostRange]) -> None:
        """Name what is lost on the board and in the log. Raises FinalError where the policy is to stop."""
        for one in lost:
            self._row.add_lost(one)
        for one in lost if self._passes else lost[1:]:
            logger.warning("%s%s", _text(one), "; going on behind it" if self._passes else "")
        if lost and not self._passes:
            more = f" (and {len(lost) - 1} more partitions, which the log names)" if len(lost) > 1 else ""
            raise FinalError(f"{_text(lost[0])}{more}. {_ADVICE}")


def _judged(place: Place, offset: int, at: Found, *, is_remade: bool) -> LostRange | None:
    if is_remade:
        return LostRange(*place, offset, None, "remade")
    if offset < at.first:
        return LostRange(*place, offset, at.first - 1, "deleted")
    if offset > at.end:
        return LostRange(*place, at.end, offset - 1, "truncated")
    return None


def _text(lost: LostRange) -> str:
    what = _TEXTS[lost.cause].format(first=lost.first, last=lost.last)
    return f"topic {lost.topic} partition {lost.partition}: the offset to go on at is gone: {what}"
