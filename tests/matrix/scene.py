"""One cell at work: its pipeline, its runs one after the other, and how far they have come.

    start ─► wait_at_work ─► a fault ─► (start) ─► wait_at_work ─► ... ─► finish ─► reports

How far a run has come is read off its board, whatever the brokers are doing.

Used by: faults.py, cell.py.
Not here: what the pipeline looks like (pipeline.py), what must come out (verify.py).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from engine.shm.board import Board, Measure, Stage
from tests.harness import wait
from tests.harness.engine import Millrace
from tests.matrix.rig import Place

__all__ = ["Scene"]

PLUGINS = Path(__file__).parent / "plugins"
RUN_S = 120.0
#: A run whose supervisor is gone leaves nothing behind for longer.
LEFT_BEHIND_S = 20.0
PAUSE_S = (0.0, 0.8)
#: One strike in so many comes whether or not the run is at work again after the one before.
EARLY_ONE_IN = 4
BOARD = "offsets.millrace.board"


class Progress(NamedTuple):
    """Records done by the run whose board it is."""

    board: int  # which file
    records: int


class Scene:
    """What faults see of a cell."""

    def __init__(
        self,
        folder: Path,
        place: Place,
        topic: str,
        connectors: Sequence[str],
        tasks: int,
        rng: random.Random,
        command: Sequence[str] = (),
    ) -> None:
        """connectors: their names; tasks: of each; command: instead of `millrace`."""
        self.place = place
        self.topic = topic
        self.rng = rng
        self.strikes = 0  # so far
        self.reports: list[dict[str, Any]] = []  # of runs that came to an end
        self._folder = folder
        self._connectors = connectors
        self._tasks = tasks
        self._command = command
        self._runs: list[Millrace] = []
        self._struck_at = Progress(0, 0)

    @property
    def run(self) -> Millrace:
        """The one that goes on."""
        return self._runs[-1]

    @property
    def runs(self) -> int:
        """How many were started."""
        return len(self._runs)

    def start(self) -> None:
        """The next run of the same pipeline."""
        plugins = {"PYTHONPATH": str(PLUGINS)}
        self._runs.append(
            Millrace("run", "pipeline.toml", "--json", folder=self._folder, environment=plugins, command=self._command)
        )

    def victim(self, bank: str) -> str:
        """A process by its role; each connector has its turn."""
        connector = self._connectors[self.strikes % len(self._connectors)]
        return f"{connector}/{self.rng.randrange(self._tasks)} {bank}"

    def wait_for_moment(self) -> bool:
        """Until the seed's moment for the next strike; returns whether the run still goes on then."""
        if not self.strikes or self.rng.randrange(EARLY_ONE_IN):
            self.wait_for_work()
        time.sleep(self.rng.uniform(*PAUSE_S))  # the moment of the fault is what the seed picks
        return self.run.is_running

    def wait_for_work(self) -> None:
        """Until the run has done more than at the last strike, or is over."""
        wait.until(lambda: self._is_at_work() or not self.run.is_running, "progress", timeout_s=RUN_S)

    def struck(self) -> None:
        """A strike is done."""
        self.strikes += 1
        self._struck_at = self._progress()

    def keep_report(self) -> None:
        """A run has come to its end."""
        self.reports.append(self.run.report())

    def finish(self) -> None:
        """Until the last run has done all and nothing is left of any. Raises AssertionError."""
        code = self.run.wait(RUN_S)
        assert code == 0, f"exit code {code}; its log:\n{self.log()}"
        self.keep_report()
        wait.until(lambda: not any(run.roles() for run in self._runs), "end of all processes", timeout_s=LEFT_BEHIND_S)

    def log(self) -> str:
        """What all runs have logged."""
        return "\n".join(f"-- run {number} --\n{run.stderr}" for number, run in enumerate(self._runs, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    def _is_at_work(self) -> bool:
        now, then = self._progress(), self._struck_at
        return now.records > (then.records if now.board == then.board else 0)

    def _progress(self) -> Progress:
        try:
            descriptor = os.open(self._folder / BOARD, os.O_RDWR)
        except FileNotFoundError:
            return Progress(0, 0)
        try:
            number = os.fstat(descriptor).st_ino
            board = Board(descriptor)
            stages = (Stage.ACKNOWLEDGE, Stage.PUT)
            done = sum(row.measured(stage, Measure.RECORDS) for row in board.rows() for stage in stages)
            return Progress(number, done)
        except ValueError:
            return Progress(0, 0)  # it is being made
        finally:
            os.close(descriptor)
