"""CPUs as `task.cpu.affinity` names them: numbers and ranges, `0,2-3`, as taskset and systemd have them.

Used by: engine.config.worker, engine.config.connector, engine.connector_lines.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from engine.api.errors import Problem

__all__ = ["cpus_problem", "read_cpus"]

KEY = "task.cpu.affinity"
CPUS_MAX = 4096


def cpus_problem(text: str) -> Problem | None:
    """What is wrong with this value of the key, on this machine."""
    try:
        read_cpus(text, os.sched_getaffinity(0))
    except ValueError as error:
        return Problem(KEY, f"Invalid value {text} for configuration {KEY}: {error}")
    return None


def read_cpus(text: str, there: Collection[int]) -> tuple[int, ...]:
    """The CPUs, in order; empty: any. there: those that this process may use.

    Raises ValueError, saying what is wrong.
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            raise ValueError(f"{part!r} is no CPU; expected numbers and ranges, e.g. 0,2-3")
        begin, end = int(first), int(last) if dash else int(first)
        if end < begin or end >= CPUS_MAX:
            raise ValueError(f"{part!r} is no range of CPUs; expected numbers and ranges, e.g. 0,2-3")
        found.update(range(begin, end + 1))
    absent = sorted(found.difference(there))
    if absent:
        have = ",".join(map(str, sorted(there)))
        raise ValueError(f"CPU {absent[0]} is not there for this process; expected some of {have}")
    return tuple(sorted(found))
