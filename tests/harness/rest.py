"""A worker's REST interface in one process: the real application and herder, and a supervisor that follows a script.

    config "Generator", "Sink"    good: tasks.max tasks, at once RUNNING on the board
           "Bad"                  its configuration is refused
           "Fails"                it fails to start
           "Hangs"                no answer comes

A validation is answered by the keys as they were given, a plugin's configuration by what was asked for.

Used by: tests.unit.control.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from starlette.types import ASGIApp

from engine.config.definitions import ConfigInfo, ConfigInfos, Definition, Value
from engine.config.line import LineSpec, PluginSpec
from engine.config.listeners import Part, Place
from engine.config.rest import RestSettings
from engine.control.access import Gate
from engine.control.app import make_app
from engine.control.herding import Herding
from engine.control.kept import KeptConnectors
from engine.control.rest.worker import Worker
from engine.herder.model import Again, Alter, Hold, Kept, Plan, Planned, Refusal, Run, Settled
from engine.herder.questions import Answered, Ask, PluginConfig, Question, ReadOffsets, Validate
from engine.metrics.collector import BoardCollector
from engine.offsets.store import OffsetStore
from engine.shm import segment
from engine.shm.board import Board, Identity, Row, State, Word, board_bytes
from engine.shm.link import Link, LinkClosedError

__all__ = ["SETTINGS", "ScriptedSupervisor", "application", "serving"]

ROWS = 64
RESTARTS_AWAITED = 3
NOTHING = PluginSpec("none:None")
WORKER_ID = "worker.example:8083"
SETTINGS = RestSettings(places=(Place("", 8083),))

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ask | Run | Hold | Again).decode


class ScriptedSupervisor:
    """The other end of the link."""

    def __init__(self) -> None:
        self.board = Board(segment.create("board", board_bytes(ROWS)))
        self.board.begin(1)
        self.restarted: list[tuple[str, list[int]]] = []
        self.has_obeyed = asyncio.Event()  # RESTARTS_AWAITED restarts
        self.altered: list[Alter] = []
        self.refusal: Refusal | None = None  # of what is asked about offsets
        self._link: Link | None = None

    def connect(self) -> Link:
        """Listen on a fresh link; returns control's end. Call it on the loop."""
        self.close()
        self._link, theirs = Link.pair()
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._obey)
        return Link(theirs)

    def close(self) -> None:
        """Be gone."""
        if self._link is not None:
            asyncio.get_running_loop().remove_reader(self._link.fileno())
            self._link.close()
            self._link = None

    def row(self, connector: str, task: int) -> Row:
        """A task's row."""
        return next(
            row for row in self.board.rows() if (row.identity.connector, row.identity.task) == (connector, task)
        )

    def _obey(self) -> None:
        assert self._link is not None
        try:
            while (message := self._link.receive()) is not None:
                order = _decode(message)
                if isinstance(order, Ask):
                    answer = self._answer(order.question)
                    if answer is not None:
                        refusal = answer if isinstance(answer, Refusal) else None
                        found = answer if isinstance(answer, bytes) else b""
                        self._link.send(_encode(Answered(order.ticket, found, refusal)))
                elif isinstance(order, Run):
                    self._run(order)
                    self._link.send(_encode(Settled(order.name, order.generation)))
                elif isinstance(order, Hold):
                    for row in self._rows(order.name):
                        row.set(Word.STATE, State.PAUSED if order.is_held else State.RUNNING)
                else:
                    self.restarted.append((order.name, sorted(order.tasks)))
                    if len(self.restarted) == RESTARTS_AWAITED:
                        self.has_obeyed.set()
        except LinkClosedError:
            self.close()

    def _answer(self, question: Question) -> bytes | Refusal | None:
        if isinstance(question, Alter):
            self.altered.append(question)
            return self.refusal or b"altered"
        if isinstance(question, ReadOffsets):
            return self.refusal or b'{"offsets":[]}'
        if isinstance(question, PluginConfig):
            told = [Definition(name=question.plugin, default_value=question.version)]
            return Refusal(404, "Unknown plugin Nope.") if question.plugin == "Nope" else msgspec.json.encode(told)
        if isinstance(question, Validate):
            kind = question.config.get("connector.class")
            if kind == "Hangs":
                return None
            if not kind:
                return Refusal(500, "no connector type")
            infos = tuple(ConfigInfo(None, Value(name=key, value=text)) for key, text in question.config.items())
            return msgspec.json.encode(ConfigInfos(kind, 0, (), infos))
        planned = _planned(question)
        return None if planned is None else _encode(planned)

    def _rows(self, name: str) -> list[Row]:
        return [row for row in self.board.rows() if row.identity.connector == name]

    def _run(self, order: Run) -> None:
        for row in self._rows(order.name):
            row.free()
        for line in order.lines:
            index = self.board.add(Identity(line.connector, line.task, line.type, line.plugin))
            self.board.row(index).set(Word.STATE, State.PAUSED if order.is_held else State.RUNNING)


