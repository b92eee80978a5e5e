"""A chain of transforms over a batch of columns. An empty chain costs nothing: nobody calls it.

    columns ──► step ──► step ──► columns that are left, and the first record that failed

A step is a transform and, where it has one, the predicate that says to which records it applies; the others stay in
their places between what becomes of those. A record that fails takes with it all that was made of it. Nothing goes on
past it, so nothing that came after it is looked at any more; but for who skips such records, where all others go on.

Used by: engine.stages.work, engine.task.
Not here: the transforms themselves (engine.transforms); how a batch becomes columns, and bytes (outgoing.py,
convert.py).
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain as chained
from typing import Any, NamedTuple, overload

from msgspec import Struct

from engine.api.batch import COLUMN_NAMES, Columns
from engine.api.column import Repeat
from engine.api.converter import Failure
from engine.api.errors import ConnectError
from engine.api.transform import Predicate, Transform

__all__ = ["RecordError", "Slots", "Step", "Transformed", "close_all", "fused", "transform"]


class RecordError(Struct, frozen=True):
    """A record that failed, where, and why."""

    index: int
    error: Exception
    step: int = -1  # which of the chain's it was; -1: none of them
    stage: str = ""  # as Kafka Connect names it: "TRANSFORMATION", "VALUE_CONVERTER" ...
    plugin: type[Any] | None = None  # the class that was at work


class Step(NamedTuple):
    """A transform of the chain, and to which records it applies; None: to all."""

    transform: Transform
    predicate: Predicate | None = None
    negate: bool = False
    parts: tuple[Transform, ...] = ()  # what it was fused of, in order


class Transformed(NamedTuple):
    """What is left of a batch, and which record ended it, if one did."""

    columns: Columns  # their `origins` are indexes in what the chain was given
    failed: RecordError | None
    skipped: Sequence[RecordError] = ()  # in the batch's order


def transform(chain: Sequence[Step], columns: Columns, *, skips: bool = False) -> Transformed:
    """Take columns through every step of the chain, up to the first record that fails. Those given stay as they are.

    skips: those that fail are left out instead, with all that was made of them, and the others go on.
    """
    columns = copy.copy(columns)
    origins: Sequence[int] = range(len(columns))
    failed: RecordError | None = None
    skipped: dict[int, RecordError] = {}
    for number, step in enumerate(chain):
        count = len(columns)
        if not count:
            break
        columns.origins = came = range(count)
        before = copy.copy(columns) if step.parts else columns
        columns, failures = _applied(step, columns, skips=skips)
        if failures:
            failures = sorted(failures, key=lambda failure: failure.index)[: None if skips else 1]
            found = [_blamed(failure, step, number, before, origins) for failure in failures]
            if not skips:
                failed = found[0]
            for one in found if skips else ():
                skipped.setdefault(one.index, one)
        if columns.origins is not came:
            origins = [origins[index] for index in columns.origins]
        if failures and skips:
            kept_indexes = [index for index, origin in enumerate(origins) if origin not in skipped]
            if len(kept_indexes) < len(origins):
                origins = [origins[index] for index in kept_indexes]
                columns.pick(kept_indexes)
        if failed is not None:
            # Each record left came before any that failed earlier: the last that fails here is the first of all.
            kept = bisect_left(origins, failed.index)
            if kept < len(origins):
                origins = origins[:kept]
                columns.pick(range(kept))
    columns.origins = origins
    return Transformed(columns, failed, [skipped[index] for index in sorted(skipped)])


def fused(chain: Iterable[Step]) -> list[Step]:
    """The same chain with neighbours in one where they know how; only such as apply to all records."""
    steps: list[Step] = []
    for step in chain:
        if steps and steps[-1].predicate is None and step.predicate is None:
            both = steps[-1].transform.fused(step.transform)
            if both is not None:
                steps[-1] = Step(both, parts=(*(steps[-1].parts or (steps[-1].transform,)), step.transform))
                continue
        steps.append(step)
    return steps


def close_all(chain: Iterable[Step]) -> None:
    """Close every transform and predicate, also when one of them raises; then the first error is raised."""
    first: Exception | None = None
    for plugin in [plugin for step in chain for plugin in (step.transform, step.predicate) if plugin is not None]:
        try:
            plugin.close()
        except Exception as error:  # noqa: BLE001  whatever a plugin raises, the others are closed as well
            first = first or error
    if first is not None:
        raise first


class Slots(Sequence[Any]):
    """A column made of slots of others, each looked at when it is asked for."""

    __slots__ = ("_places",)

    def __init__(self, places: Sequence[tuple[Sequence[Any], int]]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Slots: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Slots(self._places[index])
        column, at = self._places[index]
        return column[at]

    def picked(self, indexes: Sequence[int]) -> Slots:
        """The slots at these indexes."""
        return Slots([self._places[index] for index in indexes])


def _blamed(failure: Failure, step: Step, number: int, before: Columns, origins: Sequence[int]) -> RecordError:
    """A failure of a step, with the transform to blame: of those that were fused, the first that fails for it alone."""
    plugin = type(step.transform)
    if step.parts:
        one = before.picked([failure.index])
        for part in step.parts:
            one.origins = range(len(one))
            try:
                is_to_blame = bool(part.apply_batch(one))
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001  whatever it raises, it is the one
                is_to_blame = True
            if is_to_blame:
                plugin = type(part)
                break
    return RecordError(origins[failure.index], failure.error, number, "TRANSFORMATION", plugin)


def _applied(step: Step, columns: Columns, *, skips: bool) -> tuple[Columns, Sequence[Failure]]:
    """The columns as a step leaves them, and which of the records failed, by their indexes before it."""
    came = copy.copy(columns)
    try:
        return _applied_at_once(step, columns)
    except (MemoryError, ShapeError):
        raise
    except Exception:  # noqa: BLE001  whose fault it is, is found out record by record
        return _applied_one_by_one(step, came, skips=skips)


def _applied_at_once(step: Step, columns: Columns) -> tuple[Columns, Sequence[Failure]]:
    if step.predicate is None:
        return columns, _changed(step.transform, columns)
    is_meant = [bool(answer) != step.negate for answer in step.predicate.test_batch(columns)]
    if len(is_meant) != len(columns):
        raise ShapeError(f"{type(step.predicate).__qualname__} gave {len(is_meant)} answers for {len(columns)} records")
    hits = [index for index, flag in enumerate(is_meant) if flag]
    if not hits:
        return columns, ()
    if len(hits) == len(is_meant):
        return columns, _changed(step.transform, columns)
    meant = columns.picked(hits)
    meant.origins = range(len(hits))
    failures = [Failure(hits[failure.index], failure.error) for failure in _changed(step.transform, meant)]
    meant.origins = [hits[index] for index in meant.origins]
    rest = columns.picked([index for index, flag in enumerate(is_meant) if not flag])
    if not len(meant):
        return rest, failures
    both = _joined([meant, rest])
    both.pick(sorted(range(len(both)), key=both.origins.__getitem__))
    return both, failures


def _applied_one_by_one(step: Step, columns: Columns, *, skips: bool) -> tuple[Columns, Sequence[Failure]]:
    """The same where a plugin raised for all of them: the first that it raises for alone is the one to blame.

    skips: all of those.
    """
    parts = [columns.picked([])]
    found: list[Failure] = []
    for index in range(len(columns)):
        try:
            one = columns.picked([index])
            one.origins = range(1)
            one, failures = _applied_at_once(step, one)
        except (MemoryError, ShapeError):
            raise
        except Exception as error:  # noqa: BLE001  whatever a plugin raises for a record costs that record
            failures = [Failure(index, error)]
        if failures:
            found.append(Failure(index, failures[0].error))
            if not skips:
                break
            continue
        one.origins = [index] * len(one)
        parts.append(one)
    return _joined(parts), found


class ShapeError(ConnectError):
    """A transform or predicate has left columns that do not belong together: no record's fault."""


def _changed(step: Transform, columns: Columns) -> Sequence[Failure]:
    failures = step.apply_batch(columns)
    count = len(columns)
    for name in COLUMN_NAMES:
        length = len(getattr(columns, name))
        if length != count and (length or name not in columns.unused()):
            raise ShapeError(
                f"{type(step).__qualname__} has left {count} records and a column {name} of {length}: all columns "
                f"have a slot for each record; to drop records use Columns.pick"
            )
    return failures


def _joined(parts: Sequence[Columns]) -> Columns:
    """The records of all parts, in order."""
    whole = copy.copy(parts[0])
    for name in COLUMN_NAMES:
        setattr(whole, name, _joined_column([getattr(part, name) for part in parts]))
    return whole


def _joined_column(parts: list[Sequence[Any]]) -> Sequence[Any]:
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    first = parts[0] if parts else None
    if isinstance(first, Repeat) and all(isinstance(part, Repeat) and part.value is first.value for part in parts):
        return Repeat(first.value, sum(map(len, parts)))
    if all(isinstance(part, list | range | Repeat) for part in parts):
        return [*chained.from_iterable(parts)]
    return Slots([(part, index) for part in parts for index in range(len(part))])
