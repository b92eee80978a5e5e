"""Watch a side at work: how far it is, the CPU it has used, the memory it has, and what that says.

    done                                ......o 97 %
                              .....'''''      |
                      ...'''''                |   rate = records between / time between
     5 % o......'''''                         |   CPU  = the side's seconds between / records between
         |                                    |
         +------------------------------------+-- time

The start (joining the group, the first fetch) and the end (a lone partition's tail) are outside the window.
The same code measures both sides.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from msgspec import Struct

from tests.harness.measure import cpu_seconds, pss_bytes, tree

__all__ = ["Curve", "watch"]

WINDOW = (0.05, 0.97)
LOOK_S = 0.02
CPU_S = 0.1
MEMORY_S = 0.5
STALL_S = 90.0


class Curve(Struct):
    """What was seen of one run; times in seconds of the monotonic clock, `done` in the unit of `total`."""

    total: int
    times: list[float]
    done: list[int]
    cpu_times: list[float]
    cpu: list[float]  # seconds of user and system of all processes of the side
    pss_bytes_max: int = 0

    def rate(self, records: int) -> float:
        """Records a second in the window, if `total` is that many records."""
        start, end = self._window()
        return records * (WINDOW[1] - WINDOW[0]) / (end - start)

    def cpu_us(self, records: int) -> float:
        """CPU microseconds of the side for each record of the window."""
        start, end = self._window()
        used = _at(self.cpu_times, self.cpu, end) - _at(self.cpu_times, self.cpu, start)
        return used * 1e6 / (records * (WINDOW[1] - WINDOW[0]))

    def _window(self) -> tuple[float, float]:
        first, last = (_at(self.done, self.times, self.total * share) for share in WINDOW)
        return first, last


def watch(progress: Callable[[], int], total: int, pid: int, log_tail: Callable[[], str]) -> Curve:
    """Look until `progress()` reaches `total`; pid: the root of the side's processes.

    Raises RuntimeError with the side's log when nothing moved for STALL_S seconds.
    """
    begun = moved = cpu_due = memory_due = time.monotonic()
    # The first look may wait for a broker, and find that a short run is over.
    curve = Curve(total, [begun], [0], [begun], [cpu_seconds(tree(pid))])
    while True:
        done = progress()
        now = time.monotonic()
        if done > curve.done[-1]:
            moved = now
        curve.times.append(now)
        curve.done.append(done)
        if now >= cpu_due or done >= total:
            pids = tree(pid)
            curve.cpu_times.append(time.monotonic())
            curve.cpu.append(cpu_seconds(pids))
            cpu_due = now + CPU_S
        if now >= memory_due or done >= total:
            curve.pss_bytes_max = max(curve.pss_bytes_max, pss_bytes(tree(pid)))
            memory_due = time.monotonic() + MEMORY_S
        if done >= total:
            return curve
        if now - moved > STALL_S:
            raise RuntimeError(f"stands still at {done} of {total}; the log:\n{log_tail()}")
        time.sleep(LOOK_S)


def _at(keys: Sequence[float], values: Sequence[float], key: float) -> float:
    """The value at `key` on the line through the two points around it; keys do not fall."""
    right = min(max(bisect_left(keys, key), 1), len(keys) - 1)
    left = right - 1
    if keys[right] == keys[left]:
        return values[right]
    return values[left] + (values[right] - values[left]) * (key - keys[left]) / (keys[right] - keys[left])
