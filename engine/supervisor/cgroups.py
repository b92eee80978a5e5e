"""A cgroup for each line whose memory is limited, where the worker's cgroup is its own to divide (v2, delegated).

    the worker's cgroup    memory.events counts what is killed anywhere below
    ├── worker             supervisor, control, pumps: v2 lets no process stand where controllers are handed on
    └── line-7             memory.max; the process of its plugins goes there by itself (engine.limits)

It is its own where systemd has said so (`Delegate=yes`), or where it is all of the tree that a container sees and may
write, with no process in it but this one. Otherwise nothing is touched, and RLIMIT_DATA limits what it can.

Used by: engine.boot.
Not here: whether the kernel has killed (oom.py).
Source: Linux, cgroup-v2.rst (no processes in inner nodes); systemd, "Control Group APIs and Delegation".
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from msgspec.structs import replace

from engine.config.line import LineSpec

__all__ = ["Cgroups", "delegated"]

logger = logging.getLogger("millrace.supervisor")

ROOT = Path("/sys/fs/cgroup")
#: systemd marks what it hands on so: the first for system services, the second for anybody's.
MARKS = ("trusted.delegate", "user.delegate")
WORKER = "worker"
#: Of a channel, beside its ring of data; what a task writes into rings counts as its own here.
CHANNEL_BYTES = 1024 * 1024


def delegated(cgroups: str, root: Path = ROOT) -> Path | None:
    """The folder of this process's cgroup, if it may be divided. cgroups: what /proc/self/cgroup says."""
    path = next((line[3:] for line in cgroups.splitlines() if line.startswith("0::")), None)
    if path is None:
        return None
    folder = root / path.lstrip("/")
    # A real root has no type, and is nobody's to divide; that of a namespace has one.
    is_all = path == "/" and (folder / "cgroup.type").exists()
    try:
        is_own = is_all or any(_mark(folder, mark) == b"1" for mark in MARKS)
        has_memory = "memory" in (folder / "cgroup.controllers").read_text().split()
        is_alone = (folder / "cgroup.procs").read_text().split() == [str(os.getpid())]
    except OSError:
        return None
    can_write = all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control"))
    return folder if is_own and has_memory and is_alone and can_write else None


class Cgroups:
    """Those of one worker; without a folder to divide, none."""

    def __init__(self, folder: Path | None) -> None:
        """folder: as `delegated` finds it. Call it before anything is forked: this process moves down in the tree."""
        self._folder = folder
        if folder is None:
            return
        try:
            leaf = folder / WORKER
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            (folder / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            self._give_up(error)
        else:
            logger.info("task.memory.max is kept by cgroups in %s", folder)

    def limited(self, spec: LineSpec, index: int) -> LineSpec:
        """The line, with a cgroup of its own if its memory is limited. index: of its row."""
        if self._folder is None or spec.limits.memory_bytes is None:
            return spec
        try:
            folder = self._of(index)
            folder.mkdir(exist_ok=True)
            limit_bytes = spec.limits.memory_bytes + spec.ring_bytes + CHANNEL_BYTES
            (folder / "memory.max").write_text(str(limit_bytes))
            with contextlib.suppress(OSError):  # a machine without swap has no such file
                (folder / "memory.swap.max").write_text("0")
        except OSError as error:
            self._give_up(error)
            return spec
        return replace(spec, limits=replace(spec.limits, cgroup=str(folder)))

    def forget(self, index: int) -> None:
        """The row is another task's from now on."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._of(index).rmdir()

    def close(self) -> None:
        """The run is over: nothing is left but this process's own."""
        if self._folder is not None:
            for folder in self._folder.glob("line-*"):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _of(self, index: int) -> Path:
        assert self._folder is not None
        return self._folder / f"line-{index}"

    def _give_up(self, error: OSError) -> None:
        logger.warning(
            "cgroups in %s cannot be used (%s); task.memory.max is kept by RLIMIT_DATA", self._folder, error.strerror
        )
        self._folder = None


def _mark(folder: Path, name: str) -> bytes:
    try:
        return os.getxattr(folder, name)
    except OSError:
        return b""
