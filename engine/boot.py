"""Wiring: from a plan to a running supervisor and the report at the end. The one module that knows all four mains.

    plan ──► lock of the store ──► board ──► listener ──► Supervisor(lines, control, display).run() ──► report

Everything that children share is imported and mapped before the first fork.

Used by: engine.launch.
Not here: what the files mean (plan.py), the loop (engine.supervisor.loop).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from engine import both, descriptors, display, logs
from engine.answering import answers, warm
from engine.api import java_text, structs, validation, value_text, values  # noqa: F401  in each task: made once, shared
from engine.api.errors import ConnectError
from engine.clock import SystemClock
from engine.config.files import Pipeline
from engine.config.line import LineSpec
from engine.config.rest import RestSettings
from engine.config.worker import WorkerConfig
from engine.control import main as control
from engine.control.listen import open_listener
from engine.exits import ExitCode
from engine.herder.model import INITIAL_STATES, Kept
from engine.herder.questions import Ask
from engine.herder.watching import WatchSpec
from engine.ledger.entries import Ledger, ledger_bytes
from engine.memory import line_bound, total_bytes
from engine.metrics.place import check_snapshot_path
from engine.offsets import left_over
from engine.offsets.left_over import TaskName
from engine.offsets.store import lock
from engine.plan import Plan, PlanOptions
from engine.pump import main as pump
from engine.report import Report, make_report
from engine.shm import segment
from engine.shm.acts import stage_number
from engine.shm.board import Board, HeaderWord, Word, board_bytes
from engine.shm.channel import Channel
from engine.stage import main as stage
from engine.supervisor.cgroups import Cgroups, find_place
from engine.supervisor.fleet import Fleet
from engine.supervisor.fork import Child, fork
from engine.supervisor.line import Line
from engine.supervisor.loop import Supervisor
from engine.supervisor.manager import Manager
from engine.supervisor.oom import OomKills, counters
from engine.supervisor.orders import ForkAsked, Orders, leave_answers
from engine.supervisor.pacer import Pacer
from engine.supervisor.service import Service
from engine.supervisor.watchers import Watchers
from engine.task import main as task
from engine.watcher import main as watcher

__all__ = ["RunOptions", "run"]

#: A new supervisor waits so long for the last pump of the one before it.
LOCK_SECONDS = 12.0
OWN_CGROUP = Path("/proc/self/cgroup")

logger = logging.getLogger("millrace.ledger")

_MAINS = {"task": task.run, "pump": pump.run, "both": both.run}
#: These have the lock of the store, until the last of them is gone.
_PUMPS = ("pump", "both")


class RunOptions(Struct, frozen=True):
    """How a run is watched; what runs is the plan's."""

    is_bulk: bool
    shows_progress: bool
    logs: logs.LogSettings
    rest: RestOptions | None = None  # None: what runs is settled
    manager: Manager | None = None  # who has started the worker


class RestOptions(Struct, frozen=True):
    """For a worker whose connectors come and go over REST."""

    pipeline: Pipeline  # whose worker all connectors share
    planning: PlanOptions


