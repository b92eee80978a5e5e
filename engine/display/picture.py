"""What the display shows: a line of the run, a table of tasks that fits the terminal, sums, and what went wrong.

    millrace  12.3 s  2 running
    task      type    state      records  records/s   MB/s     lag  ring            last seconds
    orders/0  source  running  1,234,567    512,345   74.1            ▃   ▂▄▆▇██▇▇▇▇▇▇
    copy/0    sink    running  1,200,000    498,000   72.0  34,567    ▁   ▁▃▆▇▇██▇▇▇▇▇

A narrow terminal loses columns, the least important first; a low one gets a row for each connector in place
of each task, and then a count of those that are left out.

Used by: engine.display.main.
Not here: where the numbers come from (watch.py), the terminal (screen.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console, Group
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from engine.display.watch import HISTORY, Look, TaskLook
from engine.quantities import count_text, seconds_text
from engine.shm.board import State

__all__ = ["lines_of"]

NAME_WIDTH_MAX = 40
GAP = 2  # between columns
REASONS_MAX = 3
#: The empty line above, the line of the run, the head of the table, the cursor's line below.
OTHER_LINES = 4
NEW_LINE = "\n"
LEVELS = "▁▂▃▄▅▆▇█"
MEGABYTE = 1_000_000
RING_TIGHT = 0.9
STYLES = {
    State.STARTING: "dim",
    State.RUNNING: "green",
    State.DRAINING: "cyan",
    State.DONE: "bold green",
    State.FAILED: "bold red",
    State.RESTARTING: "yellow",
    State.STOPPED: "yellow",
    State.PAUSED: "yellow",
}
HELD_STYLE = "yellow"
STALLED_STYLE = "bold red"
GOING = (State.STARTING, State.RUNNING, State.DRAINING, State.RESTARTING)


class Column(Struct, frozen=True):
    """One column of the table."""

    head: str
    cell: Callable[[TaskLook], Text]
    goes: int  # where the terminal is narrow the highest goes first; 0: it stays
    width_min: int = 0  # so that the table does not jump while numbers grow; 0: not shown while there is nothing in it
    is_number: bool = True


def lines_of(look: Look, console: Console) -> list[str]:
    """The picture as lines, with colours if the console has them; they fit its terminal, one line to spare."""
    width, height = max(1, console.width - 1), console.height
    reasons = _reasons(look.tasks)
    sums = _sums(look.tasks)
    rows, left_out = _fitted(look.tasks, height - OTHER_LINES - len(reasons) - len(sums))
    parts: list[Text | Table] = [_of_run(look)]
    if rows:
        parts.append(_table(rows, sums, width))
    if left_out:
        parts.append(Text(f"and {left_out} more connectors", style="dim"))
    options = console.options.update(width=width, no_wrap=True, overflow="ellipsis", highlight=False)
    lines = console.render_lines(Group(*parts, *reasons), options, pad=False)
    with console.capture() as captured:
        console.print(SegmentLines(lines[: max(1, height - 2)], new_lines=True), end="")
    return captured.get().splitlines()


def _of_run(look: Look) -> Text:
    line = Text.assemble(("millrace", "bold"), "  ", seconds_text(look.seconds), "  ")
    line.append_text(_state([state for task in look.tasks for state in task.states], counts=True))
    if look.is_last:
        line.append("  rates: from first record to end", style="dim")
    return line


def _fitted(tasks: Sequence[TaskLook], room: int) -> tuple[Sequence[TaskLook], int]:
    """At most `room` rows, and how many are left out: tasks, or else connectors."""
    if len(tasks) <= room:
        return tasks, 0
    by_connector: dict[str, list[TaskLook]] = {}
    for task in tasks:
        by_connector.setdefault(task.connector, []).append(task)
    rows = [_together(f"{name} ({len(of)})", of) for name, of in by_connector.items()]
    if len(rows) <= room:
        return rows, 0
    room = max(1, room - 1)  # the line that counts the rest
    return rows[:room], len(rows) - room


def _sums(tasks: Sequence[TaskLook]) -> list[TaskLook]:
    """What all sources move together, and all sinks, where there are several."""
    kinds = {kind: [task for task in tasks if task.type == kind] for kind in ("source", "sink")}
    # How many are in which state is in the line of the run.
    return [replace(_together(f"all {kind}s", of), type="", states=()) for kind, of in kinds.items() if len(of) > 1]


def _together(title: str, tasks: Sequence[TaskLook]) -> TaskLook:
    lags = [task.lag for task in tasks if task.lag is not None]
    histories = [task.history for task in tasks]
    length = min(map(len, histories))
    return replace(
        tasks[0],
        title=title,
        states=tuple(state for task in tasks for state in task.states),
        is_held=all(task.is_held for task in tasks),
        records=sum(task.records for task in tasks),
        record_rate=sum(task.record_rate for task in tasks),
        byte_rate=sum(task.byte_rate for task in tasks),
        lag=sum(lags) if lags else None,
        ring_fill=max(task.ring_fill for task in tasks),
        restarts=sum(task.restarts for task in tasks),
        history=tuple(map(sum, zip(*(history[len(history) - length :] for history in histories), strict=True))),
        reason="",
        wait=None,
        stall=None,
    )


def _reasons(tasks: Iterable[TaskLook]) -> list[Text]:
    """Why tasks have failed, are stalled, what they wait for, or why they were started again; in this order."""
    told = [task for task in tasks if task.reason or task.wait or task.stall]
    told.sort(key=lambda task: (State.FAILED not in task.states, task.stall is None, task.wait is None))
    return [Text.assemble((task.title, STYLES[task.states[0]]), f": {_why(task)}") for task in told[:REASONS_MAX]]


def _why(task: TaskLook) -> str:
    if task.stall is not None:
        return f"stalled: {task.stall.sentence} for {seconds_text(task.stall_seconds)}"
    if task.wait is not None and State.FAILED not in task.states:
        return f"waits for {seconds_text(task.wait_seconds)}: {task.wait.cause.sentence}"
    return task.reason.partition(NEW_LINE)[0]


def _table(rows: Sequence[TaskLook], sums: Sequence[TaskLook], width: int) -> Table:
    cells = {column: [column.cell(row) for row in (*rows, *sums)] for column in COLUMNS}
    widths = {
        column: max(column.width_min, len(column.head), *(cell.cell_len for cell in of)) for column, of in cells.items()
    }
    shown = [column for column in COLUMNS if column.width_min or any(cells[column])]
    while sum(widths[column] + GAP for column in shown) - GAP > width:
        last = max(shown, key=lambda column: column.goes)
        if not last.goes:
            break
        shown.remove(last)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in shown:
        table.add_column(
            column.head,
            justify="right" if column.is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            # What shrinks in a terminal that is too narrow for the rest is a name.
            min_width=widths[column] if column.is_number else None,
        )
    for index in range(len(rows) + len(sums)):
        table.add_row(*(cells[column][index] for column in shown), style="bold" if index >= len(rows) else "")
    return table


def _state(states: Sequence[State], *, counts: bool = False, is_held: bool = False) -> Text:
    """One word where all are in one state; else, or with `counts`, how many are in each."""
    several = [(state, states.count(state)) for state in State if state in states]
    if len(several) == 1 and not counts:
        if is_held and several[0][0] == State.RUNNING:
            return Text("held", style=HELD_STYLE)
        return Text(several[0][0].name.lower(), style=STYLES[several[0][0]])
    words = [Text(f"{count} {state.name.lower()}", style=STYLES[state]) for state, count in several]
    return Text(", ").join(words)


def _task_state(task: TaskLook) -> Text:
    """Its state, or where it is stalled, or what it waits for."""
    if task.stall is not None:
        return Text(f"stalled: {task.stall.act.label}", style=STALLED_STYLE)
    if task.wait is not None and task.states[0] in GOING:
        return Text(f"waits: {task.wait.cause.label}", style=HELD_STYLE)
    return _state(task.states, is_held=task.is_held)


def _lag(task: TaskLook) -> Text:
    return Text("" if task.lag is None else count_text(task.lag))


def _ring(task: TaskLook) -> Text:
    level = LEVELS[min(len(LEVELS) - 1, int(task.ring_fill * len(LEVELS)))]
    return Text(level, style="yellow" if task.ring_fill > RING_TIGHT else "dim")


def _history(task: TaskLook) -> Text:
    top = max(task.history, default=0.0)
    if not top:
        return Text("")
    steps = len(LEVELS) - 1
    return Text("".join(LEVELS[round(rate / top * steps)] for rate in task.history), style="cyan")


COLUMNS = (
    Column("task", lambda task: Text(_short(task.title)), 0, 4, is_number=False),
    Column("type", lambda task: Text(task.type, style="dim"), 7, 6, is_number=False),
    Column("state", _task_state, 3, 8, is_number=False),
    Column("records", lambda task: Text(count_text(task.records)), 0, 9),
    Column("records/s", lambda task: Text(count_text(round(task.record_rate)), style="bold"), 0, 9),
    Column("MB/s", lambda task: Text(f"{task.byte_rate / MEGABYTE:.1f}"), 5, 5),
    Column("lag", _lag, 4, 9),
    Column("restarts", lambda task: Text(str(task.restarts or "")), 6),
    Column("ring", _ring, 8, 4),
    Column("last seconds", _history, 9, HISTORY, is_number=False),
)


def _short(name: str) -> str:
    """The name, or its beginning and its end: the end tells tasks apart."""
    if len(name) <= NAME_WIDTH_MAX:
        return name
    half = NAME_WIDTH_MAX // 2
    return f"{name[: half - 1]}…{name[-half:]}"
