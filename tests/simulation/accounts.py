"""What the ledger of a simulated line says at its end.

Used by: tests.simulation.
"""

from __future__ import annotations

from engine.ledger.entries import Ledger
from engine.ledger.reckoning import findings
from engine.report import TaskReport, make_report
from engine.shm.board import State, Word
from tests.harness.banks import LineMemory

__all__ = ["reported"]


def reported(memory: LineMemory) -> TaskReport:
    """The report of the line's one task, which is done."""
    if memory.row.get(Word.STATE) != State.FAILED:
        memory.row.set(Word.STATE, State.DONE)
    ledger = Ledger(memory.ledger, memory.board) if memory.is_in_ledger else None
    found = [] if ledger is None else findings(memory.board, ledger)
    assert found == [], found
    return make_report(memory.board, ledger=ledger).connectors[0].tasks[0]
