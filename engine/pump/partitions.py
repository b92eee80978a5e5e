"""What a sink's pump knows of each assigned partition: how far it was read, flushed and committed.

    start ──── committed ──── flushed ──── position ──── end
               the group's    the task's   in frames     met by the consumer

Invariant: committed <= flushed <= position, but for an end that was reached over transaction markers or a compacted
tail: there is no record between, so the end may be committed once all before it is flushed.

An epoch belongs to one partition's assignment or seek: assignments are numbered in its upper bits, seeks of one
assignment in the lower. What was said under another epoch is not heard.

Used by: engine.pump.sink, engine.pump.framing, engine.pump.drain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from engine.kafka.consumer import Start
from engine.shm.frame import Pause, Position, Resume, Seek

__all__ = ["Part", "Partitions"]

Place = tuple[str, int]  # topic, partition

#: Seeks within one assignment count in so many bits of an epoch.
SEEK_BITS = 20
ALL_SEEKS = (1 << SEEK_BITS) - 1


class Part(Struct):
    """One assigned partition; offsets are those of the next record."""

    epoch: int
    start: int  # of this assignment, or where a seek went that went further back
    position: int  # after the last record that went into a frame
    committed: int = -1  # by the group, as far as this pump knows; -1: nothing
    flushed: int = -1  # by the task, under this epoch; -1: not told yet
    end: int = -1  # where the consumer met the partition's end last
    seek_to: int = -1  # asked by the task and not done yet; -1: nothing
    is_paused: bool = False  # by the task

    @property
    def reached(self) -> int:
        """The consumer's position, also over what is no record."""
        return max(self.position, self.end)

    @property
    def is_flushed(self) -> bool:
        """Whether the task has flushed every record that went into a frame."""
        return self.position == self.start or self.flushed >= self.position


class Partitions:
    """The partitions assigned now."""

    def __init__(self) -> None:
        self._parts: dict[Place, Part] = {}
        self._assignments = 0

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._parts)

    @property
    def were_assigned(self) -> bool:
        """Whether the group has ever told what is ours, if only that it is nothing."""
        return self._assignments > 0

    def get(self, place: Place) -> Part | None:
        """What is known of a partition; None: it is not assigned."""
        return self._parts.get(place)

    def items(self) -> Iterable[tuple[Place, Part]]:
        """Every partition."""
        return self._parts.items()

    def assign(self, starts: Mapping[Place, Start]) -> list[tuple[str, int, int, int]]:
        """Take partitions; returns them as the task is told: (topic, partition, epoch, offset).

        A first start is due to be committed at once: no later one begins elsewhere, and what is deleted in between
        is missed.
        """
        self._assignments += 1
        epoch = self._assignments << SEEK_BITS
        for place, start in starts.items():
            committed = start.offset if start.is_committed else -1
            flushed = -1 if start.is_committed else start.offset
            self._parts[place] = Part(epoch, start.offset, start.offset, committed, flushed)
        return [(*place, epoch, start.offset) for place, start in starts.items()]

    def last_epochs(self, places: Collection[Place]) -> list[tuple[str, int, int]]:
        """(topic, partition, the last epoch that their assignment can come to), of those that are assigned."""
        return [(*place, self._parts[place].epoch | ALL_SEEKS) for place in places if place in self._parts]

    def drop(self, places: Iterable[Place], *, is_flushed: bool) -> int:
        """Forget partitions; returns how many of their records may have been put and are not committed.

        is_flushed: the task has flushed all that it had put.
        """
        lost = 0
        for place in places:
            part = self._parts.pop(place, None)
            if part is not None:
                done = part.flushed if is_flushed else part.position
                lost += max(0, done - max(part.committed, part.start))
        return lost

    def flush(self, position: Position) -> None:
        """Hear how far the task has flushed a partition; ignored when it is of another epoch."""
        part = self._parts.get((position.topic, position.partition))
        if part is None or part.epoch != position.epoch:
            return
        if position.next_offset < part.position or not part.is_flushed:
            part.flushed = position.next_offset
        else:
            part.flushed = max(part.flushed, position.next_offset)  # the end may have been reached over no record

    def seek(self, seek: Seek) -> None:
        """Hear that the task wants a partition from another offset on; ignored when it is of another epoch.

        What was flushed before that offset is as safe as ever, and stays due; what comes after it is done again.
        """
        part = self._parts.get((seek.topic, seek.partition))
        if part is None or part.epoch != seek.epoch:
            return
        part.epoch += 1
        part.start = min(part.start, seek.offset)
        part.position = part.seek_to = seek.offset
        part.end = -1
        if seek.offset < max(part.flushed, part.committed):
            part.committed = part.flushed = -1

    def set_paused(self, message: Pause | Resume) -> None:
        """The task wants no more of these, or wants them again."""
        for topic, partition, epoch in message.partitions:
            part = self._parts.get((topic, partition))
            if part is not None and part.epoch == epoch:
                part.is_paused = isinstance(message, Pause)

    def read_again(self) -> None:
        """What was fetched is of no use: every partition is to be sought where its frames end."""
        for part in self._parts.values():
            if part.seek_to < 0:
                part.seek_to = part.position

    def end(self, ends: Mapping[Place, int]) -> None:
        """Hear where the consumer has met ends."""
        for place, offset in ends.items():
            part = self._parts.get(place)
            if part is not None and part.seek_to < 0:
                part.end = offset

    def due(self) -> dict[Place, int]:
        """What is flushed and not committed."""
        return {
            place: part.flushed
            for place, part in self._parts.items()
            if part.flushed >= 0 and part.flushed != part.committed
        }

    def commit(self, offsets: Mapping[Place, int], epochs: Mapping[Place, int]) -> None:
        """Hear that the group has these offsets, which were asked for under these epochs."""
        for place, offset in offsets.items():
            part = self._parts.get(place)
            if part is not None and part.epoch == epochs.get(place):
                part.committed = offset

    def set_back(self, offsets: Mapping[Place, int]) -> list[Place]:
        """Hear that the group may have these instead of what was committed since; returns which it concerns.

        What it had is safe all the same, and due again. An offset of the group's has no epoch.
        """
        concerned = []
        for place, offset in offsets.items():
            part = self._parts.get(place)
            if part is not None and offset < part.committed:
                part.flushed = max(part.flushed, part.committed)
                part.committed = offset
                concerned.append(place)
        return concerned

    def epochs(self, places: Iterable[Place]) -> dict[Place, int]:
        """The epochs of assigned partitions now."""
        return {place: self._parts[place].epoch for place in places}
