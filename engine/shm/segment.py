"""Shared memory without a name: a memfd that lives as long as somebody holds its descriptor.

The supervisor makes a segment and keeps the descriptor only; the processes that
are forked inherit it and map it. Nothing is left behind when all of them are gone,
whatever way they went: no file in /dev/shm, no cleanup at start.

Used by: engine.boot and engine.shm.channel (make), engine.shm.ring and engine.shm.board (map).
Not here: what the bytes mean (ring.py, board.py).
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
from pathlib import Path

__all__ = [
    "Words",
    "create",
    "create_file",
    "map_shared",
    "require_supported_platform",
    "reserve",
    "text",
    "words",
    "write_text",
]

#: Processors on which an aligned 64-bit store becomes visible after the stores before it.
ORDERED_MACHINES = ("x86_64", "AMD64")

Words = memoryview  # of format "Q": item stores are single aligned 64-bit stores


def require_supported_platform(system: str = sys.platform, machine: str = "") -> None:
    """Say at once what is missing on this machine.

    system: as `sys.platform` names it. machine: as `platform.machine()` does; empty: this one.
    Raises OSError off Linux (memfd, eventfd, PR_SET_PDEATHSIG are needed) and on processors
    that may show a cursor before the bytes it covers: those need a fence that is not built.
    """
    machine = machine or platform.machine()
    if system != "linux":
        raise OSError(f"Millrace needs Linux (memfd, eventfd, prctl); this is {system}")
    if machine not in ORDERED_MACHINES:
        raise OSError(
            f"Millrace needs an x86-64 processor; this is {machine}: its memory order would need "
            "fences around the ring's cursors, which are not built yet"
        )


def create(name: str, size_bytes: int) -> int:
    """Make a zeroed segment of `size_bytes`; returns its descriptor, which the caller owns.

    name: for /proc/PID/maps only; two segments may share one.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size_bytes)
    return descriptor


def create_file(path: Path, size_bytes: int, reserved_bytes: int) -> int:
    """Make a zeroed segment that outlives the machine's processes, in place of what was there; as `create` else.

    reserved_bytes: how much of its beginning has room on the disk at once; `reserve` the rest before it is written.
    Its owner alone may read it: an error's text can hold what nobody else should see.

    Raises OSError when there is no room for what is reserved; what was there stays then.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size_bytes)
        reserve(descriptor, 0, reserved_bytes)
        fresh.replace(path)
    except OSError:
        os.close(descriptor)
        fresh.unlink(missing_ok=True)
        raise
    return descriptor


def reserve(descriptor: int, begin: int, size_bytes: int) -> None:
    """Have room for a part of a segment. Raises OSError when there is none.

    A hole in a file would take the process's life (SIGBUS) when it is written on a disk that is full.
    """
    os.posix_fallocate(descriptor, begin, size_bytes)


def map_shared(descriptor: int) -> mmap.mmap:
    """Map a whole segment for reading and writing; what is stored is seen by every process that maps it."""
    return mmap.mmap(descriptor, os.fstat(descriptor).st_size, mmap.MAP_SHARED)


def words(buffer: memoryview) -> Words:
    """See `buffer` as 64-bit words whose item stores another process never sees half done.

    `struct.pack_into` must not be used instead: it clears its target first, and another process reads that zero.
    """
    return buffer.cast("Q")


def text(memory: memoryview) -> str:
    """A text that `write_text` has left."""
    size = int.from_bytes(memory[:2], "little")
    return bytes(memory[2 : 2 + size]).decode(errors="replace")


def write_text(memory: memoryview, text: str) -> None:
    """Leave as much of a text as there is room for, its length last."""
    encoded = text.encode()[: len(memory) - 2]
    memory[:2] = b"\0\0"
    memory[2 : 2 + len(encoded)] = encoded
    memory[:2] = len(encoded).to_bytes(2, "little")
