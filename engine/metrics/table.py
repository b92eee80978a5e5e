"""Every metric, declared once: its name with unit, its type, a sentence, its labels, and where it is read.

    RUN_METRICS        of the whole run                   no labels of their own, but those declared
    TASK_METRICS       of each task                       connector, task, type, and those declared
    PROCESS_METRICS    of each process of the run         connector, task, process

A reader gives samples: the values of the declared labels, and the value. One that gives none for
a task says that the metric does not apply there (a source has no lag).

Used by: engine.metrics.collector, engine.metrics.document.
Not here: what the words mean (engine.shm.board), formats (collector.py).
Source: names after the conventions of Prometheus: a prefix, the thing, the unit, `_total` for what only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct

from engine.metrics.views import ProcessFacts, RunView, TaskView
from engine.shm.acts import Act, stage_name
from engine.shm.board import SINK_STAGES, SOURCE_STAGES, HeaderWord, Measure, Stage, StageWord, State, Word
from engine.shm.waits import Cause

__all__ = ["PROCESS_LABELS", "PROCESS_METRICS", "RUN_METRICS", "TASK_LABELS", "TASK_METRICS", "Metric", "Samples"]

#: Values of a metric's own labels, and its value.
Samples = Iterable[tuple[tuple[str, ...], float]]

TASK_LABELS = ("connector", "task", "type")
PROCESS_LABELS = ("connector", "task", "process")

#: Where a measure is not counted; a series that is always 0 would say something else.
NOT_COUNTED = {
    Measure.RECORDS: (),
    Measure.BYTES: (Stage.POLL, Stage.TRANSFORM, Stage.STORE, Stage.PUT, Stage.FLUSH, Stage.COMMIT),
    Measure.BATCHES: (Stage.FLUSH,),
    Measure.ERRORS: (Stage.PRODUCE, Stage.ACKNOWLEDGE, Stage.STORE, Stage.CONSUME),
}


class Metric(Struct, frozen=True):
    """One metric."""

    name: str  # as it is asked for: with its unit, and `_total` or `_info`
    type: Literal["counter", "gauge", "info"]
    sentence: str
    read: Callable[..., Samples]
    labels: tuple[str, ...] = ()  # beside those of its table


def _plain(value: float) -> Samples:
    return (((), value),)


def _word(word: Word) -> Callable[[TaskView], Samples]:
    return lambda task: _plain(task.get(word))


def _of_source(word: Word) -> Callable[[TaskView], Samples]:
    return lambda task: _plain(task.get(word)) if task.is_source else ()


def _of_sink(word: Word) -> Callable[[TaskView], Samples]:
    return lambda task: () if task.is_source else _plain(task.get(word))


def _by_stage(measure: Measure) -> Callable[[TaskView], Samples]:
    without = NOT_COUNTED[measure]

    def read(task: TaskView) -> Samples:
        stages = SOURCE_STAGES if task.is_source else SINK_STAGES
        return [((stage.name.lower(),), task.measured(stage, measure)) for stage in stages if stage not in without]

    return read


def _fill(task: TaskView) -> Samples:
    capacity = task.get(Word.RING_BYTES)
    return _plain(task.get(Word.RING_USED_BYTES) / capacity) if capacity else ()


def _state(task: TaskView) -> Samples:
    now = task.get(Word.STATE)
    return [((state.name.lower(),), float(state == now)) for state in State]


def _waits(task: TaskView) -> Samples:
    now = {wait.cause for wait in task.waits()}
    return [((cause.label,), float(cause in now)) for cause in Cause if cause != Cause.NOTHING]


def _wait_seconds(task: TaskView) -> Samples:
    return _plain(max((wait.seconds(task.now_ns) for wait in task.waits()), default=0.0))


def _stall_seconds(task: TaskView) -> Samples:
    stall = task.stall()
    return _plain(0.0 if stall is None else stall.seconds(task.now_ns))


def _stalled(task: TaskView) -> Samples:
    stall = task.stall()
    return [((act.label,), float(stall is not None and stall.act == act)) for act in Act if act != Act.NOTHING]


def _both(word: Word, pumps: Word) -> Callable[[TaskView], Samples]:
    """What the task and its pump count apart, as each word has one writer."""
    return lambda task: _plain(task.get(word) + task.get(pumps))


def _last_error(task: TaskView) -> Samples:
    at_ns = max(task.get(Word.LAST_ERROR_NS), task.get(Word.REFUSED_NS))
    return _plain(task.now_seconds - (task.now_ns - at_ns) / 1e9 if at_ns else 0.0)


def _beats(task: TaskView) -> Samples:
    return [((bank,), age) for bank, age in task.beat_ages().items()]


def _by_stage_process(word: StageWord, unit: float = 1) -> Callable[[TaskView], Samples]:
    """Of each stage process; unit: what the word counts in, of the metric's own."""
    return lambda task: [((stage_name(number),), task.stage(number, word) * unit) for number in range(task.stages)]


