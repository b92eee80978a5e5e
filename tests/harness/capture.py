"""PostgresSource on a real server: a database whose changes are captured, and tasks that capture them.

    capture.run("INSERT INTO orders VALUES (1)")
    capture.changes()                           records of a bulk run

Used by: the fixture `capture` (tests/postgres/conftest.py), tests/postgres.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.postgres.source.changes import PostgresSourceTask
from connectors.postgres.source.changes_connector import PostgresSourceConnector
from connectors.postgres.source.pgoutput import lsn_of
from connectors.postgres.source.slots import GUARD_SECONDS
from engine.api.record import SourceRecord
from engine.api.testing import FakeSourceContext, records_of
from tests.harness.postgres import PostgresServer

__all__ = ["Capture", "context_of", "drained", "fields", "polled_until", "shown"]

Keys = Mapping[str, object]
NO_KEYS: Keys = {}
POLLS_MAX = 400


class Capture:
    """A database, and tasks on it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self.postgres = postgres
        self.database = database
        self.tasks: list[PostgresSourceTask] = []

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.query(statement, self.database)

    def keys(self, keys: Keys) -> dict[str, str]:
        given = {key.replace("_", "."): str(value) for key, value in keys.items()}
        return {
            "name": "shop",
            "connection.url": self.postgres.url(self.database),
            "table.include.list": "public\\..*",
            "slot.name": "changes",
            "snapshot.mode": "no_data",
            **given,
        }

    def problems(self, **keys: object) -> str:
        return "\n".join(map(str, PostgresSourceConnector().validate(self.keys(keys))))

    def task(
        self,
        keys: Keys = NO_KEYS,
        *,
        after: SourceRecord | None = None,
        is_bulk: bool = True,
        guard_seconds: float = GUARD_SECONDS,
    ) -> PostgresSourceTask:
        """guard_seconds: between two looks at how much log is kept."""
        stored: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
        if after is not None:
            partition, offset = json.loads(json.dumps([after.source_partition, after.source_offset]))
            stored = [(partition, offset)]
        context = FakeSourceContext(is_bulk=is_bulk, offsets=stored)
        task = PostgresSourceTask(context.monotonic_ns, guard_seconds=guard_seconds)
        task.initialize(context)
        task.start(self.keys(keys))
        self.tasks.append(task)
        return task

    def begin(self, keys: Keys = NO_KEYS) -> None:
        """Have publication and slot made."""
        task = self.task(keys)
        drained(task)
        task.stop()

    def changes(self, keys: Keys = NO_KEYS, *, after: SourceRecord | None = None) -> list[SourceRecord]:
        """What there is to tell now, of a task that is stopped then; nothing of it is stored."""
        task = self.task(keys, after=after)
        found = drained(task)
        task.stop()
        return found

    def log_end(self) -> int:
        """How far the server's log goes."""
        return lsn_of(self.run("SELECT pg_current_wal_lsn()::text")[0][0])

    def confirmed(self) -> int:
        """What the slot may forget."""
        return lsn_of(self.run("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")[0][0])

    def polled_until_confirmed(self, task: PostgresSourceTask) -> list[SourceRecord]:
        """What the task tells until the slot may forget all that the log has now; all of it is stored at once."""
        goal = self.log_end()
        found: list[SourceRecord] = []
        for _ in range(POLLS_MAX):
            polled = task.poll()
            found += records_of(polled)
            context_of(task).store_all(polled)
            task.commit()
            context_of(task).wait(1)
            if self.confirmed() >= goal:
                return found
        raise AssertionError(f"not confirmed after {POLLS_MAX} polls")


def context_of(task: PostgresSourceTask) -> FakeSourceContext:
    context = task.context
    assert isinstance(context, FakeSourceContext)
    return context


def drained(task: PostgresSourceTask) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    for _ in range(POLLS_MAX):
        found += records_of(task.poll())
        if context_of(task).has_ended:
            return found
    raise AssertionError("no end")


def polled_until(task: PostgresSourceTask, is_enough: Callable[[list[SourceRecord]], bool]) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    for _ in range(POLLS_MAX):
        found += records_of(task.poll())
        if is_enough(found):
            return found
    raise AssertionError(f"not enough after {POLLS_MAX} polls: {len(found)} records")


def shown(records: Sequence[SourceRecord]) -> list[tuple[Any, ...]]:
    """Topic, key's first field, fields of the value."""
    return [(record.topic, *fields(record.key)[:1], fields(record.value)) for record in records]


def fields(struct: Any) -> tuple[Any, ...]:
    return () if struct is None else tuple(getattr(struct, name) for name in struct.__struct_fields__)
