"""What is done about a line that does not go on: told, with the stack of who is stuck; after a time, ended.

    Judge ──► a stall begins ──► board, the stuck process is asked for its stack ──► board, log
                   │ is over ──► board, log
                   └─ lasts beyond task.stall.kill.ms ──► KILL; the line comes back by its policy

Nobody is waited for: the stack is what has come when a look finds that nothing more comes.

Used by: engine.supervisor.line.
Not here: what a stall is (stalls.py), how a stack is written (fork.py), how a line comes back (line.py).
"""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Mapping
from typing import NamedTuple

from engine.config.line import LineSpec
from engine.shm.board import Row, Word
from engine.shm.stalls import Stall, Way, pack
from engine.supervisor.fork import Child
from engine.supervisor.stalls import Judge

__all__ = ["Guard", "Killed"]

logger = logging.getLogger("millrace.supervisor")

SECOND_NS = 1_000_000_000
#: How often a line is looked at.
LOOK_NS = SECOND_NS // 2
#: A process that has not told its stack within this time cannot: it waits in the kernel, or for a processor.
STACK_NS_MAX = 2 * SECOND_NS
#: Another stall of the same line is logged after so long.
TELL_NS = 60 * SECOND_NS


class Killed(NamedTuple):
    """A bank whose process was ended because the line was stalled."""

    bank: str
    cause: str


class Guard:
    """One line's."""

    def __init__(self, spec: LineSpec, row: Row) -> None:
        self._spec = spec
        self._row = row
        self._judge = Judge(spec, row)
        self._kill_ns = int(spec.stalls.kill * SECOND_NS)
        self.look_at_ns = 0  # when the next look is due
        self._stall: Stall | None = None
        self._asked: Child | None = None  # who is to tell its stack, which is not complete yet
        self._asked_until_ns = 0
        self._stack = ""
        self._told_ns: int | None = None  # when a stall was logged last
        self._is_told = False  # this one was

    def begin(self, now_ns: int) -> None:
        """A life of the line begins."""
        self._judge.begin(now_ns)
        self._set(None)
        self.look_at_ns = now_ns + LOOK_NS

    def end(self) -> None:
        """It is over; the stack of whoever was stuck stays."""
        self._set(None)
        self._asked = None

    def tick(self, now_ns: int, children: Mapping[str, Child], held: Mapping[str, int]) -> Killed | None:
        """Look, if that is due; returns which bank has been ended for it, if one was.

        children: the living ones, by bank. held: those that a signal has stopped, since when.
        """
        if now_ns < self.look_at_ns:
            return None
        self.look_at_ns = now_ns + LOOK_NS
        self._collect(now_ns, children)
        stall = self._judge.look(now_ns, held) if children else None
        if _place(stall) != _place(self._stall):
            self._change(stall, now_ns, children)
        if stall is None:
            return None
        self._set(stall)
        if self._asked is None:
            self._tell(stall, now_ns)
        # What a signal has stopped has its lease.
        if self._kill_ns and stall.way != Way.HELD and now_ns - stall.since_ns >= self._kill_ns:
            return self._end(stall, now_ns, children)
        return None

    def _set(self, stall: Stall | None) -> None:
        self._stall = stall
        self._row.set(Word.STALL, pack(stall))

    def _change(self, stall: Stall | None, now_ns: int, children: Mapping[str, Child]) -> None:
        if self._stall is not None and self._is_told:
            logger.info("%s goes on after %.1f s", self._spec.title, self._stall.seconds(now_ns))
        self._asked = None
        self._is_told = False
        self._row.stack = self._stack = ""
        if stall is None:
            self._set(None)
            return
        self._row.set(Word.STALLS, self._row.get(Word.STALLS) + 1)
        child = _child_of(stall, children)
        if child is not None and stall.way != Way.HELD:  # who is stopped tells nothing
            self._asked = child
            self._asked_until_ns = now_ns + STACK_NS_MAX
            self._stack = ""
            child.ask_for_stack()

    def _collect(self, now_ns: int, children: Mapping[str, Child]) -> None:
        """Take what has come of a stack; it is complete when nothing more has, or who was asked is gone."""
        if not any(child is self._asked for child in children.values()):
            self._asked = None
        if self._asked is None:
            return
        before, self._stack = self._stack, self._asked.stack()
        if (self._stack and self._stack == before) or now_ns >= self._asked_until_ns:
            self._asked = None
        self._row.stack = self._stack

    def _tell(self, stall: Stall, now_ns: int) -> None:
        if self._is_told or (self._told_ns is not None and now_ns - self._told_ns < TELL_NS):
            return
        self._is_told = True
        self._told_ns = now_ns
        where = f"; its {stall.bank} process is here:\n{self._stack.rstrip()}" if self._stack else ""
        logger.warning("%s is stalled: %s for %.0f s%s", self._spec.title, stall.sentence, stall.seconds(now_ns), where)

    def _end(self, stall: Stall, now_ns: int, children: Mapping[str, Child]) -> Killed | None:
        child = _child_of(stall, children)
        if child is None:
            return None
        os.kill(child.pid, signal.SIGKILL)
        limit_ms = round(self._kill_ns / 1e6)
        place = f" (at {frame})" if (frame := innermost(self._stack)) else ""
        cause = f"{stall.sentence} for {stall.seconds(now_ns):.0f} s{place}; task.stall.kill.ms={limit_ms}"
        return Killed(stall.bank, cause)


def innermost(stack: str) -> str:
    """Where the main thread is, of a stack as `Child.stack` has it; empty: it does not say."""
    found = re.search(r"^Current thread .*\n  (.*)", stack, re.MULTILINE)
    return found[1] if found else ""


def _place(stall: Stall | None) -> tuple[Way, str] | None:
    return None if stall is None else (stall.way, stall.bank)


def _child_of(stall: Stall, children: Mapping[str, Child]) -> Child | None:
    return children.get("both") or children.get(stall.bank)
