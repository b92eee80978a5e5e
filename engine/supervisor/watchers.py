"""Processes of connectors that watch something, as the supervisor has them.

    Watch(spec) ──► forked ──► says Watched ──► control
                      │ ended by itself: what becomes of it, its cause decides (engine.mending)
    another spec ──► TERM ──► KILL after a while ──► reaped ──► its successor, or none

One connector has one process: its successor is forked when it is gone. It goes on while control is dead; the next
control hears again what was said last.

Used by: engine.supervisor.orders.
Not here: what such a process does (engine.watcher), what becomes of what it says (engine.herder).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import logs
from engine.clock import Clock
from engine.config.line import Restarts
from engine.herder.watching import Watch, Watched, WatchSpec
from engine.mending import How, Kind, Mending, kind_of_code
from engine.shm.acts import Act
from engine.shm.link import Link, LinkClosedError
from engine.supervisor.endings import by_signal
from engine.supervisor.fork import Child
from engine.supervisor.guard import innermost
from engine.supervisor.pacer import Pacer

__all__ = ["ForkWatcher", "Watchers"]

logger = logging.getLogger("millrace.supervisor")

#: A connector stops within this time, or is ended.
STOP_NS = 5_000_000_000
MESSAGES_PER_TICK = 16
MS_NS = 1_000_000

#: Forks the process of a connector, which has the other end of a link.
ForkWatcher = Callable[[WatchSpec, socket.socket], Child]

_decode = msgspec.msgpack.Decoder(Watched).decode


class _Watcher(Struct):
    """One connector's."""

    attempt: int  # of the last Watch; 0: whoever asked is gone
    wanted: WatchSpec | None
    mending: Mending
    is_replaced: bool = False  # the process that runs is not the one that is wanted
    child: Child | None = None
    link: Link | None = None
    said: Watched | None = None  # the last of that process
    has_answered: bool = False  # that process has
    start_at_ns: int | None = 0  # when it is due; None: not by itself
    kill_at_ns: int | None = None


