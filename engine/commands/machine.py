"""What of a machine is good enough for a worker: judgements of values that the doctor has read, and how to read them.

Used by: engine.commands.doctor.
Not here: files, brokers (doctor.py), what a run itself insists on (engine.descriptors, engine.shm.segment).
"""

from __future__ import annotations

import ctypes
import datetime
import fcntl
import resource
from pathlib import Path
from typing import Any, Literal

import psutil
from msgspec import Struct

from engine.descriptors import ROOMY
from engine.quantities import bytes_text
from engine.shm.segment import require_supported_platform

__all__ = [
    "Finding",
    "available_bytes",
    "cgroup_number",
    "clock",
    "is_locked",
    "is_synchronised",
    "libraries",
    "memory",
    "open_files",
    "processes",
    "processor",
    "python",
    "room",
]

PYTHON_MIN = (3, 11)
LIBRDKAFKA_MIN = (2, 11)
#: Below this a store, a log or a package has soon no room.
ROOM_BYTES_MIN = 100 * 1000 * 1000
#: Processes beside those of the lines: supervisor, control, display, children that are asked.
OWN_PROCESSES = 16
#: A clock before this release's year stands at a factory's default; certificates are not valid then.
YEAR_MIN = 2025
_TIME_ERROR = 5  # what adjtimex answers when nothing keeps the clock right
_UNLIMITED = "no limit"


class Finding(Struct, frozen=True):
    """What one check has found."""

    check: str
    verdict: Literal["good", "warning", "bad"]
    text: str
    advice: str = ""  # what to do; empty: nothing

    def as_document(self) -> dict[str, Any]:
        """For machines."""
        return {"check": self.check, "verdict": self.verdict, "text": self.text, "advice": self.advice or None}


def processor(system: str, kind: str) -> Finding:
    """Whether the engine knows how this machine orders its stores."""
    try:
        require_supported_platform(system, kind)
    except OSError as error:
        return Finding("machine", "bad", str(error), "run it on Linux on x86-64")
    return Finding("machine", "good", f"{system}, {kind}")


def python(version: tuple[int, ...], *, has_gil: bool) -> Finding:
    """Whether this Python will do."""
    text = ".".join(map(str, version))
    least = ".".join(map(str, PYTHON_MIN))
    if version[:2] < PYTHON_MIN:
        return Finding("python", "bad", text, f"install Millrace in an environment of Python {least} or later")
    if not has_gil:
        return Finding("python", "warning", f"{text}, free-threaded", "not tested: use the usual build")
    return Finding("python", "good", text)


def libraries(client: str, librdkafka: str) -> Finding:
    """Whether Kafka's client is new enough, and has the librdkafka of its own version."""
    text = f"confluent-kafka {client}, librdkafka {librdkafka}"
    if _numbers(librdkafka)[:2] < LIBRDKAFKA_MIN:
        least = ".".join(map(str, LIBRDKAFKA_MIN))
        return Finding(
            "libraries", "bad", text, f"pip install 'confluent-kafka>={least}', whose wheels hold librdkafka"
        )
    if _numbers(client)[:2] != _numbers(librdkafka)[:2]:
        advice = "the machine's own librdkafka is used: install the wheel (pip install --only-binary :all:)"
        return Finding("libraries", "warning", text, advice)
    return Finding("libraries", "good", text)


def open_files(soft: int, hard: int, needed: int) -> Finding:
    """Whether the limit suffices, or can be raised so that it does."""
    text = f"{needed} needed by one process, {_limit(hard)} may be had"
    if hard != resource.RLIM_INFINITY and hard < needed:
        advice = "allow more: LimitNOFILE= of a systemd unit, --ulimit nofile= of a container, limits.conf"
        return Finding("open files", "bad", text, advice)
    if soft != resource.RLIM_INFINITY and soft < needed and hard != resource.RLIM_INFINITY and hard < ROOMY:
        return Finding("open files", "good", f"{text}; raised by Millrace itself from {soft}")
    return Finding("open files", "good", text)


def processes(limit: int, cgroup: int | None, needed: int) -> Finding:
    """Whether so many processes of lines may run. cgroup: its pids.max; None: no limit."""
    least = needed + OWN_PROCESSES
    limits = [one for one in (limit, cgroup) if one is not None and one != resource.RLIM_INFINITY]
    allowed = min(limits, default=None)
    text = f"{least} needed, {_UNLIMITED if allowed is None else allowed} may run"
    if allowed is not None and allowed < least:
        advice = "allow more (TasksMax= of a unit, --pids-limit of a container, ulimit -u), or task.processes=1"
        return Finding("processes", "bad", text, advice)
    return Finding("processes", "good", text)


def room(what: str, folder: str, free_bytes: int, *, is_writable: bool) -> Finding:
    """Whether a folder takes files."""
    if not is_writable:
        return Finding(what, "bad", f"{folder} cannot be written", "let this user write it, or name another place")
    if free_bytes < ROOM_BYTES_MIN:
        text = f"{bytes_text(free_bytes)} free in {folder}"
        return Finding(what, "warning", text, f"make room: at least {bytes_text(ROOM_BYTES_MIN)}")
    return Finding(what, "good", f"{bytes_text(free_bytes)} free in {folder}")


def clock(now_seconds: float, *, is_synchronised: bool | None) -> Finding:
    """Whether the clock can be right. is_synchronised: None: the machine does not tell."""
    now = datetime.datetime.fromtimestamp(now_seconds, datetime.UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < YEAR_MIN:
        return Finding("clock", "bad", text, "set it: certificates, retention and timestamps go by it")
    if is_synchronised is False:
        advice = (
            "let chrony or systemd-timesyncd keep it right: timestamps of records and dates of certificates go by it"
        )
        return Finding("clock", "warning", f"{text}, kept right by nobody", advice)
    return Finding("clock", "good", text)


def memory(bound_bytes: int, available: int, cgroup: int | None) -> Finding:
    """Whether the most that the worker can come to hold is there. cgroup: its memory.max; None: no limit."""
    text = f"at most {bytes_text(bound_bytes)} may come to be needed, {bytes_text(available)} available"
    advice = "set worker.memory.max, or run fewer tasks (docs/operations.md, memory)"
    if cgroup is not None and cgroup < bound_bytes:
        return Finding("memory", "warning", f"{text}, {bytes_text(cgroup)} allowed by the cgroup", advice)
    if available < bound_bytes:
        return Finding("memory", "warning", text, advice)
    return Finding("memory", "good", text)


def is_synchronised() -> bool | None:
    """Whether something keeps the machine's clock right; None: it does not tell."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(256))  # all zeroes: only ask
    return None if state < 0 else state != _TIME_ERROR


def available_bytes() -> int:
    """Memory that could be had now."""
    return int(psutil.virtual_memory().available)


def cgroup_number(name: str, root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """A limit of this process's cgroup, version 2, or of the container it is in; None: none."""
    try:
        own = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
    except OSError:
        own = ""
    found = []
    for folder in (root / own, *(root / own).parents):
        try:
            found.append(int((folder / name).read_text()))
        except (OSError, ValueError):  # no such limit: "max", or version 1
            continue
    return min(found, default=None)


def is_locked(path: Path) -> bool:
    """Whether somebody holds this lock file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("-", maxsplit=1)[0].split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


def _limit(number: int) -> str:
    return _UNLIMITED if number == resource.RLIM_INFINITY else str(number)
