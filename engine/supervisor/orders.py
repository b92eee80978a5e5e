"""What control orders, carried out; and children that look at configurations for it.

    control ── Run, Hold, Again ──► fleet ──► Settled ──► control
            ── Plan ──► a child with a deadline ──► Planned, as bytes in its memfd ──► control

Control may die at any time: what it has ordered stays so, and what it has asked is asked again by its successor, on a
link of its own. The supervisor waits for neither: what cannot be sent now is kept, in its order.

Used by: engine.supervisor.loop, engine.boot.
Not here: what is ordered and why (engine.herder), what such a child does (engine.planning).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from engine.clock import Clock
from engine.herder.model import Again, Hold, Plan, Planned, Run
from engine.shm.link import MESSAGE_BYTES_MAX, Link, LinkClosedError
from engine.supervisor.fleet import Fleet
from engine.supervisor.fork import Child

__all__ = ["ForkPlan", "Orders"]

logger = logging.getLogger("millrace.supervisor")

#: Taken in one turn of the loop.
MESSAGES_PER_TICK = 64
#: Children that look at configurations at the same time; the others wait their turn.
PLANS_MAX = 4
#: Beyond the deadlines of its own steps such a child is ended at last.
PLAN_NS_MAX = 85 * 1_000_000_000

#: Forks a child that leaves the answer to a plan, as bytes of a Planned, in the memory behind a descriptor.
ForkPlan = Callable[[Plan, int], Child]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Run | Hold | Again | Plan).decode


class _Looking(Struct):
    """A child that looks at a configuration."""

    attempt: int
    child: Child
    answer: int  # descriptor
    deadline_ns: int


class Orders:
    """The supervisor's end of the link to control."""

    def __init__(self, fleet: Fleet, fork_plan: ForkPlan, clock: Clock) -> None:
        self._fleet = fleet
        self._fork_plan = fork_plan
        self._clock = clock
        self._link: Link | None = None
        self._outbox: deque[bytes] = deque()
        self._plans: deque[Plan] = deque()
        self._looking: dict[int, _Looking] = {}  # by pid

    def connect(self) -> socket.socket:
        """A fresh link, in place of the last one; returns control's end, to be closed here after its fork."""
        self._disconnect()
        self._link, theirs = Link.pair()
        return theirs

    def pids(self) -> list[int]:
        """Of children that look at configurations."""
        return list(self._looking)

    def tick(self) -> None:
        """Take orders, go on with them, and tell of what is done."""
        self._receive()
        now_ns = self._clock.monotonic_ns()
        for looking in self._looking.values():
            if now_ns >= looking.deadline_ns:
                os.kill(looking.child.pid, signal.SIGKILL)
        while self._plans and len(self._looking) < PLANS_MAX:
            self._look(self._plans.popleft(), now_ns)
        for settled in self._fleet.tick():
            self._tell(_encode(settled))
        self._send()

    def reaped(self, pid: int, status: int) -> None:
        """A child that looked at a configuration has ended."""
        looking = self._looking.pop(pid)
        words = looking.child.last_words()
        try:
            size = min(os.fstat(looking.answer).st_size, MESSAGE_BYTES_MAX)
            answer = os.pread(looking.answer, size, 0)
        finally:
            os.close(looking.answer)
        code = os.waitstatus_to_exitcode(status)
        if code != 0 or not answer:
            why = words or f"the process that looked at the configuration ended with {code}"
            answer = _encode(Planned(looking.attempt, problems=(why,)))
        self._tell(answer)

    def close(self) -> None:
        """The run is over: nobody is asked any more."""
        self._disconnect()
        for looking in self._looking.values():
            os.kill(looking.child.pid, signal.SIGKILL)

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._outbox.clear()
        self._plans.clear()

    def _receive(self) -> None:
        if self._link is None:
            return
        try:
            for _ in range(MESSAGES_PER_TICK):
                message = self._link.receive()
                if message is None:
                    return
                self._obey(_decode(message))
        except LinkClosedError:
            self._disconnect()

    def _obey(self, order: Run | Hold | Again | Plan) -> None:
        if isinstance(order, Run):
            self._fleet.run(order)
        elif isinstance(order, Hold):
            self._fleet.hold(order)
        elif isinstance(order, Again):
            self._fleet.again(order)
        else:
            self._plans.append(order)

    def _look(self, plan: Plan, now_ns: int) -> None:
        answer = os.memfd_create("millrace-plan", os.MFD_CLOEXEC)
        try:
            child = self._fork_plan(plan, answer)
        except OSError as error:
            os.close(answer)
            self._tell(_encode(Planned(plan.attempt, problems=(f"cannot fork: {error.strerror}",))))
            return
        self._looking[child.pid] = _Looking(plan.attempt, child, answer, now_ns + PLAN_NS_MAX)

    def _tell(self, message: bytes) -> None:
        if self._link is not None:
            self._outbox.append(message)

    def _send(self) -> None:
        try:
            while self._outbox and self._link is not None and self._link.send(self._outbox[0]):
                self._outbox.popleft()
        except LinkClosedError:
            self._disconnect()
