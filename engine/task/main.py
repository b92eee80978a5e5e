"""The task process: the connector's task, transforms and converters of one line. No Kafka client is ever made here.

Used by: engine.boot (forks it), engine.both.
Not here: the steps (source.py, sink.py), the other bank (engine.pump).
"""

from __future__ import annotations

import os
from typing import Any

from engine import limits, logs
from engine.api.converter import Converter
from engine.api.transform import Transform
from engine.bank import Bank, Say, Stopper, serve
from engine.clock import Clock, SystemClock
from engine.config.line import LineSpec, PluginSpec, StepSpec
from engine.exits import ExitCode
from engine.ledger import sink, source
from engine.plugins import environment
from engine.plugins.loading import load
from engine.shm.acts import Act
from engine.shm.board import Board, Word
from engine.shm.channel import Channel, TaskSide
from engine.shm.lease import Lease
from engine.stages.convert import Converters
from engine.stages.transform import Step, fused
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
    chain = fused(_step(step) for step in spec.transforms)
    converters = Converters(
        _converter(spec.key_converter, is_key=True),
        _converter(spec.value_converter, is_key=False),
        _configured(spec.header_converter),
    )
    if spec.type == "source":
        return SourceTaskBank(spec, task, chain, converters, side, row, clock, source.TaskAccount.of(spec, row))
    account = sink.TaskAccount.of(spec, board, index)
    return SinkTaskBank(spec, task, chain, converters, side, row, clock, account)


def _converter(spec: PluginSpec, *, is_key: bool) -> Converter:
    converter: Converter = load(spec.path)()
    converter.configure(converter.config.parse(spec.config), is_key=is_key)
    return converter


def _step(spec: StepSpec) -> Step:
    transform: Transform = _configured(spec.transform)
    return Step(transform, None if spec.predicate is None else _configured(spec.predicate), spec.negate)


def _configured(spec: PluginSpec) -> Any:
    plugin = load(spec.path)()
    plugin.configure(plugin.config.parse(spec.config))
    return plugin
