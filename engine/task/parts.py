"""The partitions that a sink's task has, as it knows them.

Used by: engine.task.sink, engine.task.letters.
Not here: who gives and takes them (engine.pump.sink).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from engine.api.record import TopicPartition
from engine.shm.frame import Flushed, Position

__all__ = ["POSITIONS_MAX", "Part", "flushed", "messages_of", "reached"]

#: Positions, or partitions, in one message of the small ring, which takes 64 KiB with topic names of up to 249 bytes.
POSITIONS_MAX = 200


class Part(Struct):
    """One assigned partition."""

    epoch: int
    next_offset: int  # of what was put or dropped; -1: nothing yet
    is_paused: bool = False
    skipped_from: int = -1  # first offset discarded while paused
    flushed: int = -1  # what the task said last, or where it begins: all before is safe
    letters_before: int = 0  # number of the last dead letter that was written before the partition came
    told: int = -1  # as `flushed`, but no seek raises it: before this, no letter that is on its way holds anything up


def reached(
    parts: Mapping[TopicPartition, Part], letters: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, int], bool]:
    """How far each partition may be made safe; whether that is all that was put.

    letters: the first record of a partition whose dead letter is on its way. A sink that keeps its own positions would
    not take that record again.
    """
    offsets = {place: part.next_offset for place, part in parts.items() if part.next_offset >= 0}
    short = {place: offset for place, offset in letters.items() if offset < offsets.get(place, 0)}
    return {**offsets, **short}, not short


def flushed(
    parts: Mapping[TopicPartition, Part], offsets: Mapping[TopicPartition, int], safe: Mapping[TopicPartition, int]
) -> tuple[list[Position], bool]:
    """Note what a task says to be safe of the offsets it was asked for; returns positions, and whether that is all."""
    positions = []
    for place, offset in safe.items():
        part = parts.get(TopicPartition(*place))
        if part is not None and offset <= offsets.get(TopicPartition(*place), -1):
            positions.append(Position(place[0], place[1], part.epoch, offset))
            part.flushed = part.told = offset
    # A task may leave out what has not changed since the last flush.
    return positions, all(safe.get(place, parts[place].flushed) == offset for place, offset in offsets.items())


def messages_of(positions: list[Position], put: int, opens: int) -> Iterator[Flushed]:
    """What the pump hears of a flush: one message at least, and the last one says so. put, opens: as `Flushed` has."""
    for begin in range(0, max(1, len(positions)), POSITIONS_MAX):
        end = begin + POSITIONS_MAX
        yield Flushed(positions[begin:end], put, end >= len(positions), opens)
