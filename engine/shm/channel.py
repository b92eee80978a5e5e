"""What joins the processes of a line: rings in one segment, and a bell each.

    task process                                    pump
    data   source: ──────────► frames ────────────►
           sink:   ◄────────── frames ◄────────────
    up             ──────────► positions, requests ►
    down           ◄────────── notices ◄───────────
    bells  each side rings the other's after it wrote, or made room

    task process             each of its stage processes, if it has any
    work   ──────────► batches ────►
    done   ◄──────────── what it made of them

Notices do not queue behind data: a revocation must be seen while the data ring is full
behind a blocked `put`.

The supervisor holds a `Channel`, which is descriptors and a size, and never maps it; a
child opens its side. The memory lives until the last descriptor is closed.

Used by: engine.supervisor (makes), engine.task, engine.stage and engine.pump (open).
Not here: what the frames say (frame.py, engine.stages.crossing).
"""

from __future__ import annotations

import os
import select
from typing import NamedTuple, Self

from msgspec import Struct

from engine.shm import ring, segment
from engine.shm.parcels import ParcelReader, ParcelWriter

__all__ = ["Bell", "Channel", "PumpSide", "StageEnd", "StageSide", "TaskSide"]

#: Capacity of each of the two small rings.
NOTICE_BYTES = 256 * 1024


class Bell:
    """An eventfd: rung by the other process, waited for by this one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def ring(self) -> None:
        """Wake the process that waits, or the next one that will."""
        os.eventfd_write(self.descriptor, 1)

    def wait(self, seconds: float) -> bool:
        """Sleep until the bell was rung since the last wait, or so long; returns whether it was."""
        if not self._poll.poll(seconds * 1000):
            return False
        os.eventfd_read(self.descriptor)
        return True


class Channel(Struct, frozen=True):
    """The descriptors of a line's shared memory and bells, and the capacities of its rings in bytes."""

    memory: int
    task_bell: int
    pump_bell: int
    data_bytes: int
    stage_bells: tuple[int, ...] = ()  # of the stage processes
    stage_bytes: int = 0  # of each of the two rings of one

    @classmethod
    def create(cls, name: str, data_bytes: int, stages: int = 0) -> Self:
        """Make the memory and bells of one line; the caller owns the descriptors.

        stages: stage processes; the two rings of each take as much as the data ring.
        Raises OSError when one of them cannot be had; the others are given back then.
        """
        stage_bytes = data_bytes // 2 // ring.ALIGNMENT_BYTES * ring.ALIGNMENT_BYTES
        size = ring.ring_bytes(data_bytes) + 2 * ring.ring_bytes(NOTICE_BYTES)
        size += 2 * stages * ring.ring_bytes(stage_bytes)
        flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
        made: list[int] = []
        try:
            made.append(segment.create(name, size))
            made.extend(os.eventfd(0, flags) for _ in range(2 + stages))
        except OSError:
            for descriptor in made:
                os.close(descriptor)
            raise
        memory, task_bell, pump_bell, *stage_bells = made
        return cls(memory, task_bell, pump_bell, data_bytes, tuple(stage_bells), stage_bytes)

    @property
    def bells(self) -> tuple[int, ...]:
        """The descriptors of all bells."""
        return self.task_bell, self.pump_bell, *self.stage_bells

    def descriptors(self) -> tuple[int, ...]:
        """What a child must keep open."""
        return self.memory, *self.bells

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in self.descriptors():
            os.close(descriptor)

    def parts(self) -> tuple[memoryview, ...]:
        """The memory of the rings, mapped: `data`, `up`, `down`, then `work` and `done` of each stage process."""
        whole = memoryview(segment.map_shared(self.memory))
        sizes = [self.data_bytes, NOTICE_BYTES, NOTICE_BYTES, *[self.stage_bytes] * (2 * len(self.stage_bells))]
        parts = []
        at = 0
        for size in sizes:
            end = at + ring.ring_bytes(size)
            parts.append(whole[at:end])
            at = end
        return tuple(parts)


class StageEnd(NamedTuple):
    """A stage process as its task process has it."""

    work: ParcelWriter
    done: ParcelReader
    bell: Bell


class TaskSide:
    """The channel as the task process has it; the direction of the data ring is its type's."""

    def __init__(self, channel: Channel) -> None:
        self._data, up, down, *self._stages = channel.parts()
        self.up = ring.RingWriter(up)
        self.down = ring.RingReader(down)
        self.bell = Bell(channel.task_bell)
        self.pump_bell = Bell(channel.pump_bell)
        self._stage_bells = channel.stage_bells

    def data_writer(self, *, is_checked: bool = False) -> ring.RingWriter:
        """A source's end of the data ring. is_checked: with sums of the frames, which the other end must know."""
        return ring.RingWriter(self._data, is_checked=is_checked)

    def data_reader(self, *, is_checked: bool = False) -> ring.RingReader:
        """A sink's end of the data ring. is_checked: as for a source's."""
        return ring.RingReader(self._data, is_checked=is_checked)

    def stage_ends(self, *, is_checked: bool = False) -> list[StageEnd]:
        """The ends of the rings of all stage processes, in their order. is_checked: as above."""
        work, done = self._stages[::2], self._stages[1::2]
        return [
            StageEnd(
                ParcelWriter(ring.RingWriter(one, is_checked=is_checked)),
                ParcelReader(ring.RingReader(other, is_checked=is_checked)),
                Bell(bell),
            )
            for one, other, bell in zip(work, done, self._stage_bells, strict=True)
        ]


class StageSide:
    """The channel as a stage process has it."""

    def __init__(self, channel: Channel, number: int, *, is_checked: bool = False) -> None:
        """number: of the stage process, from 0. is_checked: as the task has it."""
        _, _, _, *stages = channel.parts()
        self.work = ParcelReader(ring.RingReader(stages[2 * number], is_checked=is_checked))
        self.done = ParcelWriter(ring.RingWriter(stages[2 * number + 1], is_checked=is_checked))
        self.bell = Bell(channel.stage_bells[number])
        self.task_bell = Bell(channel.task_bell)


class PumpSide:
    """The channel as the pump has it."""

    def __init__(self, channel: Channel) -> None:
        self._data, up, down, *_ = channel.parts()
        self.up = ring.RingReader(up)
        self.down = ring.RingWriter(down)
        self.bell = Bell(channel.pump_bell)
        self.task_bell = Bell(channel.task_bell)

    def data_reader(self, *, is_checked: bool = False) -> ring.RingReader:
        """A source's end of the data ring. is_checked: as for the task's end."""
        return ring.RingReader(self._data, is_checked=is_checked)

    def data_writer(self, *, is_checked: bool = False) -> ring.RingWriter:
        """A sink's end of the data ring. is_checked: as for the task's end."""
        return ring.RingWriter(self._data, is_checked=is_checked)
