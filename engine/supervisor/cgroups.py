"""A cgroup for each life of a line whose memory is limited, where the worker may make some.

    v2    the worker's cgroup, handed on to it        v1    the memory cgroup that the worker stands in
          ├── worker           all other processes          └── millrace-812-7
          └── millrace-812-7   of worker 812

The processes of a line's plugins enter its own (engine.limits); when that life is over the folder goes. Nobody else's
process is moved or limited, and where nothing may be made RLIMIT_DATA limits what it can.

v2 lets no process stand where a controller is handed on, so the worker must be alone there, and moves down. That cgroup
is its own where systemd says so (`Delegate=yes`), or where it is all of the tree that a container sees. v1 lets
processes stand anywhere, so one cgroup more disturbs nobody; but the machine's root and systemd's units are left alone.

Used by: engine.boot (makes), engine.supervisor.line.
Not here: kills of processes without a cgroup of their own (oom.py).
Source: Linux, cgroup-v2.rst and cgroup-v1/memory.rst; systemd, "Control Group APIs and Delegation".
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from itertools import count
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from engine.config.line import LineSpec
from engine.supervisor.oom import count_in

__all__ = ["Cgroup", "Cgroups", "Place", "find_place"]

logger = logging.getLogger("millrace.supervisor")

ROOT = Path("/sys/fs/cgroup")
#: systemd marks what it hands on so: the first for system services, the second for anybody's.
MARKS = ("trusted.delegate", "user.delegate")
UNITS = (".service", ".scope", ".slice")
WORKER = "worker"
NAME = re.compile(r"millrace-(\d+)-\d+")  # the worker's pid, and a number
#: Of a channel, beside its rings of data and batches; what a task writes into rings counts as its own here.
CHANNEL_BYTES = 1024 * 1024
#: A charge of several pages fails before the last page is taken.
ROUNDING_BYTES = 1024 * 1024


class Place(Struct, frozen=True):
    """A folder in which this process may make cgroups."""

    folder: Path
    version: int  # of cgroups, 1 or 2


def find_place(cgroups: str, root: Path = ROOT) -> Place | None:
    """Where this process may make cgroups for memory, if anywhere. cgroups: what /proc/self/cgroup says."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        folder = root / path.lstrip("/")
        if not controllers and _is_handed_on(folder, is_top=path == "/"):
            return Place(folder, 2)
        if "memory" in controllers.split(",") and not path.endswith(UNITS):
            # In a container the path may be the host's, of which only the end is mounted.
            for folder in (root / "memory" / path.lstrip("/"), root / "memory"):
                if _may_have_more(folder):
                    return Place(folder, 1)
    return None


