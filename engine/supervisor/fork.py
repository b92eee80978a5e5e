"""Making a child: everything that must be so before a child does anything of its own.

    supervisor                      child
    gc.freeze, pipe, fork ────────► INT and HUP ignored, TERM as it was
                                    death signal, parent still there?
                                    close every descriptor but its own, title
                                    main ──► os._exit(code)
    stacks     ◄──── pipe ◄──────── at SIGURG or SIGALRM, and when it crashes: what each thread was doing
    last words ◄──── pipe ◄──────── why it went wrong; the traceback of what its main lets through goes to the log

A child leaves by `os._exit`: what it inherited must not be torn down twice, and a librdkafka client
that is still busy would keep it.

Used by: engine.supervisor.
Source: PR_SET_PDEATHSIG follows the thread that forks and leaves a window before it is set, hence `getppid`. Stacks
are written by faulthandler, in C and without the interpreter's lock: whoever hangs in C has one as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import setproctitle
from msgspec import Struct, field

from engine import logs, malloc
from engine.exits import ExitCode

__all__ = ["Child", "fork"]

logger = logging.getLogger("millrace.process")

PR_SET_PDEATHSIG = 1
#: Written by a child in one piece, at most what a pipe takes so.
LAST_WORDS_BYTES = 4096
#: What a pipe holds: one read takes all there is.
PIPE_BYTES = 65_536
#: Stands before last words, and in no stack.
WORDS_BEGIN = b"\0"
#: How faulthandler begins when a fault ends a process.
CRASHED = "Fatal Python error"
#: Asks a child for its stack. Nothing happens where a child is not ready for it: that is its default.
STACK_SIGNAL = signal.SIGURG
#: Collections look at young objects after so many; batches of thousands of records are no garbage.
GC_THRESHOLDS = (50_000, 20, 50)

Say = Callable[[str], None]
_LIBC = ctypes.CDLL(None, use_errno=True)


class Child(Struct, frozen=True):
    """A process of the supervisor's, until it is reaped."""

    pid: int
    title: str
    words: int  # the reading end of its stacks and last words; the supervisor's
    heard: bytearray = field(default_factory=bytearray)  # what was read of it

    def ask_for_stack(self) -> None:
        """Let it write what its threads are doing, whatever that is; what it has written before is forgotten."""
        self._read()
        del self.heard[: len(self.heard.partition(WORDS_BEGIN)[0])]
        os.kill(self.pid, STACK_SIGNAL)

    def stack(self) -> str:
        """What it has written of its stack so far: asked, or because it has crashed."""
        self._read()
        return self.heard.partition(WORDS_BEGIN)[0].decode(errors="replace")

    def crash(self) -> str:
        """Its stack, where a fault has ended it and it could tell; else empty."""
        stack = self.stack()
        return stack.rstrip() if stack.startswith(CRASHED) else ""

    def last_words(self) -> str:
        """Why it went wrong, if it could say so. Closes the pipe: call it once, after the child has ended."""
        try:
            self._read()
            return self.heard.partition(WORDS_BEGIN)[2].decode(errors="replace")
        finally:
            os.close(self.words)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.heard.extend(os.read(self.words, PIPE_BYTES))


def fork(
    title: str, main: Callable[[Say], int], keep: Collection[int], death_signal: signal.Signals = signal.SIGKILL
) -> Child:
    """Start a child that runs `main` and leaves with its answer.

    Before: one thread, no Kafka client, the board mapped.
    main: gets a function for its last words. keep: descriptors that stay open beside 0, 1 and 2.
    death_signal: what the child gets when the supervisor dies.
    Raises OSError when there is no process or descriptor left for it.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()
    setproctitle.getproctitle()  # the first call in a process copies its environment: here, once, not in each child
    # Until the child has its own rules: the supervisor's handler would take a TERM there and tell nobody.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(reading)
        os.close(writing)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writing)
        return Child(pid, title, reading)
    code = int(ExitCode.BUG)
    try:
        _take_own_rules(parent, mask, death_signal)
        _become_child(title, {*keep, writing})
        _tell_stacks(writing)
        logs.take_over()
        code = int(main(lambda text: _say(writing, text)))
    except BaseException as error:  # a process's main: it becomes an exit code
        with contextlib.suppress(BaseException):
            _say(writing, f"{type(error).__name__}: {error}")
            # By the log, which hides secrets and says whose it is; before `main` has set it up, by the supervisor's.
            logger.exception("unexpected %s", type(error).__name__)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _say(descriptor: int, text: str) -> None:
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(descriptor, (WORDS_BEGIN + text.encode(errors="replace"))[:LAST_WORDS_BYTES])


def _take_own_rules(parent: int, mask: set[int | signal.Signals], death_signal: signal.Signals) -> None:
    """From here on TERM and the parent's death end the child at once, until its main has rules of its own.

    So a main that asks for its parent gets the supervisor, never who reaps for one that is dead.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    # Ctrl-C and a closed terminal reach the whole foreground group; the supervisor alone decides what they mean.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(int(ExitCode.BUG))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become_child(title: str, keep: set[int]) -> None:
    _close_all_but({0, 1, 2, *keep})
    setproctitle.setproctitle(f"millrace: {title}")
    malloc.keep()
    gc.set_threshold(*GC_THRESHOLDS)


def _tell_stacks(descriptor: int) -> None:
    faulthandler.enable(descriptor)
    # Calls of the system that the signal meets go on where they were.
    faulthandler.register(STACK_SIGNAL, descriptor, all_threads=True, chain=False)
    # Ends the process, as ever, but tells first what it was busy with for so long (engine.watcher).
    faulthandler.register(signal.SIGALRM, descriptor, all_threads=True, chain=True)


def _close_all_but(keep: Collection[int]) -> None:
    # In ranges, to where the kernel's table of them ends: the supervisor of hundreds of lines has thousands open, and
    # to list them takes milliseconds.
    status = Path("/proc/self/status").read_bytes()
    end = int(status.partition(b"FDSize:")[2].split(maxsplit=1)[0])
    begin = 0
    for kept in (*sorted(keep), end):
        if begin < kept:  # an empty range, Python takes for all there are
            os.closerange(begin, kept)
        begin = kept + 1
