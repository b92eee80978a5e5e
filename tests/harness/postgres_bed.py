"""A task of the PostgreSQL sink, a database that it writes to, and batches for it.

    task = bed.task({"auto.create": "true"})
    task.put(batch([{"id": 1}]))
    bed.sql("SELECT id FROM orders")       [(1,)]

Used by: tests/postgres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.postgres.sink import PostgresSinkTask
from engine.api.batch import Run, SinkBatch
from engine.api.column import Repeat
from engine.api.errors import ConnectError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.schema import Schema
from engine.api.testing import FakeSinkContext
from tests.harness.postgres import PostgresServer

__all__ = ["KEYED", "PLACE", "Bed", "batch", "codes", "reported"]

PLACE = TopicPartition("orders", 0)
KEYED = {"insert.mode": "upsert", "pk.mode": "record_key", "pk.fields": "id"}


class Context(FakeSinkContext):
    """Hears of bad records, if it is asked to."""

    def __init__(self, *, hears: bool) -> None:
        super().__init__()
        self._hears = hears
        self.reported: list[tuple[int, str]] = []
        self.codes: dict[int, str] = {}  # what the server calls the error of each record

    def errant_record_reporter(self) -> Any:
        return self if self._hears else None

    def report(self, record: SinkRecord, error: Exception) -> Any:
        self.reported.append((record.original_offset, str(error)))
        self.codes[record.original_offset] = error.code if isinstance(error, ConnectError) else "?"
        return self

    def result(self, timeout: float | None = None) -> None:
        """Kafka has it."""


class Bed:
    """A database, and tasks that write to it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self.postgres = postgres
        self.database = database
        self.tasks: list[PostgresSinkTask] = []

    def config(self, **keys: str) -> dict[str, str]:
        return {"name": "orders", "topics": "orders", "connection.url": self.postgres.url(self.database), **keys}

    def task(self, config: dict[str, str] | None = None, *, hears: bool = False) -> PostgresSinkTask:
        task = PostgresSinkTask()
        task.initialize(Context(hears=hears))
        task.start(self.config(**(config or {})))
        task.open([PLACE])
        self.tasks.append(task)
        return task

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.query(statement, self.database)

    def stored(self) -> int:
        ((offset,),) = self.sql("SELECT next_offset FROM millrace_offsets WHERE topic = 'orders' AND \"partition\" = 0")
        return int(offset)


def batch(
    values: Sequence[Any], keys: Sequence[Any] = (), schema: Schema | None = None, first_offset: int = 0
) -> SinkBatch:
    count = len(values)
    return SinkBatch(
        [Run("orders", 0, 0, count, first_offset, first_offset + count - 1)],
        values,
        value_schemas=[None if value is None else schema for value in values],
        keys=keys or Repeat(None, count),
        key_schemas=Repeat(None, count),
        timestamps=Repeat(None, count),
    )


def reported(task: PostgresSinkTask) -> dict[int, str]:
    """What was told of each record, once."""
    assert isinstance(task.context, Context)
    told = dict(task.context.reported)
    assert len(told) == len(task.context.reported), "a record was reported twice"
    return told


def codes(task: PostgresSinkTask) -> dict[int, str]:
    """What was told of each record for machines."""
    assert isinstance(task.context, Context)
    return task.context.codes
