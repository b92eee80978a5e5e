"""How a child's malloc keeps memory, and gives back what it has kept too long.

    as it is forked      keep()        batches come and go all the time, and their memory stays
    every minute         Trim.look()   what no batch has needed again goes back to the machine

Without the second a process would keep for ever what its fullest moment needed.

Used by: engine.supervisor.fork (keeps), engine.bank (trims).
Source: glibc, mallopt(3) and malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

__all__ = ["Trim", "keep"]

#: Memory that malloc keeps: giving it back each time costs more than half of the rate (bench/line, JSON to file).
KEPT_BYTES = 64 * 1024 * 1024
MMAP_BYTES = 32 * 1024 * 1024
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
#: What a start has needed is free soon after it; it takes milliseconds to give 64 MiB back and to get them again.
FIRST_TRIM_SECONDS = 5.0
TRIM_SECONDS = 60.0

_LIBC = ctypes.CDLL(None)


def keep() -> None:
    """Have malloc keep what is freed."""
    _LIBC.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    _LIBC.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


def _trim() -> None:
    _LIBC.malloc_trim(0)


class Trim:
    """When this process gives back what it does not use."""

    def __init__(self, now: Callable[[], float] = time.monotonic, trim: Callable[[], None] = _trim) -> None:
        """now: seconds on a clock that never goes back."""
        self._now = now
        self._trim = trim
        self._at = now() + FIRST_TRIM_SECONDS

    def look(self) -> None:
        """Give it back if that is due."""
        now = self._now()
        if now >= self._at:
            self._trim()
            self._at = now + TRIM_SECONDS
