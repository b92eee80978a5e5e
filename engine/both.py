"""Both banks of a line in one process, stepping in turn: `task.processes=1`, for small tasks and small machines.

What needs a second process is given up: a slow `put` keeps the consumer from polling, so it must stay below
`max.poll.interval.ms`; a task's crash takes the pump with it.

Used by: engine.boot (forks it).
"""

from __future__ import annotations

import os
import time

from engine import limits, logs
from engine.bank import Bank, Say, Stopper, serve, step
from engine.clock import SystemClock
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.patience import letter_seconds
from engine.pump.main import PATIENCE_SECONDS, PatientSinkPump, make_sink_bank, make_source_bank
from engine.shm.board import Board
from engine.shm.channel import Channel, PumpSide, TaskSide
from engine.shm.lease import Lease
from engine.task.main import make_bank
from engine.task.sink import SinkTaskBank

__all__ = ["run"]


def run(
    spec: LineSpec, channel: Channel, board_descriptor: int, index: int, settings: logs.LogSettings, say: Say
) -> ExitCode:
    """The body of a process that is task process and pump at once."""
    stopper = Stopper(os.getppid())
    logs.set_up(settings, process="both", connector=spec.connector, task=spec.task, secrets=spec.secrets)
    side = TaskSide(channel)
    board = Board(board_descriptor)
    clock = SystemClock()

    def make_pair() -> Bank:
        limits.take(spec.limits, has_plugins=True)
        task = make_bank(spec, side, board, index, clock)
        pump_side = PumpSide(channel)
        if spec.type == "source":
            return Pair(task, make_source_bank(spec, pump_side, board, index, clock))
        pump = make_sink_bank(spec, pump_side, board, index, clock, stopper, lambda _: step(task))
        assert isinstance(task, SinkTaskBank), "a sink's"

        def sleep(seconds: float) -> None:
            pump.bank.hear()
            time.sleep(min(seconds, letter_seconds(0)))

        task.reporter.sleep = sleep
        return Pair(task, pump)

    fence = Lease(board.row(index), spec.timing.lease, clock).check
    return serve(make_pair, side.bell, stopper, say, fence, board.levels)


class Pair:
    """Two banks as one. What one of them raises is its own failure, and ends both; the first one is the line's."""

    def __init__(self, task: Bank, pump: Bank) -> None:
        self._task = task
        self._pump = pump
        self.failure: Exception | None = None

    @property
    def is_over(self) -> bool:
        # A pump that has failed answers no more: a task that waits for it would wait for ever.
        return self._pump.is_over and (self._task.is_over or self._pump.failure is not None)

    def start(self) -> None:
        try:
            self._pump.start()
            self._task.start()
        except Exception as error:
            self.failure = error
            raise

    def step(self) -> float:
        task_idle = 0.0
        if not self._task.is_over:
            task_idle = step(self._task)
        self.failure = self.failure or self._task.failure
        if self._pump.is_over:
            return task_idle
        if isinstance(self._pump, PatientSinkPump):
            self._pump.patience = min(task_idle, PATIENCE_SECONDS)
        pump_idle = step(self._pump)
        if self._pump.failure is not None:
            self._task.ask_to_stop()
        self.failure = self.failure or self._task.failure or self._pump.failure
        return pump_idle if self._task.is_over else min(task_idle, pump_idle)

    def ask_to_stop(self) -> None:
        self._task.ask_to_stop()
        self._pump.ask_to_stop()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self._task.fail(error)
        self._pump.fail(error)

    def stop(self) -> None:
        if isinstance(self._pump, PatientSinkPump):
            self._pump.cause = self.failure
        try:
            self._task.stop()
        finally:
            self._pump.stop()
