"""What control orders, carried out; and children that answer its questions.

    control ── Run, Hold, Again ──► fleet ──► Settled ──► control
            ── Watch ──► watchers ──► Watched ──► control
            ── Ask ──► a child with a deadline ──► Answered, as bytes in its memfd ──► control

Plans have children of their own, so that no number of other questions, however slow, holds a connector up. A child
costs several times what a plan does: where plans come faster than PLANNING children make them, as when hundreds of
connectors start, those that wait share one. After GATHER_NS they get another all the same: whoever is asked may hang.

Control may die at any time: what it has ordered stays so, and what it has asked is asked again by its successor, on a
link of its own. The supervisor waits for neither: what cannot be sent now is kept, in its order.

Used by: engine.supervisor.loop, engine.boot.
Not here: what is ordered and why (engine.herder), what such a child does (engine.answering).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from engine.clock import Clock
from engine.herder.model import Again, Hold, Plan, Refusal, Run
from engine.herder.questions import Answered, Ask
from engine.herder.watching import Watch
from engine.shm.link import MESSAGE_BYTES_MAX, Link, LinkClosedError
from engine.supervisor.fleet import Fleet
from engine.supervisor.fork import Child
from engine.supervisor.watchers import Watchers

__all__ = ["ForkAsked", "Orders", "leave_answers"]

logger = logging.getLogger("millrace.supervisor")

#: Taken in one turn of the loop.
MESSAGES_PER_TICK = 64
#: Children that plan, and those for other questions, at the same time; what is asked beyond waits its turn.
CHILDREN_MAX = 4
#: Of those that plan, so many begin at once, and the others when a plan has waited for so long.
PLANNING = 2
GATHER_NS = 250_000_000
#: Plans that share a child; one that hangs holds up those behind it, for the time of its step.
PLANS_PER_CHILD = 16
#: Other questions that wait; control asks one for a client's request, and a plan for each connector.
WAITING_MAX = 64
#: For a plan from when its child began, for another question from when it was asked: then nobody waits any more.
#: Steps of a child have deadlines of their own, which are nearer.
ANSWER_NS_MAX = 85 * 1_000_000_000

#: Forks a child that leaves bytes of an Answered for each question, in their order, in the memory behind a descriptor
#: (leave_answers).
ForkAsked = Callable[[Sequence[Ask], int], Child]
#: Before each answer: its size.
SIZE_BYTES = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Run | Watch | Hold | Again | Ask).decode


class _Waiting(Struct):
    """A question whose turn has not come."""

    ask: Ask
    since_ns: int
    is_alone: bool = False  # it shares no child


class _Asked(Struct):
    """A child that answers questions."""

    asks: Sequence[Ask]
    child: Child
    answer: int  # descriptor
    since_ns: int  # its time runs from then on
    is_awaited: bool = True  # whoever asked is there


class _Lane:
    """Questions that wait in one line, and the children that answer them."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.asked: dict[int, _Asked] = {}  # by pid


