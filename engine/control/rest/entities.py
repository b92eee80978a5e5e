"""What REST shows of connectors and tasks, out of the herder's views and the board.

A task's state is what the board says of its line: see STATES. Members that Kafka Connect does not have stand behind
its own, where clients ignore them; `stalled` and `waits` in there tell of a task that does not go on.

Used by: engine.control.rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.herder.model import ConnectorView, Restarting, State
from engine.mending import Circuit, Kind
from engine.shm import board
from engine.shm.board import Board, Row, Word
from engine.shm.stalls import Stall, stall_of, unpack
from engine.shm.waits import gravest

__all__ = ["Rows", "failed_tasks", "info", "rows_of", "status", "task_infos", "task_status"]

#: Of each connector's tasks, by number.
Rows = Mapping[str, Mapping[int, Row]]

STATES: Mapping[board.State, str] = {
    board.State.STARTING: "UNASSIGNED",
    board.State.RUNNING: "RUNNING",
    board.State.DRAINING: "RUNNING",
    board.State.PAUSED: "PAUSED",
    board.State.RESTARTING: "RESTARTING",
    board.State.FAILED: "FAILED",
    board.State.DONE: "UNASSIGNED",
    board.State.STOPPED: "UNASSIGNED",
}


def rows_of(board: Board) -> Rows:
    """All rows, looked up once for an answer: it may be one of hundreds of connectors."""
    found: dict[str, dict[int, Row]] = {}
    for row in board.rows():
        identity = row.identity
        found.setdefault(identity.connector, {})[identity.task] = row
    return found


def info(view: ConnectorView) -> dict[str, Any]:
    """ConnectorInfo."""
    tasks = [{"connector": view.name, "task": number} for number in range(len(view.task_configs))]
    return {"name": view.name, "config": dict(view.config), "tasks": tasks, "type": view.type}


def task_infos(view: ConnectorView) -> list[dict[str, Any]]:
    """A TaskInfo for each task."""
    return [
        {"id": {"connector": view.name, "task": number}, "config": dict(config)}
        for number, config in enumerate(view.task_configs)
    ]


def status(
    view: ConnectorView, rows: Rows, worker_id: str, now_ns: int, restarting: Restarting | None = None
) -> dict[str, Any]:
    """ConnectorStateInfo. now_ns: monotonic. restarting: what is shown as such, whatever it is just now."""
    state = "RESTARTING" if restarting is not None and restarting.has_connector else view.state.value
    own: dict[str, Any] = {"state": state, "worker_id": worker_id}
    if view.state == State.FAILED and state == "FAILED":
        own["trace"] = view.trace
    own["version"] = view.version
    if view.failure_kind:
        circuit = view.circuit.label
        own["millrace"] = {"restarts": view.restarts, "last_kind": view.failure_kind.label, "circuit": circuit}
    again = frozenset[int]() if restarting is None else restarting.tasks
    tasks = [
        _task(row, number, view, worker_id, now_ns, is_restarting=number in again)
        for number, row in sorted(_rows_of(view, rows).items())
    ]
    return {"name": view.name, "connector": own, "tasks": tasks, "type": view.type}


def task_status(view: ConnectorView, number: int, rows: Rows, worker_id: str, now_ns: int) -> dict[str, Any] | None:
    """One element of `tasks` of the status; None: there is no such task."""
    row = _rows_of(view, rows).get(number)
    return None if row is None else _task(row, number, view, worker_id, now_ns, is_restarting=False)


def failed_tasks(view: ConnectorView, rows: Rows) -> frozenset[int]:
    """Tasks that have failed, or are shown so."""
    return frozenset(
        number for number, row in _rows_of(view, rows).items() if _state(row, unpack(row.get(Word.STALL))) == "FAILED"
    )


def _rows_of(view: ConnectorView, rows: Rows) -> dict[int, Row]:
    """Of the tasks that the connector has now, by number."""
    there = rows.get(view.name, {})
    return {number: there[number] for number in range(len(view.task_configs)) if number in there}


def _state(row: Row, stall: Stall | None) -> str:
    is_failed = stall is not None and stall.is_failed
    return "FAILED" if is_failed else STATES[board.State(row.get(Word.STATE))]


def _task(
    row: Row, number: int, view: ConnectorView, worker_id: str, now_ns: int, *, is_restarting: bool
) -> dict[str, Any]:
    stall = stall_of(row, now_ns)
    state = "RESTARTING" if is_restarting else _state(row, stall)
    told: dict[str, Any] = {"id": number, "state": state, "worker_id": worker_id}
    if state == "FAILED":
        told["trace"] = row.reason if stall is None else f"stalled: {stall.sentence}\n{row.stack}"
    told["version"] = view.version
    told["millrace"] = _more(row, stall, now_ns)
    return told


def _more(row: Row, stall: Stall | None, now_ns: int) -> dict[str, Any]:
    """What Kafka Connect does not tell of a task; docs/rest.md names the members."""
    next_start_ns = row.get(Word.NEXT_START_NS)
    left_ms = max(0, next_start_ns - now_ns) // 1_000_000
    more: dict[str, Any] = {
        "restarts": row.get(Word.RESTARTS),
        "last_kind": Kind(row.get(Word.ENDED_AS)).label if row.get(Word.ENDED_AS) else None,
        "last_cause": row.reason or None,
        "next_attempt_ms": left_ms if next_start_ns else None,
        "circuit": Circuit(row.get(Word.CIRCUIT)).label,
        **({"partitions": row.get(Word.PARTITIONS)} if row.identity.type == "sink" else {}),
    }
    if stall is not None:
        about = {"stage": stall.act.label, "process": stall.bank, "reason": stall.sentence, "stack": row.stack}
        more["stalled"] = {**about, "for_ms": round(stall.seconds(now_ns) * 1000)}
    if (wait := gravest(row)) is not None:
        about = {"for": wait.cause.label, "reason": wait.cause.sentence}
        more["waits"] = {**about, "for_ms": round(wait.seconds(now_ns) * 1000)}
    return more
