"""What a tree of processes costs: CPU seconds, proportional memory, descriptors, threads; from /proc.

Used by: bench.line, tests.soak, tests that hold a bound on memory or look for leaks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cpu_seconds", "descriptors", "private_bytes", "pss_bytes", "threads", "tree"]

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
FIRST_FIELD = 3  # proc_pid_stat(5) counts from 1; the text after the name begins with field 3
USER_TICKS, CHILDREN_SYSTEM_TICKS = 14, 17


def tree(root: int) -> list[int]:
    """The process and all its living descendants; empty when it is gone."""
    found = []
    open_pids = [root]
    while open_pids:
        pid = open_pids.pop()
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                open_pids.extend(map(int, (task / "children").read_text().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(pid)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system seconds of these processes and of their children that have ended; resolution 10 ms."""
    ticks = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        ticks += sum(map(int, fields[USER_TICKS - FIRST_FIELD : CHILDREN_SYSTEM_TICKS - FIRST_FIELD + 1]))
    return ticks * TICK_S


def pss_bytes(pids: Iterable[int]) -> int:
    """The sum of their proportional set sizes: shared pages are counted once, split among those who map them."""
    return _rolled_up(pids, "Pss:")


def private_bytes(pids: Iterable[int]) -> int:
    """The sum of what is each one's own: pages that it shares with nobody."""
    return _rolled_up(pids, "Private_Clean:", "Private_Dirty:")


def _rolled_up(pids: Iterable[int], *names: str) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))
    return total


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open, by number; empty when it is gone."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(name)] = str(Path(f"/proc/{pid}/fd/{name}").readlink())
    return found


def threads(pid: int) -> int:
    """How many threads a process has; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
