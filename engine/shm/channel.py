"""What joins the two processes of a line: three rings in one segment, and a bell each.

    task process                                    pump
    data   source: ──────────► frames ────────────►
           sink:   ◄────────── frames ◄────────────
    up             ──────────► positions, requests ►
    down           ◄────────── notices ◄───────────
    bells  each side rings the other's after it wrote, or made room

Notices do not queue behind data: a revocation must be seen while the data ring is full
behind a blocked `put`.

The supervisor holds a `Channel`, which is descriptors and a size, and never maps it; a
child opens its side. The memory lives until the last descriptor is closed.

Used by: engine.supervisor (makes), engine.task and engine.pump (open).
Not here: what the frames say (frame.py).
"""

from __future__ import annotations

import os
import select
from typing import Self

from msgspec import Struct

from engine.shm import ring, segment

__all__ = ["Bell", "Channel", "PumpSide", "TaskSide"]

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
    """The descriptors of a line's shared memory and bells, and the capacity of its data ring in bytes."""

    memory: int
    task_bell: int
    pump_bell: int
    data_bytes: int

    @classmethod
    def create(cls, name: str, data_bytes: int) -> Self:
        """Make the memory and bells of one line; the caller owns the descriptors.

        Raises OSError when one of them cannot be had; the others are given back then.
        """
        size = ring.ring_bytes(data_bytes) + 2 * ring.ring_bytes(NOTICE_BYTES)
        flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
        made: list[int] = []
        try:
            made.append(segment.create(name, size))
            made.extend(os.eventfd(0, flags) for _ in range(2))
        except OSError:
            for descriptor in made:
                os.close(descriptor)
            raise
        memory, task_bell, pump_bell = made
        return cls(memory, task_bell, pump_bell, data_bytes)

    def descriptors(self) -> tuple[int, int, int]:
        """What a child must keep open."""
        return self.memory, self.task_bell, self.pump_bell

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in self.descriptors():
            os.close(descriptor)

    def parts(self) -> tuple[memoryview, memoryview, memoryview]:
        """The memory of the rings `data`, `up` and `down`, mapped."""
        whole = memoryview(segment.map_shared(self.memory))
        data = ring.ring_bytes(self.data_bytes)
        up = data + ring.ring_bytes(NOTICE_BYTES)
        return whole[:data], whole[data:up], whole[up:]


class TaskSide:
    """The channel as the task process has it; the direction of the data ring is its type's."""

    def __init__(self, channel: Channel) -> None:
        self._data, up, down = channel.parts()
        self.up = ring.RingWriter(up)
        self.down = ring.RingReader(down)
        self.bell = Bell(channel.task_bell)
        self.pump_bell = Bell(channel.pump_bell)

    def data_writer(self, *, is_checked: bool = False) -> ring.RingWriter:
        """A source's end of the data ring. is_checked: with sums of the frames, which the other end must know."""
        return ring.RingWriter(self._data, is_checked=is_checked)

    def data_reader(self, *, is_checked: bool = False) -> ring.RingReader:
        """A sink's end of the data ring. is_checked: as for a source's."""
        return ring.RingReader(self._data, is_checked=is_checked)


class PumpSide:
    """The channel as the pump has it."""

    def __init__(self, channel: Channel) -> None:
        self._data, up, down = channel.parts()
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
