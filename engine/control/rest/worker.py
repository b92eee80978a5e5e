"""What all handlers know of their worker.

Used by: engine.control.rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from starlette.requests import Request

from engine.clock import Clock, SystemClock
from engine.control.herding import Herding
from engine.control.kept import KeptConnectors
from engine.control.rest import entities
from engine.control.rest.answers import RestError
from engine.herder.model import Command, ConnectorView, Info, Message, Refusal, Restarting
from engine.herder.questions import Question
from engine.shm.board import Board, HeaderWord

__all__ = ["STOPPING", "Worker", "worker_of"]

STOPPING = Refusal(503, "The worker is stopping: it begins nothing new. Ask again when it is back.")


class Worker(Struct):
    """One worker."""

    herding: Herding
    kept: KeptConnectors
    board: Board
    worker_id: str  # advertised HOST:PORT
    version: str
    commit: str
    cluster_id: str
    plugins: Sequence[Mapping[str, Any]]  # as `/connector-plugins` tells them
    tracks_topics: bool = True  # topic.tracking.enable
    forgets_topics: bool = True  # topic.tracking.allow.reset
    clock: Clock = SystemClock()

    def view(self, name: str, missing: str) -> ConnectorView:
        """A connector. missing: the message of the 404 if there is none. Raises RestError."""
        view = self.herding.view(name)
        if view is None:
            raise RestError(404, missing)
        return view

    def now_ns(self) -> int:
        """Monotonic, as times on the board."""
        return self.clock.monotonic_ns()

    def rows(self) -> entities.Rows:
        """Of all tasks on the board, as they are now."""
        return entities.rows_of(self.board)

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is begun any more."""
        return bool(self.board.header[HeaderWord.IS_STOPPING])

    async def ask(self, question: Question) -> bytes:
        """What a child answers. Raises RestError when it refuses."""
        self._begin()
        answer = await self.herding.ask(question)
        if isinstance(answer, Refusal):
            raise RestError(answer.status, answer.message)
        return answer

    async def do(self, command: Command) -> Info | Restarting | Message | None:
        """Carry out a command. Raises RestError when it is refused."""
        self._begin()
        answer = await self.herding.do(command)
        if isinstance(answer, Refusal):
            raise RestError(answer.status, answer.message)
        return answer

    def _begin(self) -> None:
        if self.is_stopping:
            raise RestError(STOPPING.status, STOPPING.message)


def worker_of(request: Request) -> Worker:
    """The worker that a request has come to."""
    found = request.app.state.worker
    assert isinstance(found, Worker)
    return found