def _proportional(facts: ProcessFacts) -> Samples:
    return () if facts.proportional_bytes is None else _plain(facts.proportional_bytes)


def _version(run: RunView) -> Samples:
    return (((run.version,), 1),)


def _memory_max(run: RunView) -> Samples:
    bound = run.board.header[HeaderWord.MEMORY_MAX_BYTES]
    return _plain(bound) if bound else ()


def _plugin(task: TaskView) -> Samples:
    return (((task.identity.plugin,), 1),)


RUN_METRICS = (
    Metric("millrace_info", "info", "Always 1; the version is its label.", _version, ("version",)),
    Metric(
        "millrace_start_time_seconds",
        "gauge",
        "When this run began, in seconds since 1970.",
        lambda run: _plain(run.started_at),
    ),
    Metric(
        "millrace_run_seconds",
        "gauge",
        "How long this run has been going, or took, if it has finished.",
        lambda run: _plain(run.seconds),
    ),
    Metric(
        "millrace_run_finished",
        "gauge",
        "1 once no task of this run goes on: what a bulk job's last snapshot shows.",
        lambda run: _plain(run.is_finished),
    ),
    Metric("millrace_tasks", "gauge", "Tasks of this run.", lambda run: _plain(sum(1 for _ in run.board.rows()))),
    Metric(
        "millrace_memory_bound_bytes",
        "gauge",
        "The most that all processes together can come to hold with the worst of records: the sum over all tasks, and "
        "the worker's own.",
        lambda run: _plain(run.board.header[HeaderWord.MEMORY_BOUND_BYTES]),
    ),
    Metric("millrace_memory_max_bytes", "gauge", "`worker.memory.max`, where it is set.", _memory_max),
)

