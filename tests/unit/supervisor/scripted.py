"""A supervisor over lines whose banks are real processes that follow a script; the rest is the real supervisor.

Used by: tests.unit.supervisor.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from random import Random
from typing import Any, Self

from msgspec.structs import replace

from engine.api.errors import ConnectError, RetriableError
from engine.clock import SystemClock
from engine.config.line import Limits, LineSpec, Restarts, Timing
from engine.exits import ExitCode
from engine.mending import Kind, kind_of_code
from engine.shm import segment
from engine.shm.acts import stage_name
from engine.shm.board import Board, Identity, Phase, Row, Target, Word, board_bytes
from engine.shm.channel import Channel
from engine.supervisor.cgroups import Cgroups
from engine.supervisor.fork import Child, fork
from engine.supervisor.line import Line
from engine.supervisor.loop import Supervisor
from engine.supervisor.oom import OomKills
from engine.supervisor.pacer import Pacer
from tests.harness import wait
from tests.unit.supervisor.specs import spec

__all__ = [
    "Run",
    "Script",
    "completes_when_drained",
    "dies_once",
    "ends",
    "ends_ready",
    "fails",
    "is_stuck",
    "is_told_to_end_until",
    "sees_end",
    "sees_end_and_is_stuck",
    "sees_end_slowly",
    "signal_when",
    "signal_when_ready",
    "waits_for_stop",
    "waits_for_term",
]

Script = Callable[[Row], int]


class Run:
    """A supervisor over lines whose banks follow scripts, stepped by the test; its processes are gone after it."""

    def __init__(self, clock: SystemClock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.descriptor = segment.create("board", board_bytes(8))
        self.board = Board(self.descriptor)
        self.board.begin(1)
        self.pacer = Pacer(Random(1))
        self.oom_kills: OomKills | None = None
        self.cgroups: Cgroups | None = None
        self.limits = Limits()  # of lines that are still to be made
        self.lines: list[Line] = []
        self.stirred: list[Line] = []
        self.forked: list[str] = []
        self._stages: tuple[Script, ...] = ()  # of the line that is being made
        self.refusals: list[str] = []  # banks that cannot be forked, each once
        self.on_fork: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            for pid in line.pids():
                os.kill(pid, signal.SIGKILL)
        os.close(self.descriptor)

    def line(
        self,
        kind: str,
        task: Script,
        pump: Script,
        *,
        connector: str = "orders",
        restarts: int | Restarts = 3,
        stop_timeout: float = 0.2,
        lease: float = Timing().lease,
        secrets: tuple[str, ...] = (),
    ) -> Line:
        stages = {stage_name(number): one for number, one in enumerate(self._stages)}
        scripts = {"task": task, "pump": pump, **stages}
        index = self.board.add(Identity(connector, 0, kind, "none"))
        row = self.board.row(index)

        def fork_bank(spec: LineSpec, index: int, channel: Channel, bank: str) -> Child:
            if self.refusals and bank == self.refusals[0]:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), self.refusals.pop(0))
            self.forked.append(bank)
            self.on_fork()
            return fork(bank, lambda say: self.play(scripts[bank], row, say), [self.descriptor, *channel.descriptors()])

        restarting = replace(
            spec(kind, connector),
            restarts=Restarts(restarts, backoff_ms=1, backoff_ms_max=5) if isinstance(restarts, int) else restarts,
            timing=Timing(stop_timeout=stop_timeout, lease=lease),
            secrets=secrets,
            limits=self.limits,
            stage_processes=len(stages),
        )
        line = Line(restarting, index, row, fork_bank, self.clock, self.pacer, self.oom_kills, self.cgroups)
        self.lines.append(line)
        return line

    def staged_line(self, kind: str, task: Script, pump: Script, *stages: Script, **more: Any) -> Line:
        """A line with stage processes; more: as for `line`."""
        self._stages = stages
        try:
            return self.line(kind, task, pump, **more)
        finally:
            self._stages = ()

    @staticmethod
    def play(script: Script, row: Row, say: Callable[[str], None]) -> int:
        try:
            code = script(row)
            if kind_of_code(code) != Kind.CRASH:
                say(f"process ended with exit code {code}")  # whoever ends in order says why
            return code
        except ConnectError as error:
            say(str(error))
            return ExitCode.RETRY if isinstance(error, RetriableError) else ExitCode.FAILED

    def supervise(self, *, is_bulk: bool = True) -> ExitCode:
        return Supervisor(self.board, self, (), self.clock, is_bulk=is_bulk).run()


def ends(row: Row) -> int:
    """A source's pump, when all is stored."""
    row.set(Word.PUMP_PHASE, Phase.ENDED)
    return ExitCode.OK


def sees_end(row: Row) -> int:
    """A source's task, which is told of it."""
    row.set(Word.TASK_PHASE, Phase.ENDED)
    wait.until(lambda: row.get(Word.PUMP_PHASE) == Phase.ENDED, "ENDED", look_every_s=0.005)
    return ExitCode.OK


def ends_ready(row: Row) -> int:
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TASK_PHASE) == Phase.ENDED, "ENDED", look_every_s=0.005)
    return ends(row)


def sees_end_slowly(row: Row) -> int:
    signal.signal(signal.SIGTERM, lambda *_: None)
    sees_end(row)
    time.sleep(2.3)  # slower than the time a task process has after TERM
    return ExitCode.OK


def sees_end_and_is_stuck(row: Row) -> int:
    sees_end(row)
    return is_stuck(row)


def waits_for_stop(row: Row) -> int:
    row.set(Word.TASK_PHASE, Phase.READY)
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TARGET) == Target.STOP, "STOP", look_every_s=0.005)
    return ExitCode.OK


def waits_for_term(row: Row) -> int:
    terms: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: terms.append(number))
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: bool(terms), "TERM", look_every_s=0.005)
    return ExitCode.OK


def completes_when_drained(row: Row) -> int:
    row.set(Word.TASK_PHASE, Phase.READY)
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TARGET) != Target.RUN, "DRAIN", look_every_s=0.005)
    row.set(Word.PUMP_PHASE, Phase.COMPLETE)
    wait.until(lambda: row.get(Word.TARGET) == Target.STOP, "STOP", look_every_s=0.005)
    return ExitCode.OK


def fails(row: Row) -> int:
    return ExitCode.FAILED


def is_stuck(row: Row) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def is_told_to_end_until(restarts: int, then: Script) -> Script:
    return lambda row: (then if row.get(Word.RESTARTS) >= restarts else waits_for_term)(row)


def dies_once(counter: int, then: Script) -> Script:
    def bank(row: Row) -> int:
        if row.get(Word.RESTARTS) < counter:
            os.kill(os.getpid(), signal.SIGKILL)
        return then(row)

    return bank


def signal_when_ready(lines: list[Line], number: signal.Signals) -> None:
    """A child that signals this process once all lines are up, as a user would."""
    signal_when(lambda: all(line.row.get(Word.PUMP_PHASE) for line in lines), number)


def signal_when(is_time: Callable[[], bool], number: signal.Signals) -> None:
    parent = os.getpid()

    def main(say: object) -> int:
        wait.until(is_time, "the time for a signal", look_every_s=0.005)
        os.kill(parent, number)
        return ExitCode.OK

    fork("a user", main, _descriptors())


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]
