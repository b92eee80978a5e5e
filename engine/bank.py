"""The loop of a process that serves a bank of a line.

    start ──► step step (wait for the bell) step ... ──► is_over ──► stop

An error of a bank ends it in order where the bank can do so (`fail`: what is done is kept), and the process with a
code that says whether a restart may help. One that has stood still beyond its lease ends as it is.

Used by: engine.task.main, engine.pump.main, engine.both.
Not here: what a step does (engine.task, engine.pump), who restarts (engine.supervisor).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from engine.api.errors import ConnectError, DataError
from engine.descriptors import what_to_do
from engine.exits import ExitCode
from engine.limits import memory_limit
from engine.malloc import Trim
from engine.mending import Kind, code_of, kind_of
from engine.shm.acts import act_of
from engine.shm.board import Row
from engine.shm.channel import Bell
from engine.shm.lease import Fenced
from engine.shm.levels import Follower, LevelTable

__all__ = ["Bank", "Say", "Stopper", "describe", "note_act", "noting_acts", "serve", "step"]

logger = logging.getLogger("millrace.process")

#: A bell is rung for whatever can be missed for no longer than this: all but levels of loggers. Hundreds of idle tasks
#: wake as seldom as the heartbeat of each allows (engine.supervisor.stalls).
WAIT_SECONDS_MAX = 0.5
#: A process whose parent is gone ends in order within this time, or at once after it; a call of librdkafka that lasts
#: longer is ended first.
ORPHAN_SECONDS = 10

Say = Callable[[str], None]


class Bank(Protocol):
    """One side of a line, stepped by `serve`."""

    @property
    def failure(self) -> Exception | None: ...
    @property
    def is_over(self) -> bool: ...
    def start(self) -> None:
        """Begin. Raises ConnectError."""

    def step(self) -> float:
        """Do a piece of work; returns how long (seconds) nothing but the bell can give it more."""

    def ask_to_stop(self) -> None:
        """End in order as soon as possible."""

    def fail(self, error: Exception) -> None:
        """Keep what is done, end in order, with this reason."""

    def stop(self) -> None:
        """Give back what was taken; once."""


class Stopper:
    """Hears TERM, and that the parent is gone; asked between two steps."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self.bell: Bell | None = None  # rung at TERM: a wait goes on after a signal
        self.is_asked = False
        self.is_orphan = False
        signal.signal(signal.SIGTERM, self._on_term)

    def look(self) -> bool:
        """Whether this process should end."""
        if not self.is_orphan and os.getppid() != self._parent:
            self.is_orphan = self.is_asked = True
            # Nobody is left who would end a stuck process.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(ORPHAN_SECONDS)
        return self.is_asked

    def _on_term(self, _number: int, _frame: object) -> None:
        self.is_asked = True
        self.look()  # the parent's death comes as TERM, perhaps in the middle of a step that lasts a minute
        if self.bell is not None:
            self.bell.ring()


def serve(
    make_bank: Callable[[], Bank],
    bell: Bell,
    stopper: Stopper,
    say: Say,
    fence: Callable[[], None],
    levels: LevelTable,
) -> ExitCode:
    """Make a bank and step it until it is over; returns how it went, having said why it went wrong.

    fence: called before each step; may raise Fenced. levels: of loggers, followed from step to step.
    """
    stopper.bell = bell
    follower = Follower(levels)
    follower.look()
    bank: Bank | None = None
    is_dead = False  # nothing more is done, not even in order
    try:
        bank = make_bank()
        bank.start()
        _step_to_end(bank, bell, stopper, fence, follower)
    except Fenced as fenced:
        is_dead = True
        say(str(fenced))
        return ExitCode.FENCED
    except SystemExit as left:  # raised by a plugin: as good as a call of the system's exit
        is_dead = True
        say(f"a plugin has called exit({left.code})")
        return ExitCode.CRASHED
    except Exception as error:  # noqa: BLE001  a process's main: it becomes an exit code
        return _tell(error, say)
    finally:
        if bank is not None and not is_dead:
            _stop(bank)
    return ExitCode.OK if bank.failure is None else _tell(bank.failure, say)


def step(bank: Bank) -> float:
    """Let a bank do a piece of work, as `Bank.step`; what it raises is its failure, with which it ends in order.

    Raises what it raises when it has failed before: ending in order fails as well.
    """
    try:
        return bank.step()
    except Exception as error:  # a process's main: it becomes an exit code
        if bank.failure is not None:
            raise
        bank.fail(error)
        return 0.0


def describe(error: Exception) -> str:
    """An error in a sentence; ours speak for themselves, others by their class."""
    if isinstance(error, MemoryError):
        limit = memory_limit()
        why = "" if limit is None else f", task.memory.max lets its process have {limit} bytes"
        return f"out of memory (MemoryError){why}"
    if isinstance(error, DataError):
        return error.whole()
    return str(error) if isinstance(error, ConnectError) else f"{type(error).__name__}: {error}"


def note_act(error: Exception, row: Row) -> None:
    """Let an error that no plugin chose to raise say in which call it was: what ends in order goes on to others."""
    if not isinstance(error, ConnectError) and not hasattr(error, "__notes__"):
        error.add_note(f"in {act_of(row, 'task').label}")


@contextmanager
def noting_acts(row: Row) -> Iterator[None]:
    """`note_act` for whatever is raised within."""
    try:
        yield
    except Exception as error:
        note_act(error, row)
        raise


def _step_to_end(bank: Bank, bell: Bell, stopper: Stopper, fence: Callable[[], None], follower: Follower) -> None:
    is_asked = False
    trim = Trim()
    while not bank.is_over:
        fence()
        follower.look()
        trim.look()
        if stopper.look() and not is_asked:
            is_asked = True
            bank.ask_to_stop()
        idle = step(bank)
        if idle > 0 and not bank.is_over:
            bell.wait(min(idle, WAIT_SECONDS_MAX))


def _stop(bank: Bank) -> None:
    try:
        bank.stop()
    except Exception:  # it ends in any case, and its reason is the first one
        logger.exception("stopping failed")


def _tell(error: Exception, say: Say) -> ExitCode:
    kind = kind_of(error)
    where = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if kind in (Kind.OUTSIDE, Kind.FENCED):
        say(f"{describe(error)}{where}")
        return code_of(kind)
    if isinstance(error, ConnectError):
        # What went wrong with a record may be a plugin's fault; what is full or away speaks for itself.
        wants_trace = isinstance(error, DataError) or logger.isEnabledFor(logging.DEBUG)
        logger.error("%s", error, exc_info=error.__cause__ if wants_trace else None)
        say(f"{error}{where}")
        return code_of(kind)
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    say(f"{describe(error)}{what_to_do(error) if isinstance(error, OSError) else ''}{where}")
    return code_of(kind)
