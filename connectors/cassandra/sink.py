"""CassandraSink: records become rows of tables, those without a value delete theirs.

    topic ──► mapping ──► rows ──► unlogged batches of a partition ──► Cassandra

Used by nobody: the catalog finds it.
Not here: how (writer.py).
Source: the behaviour of DataStax's Kafka sink; what differs is in docs/connectors/cassandra-sink.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.mapping import TableMapping, read_mappings
from connectors.cassandra.rights import check_rights
from connectors.cassandra.session import Link, user_of
from connectors.cassandra.tables import check_tables
from connectors.cassandra.writer import Writer
from engine.api.batch import SinkBatch
from engine.api.connector import SinkConnector
from engine.api.errors import ConfigError, Problem, RetriableError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask

__all__ = ["CassandraSinkConnector", "CassandraSinkTask"]

logger = logging.getLogger(__name__)

#: Of validation: who asks for it waits no longer than 30 s for an answer, and would be told nothing.
CONNECT_S_MAX = 20.0


class CassandraSinkTask(SinkTask):
    """Writes to Cassandra."""

    def __init__(self) -> None:
        self._writer: Writer | None = None

    def start(self, config: Mapping[str, str]) -> None:
        settings = CassandraSinkConfig.parse(config)
        reporter = self.context.errant_record_reporter()
        name = config.get("name", "CassandraSink")
        assignment = self.context.assignment
        self._writer = Writer(Link(settings), settings, read_mappings(config), reporter, name, assignment)
        self._writer.start()

    def put(self, batch: SinkBatch) -> None:
        assert self._writer is not None
        if len(batch):
            self._writer.put(batch)

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        assert self._writer is not None
        self._writer.flush()

    def close(self, partitions: Collection[TopicPartition]) -> None:
        assert self._writer is not None
        self._writer.let_go(partitions)

    def stop(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer = None


class CassandraSinkConnector(SinkConnector):
    """Writes tables of one cluster, with as many tasks as it may have."""

    config = CassandraSinkConfig
    task = CassandraSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        """What is wrong with names and passwords, tables, columns and rights. A cluster that is away, tasks wait for.

        Raises RefusedError.
        """
        try:
            settings = CassandraSinkConfig.parse(properties)
        except ConfigError:
            return []  # each key has been told
        problems = [*_contradictions(settings)]
        try:
            mappings = read_mappings(properties)
        except ConfigError as error:
            return [*problems, *error.problems]
        if not properties.get("transforms", "").strip():  # they may give records other topics
            problems += _without_table(properties, mappings)
        if problems:
            return problems
        link = Link(settings, CONNECT_S_MAX)
        try:
            link.open()
            problems = check_tables(link, mappings, settings)
            user = user_of(settings)
            return problems if problems or user is None else check_rights(link, mappings, settings, user)
        except RetriableError as error:
            logger.warning("the tables were not looked at: %s", error)
            return []
        except ConfigError as error:
            return list(error.problems)
        finally:
            link.close()


def _contradictions(settings: CassandraSinkConfig) -> Sequence[Problem]:
    if settings.credentials_file is not None and settings.username is not None:
        return [Problem("credentials.file", "credentials.file and username are both given; expected one of them")]
    if settings.password is not None and settings.username is None:
        return [Problem("username", 'Missing required configuration "username": there is a password without a name.')]
    return []


def _without_table(properties: Mapping[str, str], mappings: Sequence[TableMapping]) -> list[Problem]:
    named = {mapping.topic for mapping in mappings}
    topics = [topic.strip() for topic in properties.get("topics", "").split(",") if topic.strip()]
    return [
        Problem("topics", f"topic {topic} has no table: expected a key topic.{topic}.KEYSPACE.TABLE.mapping")
        for topic in topics
        if topic not in named
    ]
