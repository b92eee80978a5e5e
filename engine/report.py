"""What a run has done: totals, connectors, tasks; a few lines for people, JSON for machines.

    board (at the end) ──► Report ──► as_text, as_json

A record is *in* when Kafka has acknowledged it, *out* when a sink has made it safe and its offset is committed.
Both count this run; what was done twice is counted twice on the way in, and once on the way out.

Used by: engine.boot (makes), engine.launch (prints).
Not here: when a run is over, and with which code (engine.supervisor.loop).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from engine.clock import Clock, SystemClock
from engine.exits import ExitCode
from engine.ledger.entries import Ledger
from engine.ledger.reckoning import PartitionReckoning, Reckoning, add, findings, reckon
from engine.quantities import bytes_text, count_text, seconds_text
from engine.shm.board import Board, HeaderWord, Measure, Row, Stage, State, Word
from engine.shm.lost_range import LostRange
from engine.shm.waits import Cause, gravest

__all__ = [
    "ConnectorReport",
    "Report",
    "TaskReport",
    "Totals",
    "as_json",
    "as_text",
    "comes_out_even",
    "make_report",
]

#: Which state of several tells of all of them: the first that one of them is in.
GRAVEST_FIRST = (
    State.FAILED,
    State.RESTARTING,
    State.STARTING,
    State.RUNNING,
    State.DRAINING,
    State.PAUSED,
    State.STOPPED,
    State.DONE,
)
OVER = (State.DONE, State.FAILED, State.STOPPED)
BEGINNINGS = {"DONE": "Done in", "FAILED": "Failed after", "STOPPED": "Stopped after"}
HEAD = ("connector/task", "type", "state", "records", "records/s", "bytes", "restarts")
WORD_COLUMNS = 3  # the rest are numbers


class LostReport(Struct, frozen=True):
    """Offsets that a sink could never read; last: null where nobody knows."""

    topic: str
    partition: int
    first: int
    last: int | None
    cause: str


class TaskReport(Struct, frozen=True):
    """One task. docs/report.md tells what each member means."""

    task: int
    type: str
    state: str
    records: int
    bytes: int
    seconds: float  # from its first record to its end; 0: it had none
    restarts: int
    repeated_at_most: int
    reason: str  # why it failed, or was restarted last; empty: it was not
    ledger: Reckoning | None = None  # None: it is switched off
    partitions: tuple[PartitionReckoning, ...] = ()
    lost_ranges: tuple[LostReport, ...] = ()  # the first of them
    lost_ranges_count: int = 0  # all of them
    waits_for: str = ""  # the cause outside that it waits or waited for at its end; empty: none
    waits_seconds: float = 0.0  # since then, to its end
    stalls: int = 0  # how often it had work and did not go on


class ConnectorReport(Struct, frozen=True):
    """One connector: sums over its tasks, the gravest of their states."""

    name: str
    type: str
    plugin: str
    state: str
    records: int
    bytes: int
    restarts: int
    repeated_at_most: int
    tasks: tuple[TaskReport, ...]
    ledger: Reckoning | None = None


class Totals(Struct, frozen=True):
    """Sums over all tasks; in: of sources, out: of sinks."""

    records_in: int
    records_out: int
    bytes_in: int
    bytes_out: int
    restarts: int
    repeated_at_most: int
    sources: Reckoning | None = None
    sinks: Reckoning | None = None


class Report(Struct, frozen=True):
    """The whole run."""

    state: str
    exit_code: int | None  # None: it still runs
    seconds: float
    totals: Totals
    connectors: tuple[ConnectorReport, ...]
    findings: tuple[str, ...] = ()  # what does not add up, in sentences


def make_report(
    board: Board, code: ExitCode | None = None, clock: Clock | None = None, ledger: Ledger | None = None
) -> Report:
    """What stands on the board now. clock: for the length of a run that still goes on. ledger: None: there is none."""
    rows: dict[str, list[TaskReport]] = {}
    ended_ns = board.header[HeaderWord.FINISHED_NS] or (clock or SystemClock()).monotonic_ns()
    figures = None if ledger is None else reckon(board, ledger)
    plugins: dict[str, str] = {}
    for row in board.rows():
        reckoned = (None, []) if figures is None else figures[row.index]
        plugins[row.identity.connector] = row.identity.plugin
        rows.setdefault(row.identity.connector, []).append(_task(row, ended_ns, *reckoned))
    connectors = tuple(_connector(name, plugins[name], tasks) for name, tasks in rows.items())
    return Report(
        state=_gravest(connector.state for connector in connectors),
        exit_code=None if code is None else int(code),
        seconds=round((ended_ns - board.header[HeaderWord.STARTED_NS]) / 1e9, 3),
        totals=_totals(connectors),
        connectors=connectors,
        findings=() if ledger is None else tuple(findings(board, ledger)),
    )


def comes_out_even(report: Report) -> bool:
    """Whether sinks were handed all that sources have stored as sent, where they read that and nothing else.

    By the ledger, which counts each record once: a restart may give more, as Kafka may have some twice, and never less.
    Without a ledger, or with half a pipeline, nothing is known: True.
    """
    sent, taken = report.totals.sources, report.totals.sinks
    if sent is None or taken is None:
        return True
    handled = taken.records_out + taken.dropped + taken.skipped
    return 0 <= handled - sent.records_out <= report.totals.repeated_at_most


def as_json(report: Report) -> bytes:
    """One JSON object, on one line, for machines."""
    return msgspec.json.encode(report)


def as_text(report: Report) -> str:
    """A sentence, a row for each task, and what a person should know besides."""
    totals = report.totals
    begin = BEGINNINGS.get(report.state, f"{report.state.capitalize()} after")
    moved = f"{count_text(totals.records_in)} records in, {count_text(totals.records_out)} records out"
    lines = [
        f"{begin} {seconds_text(report.seconds)}: {moved}.",
        "",
        *_aligned([HEAD, *(_cells(of, task) for of in report.connectors for task in of.tasks)]),
    ]
    told = [
        f"{name}: {_ledger_text(figures)}"
        for name, figures in (("sources", totals.sources), ("sinks", totals.sinks))
        if figures is not None
    ]
    if told:
        lines += ["", "Ledger, " + "; ".join(told) + "."]
    lines += [f"It does not add up: {finding}." for finding in report.findings]
    if totals.repeated_at_most:
        lines += ["", f"At most {count_text(totals.repeated_at_most)} records were done twice, or will be next time."]
    reasons = [
        f"{of.name}/{task.task} {_told(task)}: {task.reason}"
        for of in report.connectors
        for task in of.tasks
        if task.reason
    ]
    reasons += [_wait_line(of, task) for of in report.connectors for task in of.tasks if task.waits_for]
    reasons += [_stall_line(of, task) for of in report.connectors for task in of.tasks if task.stalls]
    gone = [line for of in report.connectors for task in of.tasks for line in _lost_lines(of, task)]
    return "\n".join([*lines, *([""] if reasons else []), *reasons, *([""] if gone else []), *gone])


def _wait_line(of: ConnectorReport, task: TaskReport) -> str:
    sentence = Cause[task.waits_for.upper()].sentence
    return f"{of.name}/{task.task} waited at its end, for {seconds_text(task.waits_seconds)}: {sentence}"


def _stall_line(of: ConnectorReport, task: TaskReport) -> str:
    return f"{of.name}/{task.task} was stalled {count_text(task.stalls)} time{'s' * (task.stalls != 1)}: see the log"


def _lost_lines(of: ConnectorReport, task: TaskReport) -> list[str]:
    named = [
        f"{of.name}/{task.task} lost: topic {lost.topic} partition {lost.partition}, offsets {lost.first} to "
        f"{'an end that is not known' if lost.last is None else lost.last} ({lost.cause})"
        for lost in task.lost_ranges
    ]
    more = task.lost_ranges_count - len(named)
    return [*named, f"{of.name}/{task.task} lost: {more} more ranges; the log names them"] if more > 0 else named


def _ledger_text(figures: Reckoning) -> str:
    counts = {
        "in": figures.records_in,
        "out": figures.records_out,
        "dropped": figures.dropped,
        "skipped": figures.skipped,
        "added": figures.added,
        "repeated": figures.repeated,
        "lost": figures.lost,
        "doubled": figures.doubled,
        "left for the next run": figures.left,
    }
    always = ("in", "out", "dropped", "repeated", "lost")
    return ", ".join(f"{count_text(count)} {name}" for name, count in counts.items() if count or name in always)


def _connector(name: str, plugin: str, tasks: Sequence[TaskReport]) -> ConnectorReport:
    ledgers = [task.ledger for task in tasks if task.ledger is not None]
    return ConnectorReport(
        name=name,
        type=tasks[0].type,
        plugin=plugin,
        state=_gravest(task.state for task in tasks),
        records=sum(task.records for task in tasks),
        bytes=sum(task.bytes for task in tasks),
        restarts=sum(task.restarts for task in tasks),
        repeated_at_most=sum(task.repeated_at_most for task in tasks),
        tasks=tuple(tasks),
        ledger=add(ledgers) if ledgers else None,
    )


def _task(row: Row, ended_ns: int, ledger: Reckoning | None, partitions: Sequence[PartitionReckoning]) -> TaskReport:
    identity = row.identity
    state = State(row.get(Word.STATE))
    began_ns = row.get(Word.FIRST_RECORD_NS) or ended_ns
    if state in OVER:
        ended_ns = row.get(Word.STATE_SINCE_NS)
    wait = gravest(row)
    # A sink's task does not see bytes where it puts, but where it converts.
    safe, sized = (Stage.ACKNOWLEDGE,) * 2 if identity.type == "source" else (Stage.COMMIT, Stage.CONVERT)
    return TaskReport(
        task=identity.task,
        type=identity.type,
        state=state.name,
        records=row.measured(safe, Measure.RECORDS),
        bytes=row.measured(sized, Measure.BYTES),
        seconds=round(max(0, ended_ns - began_ns) / 1e9, 3),
        restarts=row.get(Word.RESTARTS),
        repeated_at_most=row.may_be_repeated(),
        reason=row.reason,
        ledger=ledger,
        partitions=tuple(partitions),
        lost_ranges=tuple(_lost(lost) for lost in row.lost_ranges),
        lost_ranges_count=row.get(Word.LOST_RANGES),
        waits_for="" if wait is None else wait.cause.label,
        waits_seconds=0.0 if wait is None else round(wait.seconds(ended_ns), 3),
        stalls=row.get(Word.STALLS),
    )


def _lost(lost: LostRange) -> LostReport:
    return LostReport(lost.topic, lost.partition, lost.first, lost.last, lost.cause)


def _totals(connectors: Iterable[ConnectorReport]) -> Totals:
    sources = [connector for connector in connectors if connector.type == "source"]
    sinks = [connector for connector in connectors if connector.type != "source"]
    return Totals(
        records_in=sum(connector.records for connector in sources),
        records_out=sum(connector.records for connector in sinks),
        bytes_in=sum(connector.bytes for connector in sources),
        bytes_out=sum(connector.bytes for connector in sinks),
        restarts=sum(connector.restarts for connector in (*sources, *sinks)),
        repeated_at_most=sum(connector.repeated_at_most for connector in (*sources, *sinks)),
        sources=_sum_of(sources),
        sinks=_sum_of(sinks),
    )


def _sum_of(connectors: Iterable[ConnectorReport]) -> Reckoning | None:
    ledgers = [connector.ledger for connector in connectors if connector.ledger is not None]
    return add(ledgers) if ledgers else None


def _gravest(states: Iterable[str]) -> str:
    found = set(states)
    return next((state.name for state in GRAVEST_FIRST if state.name in found), State.DONE.name)


def _cells(of: ConnectorReport, task: TaskReport) -> tuple[str, ...]:
    rate = count_text(round(task.records / task.seconds)) if task.seconds > 0 else ""
    return (
        f"{of.name}/{task.task}",
        task.type,
        task.state.lower(),
        count_text(task.records),
        rate,
        bytes_text(task.bytes),
        count_text(task.restarts),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if index < WORD_COLUMNS else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _told(task: TaskReport) -> str:
    return "failed" if task.state == State.FAILED.name else "was started again"