def run(plan: Plan, options: RunOptions) -> tuple[ExitCode, Report]:
    """Run all lines of a plan to their end. Raises ConnectError when the store, the port or descriptors are missing."""
    descriptors.provide(
        descriptors.needed((spec.processes + 2 * spec.stage_processes for spec in plan.lines), plan.brokers)
    )
    warm(plan.lines if options.rest is None else None)
    clock = SystemClock()
    worker = plan.worker
    if worker.metrics_file is not None:
        check_snapshot_path(worker.metrics_file)
    listener = None if worker.metrics_port is None else open_listener(worker.metrics_port)
    store_lock = lock(Path(plan.store), LOCK_SECONDS)
    try:
        cgroups = Cgroups(find_place(OWN_CGROUP.read_text()))
        board_path = Path(plan.store).with_suffix(".board")
        carried = _carry(plan, board_path)
        descriptor = _board_file(board_path, worker.tasks_max, len(plan.lines))
        board = Board(descriptor)
        board.begin(clock.monotonic_ns())
        ledger = _ledger(worker)
        board.header[HeaderWord.MEMORY_BOUND_BYTES] = total_bytes(plan.lines, has_metrics=worker.has_metrics)
        board.header[HeaderWord.MEMORY_MAX_BYTES] = worker.memory_max or 0
        forks = _Forks(descriptor, store_lock, options.logs)
        pacer = Pacer(Random())
        oom_kills = OomKills(counters(OWN_CGROUP.read_text()))  # it may be another one now

        def make_line(spec: LineSpec, index: int) -> Line:
            row = board.row(index)
            row.set(Word.MEMORY_BOUND_BYTES, line_bound(spec).total)
            row.set(Word.CARRIED, carried.pop(TaskName(spec.connector, spec.task), row.get(Word.CARRIED)))
            going = replace(spec, store_lock=store_lock, ledger=ledger)
            return Line(going, index, row, forks.bank, clock, pacer, oom_kills, cgroups)

        fleet = Fleet(board, make_line, lambda index: _forget(ledger, board, index))
        fleet.add(plan.lines)
        orders = None if options.rest is None else _orders(forks, fleet, options.rest, clock, pacer)
        services = _services(forks, listener, plan, options, clock, orders)
        supervisor = Supervisor(
            board, fleet, services, clock, is_bulk=options.is_bulk, orders=orders, manager=options.manager
        )
        code = supervisor.run()
        return _reported(code, make_report(board, code, ledger=None if ledger < 0 else Ledger(ledger, board)))
    finally:
        cgroups.close()
        os.close(store_lock)
        if listener is not None:
            listener.close()


def _reported(code: ExitCode, report: Report) -> tuple[ExitCode, Report]:
    """A run whose ledger does not add up has failed."""
    for finding in report.findings:
        logger.error("the ledger does not add up: %s", finding)
    if report.findings and code == ExitCode.OK:
        code = ExitCode.FAILED
        report = replace(report, exit_code=int(code))
    return code, report


def _carry(plan: Plan, board_path: Path) -> dict[TaskName, int]:
    """What each task of the plan takes over from earlier runs; what others have left is kept. Raises ConnectError."""
    path = board_path.with_suffix(".left")
    try:
        left = left_over.find(board_path, path)
        left_over.keep(path, left)
    except OSError as error:
        raise ConnectError(f"offset.storage.file.filename: cannot write {path}: {error.strerror}") from error
    return left_over.share(left, [TaskName(spec.connector, spec.task) for spec in plan.lines])


def _forget(ledger: int, board: Board, index: int) -> None:
    """Let the row's page of the ledger be as if nobody had had it."""
    if ledger >= 0:
        Ledger(ledger, board).clear(index)


def _ledger(worker: WorkerConfig) -> int:
    """The descriptor of the ledger's memory, which lives as long as the run; -1: it is switched off."""
    return segment.create("millrace-ledger", ledger_bytes(worker.tasks_max)) if worker.ledger_enable else -1


def _board_file(path: Path, rows_max: int, rows: int) -> int:
    """A fresh board's descriptor, with room on the disk for so many rows. Raises ConnectError."""
    reserved_bytes = board_bytes(rows)
    try:
        return segment.create_file(path, board_bytes(rows_max), reserved_bytes)
    except OSError as error:
        raise ConnectError(
            f"offset.storage.file.filename: cannot make the board {path} of {reserved_bytes} bytes: {error.strerror}"
        ) from error


class _Forks:
    """Forks each kind of child with what it may keep open."""

    def __init__(self, board: int, store_lock: int, settings: logs.LogSettings) -> None:
        self.board = board
        self._store_lock = store_lock
        self.settings = settings

    def bank(self, spec: LineSpec, index: int, channel: Channel, bank: str) -> Child:
        """One bank, or stage process, of a line."""
        keep = [self.board, *channel.descriptors()]
        if spec.ledger >= 0:
            keep.append(spec.ledger)
        if bank in _PUMPS:
            keep.append(self._store_lock)
        # A pump whose supervisor dies still has to leave its group, and ends by itself.
        death_signal = signal.SIGTERM if bank in _PUMPS else signal.SIGKILL
        number = stage_number(bank)
        main = _MAINS[bank] if number is None else partial(stage.run, number=number)
        return fork(
            f"{spec.title} {bank}",
            lambda say: main(spec, channel, self.board, index, self.settings, say),
            keep,
            death_signal,
        )

    def watcher(self, spec: WatchSpec, end: socket.socket) -> Child:
        """The process of a connector that watches something."""
        title = f"{spec.connector} watcher"
        return fork(title, lambda say: watcher.run(spec, end, self.settings, say), [end.fileno()])

    def asked(self, rest: RestOptions) -> ForkAsked:
        """Forks children that answer control's questions."""

        def fork_asked(asks: Sequence[Ask], descriptor: int) -> Child:
            def body(_: object) -> ExitCode:
                connector = asks[0].question.name if len(asks) == 1 else ""
                logs.set_up(self.settings, process="answer", connector=connector)
                leave_answers(descriptor, answers(rest.pipeline, rest.planning, asks))
                return ExitCode.OK

            return fork("answer", body, [descriptor])

        return fork_asked

    def service(self, title: str, keep: Collection[int], main: Callable[[], ExitCode]) -> Child:
        """A child beside the lines."""

        def body(_: object) -> ExitCode:
            logs.set_up(self.settings, process=title)
            return main()

        return fork(title, body, [self.board, *keep])


