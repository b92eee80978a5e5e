"""Whether the kernel has killed for want of memory: a KILL does not say who has sent it, a counter of the cgroup does.

    cgroup v2    memory.events         oom_kill 3
    cgroup v1    memory.oom_control    oom_kill 3

The kernel counts before it kills. One kill is taken for one process that ended so; where a cgroup is not to be seen,
nothing is said.

Used by: engine.supervisor.line (asks), engine.supervisor.cgroups, engine.boot (makes the one of a worker).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["OomKills", "count_in", "counters"]

ROOT = Path("/sys/fs/cgroup")


def counters(cgroups: str, root: Path = ROOT) -> list[Path]:
    """Files that may count this process's cgroup, the likeliest first. cgroups: what /proc/self/cgroup says."""
    found = []
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        folder = path.lstrip("/")
        if not controllers:
            # In a container the path may be the host's, of which only the end is mounted.
            found += [root / folder / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            found += [root / "memory" / folder / "memory.oom_control", root / "memory" / "memory.oom_control"]
    return [file for file in dict.fromkeys(found) if file.exists()]


def count_in(file: Path, word: str = "oom_kill") -> int | None:
    """The number that stands behind this word; None: the file, or the word, is not there."""
    try:
        words = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return None
    return next((int(line[1]) for line in words if len(line) == 2 and line[0] == word), None)


class OomKills:
    """The kills of a worker's cgroup, each told once."""

    def __init__(self, files: Iterable[Path]) -> None:
        """files: the first that counts is read."""
        self._file = next((file for file in files if count_in(file) is not None), None)
        self._told = self._count()

    def take(self) -> bool:
        """Whether there was a kill that was not taken yet; it is then."""
        is_new = self._count() > self._told
        self._told += is_new
        return is_new

    def _count(self) -> int:
        return 0 if self._file is None else count_in(self._file) or 0
