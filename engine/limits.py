"""What the processes of one task may take of the machine: memory, CPUs, and how readily they give way to others.

    supervisor forks ──► the child takes its limits (take) ──► plugins are loaded

Memory is limited where plugins run: by a cgroup, where the worker may make some (engine.supervisor.cgroups), and the
kernel ends what needs more. Elsewhere by RLIMIT_DATA (what the process has for itself alone, rings and code do not
count): beyond it an allocation fails, which Python tells as MemoryError and native code often by a crash. The other two
hold for both processes of the task. All three concern this task only: what it is denied, others have.

Used by: engine.task, engine.pump, engine.both (take), engine.bank, engine.supervisor.line (tell).
Not here: a bound on the sizes of rings and client queues (engine.memory), parsing of `task.cpu.affinity`
(engine.config.cpus).
"""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path

from engine.api.errors import ConfigError
from engine.config.line import Limits

__all__ = ["MEMORY_KEY", "memory_limit", "take"]

logger = logging.getLogger("millrace.process")

MEMORY_KEY = "task.memory.max"
#: Room that a task process needs beyond what it has when it is forked, before it can load anything.
ROOM_BYTES = 16 * 1024 * 1024


def take(limits: Limits, *, has_plugins: bool) -> None:
    """Let this process have no more than its limits from now on. Raises ConfigError where the machine refuses.

    has_plugins: plugins run here.
    """
    if limits.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, limits.nice)
        except PermissionError:
            raise ConfigError(
                f"task.nice={limits.nice}: this user may not raise priorities; expected 0 to 19, or CAP_SYS_NICE"
            ) from None
    if limits.cpus:
        try:
            os.sched_setaffinity(0, limits.cpus)
        except OSError as error:
            cpus = ",".join(map(str, limits.cpus))
            raise ConfigError(
                f"task.cpu.affinity={cpus}: this machine does not give these CPUs ({error.strerror})"
            ) from None
    if limits.memory_bytes is not None and has_plugins and not _is_within(limits.cgroup, limits.memory_bytes):
        _limit_memory(limits.memory_bytes)


def memory_limit() -> int | None:
    """How many bytes this process may have for itself; None: nobody has limited it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit


def _is_within(cgroup: str, size_bytes: int) -> bool:
    """Whether this process is in its cgroup now: what it takes from here on counts there. Raises ConfigError."""
    if not cgroup:
        return False
    if size_bytes < ROOM_BYTES:
        raise ConfigError(f"{MEMORY_KEY}={size_bytes}: no plugin can be loaded with it; expected at least {ROOM_BYTES}")
    try:
        Path(cgroup, "cgroup.procs").write_text("0")
    except OSError as error:
        logger.warning("cannot enter the cgroup %s (%s); RLIMIT_DATA keeps %s", cgroup, error.strerror, MEMORY_KEY)
        return False
    return True


def _limit_memory(size_bytes: int) -> None:
    needed_bytes = _held_bytes() + ROOM_BYTES
    if size_bytes < needed_bytes:
        raise ConfigError(
            f"{MEMORY_KEY}={size_bytes}: a task process has {needed_bytes - ROOM_BYTES} bytes before it loads any "
            f"plugin; expected at least {needed_bytes}"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _held_bytes() -> int:
    """What counts for RLIMIT_DATA now."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
