"""What a machine gives: how much more two processes do than one, and who had its cores while something was measured.

A ratio of two rates says little without both: two cores of a virtual machine may be one that is shared, or be lent to
others meanwhile.

Used by: bench.stages.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

__all__ = ["Cores", "scaling"]

LOOP_S = 1.0
STRETCH = [*range(1_000)]
BLOCK_BYTES = 32 * 1024 * 1024


class Cores(Struct, frozen=True):
    """Time of all cores in seconds, since the machine was started."""

    all: float
    idle: float
    stolen: float  # by others on the same host

    @classmethod
    def now(cls) -> Cores:
        """As the kernel counts it."""
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        per_second = os.sysconf("SC_CLK_TCK")
        return cls(sum(ticks) / per_second, (ticks[3] + ticks[4]) / per_second, ticks[7] / per_second)

    def since(self, before: Cores) -> Cores:
        """What has gone by."""
        return Cores(self.all - before.all, self.idle - before.idle, self.stolen - before.stolen)


def scaling() -> dict[str, float]:
    """How many times as much two processes do at once as one alone, by kind of work."""
    return {name: _rate(work, 2) / _rate(work, 1) for name, work in (("Python", _python), ("memory", _memory))}


def _rate(work: Callable[[], int], processes: int) -> float:
    """What so many processes at once do in LOOP_S."""
    pipes = []
    for _ in range(processes):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, str(work()).encode())
            os._exit(0)
        os.close(write)
        pipes.append((read, child))
    done = 0
    for read, child in pipes:
        done += int(os.read(read, 64))
        os.close(read)
        os.waitpid(child, 0)
    return done


def _python() -> int:
    """Numbers made, texts made of them, and both put together."""
    rounds = 0
    until = time.perf_counter() + LOOP_S
    while time.perf_counter() < until:
        texts = [str(number) for number in STRETCH]
        [*zip(texts, map(len, texts), strict=True)]
        rounds += 1
    return rounds


def _memory() -> int:
    """More than a cache holds, copied."""
    rounds = 0
    block, other = bytearray(BLOCK_BYTES), bytearray(BLOCK_BYTES)
    until = time.perf_counter() + LOOP_S
    while time.perf_counter() < until:
        other[:] = block
        rounds += 1
    return rounds
