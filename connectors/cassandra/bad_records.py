"""Bad records until they are told: each once, whatever tables do not take it.

    add(record 7, "shop.orders: ...")  ─┐
    add(record 7, "shop.by_item: ...")  ─┴──► tell() ──► one report of record 7 with both

A record of a topic with two tables may be refused by both, at once or by Cassandra later; those that a transform has
made of one are one record of the topic, too. Each report is a dead letter, which a re-drive sends again: so they wait
here until nothing more can be heard of them. Those of a partition that goes before are its new owner's: no flush has
passed for them, so they are read again there.

Used by: writer.py.
Not here: what makes a record bad (plans.py, errors.py), when nothing more can be heard (writer.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from engine.api.batch import SinkBatch
from engine.api.errors import DataError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.task import ErrantRecordReporter

__all__ = ["BadRecords"]

#: Of one record: a transform may have made thousands of it.
REASONS_MAX = 10

Place = tuple[str, int, int]


class _Bad(Struct):
    """One record of a topic."""

    record: SinkRecord  # the first of those that were made of it
    batch: SinkBatch
    errors: list[DataError]


class BadRecords:
    """Of one task."""

    def __init__(self, connector: str, reporter: ErrantRecordReporter | None) -> None:
        """connector: its name, for messages."""
        self._connector = connector
        self._reporter = reporter
        self._found: dict[Place, _Bad] = {}
        self._gone: set[tuple[str, int]] = set()  # partitions that went while what was sent of them may be unanswered

    def __len__(self) -> int:
        return len(self._found)

    def add(self, batch: SinkBatch, index: int, error: DataError) -> None:
        """Keep a record to be told, unless it is another's now. Raises DataError where nobody would hear of it."""
        record = batch[index]
        place = _place(record)
        if place[:2] in self._gone:
            return
        if self._reporter is None:
            raise self._failure(place, [error])
        found = self._found.setdefault(place, _Bad(record, batch, []))
        if len(found.errors) < REASONS_MAX:
            found.errors.append(error)

    def tell(self) -> None:
        """Report all of them; each is forgotten with its report. Raises what the reporter raises."""
        for place, bad in [*self._found.items()]:
            assert self._reporter is not None, "without one nothing is kept"
            self._reporter.report(bad.record, self._failure(place, bad.errors))
            del self._found[place]

    def are_all_of(self, batch: SinkBatch) -> bool:
        """Whether none is of a batch that came before."""
        return all(bad.batch is batch for bad in self._found.values())

    @property
    def await_answers(self) -> bool:
        """Whether answers to what was sent of partitions that went may come; nothing new may be sent before."""
        return bool(self._gone)

    def let_go(self, partitions: Collection[TopicPartition]) -> None:
        """Drop what is of these, and whatever is added of them until all is answered."""
        self._gone.update((topic, partition) for topic, partition in partitions)
        self._found = {place: bad for place, bad in self._found.items() if place[:2] not in self._gone}

    def answered(self) -> None:
        """All that was sent is answered."""
        self._gone.clear()

    def forget(self) -> None:
        """They come again: their batch was not taken."""
        self._found.clear()

    def _failure(self, place: Place, errors: Sequence[DataError]) -> DataError:
        topic, partition, offset = place
        reasons = dict.fromkeys(error.whole() for error in errors)
        failure = DataError(f"{self._connector}: record {topic}-{partition}@{offset}: {'; '.join(reasons)}")
        failure.code = next((error.code for error in errors if error.code), "")
        return failure


def _place(record: SinkRecord) -> Place:
    return record.original_topic, record.original_partition, record.original_offset
