"""How processes end by signals and exits, in words: what it means, and the call in which it came.

Used by: engine.supervisor.line, engine.supervisor.watchers.
Not here: what becomes of what has ended (engine.mending).
"""

from __future__ import annotations

import signal

from engine.shm.acts import Act

__all__ = ["by_code", "by_signal"]

#: Signals that a process brings upon itself.
_MEANINGS = {
    signal.SIGSEGV: "segmentation fault: it touched memory that is not its own",
    signal.SIGBUS: "bus error: memory or a mapped file was not there",
    signal.SIGILL: "illegal instruction",
    signal.SIGFPE: "arithmetic error in native code",
    signal.SIGABRT: "abort: native code has given up",
}
_OOM = "out of memory: the kernel has killed it"
#: A record is found only behind poll.
_POLLING = ": where poll itself ends its process, there is no record to skip"


def by_signal(number: int, act: Act, *, is_oom: bool = False, limit: str = "") -> str:
    """A signal by its name; where no user has sent it, also what it says of the process, which was last in this act.

    is_oom: the kernel has sent it, for want of memory. limit: that was reached, as KEY=VALUE; empty: none of ours.
    """
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    meaning = f"{_OOM}{limit and f', {limit}'}" if is_oom else _MEANINGS.get(known)
    if meaning is None:
        return known.name
    where = "" if act == Act.NOTHING else f", last in {act.label}"
    return f"{known.name} ({meaning}{where}){_POLLING if act == Act.POLL else ''}"


def by_code(code: int, act: Act) -> str:
    """An exit without a word: code, of a plugin that was in this act."""
    return f"exit code {code}{_POLLING if act == Act.POLL else ''}"
