"""The supervisor: fork, watch, restart, stop; one thread and one loop.

    signals ─► queue ─┐
    SIGCHLD ──────────┴─► renew the lease ─► reap ─► lines tick ─► bulk: sources over? drain sinks; complete? stop them
                          tell the manager                         over: last snapshot, display off, answer

It makes no client, runs no plugin code and waits for nobody: each wait has a deadline, each child a ladder
(line.py). Signal handlers only enqueue.

Used by: engine.boot.
Not here: what a line goes through (line.py), what the children do (the four mains).
Source: the shape of the loop after gunicorn's arbiter. Read for ideas, written anew.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from engine.clock import Clock
from engine.exits import ExitCode
from engine.shm.board import Board, HeaderWord, State, Target, Word
from engine.shm.levels import Follower
from engine.supervisor.line import Line
from engine.supervisor.manager import Manager
from engine.supervisor.orders import Orders
from engine.supervisor.service import Service

__all__ = ["Supervisor"]

logger = logging.getLogger("millrace.supervisor")

#: The board is looked at so often; a child's end wakes the loop at once.
TICK_MS = 20
#: Lines where nothing goes on are looked at so often, the others in each turn. Looks touch all of a line: its memory is
#: then no longer the same as in the children forked before, which have as much more of their own.
ALL_NS = 125_000_000
#: A turn of the loop that took no longer than this is no reason to look at the lines' leases, which are longer.
STILL_NS = 500_000_000
#: Children heard of in one turn of the loop.
NEWS_PER_TURN = 1000
#: Control writes its last snapshot, the display its last frame, within this time.
SERVICE_GRACE_NS = 3_000_000_000

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.TERMINATED}
#: How a service manager ends what runs until it is stopped.
_PLAIN_STOPS = (signal.SIGTERM, signal.SIGHUP)


class Lines(Protocol):
    """Who knows the lines (`engine.supervisor.fleet.Fleet`)."""

    @property
    def lines(self) -> list[Line]:
        """All of them, now."""

    @property
    def stirred(self) -> list[Line]:
        """Those that were ordered anything; whoever looks at them empties it."""


class Supervisor:
    """Runs lines to their end, or until it is told to stop."""

    def __init__(
        self,
        board: Board,
        fleet: Lines,
        services: Sequence[Service],
        clock: Clock,
        *,
        is_bulk: bool,
        orders: Orders | None = None,
        manager: Manager | None = None,
    ) -> None:
        """orders: control's; with them the run goes on without lines, until it is told to stop.

        manager: who has started the worker and wants to know how it is.
        """
        self._board = board
        self._fleet = fleet
        self._services = services
        self._clock = clock
        self._is_bulk = is_bulk
        self._orders = orders
        self._manager = manager or Manager()
        self._signals: deque[int] = deque()
        self._stopped_by: signal.Signals | None = None
        self._is_killed = False
        self._levels = Follower(board.levels)
        self._awake: dict[Line, None] = {}  # where something goes on
        self._all_at_ns = 0  # when all are looked at

    def run(self) -> ExitCode:
        """Returns when no line runs any more and no child lives."""
        waker = self._listen()
        self._board.header[HeaderWord.LEASE_NS] = self._clock.monotonic_ns()
        for service in self._services:
            service.start()
        for line in self._lines:
            line.start()
            self._renew_lease()  # forking hundreds takes seconds
        self._manager.ready(f"{len(self._lines)} tasks started")
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        while not self._is_over():
            if poll.poll(TICK_MS):
                _drain(waker)
            self._renew_lease()
            self._levels.look()
            self._reap()
            while self._signals:
                self._obey(signal.Signals(self._signals.popleft()))
            self._look()
            for service in self._services:
                service.tick()
            if self._orders is not None:
                if self._stopped_by is None:
                    self._orders.tick()
                else:
                    self._orders.wind_up()
            if self._is_bulk:
                self._lead()
        self._finish(poll, waker)
        return self._answer()

    @property
    def _lines(self) -> list[Line]:
        return self._fleet.lines

    def _is_over(self) -> bool:
        if self._orders is not None and (self._stopped_by is None or not self._orders.is_over):
            return False
        return all(line.is_over for line in self._lines)

    def _look(self) -> None:
        """Let lines do what is due."""
        now_ns = self._clock.monotonic_ns()
        looked = [*self._awake, *self._fleet.stirred]
        if now_ns >= self._all_at_ns:
            self._all_at_ns = now_ns + ALL_NS
            looked = self._lines
        self._fleet.stirred.clear()
        self._awake = {line: None for line in dict.fromkeys(looked) if not line.tick()}

    def _listen(self) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What is ignored from the start stays so: `nohup` means it.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: self._signals.append(number))
        # Only to be woken: who has ended is found by asking each child.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return reading

    def _renew_lease(self) -> None:
        """Let all banks go on, but for those that may have stood still with this process for too long."""
        now_ns = self._clock.monotonic_ns()
        still_ns = now_ns - self._board.header[HeaderWord.LEASE_NS]
        if still_ns > STILL_NS:
            for line in self._lines:
                line.stood_still(still_ns)
        self._board.header[HeaderWord.LEASE_NS] = now_ns
        self._manager.alive()

    def _reap(self) -> None:
        """Hear of the children that have ended, or that a signal has stopped or let go on.

        Others than ours came to this process because it is the first of a container.
        """
        lines: Mapping[int, Line] | None = None
        for _ in range(NEWS_PER_TURN):
            pid = _who_has_news()
            if pid is None:
                return
            owner: Line | Service | Orders | None = self._owner_beside_lines(pid)
            if owner is None:
                lines = lines or {pid: line for line in self._lines for pid in line.pids()}  # of hundreds: made once
                owner = lines.get(pid)
            status = _news(pid)
            if status is None or owner is None:
                continue
            if isinstance(owner, Line):
                self._awake[owner] = None
            if isinstance(owner, Line) and (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                owner.held(pid, is_held=os.WIFSTOPPED(status))
            elif os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                continue
            elif isinstance(owner, Service):
                owner.reaped(status)
            else:
                owner.reaped(pid, status)

    def _owner_beside_lines(self, pid: int) -> Service | Orders | None:
        if self._orders is not None and pid in self._orders.pids():
            return self._orders
        return next((service for service in self._services if service.pid == pid), None)

    def _obey(self, number: signal.Signals) -> None:
        self._all_at_ns = 0
        if self._stopped_by is None:
            self._stopped_by = number
            self._board.header[HeaderWord.IS_STOPPING] = 1
            self._manager.stopping(f"stopping after {number.name}")
            logger.info("%s: stopping; what is done is kept, the rest is left for the next run", number.name)
            for line in self._lines:
                line.stop()
            if self._orders is not None:
                self._orders.stop()
        elif not self._is_killed:
            self._is_killed = True
            logger.warning("%s again: ending at once", number.name)
            for line in self._lines:
                if not line.is_over:
                    line.kill()
            if self._orders is not None:
                self._orders.stop(at_once=True)

    def _lead(self) -> None:
        """A bulk run: once the sources are over the sinks drain; a connector whose group is complete stops."""
        if self._stopped_by is not None:
            return
        if all(line.is_over for line in self._lines if line.spec.type == "source"):
            for line in self._lines:
                if line.spec.type == "sink":
                    line.drain()
        draining: dict[str, list[Line]] = {}
        for line in self._lines:
            if not line.is_over and line.row.get(Word.TARGET) == Target.DRAIN:
                draining.setdefault(line.spec.connector, []).append(line)
        for lines in draining.values():
            if all(line.is_complete for line in lines):
                for line in lines:
                    line.stop()

    def _finish(self, poll: select.poll, waker: int) -> None:
        """The run is over: let the services say their last."""
        self._board.header[HeaderWord.FINISHED_NS] = self._clock.monotonic_ns()
        for line in self._lines:
            line.close()
        if self._orders is not None:
            self._orders.close()
        self._await_services(poll, waker, signal.SIGTERM)
        self._await_services(poll, waker, signal.SIGKILL)
        signal.set_wakeup_fd(-1)

    def _await_services(self, poll: select.poll, waker: int, number: signal.Signals) -> None:
        deadline_ns = self._clock.monotonic_ns() + SERVICE_GRACE_NS
        for service in self._services:
            service.send(number)
        while any(service.pid is not None for service in self._services):
            if self._clock.monotonic_ns() > deadline_ns:
                return
            if poll.poll(TICK_MS):
                _drain(waker)
            self._manager.alive()
            for service in self._services:
                if service.pid is not None and _ended(service.pid) is not None:
                    service.ended()

    def _answer(self) -> ExitCode:
        if self._is_killed:
            return ExitCode.KILLED_NOW
        if not self._is_bulk and self._stopped_by in _PLAIN_STOPS:
            return (
                ExitCode.OK
            )  # what runs until it is stopped has done all that was asked; the report names failed tasks
        if any(line.state == State.FAILED for line in self._lines):
            return ExitCode.FAILED
        if self._stopped_by is not None and any(line.state == State.STOPPED for line in self._lines):
            return _CODES[self._stopped_by]
        return ExitCode.OK


def _who_has_news() -> int | None:
    """A child that has ended, was stopped or let go on: to ask each of hundreds takes a fifth of a core."""
    options = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
    try:
        found = os.waitid(os.P_ALL, 0, options)
    except ChildProcessError:  # there is no child at all
        return None
    return None if found is None else found.si_pid


def _news(pid: int) -> int | None:
    """The wait status of a child that has ended, or that a signal has stopped or let go on, since the last look."""
    found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
    return status if found else None


def _ended(pid: int) -> int | None:
    """The wait status of a child that has ended."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return status if found else None


def _drain(waker: int) -> None:
    try:
        while os.read(waker, 4096):
            pass
    except BlockingIOError:
        pass
