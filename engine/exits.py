"""How processes end: one table for the command and for the children of the supervisor, and one for errors of commands.

What a user's script sees is documented in docs/operations.md; a test holds the two together.
"""

from __future__ import annotations

import sys
from enum import IntEnum

from engine.api.errors import ConfigError, ConnectError, UnreachableError

__all__ = ["ExitCode", "LockedError", "code_of_error", "sentences_of", "told"]


class ExitCode(IntEnum):
    """The number a process ends with."""

    OK = 0  # all that was asked is done; what runs until it is stopped was stopped by TERM or HUP
    FAILED = 1  # a task failed and was given up: the report says why
    USAGE = 2  # the command line or a configuration is wrong; nothing was started
    UNREACHABLE = 3  # no broker, or a topic that should be there is not; nothing was started
    LOCKED = 4  # another worker uses the store
    UNSUPPORTED = 5  # this machine lacks something Millrace needs
    INCOMPLETE = 6  # of the demo: what came out is not what went in
    DIFFERS = 7  # what was declared is not what is there, and nobody has said that it shall be
    BAD_RECORD = 65  # of a child only: a record that it cannot take on
    ERROR = 69  # of a child only: an exception, of a plugin most likely
    BUG = 70  # an error of Millrace itself
    CRASHED = 71  # of a child only: it has no memory left, or a plugin has left by `exit`
    RETRY = 75  # of a child only: the outside world may recover; start it again
    FENCED = 76  # of a child only: others may have its place, as it has stood still for too long or they say so; again
    REFUSED = 77  # of a child only: somebody outside refuses who it says it is
    BAD_CONFIG = 78  # of a child only: a plugin says that its configuration is wrong
    INTERRUPTED = 130  # stopped cleanly by Ctrl-C (INT)
    KILLED_NOW = 137  # stopped at once by a second signal, nothing was flushed
    TERMINATED = 143  # stopped cleanly by TERM or HUP, with work left for the next run, or before anything was started


class LockedError(ConnectError):
    """Another worker has the store."""


#: The first that fits counts.
_ENDED_BY = (
    (ConfigError, ExitCode.USAGE),
    (UnreachableError, ExitCode.UNREACHABLE),
    (LockedError, ExitCode.LOCKED),
    (ConnectError, ExitCode.FAILED),
)


def code_of_error(error: ConnectError) -> ExitCode:
    """What a command ends with that this has ended."""
    return next(code for kind, code in _ENDED_BY if isinstance(error, kind))


def sentences_of(error: ConnectError) -> list[str]:
    """What is wrong, each in a sentence."""
    return [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else [str(error)]


def told(error: ConnectError, *, place: str = "") -> ExitCode:
    """Say on standard error what has ended a command; returns its code. place: where problems are, for a heading."""
    before = "millrace: "
    sentences = sentences_of(error)
    if place and isinstance(error, ConfigError):
        print(f"millrace: {len(sentences)} problem{'s' * (len(sentences) != 1)} {place}", file=sys.stderr)
        before = "  "
    for sentence in sentences:
        print(f"{before}{sentence}", file=sys.stderr)
    return code_of_error(error)