def _planned(order: Plan) -> Planned | None:
    kind = order.config.get("connector.class")
    if kind == "Hangs":
        return None
    if kind == "Bad" or kind is None:
        return Planned(order.attempt, problems=(f"Invalid value {kind} for configuration connector.class: bad",))
    if kind == "Fails":
        return Planned(order.attempt, failure="start: no such file", type="source", version="1.0")
    side = "sink" if kind == "Sink" else "source"
    configs: list[Mapping[str, str]] = []
    if order.wants_tasks:
        configs = [{"task.class": kind, "number": str(n)} for n in range(int(order.config.get("tasks.max", "1")))]
    lines = tuple(_line(order.name, number, side, config) for number, config in enumerate(configs))
    return Planned(order.attempt, type=side, version="1.0", task_configs=tuple(configs), lines=lines)


def _line(name: str, number: int, side: str, config: Mapping[str, str]) -> LineSpec:
    return LineSpec(
        connector=name,
        task=number,
        type=side,
        plugin="none",
        task_path="none:None",
        task_config=config,
        key_converter=NOTHING,
        value_converter=NOTHING,
        header_converter=NOTHING,
        kafka={},
    )


@asynccontextmanager
async def serving(
    folder: Path, *had: ScriptedSupervisor, **more: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedSupervisor]]:
    """A client of a worker, and its supervisor, as `application`."""
    async with application(folder, *had, **more) as (app, supervisor):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
            yield client, supervisor


@asynccontextmanager
async def application(
    folder: Path,
    supervisor: ScriptedSupervisor | None = None,
    *,
    kept: list[Kept] | None = None,
    settings: RestSettings = SETTINGS,
    part: Part = "all",
    **more: Any,
) -> AsyncIterator[tuple[ASGIApp, ScriptedSupervisor]]:
    """A worker's interface, and its supervisor; one that was there before has a control process that follows."""
    is_first = supervisor is None
    supervisor = supervisor or ScriptedSupervisor()
    OffsetStore(folder / "store.db").close()  # as the probe does, before control is there
    store = KeptConnectors(str(folder / "store.db"))
    herding = Herding(supervisor.connect(), store)
    herding.begin(kept if kept is not None else store.all(), are_running=not is_first)
    plugins = [
        {"class": "org.example.Generator", "type": "source", "version": "1.0"},
        {"class": "org.example.Json", "type": "converter", "version": "1.0"},
    ]
    worker = Worker(
        herding=herding,
        kept=store,
        board=supervisor.board,
        worker_id=WORKER_ID,
        version="4.3.1",
        commit="0123456789abcdef",
        cluster_id="cluster-1",
        plugins=plugins,
        **more,
    )
    gate = None if settings.access is None else Gate(settings.access)
    try:
        yield make_app(BoardCollector(worker.board), worker, settings, part, gate), supervisor
    finally:
        supervisor.close()
