"""A chain of transforms, a record at a time. An empty chain costs nothing: nobody calls it.

Used by: engine.task.
Not here: the transforms themselves; bytes (convert.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from engine.api.record import SinkRecord, SourceRecord
from engine.api.transform import Transform

__all__ = ["RecordError", "Transformed", "close_all", "transform"]

AnyRecord = TypeVar("AnyRecord", SourceRecord, SinkRecord)


class RecordError(Struct, frozen=True):
    """The first record that failed, and why; nothing after it was looked at."""

    index: int
    error: Exception


class Transformed(NamedTuple, Generic[AnyRecord]):
    """What is left of a batch, and which record ended it, if one did."""

    records: list[AnyRecord]
    origins: list[int]  # for each record left, its index before
    failed: RecordError | None


def transform(chain: Sequence[Transform], records: Iterable[AnyRecord]) -> Transformed[AnyRecord]:
    """Apply every transform of the chain to every record, in order, up to the first that fails."""
    kept: list[AnyRecord] = []
    origins: list[int] = []
    for index, record in enumerate(records):
        changed: AnyRecord | None = record
        try:
            for step in chain:
                if changed is None:
                    break
                changed = step.apply(changed)
        except MemoryError:
            raise  # no fault of the record's
        except Exception as error:  # noqa: BLE001  whatever a plugin raises for a record costs that record
            return Transformed(kept, origins, RecordError(index, error))
        if changed is not None:
            kept.append(changed)
            origins.append(index)
    return Transformed(kept, origins, None)


def close_all(chain: Sequence[Transform]) -> None:
    """Close every transform, also when one of them raises; then the first error is raised."""
    first: Exception | None = None
    for step in chain:
        try:
            step.close()
        except Exception as error:  # noqa: BLE001  whatever a plugin raises, the others are closed as well
            first = first or error
    if first is not None:
        raise first
