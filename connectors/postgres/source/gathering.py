"""The changes of one poll become batches: by table, since those of one topic alone have an order that anybody sees.

    messages ──► by table ──► batches, the last of which says where to go on behind it

Used by: changes.py.
Not here: what becomes of a table's changes (capturing.py), where the stream is (transactions.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, overload

from connectors.postgres.source.capturing import Captured, Recorded
from connectors.postgres.source.pgoutput import TRUNCATE, oid_of
from connectors.postgres.source.positions import Identity, Position
from connectors.postgres.source.replication import AT
from connectors.postgres.source.transactions import NOWHERE, Mark, Moment, Progress
from engine.api.batch import SourceBatch
from engine.api.task import Polled

__all__ = ["Gathered", "Offsets"]

#: The number of a change's table, as bytes.
_table_of = itemgetter(slice(AT + 1, AT + 5))


class Gathered:
    """The records of one poll."""

    def __init__(self, now_ms: int, start: Progress) -> None:
        """start: where the stream was before."""
        self._now_ms = now_ms
        self._start = start.copy()
        self._heard: list[bytes] = []
        self._tables: dict[int, Captured] = {}  # those with changes, in the order of their first
        self._recorded: list[Recorded] = []  # what became of the changes of each
        self._batches: list[SourceBatch] = []

    def hear(self, messages: Sequence[bytes]) -> None:
        """Note what was told, whether or not it is of a table that anybody wants."""
        self._heard += messages

    def add(self, tables: Mapping[int, Captured | None], told: Sequence[bytes], moments: Sequence[Moment]) -> None:
        """Changes of rows. tables: by number; None: its changes are left out. moments: empty: nobody asks for them."""
        numbers = [*map(_table_of, told)]
        if len(set(numbers)) == 1:
            self._add(tables[oid_of(told[0], AT)], told, moments)
            return
        places: dict[bytes, list[int]] = defaultdict(list)
        for at, number in enumerate(numbers):
            places[number].append(at)
        for number, found in places.items():
            theirs = [told[at] for at in found]
            self._add(tables[int.from_bytes(number)], theirs, [moments[at] for at in found] if moments else ())

    def truncate(self, tables: Sequence[Captured], moment: Moment) -> None:
        """What was gathered comes first."""
        self._finish()
        self._batches += filter(None, (table.truncated(moment, self._now_ms) for table in tables))

    def polled(self, partition: Position, before: Position | None, after: Mark, identity: Identity) -> Polled:
        """Everything, with offsets: of each record where there is one table, else of the last one alone."""
        self._finish()
        if not self._batches:
            return None
        last = self._batches[-1]
        last.source_partition = partition
        places = self._places if len(self._batches) == len(self._recorded) == 1 else None
        last.source_offsets = Offsets(before, identity.position_of(after), len(last), places, identity)
        return self._batches

    def _add(self, table: Captured | None, told: Sequence[bytes], moments: Sequence[Moment]) -> None:
        if table is not None:
            self._tables.setdefault(id(table), table)
            table.add(told, moments)

    def _finish(self) -> None:
        for table in self._tables.values():
            recorded = table.recorded(self._now_ms)
            self._recorded.append(recorded)
            if len(recorded.batch):
                self._batches.append(recorded.batch)
        self._tables.clear()

    def _places(self) -> Sequence[Mark]:
        """Behind which change each record of the only table is."""
        (recorded,) = self._recorded
        progress = self._start
        marks = [
            progress.mark
            for message in progress.steps(self._heard)
            if message[AT] != TRUNCATE and oid_of(message, AT) == recorded.oid
        ]
        if recorded.counts is None:
            return marks
        places: list[Mark] = []
        for mark, count in zip(marks, recorded.counts, strict=True):
            # A change of two records is done with the second.
            places += [places[-1] if places else NOWHERE] * (count - 1)
            places += [mark] * bool(count)
        return places


class Offsets(Sequence["Position | None"]):
    """Where to go on after each record, found out when somebody looks at another than the last."""

    def __init__(
        self,
        before: Position | None,
        after: Position,
        count: int,
        places: Callable[[], Sequence[Mark]] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """places: of each record; None: only what is before the first and after the last is known."""
        self._before = before
        self._after = after
        self._count = count
        self._find_places = places
        self._identity = identity

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Position | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Position | None]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        if index in (-1, self._count - 1):
            return self._after
        place = self._places[index]
        return self._before if place is NOWHERE or self._identity is None else self._identity.position_of(place)

    @cached_property
    def _places(self) -> Sequence[Mark]:
        return [NOWHERE] * self._count if self._find_places is None else self._find_places()
