"""What the ledger says of a whole run: in, out, dropped, repeated, lost.

    board, pages ──► Reckoning of each task ──► of each connector: what must be equal when it is done

A task that is done has taken all in, so that what came in for the first time, and what a source's transforms have made
of it beside, is what went out, what was dropped and what was skipped, in number and, of a sink's partitions, in the sum
of their offsets.
A task that was stopped or has failed may have left some for the next run.

Used by: engine.report.
Not here: what fails a task at once (source.py, sink.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import astuple

from engine.ledger.entries import COMMITTED, ELSEWHERE, FLUSHED, MASK, PUMP, TASK, Ledger, Tally
from engine.shm.board import Board, Measure, Row, Stage, State, Word

__all__ = ["PartitionReckoning", "Reckoning", "add", "findings", "reckon"]

Place = tuple[str, int]


class PartitionReckoning(Struct, frozen=True):
    """One partition of Kafka, as one task had it; counts of records, and offsets (0: none yet)."""

    topic: str
    partition: int  # -1: those that Kafka's client picks by key
    records_in: int
    records_out: int
    dropped: int
    repeated: int
    flushed: int
    committed: int
    skipped: int = 0


class Reckoning(Struct, frozen=True):
    """Records of one task, or the sum of several. docs/report.md tells what each member means."""

    records_in: int = 0
    records_out: int = 0
    dropped: int = 0
    repeated: int = 0
    lost: int = 0
    doubled: int = 0
    left: int = 0
    added: int = 0  # sources
    skipped: int = 0


def add(reckonings: Iterable[Reckoning]) -> Reckoning:
    """The sum."""
    rows = [astuple(one) for one in reckonings]
    return Reckoning(*map(sum, zip(*rows, strict=True))) if rows else Reckoning()


def reckon(board: Board, ledger: Ledger) -> dict[int, tuple[Reckoning, list[PartitionReckoning]]]:
    """By each index of a row of the board, its task's figures and those of its partitions."""
    return {row.index: _of_task(row, ledger, row.index) for row in board.rows()}


def findings(board: Board, ledger: Ledger) -> list[str]:
    """What does not add up where a whole connector is done, in sentences."""
    rows: dict[str, list[Row]] = {}
    for row in board.rows():
        rows.setdefault(row.identity.connector, []).append(row)
    found = []
    for connector, tasks in rows.items():
        if any(State(row.get(Word.STATE)) != State.DONE for row in tasks):
            continue
        if tasks[0].identity.type == "source":
            found += [text for row in tasks if (text := _source_finding(row, connector))]
        else:
            found += _sink_findings(connector, [row.index for row in tasks], ledger)
    return found


def _of_task(row: Row, ledger: Ledger, index: int) -> tuple[Reckoning, list[PartitionReckoning]]:
    partitions = [
        _of_partition(row, place, entry.read(PUMP), entry.read(TASK), entry.get(FLUSHED), entry.get(COMMITTED))
        for place, entry in ledger.page(index).entries()
    ]
    added = 0
    if row.identity.type == "source":
        came, dropped, added, out, repeated = _source_figures(row)
        skipped = row.get(Word.SKIPPED) - row.get(Word.AGAIN_SKIPPED) + row.get(Word.REFUSED)
    else:
        came = sum(one.records_in for one in partitions)
        dropped = sum(one.dropped for one in partitions)
        skipped = sum(one.skipped for one in partitions)
        out = sum(one.records_out for one in partitions)
        repeated = sum(one.repeated for one in partitions)
    whole = Reckoning(
        came,
        out,
        dropped,
        repeated,
        lost=row.get(Word.TASK_MISSING) + row.get(Word.PUMP_MISSING),
        doubled=row.get(Word.TASK_DOUBLED) + row.get(Word.PUMP_DOUBLED),
        left=max(0, came + added - dropped - skipped - out),
        added=added,
        skipped=skipped,
    )
    return whole, partitions


def _of_partition(row: Row, place: Place, pump: Tally, task: Tally, flushed: int, committed: int) -> PartitionReckoning:
    if row.identity.type == "source":
        return PartitionReckoning(*place, 0, pump.records, 0, 0, 0, 0)
    put = task.records - task.dropped - task.skipped
    return PartitionReckoning(*place, pump.records, put, task.dropped, task.again, flushed, committed, task.skipped)


def _source_figures(row: Row) -> tuple[int, int, int, int, int]:
    """In, dropped, added, out, repeated. What a restart has polled again counts once; what Kafka has twice is one."""
    came = row.measured(Stage.POLL, Measure.RECORDS) - row.get(Word.AGAIN_POLLED)
    dropped = row.get(Word.DROPPED) - row.get(Word.AGAIN_DROPPED)
    added = row.get(Word.ADDED) - row.get(Word.AGAIN_ADDED)
    return came, dropped, added, row.measured(Stage.STORE, Measure.RECORDS) - row.get(Word.REFUSED), row.was_repeated()


def _source_finding(row: Row, connector: str) -> str:
    came, dropped, added, out, _ = _source_figures(row)
    skipped = row.get(Word.SKIPPED) - row.get(Word.AGAIN_SKIPPED) + row.get(Word.REFUSED)
    missing = came + added - dropped - skipped - out
    if not missing:
        return ""
    return f"{connector}/{row.identity.task}: {_counted(missing)} of {came} polled"


def _sink_findings(connector: str, indexes: Sequence[int], ledger: Ledger) -> list[str]:
    """Partitions of which this run has committed all that it consumed, and has not put or dropped the same."""
    sides: dict[Place, tuple[list[Tally], list[Tally]]] = {}
    committed: dict[Place, int] = {}
    elsewhere: set[Place] = set()
    for index in indexes:
        for place, entry in ledger.page(index).entries():
            consumed, handled = sides.setdefault(place, ([], []))
            consumed.append(entry.read(PUMP))
            handled.append(entry.read(TASK))
            committed[place] = max(committed.get(place, 0), entry.get(COMMITTED))
            if entry.get(ELSEWHERE):
                elsewhere.add(place)
    found = []
    for place, (consumed, handled) in sorted(sides.items()):
        high = max(tally.high for tally in consumed)
        if place in elsewhere or committed[place] < high:
            continue
        missing = sum(tally.records for tally in consumed) - sum(tally.records for tally in handled)
        total = sum(tally.total for tally in consumed) - sum(tally.total for tally in handled) & MASK
        if missing or total:
            which = f" (offset {total})" if missing == 1 else f" (offset {-total & MASK})" if missing == -1 else ""
            found.append(
                f"{connector}: {_counted(missing)}{which} of topic {place[0]}, partition {place[1]}, "
                f"committed up to offset {committed[place]}"
            )
    return found


def _counted(missing: int) -> str:
    if not missing:
        return "other records than came in were put"
    noun = "record" if abs(missing) == 1 else "records"
    return f"{abs(missing)} {noun} {'missing' if missing > 0 else 'too many'}"
