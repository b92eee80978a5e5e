"""PostgresPollingSource: rows of tables, views or a query become records, found by polling.

    tables ──► dealt to tasks in turn: a b c d, two tasks ──► a c, b d

Used by: the catalog, by entry point.
Not here: reading (polling.py).
Source: Kafka Connect's JDBC source, its keys and modes; what differs is in docs/connectors/postgres-polling.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from connectors.postgres.checking import ask
from connectors.postgres.config import Target, target_of
from connectors.postgres.session import PsycopgSession, connected, driver
from connectors.postgres.source.passes import check_offset, order_of
from connectors.postgres.source.polling import QUERY, TABLE, PostgresPollingTask
from connectors.postgres.source.polling_config import TABLES, PollingConfig, contradictions
from connectors.postgres.source.relations import Relation, relation_of_query, relation_of_table, tables_like
from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, ConnectError, Problem, RetriableError

__all__ = ["PostgresPollingSourceConnector", "problems_of"]

_KINDS = {"TABLE": "r", "VIEW": "v", "MATERIALIZED VIEW": "m", "PARTITIONED TABLE": "p", "FOREIGN TABLE": "f"}
_MAY_READ = (
    "SELECT has_table_privilege(to_regclass(%s), 'SELECT') OR has_any_column_privilege(to_regclass(%s), 'SELECT')"
)
_SETUP = "SET statement_timeout = 10000"
STOP_SECONDS = 5.0


class PostgresPollingSourceConnector(SourceConnector):
    """Deals tables to tasks; looks for new ones where patterns are given."""

    config = PollingConfig
    task = PostgresPollingTask
    watches: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Target] = []
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, properties: Mapping[str, str]) -> None:
        super().start(properties)
        self._settings = PollingConfig.parse(properties)
        problems = [*contradictions(self._settings)]
        if problems:
            raise ConfigError(problems)
        self._found = self._tables()
        if self._settings.is_pattern and self.context is not None:
            self._thread = threading.Thread(target=self._watch, name="tables", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            settings = PollingConfig.parse(properties)
            driver()
        except ConfigError as error:
            # What single keys tell was told by them.
            return [problem for problem in error.problems if not problem.key]
        return [*contradictions(settings)] or ask(settings, lambda session: problems_of(session, settings))

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        if self._settings.query is not None:
            return [dict(self.properties)]
        tables = [*map(list, self._found)]
        return [
            {**self.properties, "task.tables": msgspec.json.encode(tables[at::tasks_max]).decode()}
            for at in range(min(tasks_max, len(tables)))
        ]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """True when all are positions that a task would store; None (begin anew) may stand anywhere."""
        settings = PollingConfig.parse(properties)
        for text, offset in offsets.items():
            if offset is None:
                continue
            partition = msgspec.json.decode(text) or {}
            wanted = QUERY if settings.query is not None else TABLE
            if set(partition) != {wanted}:
                raise ConnectError(f"partition {text}: expected the key '{wanted}'")
            check_offset(offset, settings)
        return True

    def _tables(self) -> list[Target]:
        settings = self._settings
        if settings.query is not None:
            return []
        if not settings.is_pattern:
            return [*dict.fromkeys(target_of(table, keys=TABLES) for table in settings.tables)]
        session = connected(settings, f"millrace {self.properties.get('name', '')} tables", _SETUP)
        try:
            return tables_like(session, settings.included, settings.excluded, [_KINDS[kind] for kind in settings.kinds])
        finally:
            session.close()

    def _watch(self) -> None:
        """Look for tables that come and go, in a thread of the connector's own process."""
        while not self._stopped.wait(self._settings.tables_ms / 1000):
            try:
                found = self._tables()
            except ConnectError:
                continue  # tasks meet the same, and tell
            if found != self._found and self.context is not None:
                self._found = found
                self.context.request_task_reconfiguration()


def problems_of(session: PsycopgSession, settings: PollingConfig) -> Iterator[Problem]:
    """What is wrong with tables, columns and rights."""
    if settings.query is not None:
        try:
            relation = relation_of_query(session, settings.plain_query, settings.zone)
        except ConfigError as error:
            yield from error.problems
        except RetriableError:
            raise
        except ConnectError as error:
            yield Problem("query", f"query does not work: {error}")
        else:
            yield from _of_relation(relation, settings, "query")
        return
    targets = [target_of(table, keys=TABLES) for table in settings.tables]
    if settings.is_pattern:
        targets = tables_like(session, settings.included, settings.excluded, [_KINDS[kind] for kind in settings.kinds])
    for target in targets:
        found = relation_of_table(session, target, settings.zone)
        if found is None:
            text = f"table {target} is not there; expected it, or another name"
            yield Problem(TABLES, text)
            continue
        if not session.rows(_MAY_READ, target.sql, target.sql)[0][0]:
            yield Problem(
                TABLES, f"the user may not SELECT from table {target}: GRANT SELECT ON {target.sql} TO the user"
            )
        yield from _of_relation(found, settings, "table.include.list" if settings.is_pattern else TABLES)
    topics = [settings.topic_prefix + target.table for target in targets]
    for topic in sorted({topic for topic in topics if topics.count(topic) > 1}):
        named = ", ".join(str(target) for target in targets if settings.topic_prefix + target.table == topic)
        yield Problem(
            "topic.prefix", f"the topic {topic} would get the rows of {named}: expected tables of different names"
        )


def _of_relation(relation: Relation, settings: PollingConfig, key: str) -> Iterator[Problem]:
    try:
        order_of(relation, settings)
    except ConnectError as error:
        mode_key = "incrementing.column.name" if "incrementing.column.name" in str(error) else "timestamp.column.name"
        yield Problem(mode_key, str(error))
        return
    if not settings.is_checked or settings.query is not None:
        return
    names = [*settings.timestamp_columns] if settings.dates else []
    names += [settings.incrementing_column] if settings.counts and settings.incrementing_column else []
    columns = [column for name in names if (column := relation.column(name)) is not None]
    counted = [column for column in columns if column.name == settings.incrementing_column]
    dated = [column for column in columns if column not in counted]
    bad = [column.name for column in counted if not column.is_required]
    if dated and not any(column.is_required for column in dated):
        bad += [column.name for column in dated]
    if bad and relation.target is not None:
        yield Problem(
            key,
            f"{relation.target}: {', '.join(bad)} may be null, and rows where it is are not read: make it NOT NULL, or "
            "set validate.non.null=false",
        )
