"""Tables and columns that are made as records need them, by one task at a time.

    task of partition 0: makes it at once     of partition 1: waits 2 s for that     of partition 4: 8 s

Two nodes of Cassandra that are asked for the same table at the same moment may make two of one name. So tasks take
turns, by the lowest partition of the topic that each has; whose turn it is not yet waits for the others' work. Where
no record comes in partition 0, the next makes it.

Used by: writer.py.
Not here: the statements (tables.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from connectors.cassandra.columns import Shaped, schema_at
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.link import LinkPort
from connectors.cassandra.mapping import TableMapping
from connectors.cassandra.tables import Table, add_column, create_table, missing, read_table, targets_for
from engine.api.errors import ConfigError, ConnectError, DataError, Problem, RetriableError
from engine.api.record import TopicPartition

__all__ = ["Changes"]

logger = logging.getLogger(__name__)

TURN_S = 2.0
TURN_S_MAX = 60.0


class Changes:
    """Of one task."""

    def __init__(
        self,
        link: LinkPort,
        settings: CassandraSinkConfig,
        assignment: Callable[[], Collection[TopicPartition]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """assignment: the partitions that the task has now."""
        self._link = link
        self._settings = settings
        self._assignment = assignment
        self._monotonic = monotonic
        self._wanted_since: dict[str, float] = {}

    def create(self, mapping: TableMapping, records: Shaped) -> Table:
        """Make the table that is missing. Raises RetriableError while that is others' turn; DataError, ConfigError."""
        if not self._settings.create_tables:
            raise ConfigError([Problem(mapping.key("mapping"), missing(self._link, mapping))])
        if records.is_tombstone:
            raise DataError(f"{mapping.name} is not there, and a record without a value cannot tell its columns")
        cql = create_table(mapping, targets_for(mapping, records), records)
        self._take_turn(mapping, "table")
        self._change(cql)
        table = read_table(self._link, mapping.keyspace, mapping.table)
        if table is None:
            raise RetriableError(f"{mapping.name}: it was created, and is not to be seen yet")
        return table

    def add_columns(self, mapping: TableMapping, names: Sequence[str], records: Shaped) -> Table:
        """Add those of these columns whose type is known. Raises as `create` does."""
        targets = targets_for(mapping, records)
        known = [name for name in names if schema_at(records, targets[name]) is not None]
        lacking = self._lacking(mapping, known)
        for name in lacking:
            cql = add_column(mapping, name, targets[name], records)
            self._take_turn(mapping, f"column {name}")
            try:
                self._change(cql)
            except ConnectError:
                if name in self._lacking(mapping, [name]):
                    raise  # else another task was quicker
        return self._table(mapping)

    def _lacking(self, mapping: TableMapping, names: Sequence[str]) -> list[str]:
        columns = self._table(mapping).columns
        return [name for name in names if name not in columns]

    def _table(self, mapping: TableMapping) -> Table:
        table = read_table(self._link, mapping.keyspace, mapping.table)
        if table is None:
            raise RetriableError(f"{mapping.name} is not there any more")
        return table

    def _take_turn(self, mapping: TableMapping, what: str) -> None:
        assigned = self._assignment()
        # Where transforms have made the topic's name, none is assigned that is called so.
        of_topic = [place.partition for place in assigned if place.topic == mapping.topic]
        lowest = min(of_topic or [place.partition for place in assigned], default=0)
        now = self._monotonic()
        wanted = f"{mapping.name} {what}"
        since = self._wanted_since.setdefault(wanted, now)
        if now - since < min(lowest * TURN_S, TURN_S_MAX):
            raise RetriableError(f"{mapping.name}: waiting for another task to make its {what}")
        del self._wanted_since[wanted]

    def _change(self, cql: str) -> None:
        logger.info("changing the schema: %s", cql)
        self._link.change(cql)
