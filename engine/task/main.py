"""The task process: the connector's task, transforms and converters of one line. No Kafka client is ever made here.

Used by: engine.boot (forks it), engine.both.
Not here: the steps (source.py, sink.py), the other bank (engine.pump).
"""

from __future__ import annotations

import os

from engine import limits, logs
from engine.bank import Bank, Say, Stopper, serve
from engine.clock import Clock, SystemClock
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.ledger import sink, source
from engine.plugins import environment
from engine.plugins.loading import load
from engine.shm.acts import Act
from engine.shm.board import Board, Word
from engine.shm.channel import Channel, TaskSide
from engine.shm.lease import Lease
from engine.stages.work import make_stages
from engine.task.crew import Crew
from engine.task.sink import SinkTaskBank
from engine.task.source import SourceTaskBank

__all__ = ["make_bank", "run"]


def run(
    spec: LineSpec, channel: Channel, board_descriptor: int, index: int, settings: logs.LogSettings, say: Say
) -> ExitCode:
    """The body of a task process."""
    stopper = Stopper(os.getppid())
    logs.set_up(settings, process="task", connector=spec.connector, task=spec.task, secrets=spec.secrets)
    side = TaskSide(channel)
    board = Board(board_descriptor)
    clock = SystemClock()
    fence = Lease(board.row(index), spec.timing.lease, clock).check

    def make() -> Bank:
        limits.take(spec.limits, has_plugins=True)
        return make_bank(spec, side, board, index, clock)

    return serve(make, side.bell, stopper, say, fence, board.levels)


def make_bank(spec: LineSpec, side: TaskSide, board: Board, index: int, clock: Clock) -> Bank:
    """The task's bank of a line, its plugins loaded and configured. Raises ConnectError."""
    environment.enter(spec.environments)
    row = board.row(index)
    row.set(Word.TASK_ACT, Act.LOAD)
    task = load(spec.task_path)()
    stages = make_stages(spec)
    crew = Crew(side.stage_ends(is_checked=spec.ledger >= 0), row) if spec.stage_processes else None
    if spec.type == "source":
        return SourceTaskBank(spec, task, stages, side, row, clock, source.TaskAccount.of(spec, row), crew)
    account = sink.TaskAccount.of(spec, board, index)
    return SinkTaskBank(spec, task, stages, side, row, clock, account, crew)
