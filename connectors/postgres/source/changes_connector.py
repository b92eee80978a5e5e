"""PostgresSource: changes of tables become records, captured by logical decoding.

Used by: the catalog, by entry point.
Not here: capturing (changes.py).
Source: Debezium's connector for PostgreSQL, its keys and its envelope; what differs is in
docs/connectors/postgres-source.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.postgres.checking import ask
from connectors.postgres.session import driver
from connectors.postgres.source.changes import PostgresSourceTask, partition_of
from connectors.postgres.source.changes_config import ChangesConfig, contradictions
from connectors.postgres.source.positions import check_offset
from connectors.postgres.source.slots import problems_of
from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, ConnectError, Problem

__all__ = ["PostgresSourceConnector"]


class PostgresSourceConnector(SourceConnector):
    """Captures the changes of a database with one task: a slot has one reader."""

    config = ChangesConfig
    task = PostgresSourceTask

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            settings = ChangesConfig.parse(properties)
            driver()
        except ConfigError as error:
            # What single keys tell was told by them.
            return [problem for problem in error.problems if not problem.key]
        name = properties.get("name", "")
        return [*contradictions(settings)] or ask(settings, lambda session: problems_of(session, settings, name))

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """True when a task could go on from there; None (begin anew) may stand anywhere."""
        wanted = partition_of(ChangesConfig.parse(properties))
        for text, offset in offsets.items():
            if offset is None:
                continue
            if msgspec.json.decode(text) != wanted:
                raise ConnectError(f"partition {text}: expected {msgspec.json.encode(wanted).decode()}")
            check_offset(offset)
        return True
