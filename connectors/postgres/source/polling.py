"""The polling task: its tables in turn, each from where it was left, again at every interval.

    due? ──► what the table is like now ──► a pass ──► batches, each with the positions of its rows ──► due again

One connection, one pass at a time, so a table that grows faster than it is read keeps the others waiting only until the
rows of its pass, which were there when it began, are read. After an error a table goes on behind the last row that was
given.

Used by: polling_connector.py.
Not here: statements and positions (passes.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from connectors.postgres.config import Target
from connectors.postgres.refusals import StaleError
from connectors.postgres.session import PsycopgSession, connected, driver
from connectors.postgres.source.passes import TIMESTAMP, Pass, beginning_sql, order_of
from connectors.postgres.source.polling_config import TABLES, PollingTaskConfig
from connectors.postgres.source.relations import Relation, relation_of_query, relation_of_table
from connectors.postgres.source.values import SESSION
from engine.api.batch import SourceBatch
from engine.api.errors import ConnectError, RetriableError
from engine.api.task import SourceTask

__all__ = ["QUERY", "TABLE", "PostgresPollingTask", "partition_of"]

logger = logging.getLogger(__name__)

TABLE, QUERY = "table", "query"
#: How long a poll waits for rows, or for the next table to be due.
WAIT_SECONDS = 0.5
#: Rows are read as slowly as Kafka takes them, which no timeout of a statement may end.
_SETUP = f"{SESSION}; SET statement_timeout = 0"


def partition_of(target: Target | None) -> dict[str, str]:
    """The source partition of a table; None: of the query."""
    return {QUERY: QUERY} if target is None else {TABLE: str(target)}


class _Followed:
    """A table, or the query, and how far it is read."""

    def __init__(self, target: Target | None, topic: str, position: Mapping[str, Any] | None) -> None:
        self.target = target
        self.topic = topic
        self.partition = partition_of(target)
        self.position = position  # after what was given
        self.due_ns = 0
        self.is_missed = False


class PostgresPollingTask(SourceTask):
    """Polls some tables, or the query."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._session: PsycopgSession | None = None
        self._pass: Pass | None = None
        self._at: _Followed | None = None  # whose pass it is

    def start(self, config: Mapping[str, str]) -> None:
        driver()
        settings = self._settings = PollingTaskConfig.parse(config)
        self._name = config.get("name", "postgres-polling")
        self.poll_seconds = settings.connect_ms / 1000 + 2 * WAIT_SECONDS
        targets: list[Target | None] = [Target(*names) for names in msgspec.json.decode(settings.dealt)]
        if settings.query is not None:
            targets = [None]
        self._followed = [self._follow(target) for target in targets]

    def poll(self) -> SourceBatch | None:
        try:
            return self._poll()
        except StaleError as error:
            self._give_up()
            raise RetriableError(f"a table has just changed, and is read anew: {error}") from error
        except BaseException:
            self._give_up()
            raise

    def stop(self) -> None:
        self._give_up()

    def _follow(self, target: Target | None) -> _Followed:
        name = target.table if target is not None else ""
        position = self.context.offset(partition_of(target))
        return _Followed(target, self._settings.topic_prefix + name, position)

    def _poll(self) -> SourceBatch | None:
        beginning = self._begin() if self._pass is None else None
        if self._pass is None:
            return beginning
        assert self._at is not None
        batch = self._pass.take(self._settings.batch_rows, WAIT_SECONDS)
        if batch is not None and batch.source_offsets:
            self._at.position = batch.source_offsets[-1]
        if self._pass.is_over:
            self._finish(self._at)
        return batch

    def _begin(self) -> SourceBatch | None:
        """Begin with the table that is due the longest; where there is none, wait a little.

        Returns where it begins, without a record, where that is to be stored before anything is read.
        """
        if not self._followed:
            self.context.wait(WAIT_SECONDS)
            return None
        followed = min(self._followed, key=lambda one: one.due_ns)
        left = (followed.due_ns - self._monotonic_ns()) / 1e9
        if left > 0:
            self.context.wait(min(left, WAIT_SECONDS))
            return None
        relation = self._relation(self._connected(), followed.target)
        if relation is None:
            self._miss(followed)
            return None
        followed.is_missed = False
        sql = None if followed.position else beginning_sql(order_of(relation, self._settings), self._settings)
        if sql is not None:
            followed.position = {TIMESTAMP: self._connected().rows(sql)[0][0]}
            return SourceBatch(
                topic="", values=[], source_partition=followed.partition, source_offsets=[followed.position]
            )
        self._pass = Pass(
            self._connected(), relation, self._settings, followed.topic, followed.partition, followed.position
        )
        self._at = followed
        return None

    def _relation(self, session: PsycopgSession, target: Target | None) -> Relation | None:
        if target is None:
            try:
                return relation_of_query(session, self._settings.plain_query, self._settings.zone)
            except StaleError as error:
                raise ConnectError(f"query: {error}; expected tables and columns that are there") from error
        return relation_of_table(session, target, self._settings.zone)

    def _miss(self, followed: _Followed) -> None:
        """A table that a pattern has found may go; one that is named is expected."""
        if not self._settings.is_pattern:
            raise ConnectError(
                f"table {followed.target} is not there, or the user may not see it; expected it, or another name "
                f"({TABLES})"
            )
        if not followed.is_missed:
            logger.warning(
                "connector %s: table %s is gone; it is looked for until it is back", self._name, followed.target
            )
        followed.is_missed = True
        self._finish(followed)

    def _finish(self, followed: _Followed) -> None:
        self._pass = self._at = None
        if self._settings.mode == "bulk":
            followed.position = None
        followed.due_ns = self._monotonic_ns() + self._settings.poll_ms * 1_000_000
        if self.context.is_bulk:
            self._followed = [one for one in self._followed if one is not followed]
            if not self._followed:
                self.context.end()

    def _connected(self) -> PsycopgSession:
        if self._session is None or self._session.is_over:
            self._give_up()
            self._session = connected(self._settings, f"millrace {self._name}", _SETUP)
        return self._session

    def _give_up(self) -> None:
        """What is under way is begun again behind what was given."""
        self._pass = self._at = None
        if self._session is not None:
            self._session.close()
        self._session = None
