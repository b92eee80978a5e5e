"""The entry point: hears signals from its first line on, before anything heavy is imported.

    is this Linux? ──► INT, TERM, HUP raise ──► command line ──► launch ──► the supervisor takes the signals over
          └──────────────────┴─► a sentence and an exit code; nothing was started

The machine is looked at first: elsewhere some of these signals are not even there, nor modules that the rest imports.
Unless signals are heard from here on, one in the first second would end in a traceback; and process 1 of a container,
to which the kernel sends no signal that it does not ask for, would not hear of a stop at all.

Used by: the script `millrace`.
Not here: what a command line may say (command_line.py).
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from engine.exits import ExitCode
from engine.shm.segment import require_supported_platform

__all__ = ["main"]

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED}


class StoppedEarlyError(BaseException):
    """A signal came while there was no supervisor to stop in order; no `except Exception` takes it for an error."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name}")
        self.code = _CODES.get(number, ExitCode.TERMINATED)


def main() -> NoReturn:
    """The command, from its first line to its exit code."""
    try:
        require_supported_platform()
    except OSError as error:
        print(f"millrace: {error}", file=sys.stderr)
        sys.exit(ExitCode.UNSUPPORTED)
    try:
        _listen()
        from engine import command_line

        command_line.main()
    except StoppedEarlyError as stopped:
        print(f"millrace: {stopped}", file=sys.stderr)
        sys.exit(stopped.code)


def _listen() -> None:
    """Raise StoppedEarlyError in this process for a signal that asks for the end; what is ignored stays so."""
    own = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != own:  # a child that has no rules of its own yet must not go its parent's way
            os._exit(128 + number)
        raise StoppedEarlyError(signal.Signals(number))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


if __name__ == "__main__":
    main()