class Cgroup:
    """That of one life of a line: new, so that all it counts is of this life."""

    def __init__(self, folder: Path, version: int, limit_bytes: int) -> None:
        """Limits the folder. Raises OSError."""
        self.folder = folder
        self._version = version
        self._limit_bytes = limit_bytes
        if version == 2:
            (folder / "memory.max").write_text(str(limit_bytes))
            _write_if_there(folder / "memory.swap.max", "0")
        else:
            (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
            _write_if_there(folder / "memory.memsw.limit_in_bytes", str(limit_bytes))

    def entered_by(self, spec: LineSpec) -> LineSpec:
        """The line, to be forked with its plugins in here."""
        return replace(spec, limits=replace(spec.limits, cgroup=str(self.folder)))

    @property
    def has_killed(self) -> bool:
        """Whether the kernel has killed in it for want of memory, here or above."""
        return bool(count_in(self.folder / ("memory.events" if self._version == 2 else "memory.oom_control")))

    @property
    def was_full(self) -> bool:
        """Whether its own limit was reached: who is killed in it may be so for want of memory elsewhere."""
        if self._version == 2:
            return bool(count_in(self.folder / "memory.events", "oom"))
        peak = _text(self.folder / "memory.max_usage_in_bytes")
        return peak.isdecimal() and int(peak) + ROUNDING_BYTES >= self._limit_bytes

    def remove(self) -> None:
        """Its processes are gone; where a plugin has left some of its own, it stays until they are."""
        _remove(self.folder)


class Cgroups:
    """Those of one worker; without a place to make them, none."""

    def __init__(self, place: Place | None) -> None:
        """Call it before anything is forked: with v2 this process moves down in the tree."""
        self._place = place
        self._numbers = count()
        self._is_told = False
        if place is None:
            return
        _sweep(place.folder)
        if place.version == 2:
            try:
                _step_down(place.folder)
            except OSError as error:
                _tell_unusable(place, error)
                self.close()
                self._place = None

    def make(self, spec: LineSpec) -> Cgroup | None:
        """A cgroup with the line's limit of memory; None: it has no limit, or RLIMIT_DATA keeps it."""
        place, size_bytes = self._place, spec.limits.memory_bytes
        if place is None or size_bytes is None:
            return None
        folder = None
        try:
            folder = self._make_folder(place)
            rings = (1 + spec.stage_processes) * spec.ring_bytes
            cgroup = Cgroup(folder, place.version, size_bytes + rings + CHANNEL_BYTES)
        except OSError as error:
            if folder is not None:
                _remove(folder)
            _tell_unusable(place, error)
            return None
        if not self._is_told:
            self._is_told = True
            logger.info("task.memory.max is kept by cgroups in %s", place.folder)
        return cgroup

    def close(self) -> None:
        """The run is over: nothing of it is left."""
        if self._place is None:
            return
        _sweep(self._place.folder)
        if self._place.version == 2:
            with contextlib.suppress(OSError):
                _step_up(self._place.folder)

    def _make_folder(self, place: Place) -> Path:
        while True:
            folder = place.folder / f"millrace-{os.getpid()}-{next(self._numbers)}"
            with contextlib.suppress(FileExistsError):  # of another worker that had this pid
                folder.mkdir()
                return folder


def _tell_unusable(place: Place, error: OSError) -> None:
    logger.warning(
        "cgroups in %s cannot be used (%s); task.memory.max is kept by RLIMIT_DATA", place.folder, error.strerror
    )


def _is_handed_on(folder: Path, *, is_top: bool) -> bool:
    # v2. A real root has no type, and is nobody's to divide; that of a container has one.
    is_own = (is_top and (folder / "cgroup.type").exists()) or any(_mark(folder, mark) == b"1" for mark in MARKS)
    return (
        is_own
        and "memory" in _text(folder / "cgroup.controllers").split()
        and _text(folder / "cgroup.procs").split() == [str(os.getpid())]
        and all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control"))
    )


def _may_have_more(folder: Path) -> bool:
    # v1. Only a real root has an agent. Without the hierarchy a cgroup below would be free of the limits above.
    return (
        str(os.getpid()) in _text(folder / "cgroup.procs").split()
        and not (folder / "release_agent").exists()
        and _text(folder / "memory.use_hierarchy") != "0"
        and os.access(folder, os.W_OK)
    )


def _step_down(folder: Path) -> None:
    leaf = folder / WORKER
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))
    (folder / "cgroup.subtree_control").write_text("+memory")


def _step_up(folder: Path) -> None:
    (folder / "cgroup.subtree_control").write_text("-memory")
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    (folder / WORKER).rmdir()


def _sweep(folder: Path) -> None:
    """Remove what this worker, or one that was killed, has left; the kernel refuses what holds a process."""
    for found in folder.glob("millrace-*"):
        name = NAME.fullmatch(found.name)
        if name and (int(name[1]) == os.getpid() or not Path("/proc", name[1]).exists()):
            _remove(found)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write_if_there(file: Path, text: str) -> None:
    with contextlib.suppress(PermissionError):  # what a kernel says who does not count swap
        file.write_text(text)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _mark(folder: Path, name: str) -> bytes:
    try:
        return os.getxattr(folder, name)
    except OSError:
        return b""
