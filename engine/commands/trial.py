"""`millrace try`: what a connector's converters and transforms make of records, step by step; nothing is written.

    sink      bytes ──► converters ──► transform ──► transform       what its task would be given
    source    record ──► transform ──► transform ──► converters      what Kafka would be given

Each step is shown with the record as it leaves it. A step that fails is the last of its record, with what is wrong.

Used by: engine.command_line, engine.commands.dlq (what becomes of a dead letter now).
Not here: where records come from (trial_records.py), how they are shown (trial_report.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.api.batch import Columns, Run, SinkBatch
from engine.api.errors import ConfigError, Problem, RetriableError
from engine.api.record import SinkRecord, SourceRecord
from engine.clock import SystemClock
from engine.commands import trial_records, trial_report
from engine.config import files
from engine.config.files import ConnectorFile, Pipeline
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.kafka.sample import RawRecord, sample
from engine.logs import masked
from engine.plan import PlanOptions, prepare
from engine.plugins import environment
from engine.stages import convert, outgoing
from engine.stages.convert import Converters
from engine.stages.transform import Step, transform
from engine.stages.work import make_stages

__all__ = ["Tried", "TriedStep", "Wanted", "line_of", "try_files", "try_raw"]

_BROKER_SECONDS = 10.0


class Wanted(NamedTuple):
    """What is to be tried: a connector, on records of a file or a topic."""

    connector: str = ""  # empty: the only one
    records: Path | None = None
    topic: str = ""
    most: int = 5  # records


class TriedStep(NamedTuple):
    """A record as it leaves a step; None: it was dropped, or it failed."""

    name: str
    record: SourceRecord | SinkRecord | RawRecord | None
    error: Exception | None = None


class Tried(NamedTuple):
    """A record and all that became of it, in order; the first step is what came."""

    number: int
    steps: Sequence[TriedStep]

    @property
    def has_failed(self) -> bool:
        return any(step.error is not None for step in self.steps)


def try_files(paths: Sequence[Path], wanted: Wanted, *, prints_json: bool = False) -> ExitCode:
    """Try a connector of these files on records, and print what becomes of them. Raises ConnectError."""
    records, topic, count = wanted.records, wanted.topic, wanted.most
    if (records is None) == (not topic):
        raise ConfigError("records come from one place; expected either --records FILE or --topic TOPIC")
    line = line_of(files.load(paths), wanted.connector)
    if line.type == "sink":
        if records is None:
            raw = sample(line.kafka, topic, count, _BROKER_SECONDS, SystemClock())
        else:
            raw = trial_records.read_raw(records, _default_topic(line), count)
        tried = try_raw(line, raw)
    elif records is None:
        raise ConfigError("--topic is for sinks, which read topics; expected --records FILE for a source")
    else:
        given = trial_records.read_source(records, count)
        chain, names, converters = _made(line)
        tried = [_try_source(number, one, chain, names, converters) for number, one in enumerate(given, 1)]
    report = trial_report.as_json if prints_json else trial_report.as_text
    print(report(tried, lambda text: masked(text, line.secrets)))
    return ExitCode.FAILED if any(one.has_failed for one in tried) else ExitCode.OK


def line_of(pipeline: Pipeline, connector: str) -> LineSpec:
    """The line of a connector's first task: of that name, or the only one there is. Raises ConfigError."""
    return _line(pipeline, _chosen(pipeline, connector))


def try_raw(line: LineSpec, records: Sequence[RawRecord]) -> list[Tried]:
    """What a sink's converters and transforms make of records of a topic."""
    chain, names, converters = _made(line)
    return [_try_sink(number, one, chain, names, converters) for number, one in enumerate(records, 1)]


def _made(line: LineSpec) -> tuple[Sequence[Step], list[str], Converters]:
    """The chain of a line, the names of its steps, its converters."""
    environment.enter(line.environments)
    chain, converters = make_stages(line, fuses=False)
    return chain, [step.transform.name for step in line.transforms], converters


def _chosen(pipeline: Pipeline, name: str) -> ConnectorFile:
    """The connector of this name, or the only one. Raises ConfigError."""
    names = [one.name for one in pipeline.connectors]
    chosen = [one for one in pipeline.connectors if one.name == name or not name]
    if len(chosen) != 1:
        said = f"there is no connector {name}" if name else "there are several connectors"
        raise ConfigError(f"{said}; expected -c with one of {', '.join(names)}")
    return chosen[0]


