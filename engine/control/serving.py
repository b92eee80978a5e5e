"""Serving: uvicorn on uvloop over inherited sockets, a snapshot every few seconds, a last one at TERM.

    TERM ──► last snapshot ──► end, whoever still holds a connection open

The supervisor ends control last and waits for it only so long, hence nothing is waited for here: who still waits for an
answer is told that the worker is stopping.

Used by: engine.control.main.
Not here: what is answered (app.py), HTTP (http.py).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path

import uvloop
from prometheus_client.exposition import generate_latest
from starlette.types import ASGIApp

from engine import __version__ as engine_version
from engine.api.errors import ConfigError
from engine.config.listeners import Part
from engine.config.rest import RestSettings
from engine.control.access import Gate
from engine.control.app import make_app, make_metrics_app
from engine.control.herding import Herding, merged
from engine.control.http import serve_at
from engine.control.kept import KeptConnectors
from engine.control.main import Rest
from engine.control.rendering import rendered
from engine.control.rest.worker import STOPPING, Worker
from engine.exits import ExitCode
from engine.metrics.collector import BoardCollector
from engine.metrics.place import check_snapshot_path
from engine.metrics.snapshot import leave_snapshot
from engine.metrics.views import workers_seen_from_control
from engine.shm.board import Board
from engine.shm.levels import Follower
from engine.shm.link import Link

__all__ = ["serve"]

logger = logging.getLogger("millrace.control")

SNAPSHOT_SECONDS = 5.0
#: For what clients that still wait are told at the end.
LAST_WORDS_SECONDS = 0.1
#: Of the interface that is spoken: clients look at it to know what a worker understands.
KAFKA_CONNECT_VERSION = "4.3.1"
#: Of a listener for metrics alone.
_METRICS = RestSettings(places=())


def serve(
    board_descriptor: int, listeners: Sequence[socket.socket], metrics_file: str | None, rest: Rest | None = None
) -> ExitCode:
    """As engine.control.main.run."""
    board = Board(board_descriptor)
    collector = BoardCollector(board, workers=workers_seen_from_control())
    snapshots = None if metrics_file is None else Snapshots(collector, check_snapshot_path(metrics_file))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    Follower(board.levels).look()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_term(board, collector, listeners, snapshots, rest))
    return ExitCode.OK


class Snapshots:
    """The file of last values, kept as new as it can be; says once that it cannot be written."""

    def __init__(self, collector: BoardCollector, path: Path) -> None:
        self._collector = collector
        self._path = path
        self._is_failing = False

    async def write(self) -> None:
        """Write one."""
        text = await rendered(self._collector, generate_latest)
        try:
            leave_snapshot(self._path, text)
        except (OSError, ConfigError) as error:  # a full disk, or a folder that went: no reason to stop serving
            if not self._is_failing:
                logger.warning("no snapshot of metrics at %s: %s; trying again", self._path, error)
            self._is_failing = True
        else:
            self._is_failing = False

    async def keep(self) -> None:
        """Write one every SNAPSHOT_SECONDS, without end."""
        while True:
            await self.write()
            await asyncio.sleep(SNAPSHOT_SECONDS)


async def _until_term(
    board: Board,
    collector: BoardCollector,
    listeners: Sequence[socket.socket],
    snapshots: Snapshots | None,
    rest: Rest | None,
) -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held back since `engine.control.main.run`
    running = []
    worker: Worker | None = None
    for listener in listeners:
        served = serve_at(listener, make_metrics_app(collector), _METRICS)
        running.append(asyncio.create_task(served, name="metrics"))
        logger.info("metrics at http://%s:%d/metrics", *_address(listener))
    if rest is not None:
        worker = _worker(board, rest)
        running += [asyncio.create_task(served, name="rest") for served in _rest(collector, worker, rest)]
        running.append(asyncio.create_task(worker.herding.until_closed(), name="link"))
    if snapshots is not None:
        running.append(asyncio.create_task(snapshots.keep(), name="snapshots"))
    # All that is there now stays: a full collection of it would hold every answer up for a tenth of a second.
    gc.collect()
    gc.freeze()
    term = asyncio.create_task(asked.wait())
    # Neither of them ends by itself: one that does has failed, and takes the process with it, to be started again.
    await asyncio.wait([term, *running], return_when=asyncio.FIRST_COMPLETED)
    if not asked.is_set():
        for task in running:
            if task.done():
                task.result()
    if snapshots is not None:
        await snapshots.write()
    if worker is not None and worker.herding.refuse_all(STOPPING):
        await asyncio.sleep(LAST_WORDS_SECONDS)


def _rest(collector: BoardCollector, worker: Worker, rest: Rest) -> Iterator[Coroutine[None, None, None]]:
    """The server of each listener."""
    settings = rest.settings
    apps: dict[Part, ASGIApp] = {}
    gate = None if settings.access is None else Gate(settings.access)
    for place, listener in zip(settings.places, rest.listeners, strict=True):
        app = apps.setdefault(place.part, make_app(collector, worker, settings, place.part, gate))
        logger.info(
            "%s at %s://%s:%d/", "REST" if place.part != "admin" else "loggers", place.protocol, *_address(listener)
        )
        yield serve_at(listener, app, settings, settings.tls_of(place))


def _worker(board: Board, rest: Rest) -> Worker:
    """The worker that REST speaks for, its herder at work."""
    kept = KeptConnectors(rest.store)
    if rest.is_first and not rest.keeps:
        kept.clear()
    begin_with = merged(kept.all(), rest.files) if rest.is_first else kept.all()
    for one in begin_with if rest.is_first else ():
        kept.keep(one)
    herding = Herding(Link(rest.link), kept)
    herding.begin(begin_with, are_running=not rest.is_first)
    return Worker(
        herding=herding,
        kept=kept,
        board=board,
        worker_id=rest.advertised,
        version=KAFKA_CONNECT_VERSION,
        commit=engine_version,
        cluster_id=rest.cluster_id,
        plugins=rest.plugins,
        tracks_topics=rest.tracks_topics,
        forgets_topics=rest.forgets_topics,
    )


def _address(listener: socket.socket) -> tuple[str, int]:
    """Where people reach it: any address means this machine, by its name."""
    host, port = listener.getsockname()[:2]
    return (socket.gethostname() if host in ("::", "0.0.0.0") else host), port  # noqa: S104  compared, not bound