class Watchers:
    """All of them."""

    def __init__(self, fork_watcher: ForkWatcher, clock: Clock, pacer: Pacer) -> None:
        self._fork = fork_watcher
        self._clock = clock
        self._pacer = pacer
        self._watchers: dict[str, _Watcher] = {}
        self._told: list[Watched] = []

    @property
    def is_over(self) -> bool:
        """Whether no process is left."""
        return not self.pids()

    def pids(self) -> list[int]:
        """Of all processes."""
        return [one.child.pid for one in self._watchers.values() if one.child is not None]

    def order(self, order: Watch) -> None:
        """Let this be so, from the next tick on."""
        known = self._watchers.get(order.name)
        policy = Restarts() if order.spec is None else order.spec.restarts
        watcher = known or _Watcher(order.attempt, None, Mending(policy))
        self._watchers[order.name] = watcher
        is_same = order.spec is not None and order.spec == watcher.wanted and not order.is_again
        watcher.attempt, watcher.wanted = order.attempt, order.spec
        if is_same and watcher.start_at_ns is not None:
            if watcher.said is not None:
                self._tell(watcher, watcher.said)
            return
        watcher.mending = Mending(policy)
        watcher.start_at_ns = 0
        watcher.said = None
        self._stop(watcher)

    def forget_control(self) -> None:
        """Nobody hears of any, until its successor has asked for them."""
        self._told.clear()
        for watcher in self._watchers.values():
            watcher.attempt = 0

    def stop(self) -> None:
        """Ask all of them to end, for good."""
        for watcher in self._watchers.values():
            watcher.wanted = None
            self._stop(watcher)

    def kill(self) -> None:
        """End all of them at once."""
        for watcher in self._watchers.values():
            watcher.wanted = None
            if watcher.child is not None:
                os.kill(watcher.child.pid, signal.SIGKILL)

    def tick(self) -> list[Watched]:
        """Go on; returns what is to be told to control."""
        now_ns = self._clock.monotonic_ns()
        for name, watcher in list(self._watchers.items()):
            self._receive(name, watcher)
            if watcher.child is not None:
                if watcher.kill_at_ns is not None and now_ns >= watcher.kill_at_ns:
                    watcher.kill_at_ns = None
                    os.kill(watcher.child.pid, signal.SIGKILL)
            elif watcher.wanted is None:
                del self._watchers[name]
            elif watcher.start_at_ns is not None and now_ns >= watcher.start_at_ns:
                self._start(name, watcher, watcher.wanted)
        told, self._told = self._told, []
        return told

    def reaped(self, pid: int, status: int) -> None:
        """One of the processes has ended."""
        name, watcher = next(
            (name, one) for name, one in self._watchers.items() if one.child is not None and one.child.pid == pid
        )
        self._receive(name, watcher)
        assert watcher.child is not None, "it was found by its child"
        assert watcher.link is not None, "a child has a link"
        stack, crash = watcher.child.stack(), watcher.child.crash()
        words = watcher.child.last_words()
        watcher.link.close()
        watcher.child = watcher.link = watcher.kill_at_ns = None
        if watcher.is_replaced:
            watcher.is_replaced = False
        elif watcher.wanted is not None:
            if crash:
                logger.error("connector %s: its process has crashed here:\n%s", name, crash)
            code = os.waitstatus_to_exitcode(status)
            self._settle(name, watcher, words or _cause(code, watcher.wanted, stack), kind_of_code(code))

    def _start(self, name: str, watcher: _Watcher, spec: WatchSpec) -> None:
        watcher.has_answered = False
        watcher.mending.starts()
        link, theirs = Link.pair()
        try:
            watcher.child = self._fork(spec, theirs)
        except OSError as error:  # no process or descriptor is left for it
            link.close()
            self._settle(name, watcher, f"cannot fork: {error.strerror}", Kind.CRASH)
        else:
            watcher.link = link
        finally:
            theirs.close()

    def _stop(self, watcher: _Watcher) -> None:
        """Ask the process that runs to end, if there is one."""
        if watcher.child is not None and not watcher.is_replaced:
            watcher.is_replaced = True
            os.kill(watcher.child.pid, signal.SIGTERM)
            watcher.kill_at_ns = self._clock.monotonic_ns() + STOP_NS

    def _receive(self, name: str, watcher: _Watcher) -> None:
        if watcher.link is None or watcher.child is None:
            return
        try:
            for _ in range(MESSAGES_PER_TICK):
                message = watcher.link.receive()
                if message is None:
                    return
                watched = _decode(message)
                if not watcher.is_replaced:
                    watcher.has_answered, watcher.said = True, watched
                    watcher.mending.lives(0, has_progressed=True)
                    self._tell(watcher, watched)
        except LinkClosedError:
            return  # it is about to be reaped
        except msgspec.MsgspecError as error:
            logger.warning("connector %s: its process says what nobody understands: %s", name, error)
            os.kill(watcher.child.pid, signal.SIGKILL)

    def _settle(self, name: str, watcher: _Watcher, cause: str, kind: Kind) -> None:
        """What becomes of it now that its process has ended by itself."""
        assert watcher.wanted is not None, "it was not asked to end"
        spec, now_ns = watcher.wanted, self._clock.monotonic_ns()
        verdict = watcher.mending.ended(kind, now_ns, has_progressed=watcher.has_answered)
        text = logs.masked(f"{cause}{verdict.told}", spec.secrets)
        if kind != Kind.CRASH or verdict.how in (How.NEVER, How.CIRCUIT):
            watcher.said = Watched(name, failure=text)
            self._tell(watcher, watcher.said)
        if verdict.how == How.NEVER:
            watcher.start_at_ns = None
            logger.error("connector %s failed: %s", name, text)
            return
        pause_ms = self._pacer.rest_ms(spec.restarts, verdict)
        watcher.start_at_ns = now_ns + pause_ms * MS_NS
        logger.warning("connector %s: %s; starting it again in %d ms", name, text, pause_ms)

    def _tell(self, watcher: _Watcher, watched: Watched) -> None:
        if watcher.attempt:
            self._told.append(replace(watched, attempt=watcher.attempt))


def _cause(code: int, spec: WatchSpec, stack: str) -> str:
    if code == -signal.SIGALRM:
        place = f" (at {frame})" if (frame := innermost(stack)) else ""
        limit = f"{spec.call_seconds:g} s (probe.timeout.ms)"
        return f"a call of it took longer than {limit}; its process was ended{place}"
    if code < 0:
        return f"its process ended by {by_signal(-code, Act.NOTHING)}"
    return f"its process ended with exit code {code}"
