"""Both banks of a line in one process, stepping in turn: `task.processes=1`, for small tasks and small machines.

What needs a second process is given up: a slow `put` keeps the consumer from polling, so it must stay below
`max.poll.interval.ms`; a task's crash takes the pump with it.

Used by: engine.boot (forks it).
"""

from __future__ import annotations

import os

from engine import logs
from engine.bank import Bank, Say, Stopper, serve
from engine.clock import SystemClock
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.pump.main import PATIENCE_SECONDS, PatientSinkPump, make_source_bank
from engine.shm.board import Board
from engine.shm.channel import Channel, PumpSide, TaskSide
from engine.task.main import make_bank

__all__ = ["run"]


def run(
    spec: LineSpec, channel: Channel, board_descriptor: int, index: int, settings: logs.LogSettings, say: Say
) -> ExitCode:
    """The body of a process that is task process and pump at once."""
    stopper = Stopper(os.getppid())
    logs.set_up(settings, process="both", connector=spec.connector, task=spec.task, secrets=spec.secrets)
    side = TaskSide(channel)
    board = Board(board_descriptor)
    row = board.row(index)
    clock = SystemClock()

    def make_pair() -> Bank:
        task = make_bank(spec, side, row, clock)
        pump_side = PumpSide(channel)
        if spec.type == "source":
            return Pair(task, make_source_bank(spec, pump_side, board, row, clock))
        return Pair(task, PatientSinkPump(spec, pump_side, row, clock, stopper, lambda _: task.step()))

    return serve(make_pair, side.bell, stopper, say)


class Pair:
    """Two banks as one."""

    def __init__(self, task: Bank, pump: Bank) -> None:
        self._task = task
        self._pump = pump
        self.failure: Exception | None = None

    @property
    def is_over(self) -> bool:
        return self._task.is_over and self._pump.is_over

    def start(self) -> None:
        self._pump.start()
        self._task.start()

    def step(self) -> float:
        task_idle = 0.0
        if not self._task.is_over:
            task_idle = self._task.step()
        self.failure = self.failure or self._task.failure
        if self._pump.is_over:
            return task_idle
        if isinstance(self._pump, PatientSinkPump):
            self._pump.patience = min(task_idle, PATIENCE_SECONDS)
        pump_idle = self._pump.step()
        self.failure = self.failure or self._pump.failure
        return pump_idle if self._task.is_over else min(task_idle, pump_idle)

    def ask_to_stop(self) -> None:
        self._task.ask_to_stop()
        self._pump.ask_to_stop()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self._task.fail(error)

    def stop(self) -> None:
        try:
            self._task.stop()
        finally:
            self._pump.stop()