class Orders:
    """The supervisor's end of the link to control."""

    def __init__(self, fleet: Fleet, watchers: Watchers, fork_asked: ForkAsked, clock: Clock) -> None:
        self._fleet = fleet
        self._watchers = watchers
        self._fork_asked = fork_asked
        self._clock = clock
        self._link: Link | None = None
        self._outbox: deque[bytes] = deque()
        self._plans = _Lane()
        self._others = _Lane()

    def connect(self) -> socket.socket:
        """A fresh link, in place of the last one; returns control's end, to be closed here after its fork."""
        self._disconnect()
        self._link, theirs = Link.pair()
        return theirs

    def pids(self) -> list[int]:
        """Of children that answer questions, and of connectors' own processes."""
        return [*self._plans.asked, *self._others.asked, *self._watchers.pids()]

    @property
    def is_over(self) -> bool:
        """Whether no connector has a process of its own any more."""
        return self._watchers.is_over

    def stop(self, *, at_once: bool = False) -> None:
        """The run is to end: connectors stop."""
        if at_once:
            self._watchers.kill()
        else:
            self._watchers.stop()

    def wind_up(self) -> None:
        """Go on with what was asked to stop; nothing else is done any more."""
        self._watchers.tick()

    def tick(self) -> None:
        """Take orders, go on with them, and tell of what is done."""
        self._receive()
        now_ns = self._clock.monotonic_ns()
        for lane in (self._plans, self._others):
            self._go_on(lane, now_ns)
        for settled in self._fleet.tick():
            self._tell(_encode(settled))
        for watched in self._watchers.tick():
            self._tell(_encode(watched))
        self._send()

    def reaped(self, pid: int, status: int) -> None:
        """A child that answered a question has ended, or a connector's own process."""
        if pid in self._watchers.pids():
            self._watchers.reaped(pid, status)
            return
        asked = self._plans.asked.pop(pid, None) or self._others.asked.pop(pid)
        words = asked.child.last_words()
        try:
            answers = list(_answers(asked.answer)) if asked.is_awaited else []
        finally:
            os.close(asked.answer)
        if not asked.is_awaited:
            return
        for ask, answer in zip(asked.asks, answers, strict=False):
            if len(answer) > MESSAGE_BYTES_MAX:
                self._refuse(ask.ticket, f"its answer is too large: at most {MESSAGE_BYTES_MAX} bytes are taken")
            else:
                self._tell(answer)
        left = asked.asks[len(answers) :]
        if len(asked.asks) > 1:
            # One of them is at fault: which, is seen when each has a child of its own.
            self._plans.waiting.extendleft(_Waiting(ask, asked.since_ns, is_alone=True) for ask in reversed(left))
        elif left:
            code = os.waitstatus_to_exitcode(status)
            self._refuse(left[0].ticket, words or f"the process that was asked ended with {code}")

    def close(self) -> None:
        """The run is over: nobody is asked any more."""
        self._disconnect()

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._outbox.clear()
        self._watchers.forget_control()
        for lane in (self._plans, self._others):
            lane.waiting.clear()
            for asked in lane.asked.values():
                # Its ticket may soon be another question's: tickets are counted anew on each link.
                asked.is_awaited = False
                os.kill(asked.child.pid, signal.SIGKILL)

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

    def _obey(self, order: Run | Watch | Hold | Again | Ask) -> None:
        if isinstance(order, Run):
            self._fleet.run(order)
        elif isinstance(order, Watch):
            self._watchers.order(order)
        elif isinstance(order, Hold):
            self._fleet.hold(order)
        elif isinstance(order, Again):
            self._fleet.again(order)
        else:
            self._take(order)

    def _take(self, ask: Ask) -> None:
        now_ns = self._clock.monotonic_ns()
        if isinstance(ask.question, Plan):
            self._plans.waiting.append(_Waiting(ask, now_ns))
        elif len(self._others.waiting) < WAITING_MAX:
            self._others.waiting.append(_Waiting(ask, now_ns))
        else:
            self._refuse(ask.ticket, f"{WAITING_MAX} requests that need a process wait already; try again later", 503)

    def _go_on(self, lane: _Lane, now_ns: int) -> None:
        for asked in lane.asked.values():
            if now_ns - asked.since_ns >= ANSWER_NS_MAX:
                os.kill(asked.child.pid, signal.SIGKILL)
        while lane.waiting and len(lane.asked) < CHILDREN_MAX:
            since_ns = lane.waiting[0].since_ns
            if lane is self._plans:
                if len(lane.asked) >= PLANNING and now_ns - since_ns < GATHER_NS:
                    return
                self._begin(lane, _together(lane), now_ns)
            elif now_ns - since_ns < ANSWER_NS_MAX:
                self._begin(lane, [lane.waiting.popleft().ask], since_ns)
            else:
                self._refuse(lane.waiting.popleft().ask.ticket, "Request timed out.")

    def _begin(self, lane: _Lane, asks: Sequence[Ask], since_ns: int) -> None:
        answer = -1
        try:
            answer = os.memfd_create("millrace-answer", os.MFD_CLOEXEC)
            child = self._fork_asked(asks, answer)
        except OSError as error:
            if answer >= 0:
                os.close(answer)
            for ask in asks:
                self._refuse(ask.ticket, f"cannot fork: {error.strerror}")
            return
        lane.asked[child.pid] = _Asked(asks, child, answer, since_ns)

    def _refuse(self, ticket: int, why: str, status: int = 500) -> None:
        self._tell(_encode(Answered(ticket, refusal=Refusal(status, why))))

    def _tell(self, message: bytes) -> None:
        if self._link is not None:
            self._outbox.append(message)

    def _send(self) -> None:
        try:
            while self._outbox and self._link is not None and self._link.send(self._outbox[0]):
                self._outbox.popleft()
        except LinkClosedError:
            self._disconnect()


def _together(lane: _Lane) -> list[Ask]:
    """The plans that are next, taken off the list: a share for each child that may begin at once."""
    places = max(1, PLANNING - len(lane.asked))
    wanted = min(PLANS_PER_CHILD, -(-len(lane.waiting) // places))
    first = lane.waiting.popleft()
    asks = [first.ask]
    while not first.is_alone and len(asks) < wanted and not lane.waiting[0].is_alone:
        asks.append(lane.waiting.popleft().ask)
    return asks


def leave_answers(descriptor: int, answers: Iterable[bytes]) -> None:
    """For a child: leave each as soon as it is there."""
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        for answer in answers:
            file.write(len(answer).to_bytes(SIZE_BYTES) + answer)
            file.flush()


def _answers(descriptor: int) -> Iterator[bytes]:
    """Those that are there to their ends; of one that is too large for a message, so much that it shows."""
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        total = os.fstat(descriptor).st_size
        begin = 0
        while begin + SIZE_BYTES <= total:
            file.seek(begin)
            size = int.from_bytes(file.read(SIZE_BYTES))
            begin += SIZE_BYTES + size
            if begin <= total:
                yield file.read(min(size, MESSAGE_BYTES_MAX + 1))