def _orders(forks: _Forks, fleet: Fleet, rest: RestOptions | None, clock: SystemClock, pacer: Pacer) -> Orders | None:
    if rest is None:
        return None
    return Orders(fleet, Watchers(forks.watcher, clock, pacer), forks.asked(rest), clock)


def _services(
    forks: _Forks,
    listener: socket.socket | None,
    plan: Plan,
    options: RunOptions,
    clock: SystemClock,
    orders: Orders | None,
) -> list[Service]:
    services = []
    metrics_file = plan.worker.metrics_file
    if listener is not None or metrics_file is not None or orders is not None:
        listeners = [] if listener is None else [listener]
        rest_listeners = () if orders is None else tuple(_rest_listeners(plan, options.manager or Manager()))
        begun: list[int] = []

        def fork_control() -> Child:
            rest = _rest(plan, options.rest, orders, rest_listeners, is_first=not begun)
            begun.append(1)
            keep = [one.fileno() for one in (*listeners, *rest_listeners, *((rest.link,) if rest else ()))]
            try:
                return forks.service("control", keep, lambda: control.run(forks.board, listeners, metrics_file, rest))
            finally:
                if rest is not None:
                    rest.link.close()

        services.append(Service("control", fork_control, clock))
    if options.shows_progress:

        def fork_display() -> Child:
            return forks.service("display", (), lambda: display.run(forks.board))

        services.append(Service("display", fork_display, clock, restarts_max=0))
    return services


def _rest_listeners(plan: Plan, manager: Manager) -> list[socket.socket]:
    """Sockets that listen at each place of REST. Raises ConfigError."""
    places = () if plan.rest is None else plan.rest.places
    return [manager.listener(place.port) or open_listener(place.port, place.host, place.key) for place in places]


def _rest(
    plan: Plan,
    options: RestOptions | None,
    orders: Orders | None,
    listeners: tuple[socket.socket, ...],
    *,
    is_first: bool,
) -> control.Rest | None:
    """What a control process that is about to be forked needs for REST, with a link of its own."""
    if options is None or orders is None or plan.rest is None:
        return None
    files = tuple(
        Kept(one.name, {**one.properties, "name": one.name}, INITIAL_STATES[one.initial_state])
        for one in options.pipeline.connectors
    )
    return control.Rest(
        settings=plan.rest,
        listeners=listeners,
        link=orders.connect(),
        store=plan.store,
        files=files,
        advertised=_advertised(plan.worker, plan.rest, listeners),
        cluster_id=plan.cluster_id,
        plugins=plan.plugins,
        keeps=plan.worker.connectors_keep,
        tracks_topics=plan.worker.topic_tracking_enable,
        forgets_topics=plan.worker.topic_tracking_allow_reset,
        is_first=is_first,
    )


def _advertised(worker: WorkerConfig, rest: RestSettings, listeners: tuple[socket.socket, ...]) -> str:
    """Where others are to reach the worker: HOST:PORT."""
    places = [place for place in rest.places if place.part != "admin"]
    has_http = any(place.protocol == "http" for place in places)
    protocol = worker.rest_advertised_listener or ("http" if has_http else "https")
    # Behind a proxy that speaks TLS for it, a worker has no listener of the protocol.
    index = next((index for index, place in enumerate(places) if place.protocol == protocol), 0)
    host = worker.rest_advertised_host_name or places[index].host or socket.gethostname()
    port = worker.rest_advertised_port or listeners[index].getsockname()[1]
    return f"{host}:{port}"
