"""Functions as transforms and predicates, for the transform and the predicate `Python`.

transforms=lines
transforms.lines.type=Python
transforms.lines.function=millrace_folders.functions:lines
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.record import SinkRecord, SourceRecord
from engine.api.transform import AnyRecord

__all__ = ["are_long", "is_long", "lines", "upper_batch"]

LONG = 20


def lines(record: AnyRecord) -> list[AnyRecord]:
    """A record for each line of a text."""
    return [replace(record, value=line) for line in record.value.splitlines()]


def upper_batch(columns: Columns) -> None:
    """All texts in capital letters; other values stay (with batch=true)."""
    columns.values = [value.upper() if isinstance(value, str) else value for value in columns.values]


def is_long(record: SourceRecord | SinkRecord) -> bool:
    """Whether a text has more than twenty characters."""
    return len(record.value) > LONG


def are_long(columns: Columns) -> Sequence[Any]:
    """The same for each record of a batch (with batch=true)."""
    return [len(value) > LONG for value in columns.values]
