"""Transforms and predicates: what may happen to a record between connector and converter.

    a record at a time     Transform.apply, Predicate.test
    a batch of columns     Transform.apply_batch, Predicate.test_batch     which call the former unless overridden
    one into several       FlatMap.apply_many

A record that cannot be transformed is a `Failure`: it costs itself, never its batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from engine.api.batch import Columns
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.record import SinkRecord, SourceRecord

__all__ = ["AnyRecord", "FlatMap", "Predicate", "Transform"]

AnyRecord = TypeVar("AnyRecord", SourceRecord, SinkRecord)


class _Step:
    """What transforms and predicates have in common."""

    #: The keys it understands; parsed and validated by the engine before `configure`.
    config: ClassVar[type[Config]] = Config
    #: Whether it looks at the timestamps of records, or at their headers; `configure` may say so for its keys. Where
    #: neither a sink's task nor any of its chain does, they are not read out of Kafka, and None or no headers stand in
    #: their place.
    reads_timestamps: bool = True
    reads_headers: bool = True

    def configure(self, config: Any) -> None:
        """Take the parsed configuration (an instance of `self.config`), once. Raises ConfigError."""

    def close(self) -> None:
        """Give back what `configure` took."""


class Transform(_Step, ABC):
    """Changes or drops records."""

    @abstractmethod
    def apply(self, record: AnyRecord) -> AnyRecord | None:
        """The record as it goes on; None drops it. Raises DataError."""

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        """Change the columns in place; returns which of the records, as they came, cannot be transformed, and why.

        What it leaves of a record that has failed does not matter. When it raises, nobody knows which record is to
        blame: it is called again for each alone.
        """
        records: list[Any] = []
        indexes = []
        failures = []
        for index, record in enumerate([*columns.records()]):
            try:
                changed = self.apply(record)
            except MemoryError:
                raise  # no fault of the record's
            except Exception as error:  # noqa: BLE001  whatever a plugin raises for a record costs that record
                failures.append(Failure(index, error))
                continue
            if changed is not None:
                records.append(changed)
                indexes.append(index)
        columns.put(records, indexes)
        return failures

    def fused(self, following: Transform) -> Transform | None:
        """One transform that does what this one and then the `following` one does; None: there is none.

        Asked once when a chain is made, of neighbours that apply to all records. It may be the better for speed; it is
        closed in the place of both.
        """
        return None


class FlatMap(Transform):
    """Makes several records of one, or none. It counts as delivered, or put, when the last of them is."""

    @abstractmethod
    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        """The records that go on in the place of one, in order. Raises DataError."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        """The one record that goes on, where there is one at most."""
        found = list(self.apply_many(record))
        assert len(found) <= 1, "several records are asked for by apply_batch"
        return found[0] if found else None

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        records: list[Any] = []
        indexes: list[int] = []
        failures = []
        for index, record in enumerate([*columns.records()]):
            try:
                found = [*self.apply_many(record)]
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  as above
                failures.append(Failure(index, error))
                continue
            records += found
            indexes += [index] * len(found)
        columns.put(records, indexes)
        return failures


class Predicate(_Step, ABC):
    """Says whether a transform applies to a record."""

    @abstractmethod
    def test(self, record: SourceRecord | SinkRecord) -> bool:
        """Whether the record is meant. Raises DataError."""

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        """For each record, whether it is meant. When it raises, it is called again for each record alone."""
        return [self.test(record) for record in columns.records()]
