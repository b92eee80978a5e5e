"""When each row is written, in microseconds: what is written again later is no later for that.

    record's time, or a part of it ──► + offset within the unit's grain ──► later than what came before it

A unit that is coarser than a microsecond leaves room, in which records of one moment keep their order by their
offsets. Where that would turn them round, since their offsets pass a multiple of the grain, where the unit leaves no
room, or where several records come of one, each is a microsecond later than the last of its partition. Who comes late,
or again, keeps its own time.

Used by: plans.py, writer.py.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from connectors.cassandra.codecs import ENCODING_ERRORS, MisfitError, whole_number
from connectors.cassandra.columns import Odd, Shaped, column_of, lacks_any
from connectors.cassandra.mapping import TIMESTAMP, TableMapping, microseconds_of
from engine.api.column import Repeat
from engine.api.errors import DataError

__all__ = ["Times", "WriteTimes"]

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_MS_US = 1_000
#: Beyond it there is no time, and nothing is left to put others behind it: the year 148,000.
_LIMIT_US = 2**62
_EXPECTED = f"a moment in {{}}, within {_LIMIT_US} microseconds of 1970"


class Times(Struct, frozen=True):
    """Of records of one shape."""

    microseconds: Sequence[int]  # of one that is bad: 0
    failures: dict[int, DataError]  # by index within their shape


class _Last(Struct):
    """Of a partition: the latest moment, what was written for it, and the offset up to which records have come."""

    moment: int
    written: int
    offset: int


class WriteTimes:
    """Of one table of one topic, as one task writes it."""

    def __init__(self, mapping: TableMapping, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._mapping = mapping
        self._now_ns = now_ns
        self._last: dict[int, _Last] = {}

    def of(self, groups: Sequence[Shaped]) -> list[Times]:
        """Those of records of several shapes, which are one batch."""
        found = [self._own(records) for records in groups]
        if len(groups) == 1:
            (records,), ((moments, grains, failures),) = groups, found
            return [Times(self._ordered(moments, grains, records.partitions, records.offsets), failures)]
        places = sorted(
            (index, group, at) for group, records in enumerate(groups) for at, index in enumerate(records.indexes)
        )
        ordered = self._ordered(
            [found[group][0][at] for _, group, at in places],
            [found[group][1][at] for _, group, at in places],
            [groups[group].partitions[at] for _, group, at in places],
            [groups[group].offsets[at] for _, group, at in places],
        )
        made = [[0] * len(records) for records in groups]
        for (_, group, at), written in zip(places, ordered, strict=True):
            made[group][at] = written
        return [Times(column, failures) for column, (_, _, failures) in zip(made, found, strict=True)]

    def _own(self, records: Shaped) -> tuple[Sequence[int | None], Sequence[int], dict[int, DataError]]:
        """The moment of each record, None if it is bad; its grain; and why."""
        mapping = self._mapping
        failures: dict[int, DataError] = {}
        moments, grains = self._of_records(records, failures)
        if mapping.timestamp == TIMESTAMP:
            return moments, grains, failures
        try:
            column = column_of(records, mapping.timestamp)
        except DataError as error:
            reason = f"{mapping.name}: its time of writing is {mapping.timestamp}: {error}"
            told = DataError(reason, expected=error.expected)
            return Repeat(None, len(records)), Repeat(1, len(records)), dict.fromkeys(range(len(records)), told)
        unit = mapping.settings.timestampTimeUnit
        grain = max(1, microseconds_of(1, unit))
        moments, grains = list(moments), list(grains)
        for at, slot in enumerate(column):
            if slot is None:
                continue  # it is written at its record's time
            failures.pop(at, None)
            try:
                moments[at], grains[at] = _moment(slot, unit, grain)
            except ENCODING_ERRORS as error:
                moments[at] = None
                failures[at] = _misfit(mapping, slot, error, unit)
        return moments, grains, failures

    def _of_records(
        self, records: Shaped, failures: dict[int, DataError]
    ) -> tuple[Sequence[int | None], Sequence[int]]:
        times: Sequence[Any] = records.timestamps
        if not lacks_any(times) and -_LIMIT_US < min(times) * _MS_US <= max(times) * _MS_US < _LIMIT_US:
            return [ms * _MS_US for ms in times], Repeat(_MS_US, len(times))
        moments: list[int | None] = []
        for at, ms in enumerate(times):
            # Without a time a record is written at ours: once, since what is sent again is what was made here.
            moment = self._now_ns() // 1_000 if ms is None else ms * _MS_US
            if abs(moment) >= _LIMIT_US:
                reason = f"{self._mapping.name}: the record's timestamp is no time of writing"
                failures[at] = DataError(reason, expected=_EXPECTED.format("MILLISECONDS"))
            moments.append(None if at in failures else moment)
        return moments, [1 if ms is None else _MS_US for ms in times]

    def _ordered(
        self, moments: Sequence[int | None], grains: Sequence[int], partitions: Sequence[int], offsets: Sequence[int]
    ) -> list[int]:
        """What is written for each; moments in the order in which their records came."""
        ordered: list[int] = []
        last: _Last | None = None
        of_partition: int | None = None
        before: int | None = None  # the offset of the record before, of the same partition
        for moment, grain, partition, offset in zip(moments, grains, partitions, offsets, strict=True):
            if moment is None:
                ordered.append(0)
                continue
            if last is None or partition != of_partition:
                last = self._last.setdefault(partition, _Last(-_LIMIT_US, -_LIMIT_US, -1))
                of_partition, before = partition, None
            written = moment + offset % grain
            if moment >= last.moment and (offset > last.offset or offset == before):
                if written <= last.written:
                    written = last.written + 1
                last.moment, last.written = moment, written
            last.offset = max(last.offset, offset)
            before = offset
            ordered.append(written)
        return ordered


def _moment(value: Any, unit: str, grain: int) -> tuple[int, int]:
    """Microseconds, and how many of them the value leaves open. Raises one of ENCODING_ERRORS."""
    if isinstance(value, datetime.datetime):
        moment = (value - _EPOCH) // _MICROSECOND
        return moment, 1 if moment % _MS_US else _MS_US
    moment = microseconds_of(whole_number(value), unit)
    if abs(moment) >= _LIMIT_US:
        raise MisfitError("it is no time of writing")
    return moment, grain


def _misfit(mapping: TableMapping, slot: Any, error: Exception, unit: str) -> DataError:
    """Why a value is not taken; the value itself stays out."""
    reason = str(error) if isinstance(slot, Odd) else f"a {type(slot).__name__} that is no time"
    return DataError(f"{mapping.name}: its time of writing gets {reason}", expected=_EXPECTED.format(unit))
