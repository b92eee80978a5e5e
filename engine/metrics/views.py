"""What a metric is read from: the run, one task of it, one process of it, each as it is at one moment.

    board ──► RunView ──► TaskView (a row) ──► ProcessFacts (a pid in that row, asked of the kernel)

Used by: engine.metrics.table (reads), engine.metrics.collector (makes), engine.control.
Not here: names and sentences of metrics (table.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
from msgspec import Struct

from engine.shm.acts import stage_name
from engine.shm.board import Board, HeaderWord, Identity, Measure, Row, Stage, StageWord, State, Word
from engine.shm.stalls import Stall, stall_of
from engine.shm.waits import Wait, waits_of

__all__ = ["ProcessFacts", "RunView", "TaskView", "facts_of", "workers_seen_from_control"]

_SECOND_NS = 1_000_000_000


class RunView(Struct, frozen=True):
    """The whole run, at one moment."""

    board: Board
    version: str
    now_ns: int  # monotonic
    now_seconds: float  # since 1970

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        header = self.board.header
        return ((header[HeaderWord.FINISHED_NS] or self.now_ns) - header[HeaderWord.STARTED_NS]) / _SECOND_NS

    @property
    def started_at(self) -> float:
        """When it began, in seconds since 1970."""
        return self.now_seconds - (self.now_ns - self.board.header[HeaderWord.STARTED_NS]) / _SECOND_NS

    @property
    def is_finished(self) -> bool:
        """Whether no task runs any more or will."""
        return bool(self.board.header[HeaderWord.FINISHED_NS])

    def tasks(self) -> Iterator[TaskView]:
        """Every task, in the board's order."""
        for row in self.board.rows():
            yield TaskView(row, row.identity, self.now_ns, self.now_seconds)


class TaskView(Struct, frozen=True):
    """One task, at one moment."""

    row: Row
    identity: Identity
    now_ns: int  # monotonic
    now_seconds: float = 0.0  # since 1970

    @property
    def is_source(self) -> bool:
        return self.identity.type == "source"

    def measured(self, stage: Stage, measure: Measure) -> int:
        """A stage's total of this run."""
        return self.row.measured(stage, measure)

    def get(self, word: Word) -> int:
        """The value of a word."""
        return self.row.get(word)

    def waits(self) -> tuple[Wait, ...]:
        """What its banks wait for outside; nothing once it is over."""
        is_over = self.get(Word.STATE) in (State.DONE, State.FAILED, State.STOPPED)
        return () if is_over else tuple(waits_of(self.row))

    def stall(self) -> Stall | None:
        """Why it does not go on, if so."""
        return stall_of(self.row, self.now_ns)

    def processes(self) -> dict[str, int]:
        """The pid of each living process by its role: "task" and "pump", or "both"; "stage 0" and so on."""
        task, pump = self.get(Word.TASK_PID), self.get(Word.PUMP_PID)
        if task and task == pump:
            return {"both": task}
        stages = [(stage_name(number), self.stage(number, StageWord.PID)) for number in range(self.stages)]
        return {role: pid for role, pid in (("task", task), ("pump", pump), *stages) if pid}

    @property
    def stages(self) -> int:
        """How many stage processes it has."""
        return self.get(Word.STAGE_PROCESSES)

    def stage(self, number: int, word: StageWord) -> int:
        """The value of a word of a stage process."""
        return self.row.stage_get(number, word)

    def beat_ages(self) -> dict[str, float]:
        """Seconds since each living bank's loop last turned; a bank that has not begun its loop is not in it."""
        banks = (("task", Word.TASK_PID, Word.TASK_BEAT_NS), ("pump", Word.PUMP_PID, Word.PUMP_BEAT_NS))
        beats = [(bank, self.get(pid), self.get(beat)) for bank, pid, beat in banks]
        beats += [
            (stage_name(number), self.stage(number, StageWord.PID), self.stage(number, StageWord.BEAT_NS))
            for number in range(self.stages)
        ]
        return {bank: max(0, self.now_ns - beat_ns) / _SECOND_NS for bank, pid, beat_ns in beats if pid and beat_ns}


class ProcessFacts(Struct, frozen=True):
    """What the kernel says of one process."""

    connector: str  # empty: the process serves the whole run
    task: str
    process: str  # its role: "task", "pump", "both", "stage 0", "supervisor", "control"
    cpu_seconds: float  # user and system, since it was forked
    resident_bytes: int
    proportional_bytes: int | None  # pages that several processes map are shared out among them; None: not told


def facts_of(run: RunView, workers: dict[str, int]) -> Iterator[ProcessFacts]:
    """Facts of every living process of the run. workers: pids of those that serve no task, by role."""
    for role, pid in workers.items():
        yield from _facts("", "", role, pid)
    for view in run.tasks():
        for role, pid in view.processes().items():
            yield from _facts(view.identity.connector, str(view.identity.task), role, pid)


def _facts(connector: str, task: str, role: str, pid: int) -> Iterator[ProcessFacts]:
    """One, or none where the process is gone meanwhile."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            resident = process.memory_info().rss
    except psutil.Error:
        return
    yield ProcessFacts(connector, task, role, times.user + times.system, resident, _proportional_bytes(pid))


def _proportional_bytes(pid: int) -> int | None:
    # The kernel sums it up itself in this one file; psutil reads it too, with more around it.
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("Pss:")), None)
    return None if found is None else int(found.split()[1]) * 1024


def workers_seen_from_control() -> dict[str, int]:
    """The processes beside the tasks' own, as the control process knows them."""
    return {"supervisor": os.getppid(), "control": os.getpid()}
