"""The herder, driven: commands from REST, orders to the supervisor, what comes of them, and what is kept.

    REST ──► do(command) ──► Herder ──► Run, Hold, Again, Ask(Plan, Alter) ──► link ──► supervisor
                               ▲  │ ──► Keep, Drop ──────────────────────────► store
                               │  └───► Reply ──► do's answer
                               └─ Settled, Answered: Planned, Altered ◄─────── link

    REST ──► ask(question) ──► Ask ──► link ... Answered ──► ask's answer

Used by: engine.control.serving, engine.control.rest.
Not here: what is intended when (engine.herder), paths and bodies (engine.control.rest).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random

import msgspec

from engine.api.errors import ConnectError
from engine.control.changes import LOOK_SECONDS, Changes
from engine.control.kept import KeptConnectors
from engine.herder.herder import Herder
from engine.herder.model import (
    Again,
    Alter,
    Altered,
    Command,
    ConnectorView,
    Drop,
    Hold,
    Info,
    Intention,
    Keep,
    Kept,
    Message,
    Plan,
    Planned,
    Refusal,
    Remind,
    RemindOnChange,
    Reply,
    Restarting,
    Run,
    Settled,
)
from engine.herder.questions import Answered, Ask, Question
from engine.herder.watching import Watch, Watched
from engine.shm.link import Link, LinkClosedError

__all__ = ["Answer", "Herding", "merged"]

logger = logging.getLogger("millrace.control")

#: As long as Kafka Connect lets a client wait; then the answer is an error, and what was asked goes on.
ANSWER_SECONDS = 90.0
#: Between two tries to send what the supervisor's end had no room for.
RETRY_SECONDS = 0.01

Answer = Info | Restarting | Message | Refusal | None

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answered | Settled | Watched).decode
_decode_planned = msgspec.msgpack.Decoder(Planned).decode


class Herding:
    """One herder, on this process's event loop."""

    def __init__(self, link: Link, kept: KeptConnectors) -> None:
        self._herder = Herder()
        self._link = link
        self._kept = kept
        self._tickets = 0
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._asked: dict[int, Callable[[Answered], None]] = {}  # who takes the answer, by ticket
        self._outbox: deque[bytes] = deque()
        self._closed = asyncio.Event()
        self._random = Random()
        self._changes = Changes()

    def begin(self, kept: Iterable[Kept], *, are_running: bool) -> None:
        """Take up what was kept, and listen. Call it on the loop. are_running: as Herder.adopt."""
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._hear)
        self._look_for_changes()
        self._carry_out(self._herder.adopt(kept, are_running=are_running))

    def names(self) -> list[str]:
        """Of all connectors."""
        return self._herder.names()

    def view(self, name: str) -> ConnectorView | None:
        """One of them, as it is now."""
        return self._herder.view(name)

    async def do(self, command: Command) -> Answer:
        """Carry out a command; the answer may be a Refusal."""
        self._tickets += 1
        ticket = self._tickets
        answer = self._answers[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._carry_out(self._herder.ask(ticket, command))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            return Refusal(500, "Request timed out.")
        finally:
            del self._answers[ticket]

    async def ask(self, question: Question) -> bytes | Refusal:
        """What a child of the supervisor's answers."""
        answered: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        ticket = self._put(question, answered.set_result)
        try:
            found = await asyncio.wait_for(answered, ANSWER_SECONDS)
        except TimeoutError:
            return Refusal(500, "Request timed out.")
        finally:
            self._asked.pop(ticket, None)
        return found.refusal or found.answer

    def refuse_all(self, refusal: Refusal) -> bool:
        """Answer whoever waits so; returns whether anybody did."""
        waiting = [future for future in self._answers.values() if not future.done()]
        for future in waiting:
            future.set_result(refusal)
        asked, self._asked = self._asked, {}
        for ticket, take in asked.items():
            take(Answered(ticket, b"", refusal))
        return bool(waiting or asked)

    async def until_closed(self) -> None:
        """Until the supervisor is gone."""
        await self._closed.wait()

    def _hear(self) -> None:
        try:
            while (message := self._link.receive()) is not None:
                event = _decode(message)
                if isinstance(event, Settled | Watched):
                    self._carry_out(self._herder.hear(event))
                elif (take := self._asked.pop(event.ticket, None)) is not None:
                    take(event)
        except LinkClosedError:
            asyncio.get_running_loop().remove_reader(self._link.fileno())
            self._closed.set()

    def _carry_out(self, intentions: Sequence[Intention]) -> None:
        failure = ""
        for intention in intentions:
            if isinstance(intention, Reply):
                self._answer(intention, failure)
            elif isinstance(intention, Keep | Drop):
                failure = self._store(intention) or failure
            elif isinstance(intention, RemindOnChange):
                self._changes.add(intention)
            elif isinstance(intention, Remind):
                self._remind_later(intention)
            elif isinstance(intention, Plan):
                self._plan(intention)
            elif isinstance(intention, Alter):
                self._alter(intention)
            else:
                self._send(intention)

    def _answer(self, reply: Reply, failure: str) -> None:
        future = self._answers.get(reply.ticket)
        if future is not None and not future.done():
            future.set_result(Refusal(500, failure) if failure else reply.answer)

    def _store(self, intention: Keep | Drop) -> str:
        """Returns why it could not be stored; then it is so until the worker ends."""
        try:
            if isinstance(intention, Keep):
                self._kept.keep(intention.kept)
            else:
                self._kept.drop(intention.name)
        except ConnectError as error:
            logger.warning("%s", error)
            return str(error)
        return ""

    def _remind_later(self, remind: Remind) -> None:
        after_ms = remind.after_ms
        if remind.why:
            after_ms = round(after_ms * self._random.uniform(0.5, 1))
            logger.warning("connector %s: %s; starting it again in %d ms", remind.due.name, remind.why, after_ms)
        asyncio.get_running_loop().call_later(after_ms / 1000, self._remind, remind)

    def _look_for_changes(self) -> None:
        """Look at files, now and again."""
        for due in self._changes.found():
            logger.info(
                "connector %s: a file with values of its configuration has changed; planning it again", due.name
            )
            self._carry_out(self._herder.hear(due))
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_for_changes)

    def _remind(self, remind: Remind) -> None:
        self._carry_out(self._herder.hear(remind.due))

    def _plan(self, plan: Plan) -> None:
        def take(answered: Answered) -> None:
            refusal = answered.refusal
            if refusal is None:
                planned = _decode_planned(answered.answer)
            else:
                planned = Planned(plan.attempt, problems=(refusal.message,))
            self._carry_out(self._herder.hear(planned))

        self._put(plan, take)

    def _alter(self, order: Alter) -> None:
        def take(answered: Answered) -> None:
            outcome = answered.refusal or Message(answered.answer.decode())
            self._carry_out(self._herder.hear(Altered(order.attempt, outcome)))

        self._put(order, take)

    def _put(self, question: Question, take: Callable[[Answered], None]) -> int:
        self._tickets += 1
        self._asked[self._tickets] = take
        self._send(Ask(self._tickets, question))
        return self._tickets

    def _send(self, order: Run | Watch | Hold | Again | Ask) -> None:
        self._outbox.append(_encode(order))
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outbox:
                if not self._link.send(self._outbox[0]):
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self._flush)
                    return
                self._outbox.popleft()
        except LinkClosedError:
            self._closed.set()


def merged(stored: Iterable[Kept], files: Iterable[Kept]) -> list[Kept]:
    """What a worker begins with: a file wins over what is stored of its connector, and the difference is logged."""
    found = {one.name: one for one in stored}
    for one in files:
        known = found.get(one.name)
        if known is not None and known.config != one.config:
            keys = sorted(key for key in {**known.config, **one.config} if known.config.get(key) != one.config.get(key))
            logger.warning(
                "connector %s: its file wins over what was stored of it; these keys differ: %s",
                one.name,
                ", ".join(keys),
            )
            found[one.name] = Kept(one.name, one.config, known.target, known.has_tasks)
        elif known is None:
            found[one.name] = one
    return list(found.values())
