"""Cgroups of the machine that tests and their workers may make, and a worker that may make none.

Used by: tests of `task.memory.max`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.supervisor.cgroups import Place, find_place
from tests.harness import wait
from tests.harness.engine import millrace_command

__all__ = ["as_a_unit", "place_or_skip"]


def place_or_skip() -> Place:
    """Where a worker that a test starts may make cgroups."""
    place = _place()
    if place is None:
        pytest.skip(
            "no cgroup may be made here: needs cgroup v1 with the memory controller, writable, as root has it in a "
            "container; with v2 the worker would have to be alone in a cgroup that is handed on to it"
        )
    return place


@contextmanager
def as_a_unit() -> Iterator[tuple[str, ...]]:
    """The command of a worker that may make no cgroups: where it could, it starts in one that looks like systemd's."""
    place = _place()
    if place is None:
        yield ()
        return
    folder = place.folder / f"tests-{os.getpid()}.service"
    folder.mkdir()
    try:
        yield ("sh", "-c", f'echo 0 > "{folder}/cgroup.procs" && exec "$0" "$@"', *millrace_command())
    finally:
        wait.until(lambda: _is_gone(folder), f"an end of {folder}")


def _place() -> Place | None:
    # With v2 nobody but the worker may stand in the worker's cgroup, and whoever runs the test does.
    found = find_place(Path("/proc/self/cgroup").read_text())
    return found if found is not None and found.version == 1 else None


def _is_gone(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()
