"""What the stages of a task make of a batch, wherever they run: beside the connector, or in a stage process.

    sink      frame ──► convert ──► transform ──► Inbound, to be put
    source    Columns ──► transform ──► convert ──► Outbound, to be framed

Pure: a batch in, a batch out, with the records that failed and where: the first, which ended it, or all that were
skipped; who counts, refuses and reports is the task. What does not add up at one border is not taken to the next: the
counts say so. What cannot be done now is an AgainError (tolerate.py), and is done again later.

Used by: engine.task, engine.stage, engine.stages.crossing, engine.commands.trial.
Not here: the chain (transform.py), converters (convert.py), how a batch gets to a stage process (crossing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.api.batch import Columns, SinkBatch
from engine.api.column import pick
from engine.api.converter import Converter
from engine.api.transform import Transform
from engine.config.line import LineSpec, PluginSpec, StepSpec
from engine.plugins.loading import load
from engine.shm.acts import Act
from engine.shm.frame import ArrivedSinkFrame
from engine.stages import convert, outgoing
from engine.stages.convert import Converters, EncodedColumns, TransformedBatch
from engine.stages.tolerate import STRICT, Manner, kept_of, leave_if_it_passes
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
    converted: int  # of those before the first that ended it
    not_converted: RecordError | None = None
    origins: Sequence[int] | None = None  # which of the frame's records are left; None: there is no chain, nor a gap
    not_transformed: RecordError | None = None
    transformed: int = 0  # records that transforms have left
    skipped: Sequence[RecordError] = ()  # in the frame's order

    @property
    def is_whole(self) -> bool:
        """Whether no record has failed."""
        return self.not_converted is None and self.not_transformed is None and not self.skipped

    @property
    def not_converted_count(self) -> int:
        """How many were skipped before the chain."""
        return sum(one.step < 0 for one in self.skipped) if self.skipped else 0


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
    skipped: Sequence[RecordError] = ()  # by transforms; those of converters are with their columns

    @property
    def is_whole(self) -> bool:
        """Whether no record has failed."""
        has_failed = self.not_transformed is not None or bool(self.skipped)
        return not has_failed and all(one.columns.failed is None and not one.columns.skipped for one in self.batches)

    def all_skipped(self) -> list[RecordError]:
        """All records that were skipped, by their indexes in the batch."""
        found = [*self.skipped]
        for batch in self.batches:
            found += [replace(one, index=self.origins[batch.first + one.index]) for one in batch.columns.skipped]
        return found

    def going(self) -> Sequence[int]:
        """`origins` without what converters have skipped."""
        gone = {batch.first + one.index for batch in self.batches for one in batch.columns.skipped}
        return [origin for at, origin in enumerate(self.origins) if at not in gone] if gone else self.origins


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


def inbound(frame: ArrivedSinkFrame, stages: Stages, note: Note, manner: Manner = STRICT) -> Inbound:
    """What the connector gets of a frame. Raises AgainError."""
    note(Act.CONVERT)
    batch, failed, skipped = convert.decode(frame, stages.converters, manner)
    came, converted = len(frame.values), len(batch)
    kept = kept_of(came, skipped)
    is_short = converted != (len(kept) if failed is None else failed.index)
    if is_short or not stages.chain:
        return Inbound(batch, came, converted, failed, kept if skipped else None, skipped=skipped)
    note(Act.TRANSFORM)
    columns, bad, more = transform(stages.chain, convert.columns_of(batch), skips=manner.skips)
    if manner.transforms_wait:
        leave_if_it_passes([*more, *([] if bad is None else [bad])])
    origins = columns.origins
    if skipped:
        origins = [kept[index] for index in origins]
        more = [replace(one, index=kept[one.index]) for one in more]
    both = sorted([*skipped, *more], key=lambda one: one.index) if more else skipped
    left = len(columns.values)
    return Inbound(TransformedBatch(columns), came, converted, failed, origins, bad, left, both)


def transformed(columns: Columns, stages: Stages, note: Note, manner: Manner = STRICT) -> Transformed:
    """What transforms have left of what was polled: once, however often it is converted. Raises AgainError."""
    if not stages.chain or not len(columns):
        return Transformed(columns, None)
    note(Act.TRANSFORM)
    done = transform(stages.chain, columns, skips=manner.skips)
    if manner.transforms_wait:
        leave_if_it_passes([*done.skipped, *([] if done.failed is None else [done.failed])])
    return done


def outbound(going: Transformed, stages: Stages, note: Note, manner: Manner = STRICT) -> Outbound:
    """What Kafka gets of it. Raises AgainError."""
    columns, bad, skipped = going
    note(Act.CONVERT)
    batches: list[Converted] = []
    left = len(columns.values)
    gathered = outgoing.gather(columns) if left == len(columns.origins) else []
    slots = sum(len(batch.values) for batch in gathered)
    for batch in gathered if slots == left else ():
        encoded = convert.encode(batch, stages.converters, manner)
        count = len(batch.values)
        kept = kept_of(count, encoded.skipped) if encoded.skipped else range(len(encoded.values))
        batches.append(
            Converted(
                batch.topic,
                batch.first,
                count,
                encoded,
                _kept(batch.partitions, kept),
                _kept(batch.timestamps, kept),
            )
        )
        if encoded.failed is not None:
            break
    return Outbound(left, columns.origins, bad, slots, batches, skipped)


def _kept(column: Sequence[int | None] | None, kept: Sequence[int]) -> list[int | None] | None:
    if column is None:
        return None
    return list(column[: len(kept)] if isinstance(kept, range) else pick(column, kept))


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