TASK_METRICS = (
    Metric(
        "millrace_records_total",
        "counter",
        "Records that have passed a stage. Records done again after a restart count again, except at `store` and "
        "`commit`. `transform` stays 0 where there are no transforms.",
        _by_stage(Measure.RECORDS),
        ("stage",),
    ),
    Metric(
        "millrace_record_bytes_total",
        "counter",
        "Bytes of keys and values, as Kafka stores them, that have passed a stage that sees them so.",
        _by_stage(Measure.BYTES),
        ("stage",),
    ),
    Metric(
        "millrace_batches_total",
        "counter",
        "Batches that have passed a stage; at `store` and `commit`, stores and commits.",
        _by_stage(Measure.BATCHES),
        ("stage",),
    ),
    Metric(
        "millrace_errors_total",
        "counter",
        "What failed at a stage: records that could not be converted or transformed; calls of `poll`, `put`, "
        "`flush` and commits, which are tried again where that may help.",
        _by_stage(Measure.ERRORS),
        ("stage",),
    ),
    Metric("millrace_task_info", "info", "Always 1; the connector's class is its label.", _plugin, ("plugin",)),
    Metric("millrace_task_state", "gauge", "1 for the state the task is in, 0 for each other one.", _state, ("state",)),
    Metric(
        "millrace_task_waits_for",
        "gauge",
        "1 for each cause outside that keeps the task waiting, 0 for each other one.",
        _waits,
        ("cause",),
    ),
    Metric(
        "millrace_task_wait_seconds",
        "gauge",
        "How long the task has been waiting for what is outside; 0 while it does not.",
        _wait_seconds,
    ),
    Metric(
        "millrace_task_stalled",
        "gauge",
        "1 for the stage in which the task is stalled: it has work and does not go on, by its own fault; 0 for each "
        "other one.",
        _stalled,
        ("stage",),
    ),
    Metric(
        "millrace_task_stall_seconds",
        "gauge",
        "How long the task has been stalled; 0 while it is not.",
        _stall_seconds,
    ),
    Metric("millrace_task_stalls_total", "counter", "How often the task was stalled.", _word(Word.STALLS)),
    Metric(
        "millrace_task_restarts_total",
        "counter",
        "How often the task's processes were started again.",
        _word(Word.RESTARTS),
    ),
    Metric(
        "millrace_task_repeatable_records",
        "gauge",
        "Upper bound of the records that were done twice, or would be if the task died now.",
        lambda task: _plain(task.row.may_be_repeated()),
    ),
    Metric(
        "millrace_task_repeated_records_total",
        "counter",
        "Records that were done twice for sure: in Kafka before a restart and sent again, or handed to the connector "
        "again.",
        lambda task: _plain(task.row.was_repeated()),
    ),
    Metric(
        "millrace_task_dropped_records_total",
        "counter",
        "Records that transforms let go. What is done again after a restart counts again.",
        _word(Word.DROPPED),
    ),
    Metric(
        "millrace_task_skipped_records_total",
        "counter",
        "Records that could not be converted or transformed, or that Kafka or a sink has refused, and were left out "
        "(`errors.tolerance=all`); Kafka Connect's "
        "`total-records-skipped`. What is done again after a restart counts again.",
        _both(Word.SKIPPED, Word.REFUSALS),
    ),
    Metric(
        "millrace_task_record_failures_total",
        "counter",
        "Attempts to convert or transform a record that failed, and records that a sink has reported; Kafka Connect's "
        "`total-record-failures`.",
        _both(Word.FAILURES, Word.REFUSALS),
    ),
    Metric(
        "millrace_task_record_errors_total",
        "counter",
        "Records that could not be converted or transformed for good; Kafka Connect's `total-record-errors`.",
        _both(Word.FAILED, Word.REFUSALS),
    ),
    Metric(
        "millrace_task_record_retries_total",
        "counter",
        "Further attempts, within `errors.retry.timeout`; Kafka Connect's `total-retries`.",
        _word(Word.RETRIES),
    ),
    Metric(
        "millrace_task_errors_logged_total",
        "counter",
        "Records that failed and were logged (`errors.log.enable`); Kafka Connect's `total-errors-logged`.",
        _both(Word.ERRORS_LOGGED, Word.REFUSALS_LOGGED),
    ),
    Metric(
        "millrace_task_last_error_timestamp_seconds",
        "gauge",
        "When a record failed last, in seconds since 1970; 0: none has. Kafka Connect's `last-error-timestamp`, which "
        "counts milliseconds.",
        _last_error,
    ),
    Metric(
        "millrace_task_deadletterqueue_produce_requests_total",
        "counter",
        "Dead letters that were handed to the producer; Kafka Connect's `deadletterqueue-produce-requests`.",
        _word(Word.LETTERS),
    ),
    Metric(
        "millrace_task_deadletterqueue_produce_failures_total",
        "counter",
        "Dead letters that Kafka refused; the task has failed there. Kafka Connect's "
        "`deadletterqueue-produce-failures`.",
        _word(Word.LETTERS_FAILED),
    ),
    Metric(
        "millrace_task_added_records_total",
        "counter",
        "Sources: records that transforms made of others, beyond the first of each. What is done again counts again.",
        _word(Word.ADDED),
    ),
    Metric(
        "millrace_task_ledger_missing_records_total",
        "counter",
        "Records that the ledger missed at a border; the task has failed there.",
        lambda task: _plain(task.get(Word.TASK_MISSING) + task.get(Word.PUMP_MISSING)),
    ),
    Metric(
        "millrace_task_ledger_doubled_records_total",
        "counter",
        "Records that the ledger found twice at a border; the task has failed there.",
        lambda task: _plain(task.get(Word.TASK_DOUBLED) + task.get(Word.PUMP_DOUBLED)),
    ),
    Metric(
        "millrace_task_given_up_records_total",
        "counter",
        "Records that were put and may be done again, because their partitions went to another member before they "
        "were committed. Sinks only.",
        _of_sink(Word.GIVEN_UP),
    ),
    Metric(
        "millrace_task_lost_ranges_total",
        "counter",
        "Ranges of offsets that were gone before they were read; the report names them. Sinks only.",
        _of_sink(Word.LOST_RANGES),
    ),
    Metric(
        "millrace_task_lost_records_total",
        "counter",
        "Records in lost ranges, at most, where both ends are known. Sinks only.",
        _of_sink(Word.LOST_RECORDS),
    ),
    Metric(
        "millrace_task_lag_records",
        "gauge",
        "Records between a sink's position and the end of its assigned partitions. Sinks only.",
        _of_sink(Word.LAG),
    ),
    Metric(
        "millrace_task_assigned_partitions",
        "gauge",
        "Partitions that are assigned to a sink's task. Sinks only.",
        _of_sink(Word.PARTITIONS),
    ),
    Metric(
        "millrace_task_queued_records",
        "gauge",
        "Records in librdkafka's own queue, on their way to Kafka. Sources only.",
        _of_source(Word.QUEUED),
    ),
    Metric(
        "millrace_task_held",
        "gauge",
        "1 while a source on the embedded Kafka is held back by its sink. Sources only.",
        _of_source(Word.HELD),
    ),
    Metric("millrace_task_ring_used_bytes", "gauge", "Bytes in the task's ring.", _word(Word.RING_USED_BYTES)),
    Metric("millrace_task_ring_capacity_bytes", "gauge", "Size of the task's ring.", _word(Word.RING_BYTES)),
    Metric(
        "millrace_task_ring_fill_ratio",
        "gauge",
        "How full the task's ring is, 0 to 1. A source's full ring waits for Kafka, a sink's for the connector.",
        _fill,
    ),
    Metric(
        "millrace_task_memory_bound_bytes",
        "gauge",
        "The most that a task's processes, ring, client queues and batches can come to hold with the worst of records.",
        _word(Word.MEMORY_BOUND_BYTES),
    ),
    Metric(
        "millrace_task_heartbeat_age_seconds",
        "gauge",
        "How long ago the loop of the task process, the pump and each stage process last turned; of living ones only.",
        _beats,
        ("process",),
    ),
    Metric(
        "millrace_stage_process_batches_total",
        "counter",
        "Batches that a stage process has transformed and converted. Only of connectors with stage.processes.",
        _by_stage_process(StageWord.BATCHES),
        ("process",),
    ),
    Metric(
        "millrace_stage_process_records_total",
        "counter",
        "Records in these batches, as they came.",
        _by_stage_process(StageWord.RECORDS),
        ("process",),
    ),
    Metric(
        "millrace_stage_process_busy_seconds_total",
        "counter",
        "Time a stage process has worked on batches; its rate is how busy it is, 1 being all the time.",
        _by_stage_process(StageWord.BUSY_NS, 1e-9),
        ("process",),
    ),
)

PROCESS_METRICS = (
    Metric(
        "millrace_process_cpu_seconds_total",
        "counter",
        "User and system time of a process since it was started.",
        lambda facts: _plain(facts.cpu_seconds),
    ),
    Metric(
        "millrace_process_resident_memory_bytes",
        "gauge",
        "Resident memory of a process; memory that processes share is in each of them.",
        lambda facts: _plain(facts.resident_bytes),
    ),
    Metric(
        "millrace_process_proportional_memory_bytes",
        "gauge",
        "A process's share of memory (PSS): memory that n processes share counts for 1/n in each, so sums are true.",
        _proportional,
    ),
)
