"""How many descriptors the processes of a worker need; the limit is raised where it may be, else nothing starts.

    supervisor   its own, and of each line: memory, two bells, the last words of one or two processes; and a bell and
                 last words of each stage process
    pump         its own, and of each broker: what two clients need for a connection

The limit (`ulimit -n`) is one of each process, so the larger of the two counts. What plugins open comes on top, within
what a process has for its own.

Used by: engine.boot (provides), engine.bank, engine.offsets, engine.supervisor (say what a failure means).
Source: the limit is raised by the process itself, as systemd advises: a soft limit is there for programs with select.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterable

from engine.api.errors import ConfigError, Problem

__all__ = ["needed", "provide", "what_to_do"]

#: Of the supervisor: standard streams, board, ledger, lock, listener, pipes; and a few in hand while it starts a line.
SUPERVISOR = 48
#: Of a line, in the supervisor: the memory of its rings, and two bells.
LINE = 3
#: Of any other process: what it inherits and maps, its store, and what a plugin is taken to open.
PROCESS = 96
#: Of each broker, in a pump: a socket and a pipe that wakes its thread, for each of two clients, and one in hand.
BROKER = 7

#: A limit is not raised farther than this without need: some programs walk through all numbers there might be.
ROOMY = 65_536

_REACHED = (errno.EMFILE, errno.ENFILE)


def needed(processes: Iterable[int], brokers: int) -> int:
    """What the process with the most needs. brokers: of the largest cluster.

    processes: of each line, one or two, and two for each stage process, which has a bell of its own.
    """
    supervisor = SUPERVISOR + sum(LINE + count for count in processes)
    # As many as there are, and the one that a client begins with, which has no number yet.
    return max(supervisor, PROCESS + BROKER * (brokers + 1))


def provide(count: int) -> None:
    """Raise this process's limit as far as it may, to ROOMY at most, where the present one does not suffice.

    Children inherit it. Raises ConfigError, with the numbers, where that would not do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        text = (
            f"a process of this worker needs {count} open files and may have {hard} (ulimit -Hn): allow more "
            "(LimitNOFILE= of a systemd unit, --ulimit nofile= of a container, limits.conf), or run fewer tasks, or "
            "tasks of one process (task.processes=1)"
        )
        raise ConfigError([Problem("worker.tasks.max", text)])
    roomy = max(count, ROOMY)
    raised = roomy if hard == resource.RLIM_INFINITY else min(roomy, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))


def what_to_do(error: OSError | None = None) -> str:
    """What to add to a message where the limit was reached, else nothing. error: None: it is tried out."""
    if error is None:
        error = _tried()
    if error is None or error.errno not in _REACHED:
        return ""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if error.errno == errno.ENFILE:
        return "; all open files of the machine are in use (sysctl fs.file-max)"
    return f"; this process has all {soft} open files that it may: allow more (ulimit -n), or find who leaves them open"


def _tried() -> OSError | None:
    """Why no more descriptor is to be had, if so."""
    try:
        with open("/dev/null", "rb"):  # noqa: PTH123  the least that opens something
            return None
    except OSError as error:
        return error
