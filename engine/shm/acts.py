"""What a bank is doing: the call that it is in, or was in last. One word of the board for each bank.

    bank ── before each call of a plugin or a client ──► TASK_ACT, PUMP_ACT ──► whoever asks why it is stuck, or died
    stage process ──────────────────────────────────────► its ACT

The word is not taken back when the call returns: the bank's heartbeat tells whether its loop turns.

Used by: engine.task, engine.pump (write), engine.supervisor (reads).
"""

from __future__ import annotations

from enum import IntEnum

from engine.shm.board import Row, StageWord, Word

__all__ = ["Act", "act_of", "runs_plugins", "stage_name", "stage_number"]

_STAGE = "stage "


class Act(IntEnum):
    """A call, or a group of calls that take time in the same place."""

    NOTHING = 0  # it has not come to any
    LOAD = 1  # plugins are imported, made and configured
    START = 2  # of the connector's task; of the pump's client
    OPEN = 3
    POLL = 4
    TRANSFORM = 5
    CONVERT = 6
    PUT = 7
    FLUSH = 8
    COMMIT = 9  # the source's task is told what is stored; the sink's pump commits
    CLOSE = 10
    STOP = 11
    PRODUCE = 12  # the pump's client is given records, or asked for answers
    FETCH = 13  # the pump's client is asked for records
    STORE = 14  # offsets are written

    @property
    def label(self) -> str:
        """As people and programs are told of it."""
        return self.name.lower()


def stage_name(number: int) -> str:
    """What a stage process is called among the processes of its line."""
    return f"{_STAGE}{number}"


def stage_number(name: str) -> int | None:
    """The number of a stage process by its name; None: it is another process."""
    return int(name.removeprefix(_STAGE)) if name.startswith(_STAGE) else None


def runs_plugins(bank: str) -> bool:
    """Whether this process of a line runs plugins, and nothing else."""
    return bank == "task" or stage_number(bank) is not None


def act_of(row: Row, bank: str) -> Act:
    """What this bank ("task" or "pump"), or stage process, is doing, or did last."""
    stage = stage_number(bank)
    if stage is not None:
        number = row.stage_get(stage, StageWord.ACT)
    else:
        number = row.get(Word.PUMP_ACT if bank == "pump" else Word.TASK_ACT)
    return Act(number) if number <= max(Act) else Act.NOTHING
