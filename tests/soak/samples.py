"""What a run has in hand at a moment: memory, descriptors, processes, threads, files.

Used by: tests.soak.run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from tests.harness.engine import Millrace
from tests.harness.measure import descriptors, pss_bytes, threads

__all__ = ["look"]

SHARED = "/dev/shm"


def look(run: Millrace, folder: Path, followed: Mapping[str, int]) -> dict[str, float]:
    """Every figure by its name. folder: where it works; followed: processes that are told of one by one as well."""
    pids = run.pids()
    figures: dict[str, float] = {
        "memory": pss_bytes(pids),
        "descriptors": sum(len(descriptors(pid)) for pid in pids),
        "processes": len(pids),
        "threads": sum(map(threads, pids)),
        "files": sum(1 for _ in folder.rglob("*")),
        "store": sum(map(_size, folder.glob("offsets*"))),
        "shared": len(os.listdir(SHARED)),
    }
    for role, pid in followed.items():
        figures[f"memory of {role}"] = pss_bytes([pid])
        figures[f"descriptors of {role}"] = len(descriptors(pid))
    return figures


def _size(file: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
