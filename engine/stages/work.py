"""What the stages of a task make of a batch, wherever they run: beside the connector, or in a stage process.

    sink      frame ──► convert ──► transform ──► Inbound, to be put
    source    Columns ──► transform ──► convert ──► Outbound, to be framed

Pure: a batch in, a batch out, with the first record that failed and where; who counts and who refuses is the task. What
does not add up at one border is not taken to the next: the counts say so. What a converter cannot do now is a
RetriableError, and is called again later.

Used by: engine.task, engine.stage, engine.stages.crossing, engine.commands.trial.
Not here: the chain (transform.py), converters (convert.py), how a batch gets to a stage process (crossing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine.api.batch import Columns, SinkBatch
from engine.api.converter import Converter
from engine.api.transform import Transform
from engine.config.line import LineSpec, PluginSpec, StepSpec
from engine.plugins.loading import load
from engine.shm.acts import Act
from engine.shm.frame import ArrivedSinkFrame
from engine.stages import convert, outgoing
from engine.stages.convert import Converters, EncodedColumns, TransformedBatch
from engine.stages.transform import RecordError, Step, Transformed, close_all, fused, transform

__all__ = ["Converted", "Inbound", "Note", "Outbound", "Stages", "inbound", "make_stages", "outbound", "transformed"]

#: Is told what is about to be done.
Note = Callable[[Act], None]


class Stages(NamedTuple):
    """A task's transforms and converters, configured."""

    chain: Sequence[Step]
    converters: Converters

    def close(self) -> None:
        """Give back what the transforms took."""
        close_all(self.chain)


class Inbound(NamedTuple):
    """A sink's frame as the connector gets it."""

    batch: SinkBatch
    came: int  # records in the frame
    converted: int  # before the first that could not be
    not_converted: RecordError | None = None
    origins: Sequence[int] | None = None  # which of the frame's records transforms have left; None: there is no chain
    not_transformed: RecordError | None = None
    transformed: int = 0  # records that they have left

    @property
    def is_whole(self) -> bool:
        """Whether no record has failed."""
        return self.not_converted is None and self.not_transformed is None


class Converted(NamedTuple):
    """Neighbours of one topic of an `Outbound`, as Kafka stores them."""

    topic: str
    first: int  # index of the first of them in what the transforms left
    expected: int  # records that there were to convert
    columns: EncodedColumns
    partitions: list[int | None] | None
    timestamps: list[int | None] | None


class Outbound(NamedTuple):
    """A source's batch as it goes into frames."""

    left: int  # records, after the transforms
    origins: Sequence[int]  # for each record left, its index in the batch
    not_transformed: RecordError | None
    gathered: int  # records that there were to convert, in all
    batches: Sequence[Converted]  # the last one ends where a record could not be converted

    @property
    def is_whole(self) -> bool:
        """Whether no record has failed."""
        return self.not_transformed is None and all(batch.columns.failed is None for batch in self.batches)


def make_stages(spec: LineSpec, *, fuses: bool = True) -> Stages:
    """A line's transforms and converters, loaded and configured. Raises ConnectError.

    fuses: whether neighbours become one step where they can; else there is a step for each transform.
    """
    chain = [_step(step) for step in spec.transforms]
    converters = Converters(
        _converter(spec.key_converter, is_key=True),
        _converter(spec.value_converter, is_key=False),
        _configured(spec.header_converter),
    )
    return Stages(fused(chain) if fuses else chain, converters)


def inbound(frame: ArrivedSinkFrame, stages: Stages, note: Note) -> Inbound:
    """What the connector gets of a frame. Raises RetriableError."""
    note(Act.CONVERT)
    batch, failed = convert.decode(frame, stages.converters)
    came, converted = len(frame.values), len(batch)
    is_short = converted != (came if failed is None else failed.index)
    if is_short or not stages.chain:
        return Inbound(batch, came, converted, failed)
    note(Act.TRANSFORM)
    columns, bad = transform(stages.chain, convert.columns_of(batch))
    left = len(columns.values)
    return Inbound(TransformedBatch(columns), came, converted, failed, columns.origins, bad, left)


def transformed(columns: Columns, stages: Stages, note: Note) -> Transformed:
    """What transforms have left of what was polled: once, however often it is tried to convert it."""
    if not stages.chain:
        return Transformed(columns, None)
    note(Act.TRANSFORM)
    return transform(stages.chain, columns)


def outbound(going: Transformed, stages: Stages, note: Note) -> Outbound:
    """What Kafka gets of it. Raises RetriableError."""
    columns, bad = going
    note(Act.CONVERT)
    batches: list[Converted] = []
    left = len(columns.values)
    gathered = outgoing.gather(columns) if left == len(columns.origins) else []
    slots = sum(len(batch.values) for batch in gathered)
    for batch in gathered if slots == left else ():
        encoded = convert.encode(batch, stages.converters)
        count = len(encoded.values)
        batches.append(
            Converted(
                batch.topic,
                batch.first,
                len(batch.values),
                encoded,
                None if batch.partitions is None else list(batch.partitions[:count]),
                None if batch.timestamps is None else list(batch.timestamps[:count]),
            )
        )
        if encoded.failed is not None:
            break
    return Outbound(left, columns.origins, bad, slots, batches)


def _converter(spec: PluginSpec, *, is_key: bool) -> Converter:
    converter: Converter = load(spec.path)()
    converter.configure(converter.config.parse(spec.config), is_key=is_key)
    return converter


def _step(spec: StepSpec) -> Step:
    made: Transform = _configured(spec.transform)
    return Step(made, None if spec.predicate is None else _configured(spec.predicate), spec.negate)


def _configured(spec: PluginSpec) -> Any:
    plugin = load(spec.path)()
    plugin.configure(plugin.config.parse(spec.config))
    return plugin