def _line(pipeline: Pipeline, connector: ConnectorFile) -> LineSpec:
    """The line of a connector's first task, whether it is to run or not. Raises ConfigError."""
    runs = replace(connector, initial_state="RUNNING")
    # Records are given: a source need not have any yet, as in a run that goes on.
    options = PlanOptions(is_bulk=False)
    lines = prepare(replace(pipeline, connectors=(runs,)), options, asks_kafka=False).lines
    if not lines:
        raise ConfigError([Problem("", "it has no tasks: there is nothing to try", runs.name, runs.file)])
    return lines[0]


def _default_topic(line: LineSpec) -> str:
    """The first of a sink's topics."""
    return next(iter(line.subscription.topics), "topic")


def _try_sink(
    number: int, raw: RawRecord, chain: Sequence[Step], names: Sequence[str], converters: Converters
) -> Tried:
    """From Kafka's bytes to what the task would be given."""
    steps = [TriedStep("as in the topic", raw)]
    record = SinkRecord(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp=raw.timestamp,
        original_topic=raw.topic,
        original_partition=raw.partition,
        original_offset=raw.offset,
    )
    for name in ("key", "value", "header"):
        try:
            record = replace(record, **_decoded(name, raw, converters))
        except Exception as error:  # noqa: BLE001  whatever a plugin raises is what is to be shown
            return Tried(number, [*steps, TriedStep(f"{name}.converter", None, error)])
    steps.append(TriedStep("converters", record))
    return Tried(number, [*steps, *_transformed([record], chain, names)])


def _decoded(name: str, raw: RawRecord, converters: Converters) -> dict[str, Any]:
    if name == "header":
        to_header = converters.header.to_connect_header
        return {"headers": [to_header(raw.topic, key, payload) for key, payload in raw.headers]}
    converter = converters.key if name == "key" else converters.value
    decoded = converter.to_connect(raw.topic, [getattr(raw, name)])
    if decoded.failures:
        raise decoded.failures[0].error
    return {name: decoded.values[0], f"{name}_schema": decoded.schemas[0]}


def _try_source(
    number: int, record: SourceRecord, chain: Sequence[Step], names: Sequence[str], converters: Converters
) -> Tried:
    """From what the task has returned to Kafka's bytes."""
    steps = [TriedStep("as the task returns it", record), *_transformed([record], chain, names)]
    if steps[-1].record is None:
        return Tried(number, steps)
    last = [step.record for step in steps if step.name == steps[-1].name]
    for left in last:
        assert isinstance(left, SourceRecord)
        steps.append(_encoded(left, converters))
    return Tried(number, steps)


def _encoded(record: SourceRecord, converters: Converters) -> TriedStep:
    (batch,) = outgoing.gather(outgoing.columns_of([record]))
    try:
        encoded = convert.encode(batch, converters)
    except RetriableError as error:  # a task would wait
        return TriedStep("converters", None, error)
    if encoded.failed is not None:
        return TriedStep("converters", None, encoded.failed.error)
    headers = tuple(encoded.headers[0]) if encoded.headers else ()
    key = encoded.keys[0] if encoded.keys else None
    partition = -1 if record.partition is None else record.partition
    raw = RawRecord(record.topic, partition, -1, record.timestamp, key, encoded.values[0], headers)
    return TriedStep("converters", raw)


def _transformed(records: Sequence[Any], chain: Sequence[Step], names: Sequence[str]) -> Iterator[TriedStep]:
    """What each step leaves of the records, which may become several, or none."""
    for name, step in zip(names, chain, strict=True):
        left: list[Any] = []
        for record in records:
            found = transform([step], _columns_of(record))
            if found.failed is not None:
                yield TriedStep(name, None, found.failed.error)
                return
            left += found.columns.records()
        if not left:
            yield TriedStep(name, None)
            return
        for record in left:
            yield TriedStep(name, record)
        records = left


def _columns_of(record: SourceRecord | SinkRecord) -> Columns:
    if isinstance(record, SourceRecord):
        return outgoing.columns_of([record])
    run = Run(record.topic, record.partition, 0, 1, record.offset, record.offset)
    batch = SinkBatch(
        [run],
        [record.value],
        value_schemas=[record.value_schema],
        keys=[record.key],
        key_schemas=[record.key_schema],
        timestamps=[record.timestamp],
        timestamp_type=record.timestamp_type,
        headers=[record.headers],
    )
    return convert.columns_of(batch)
