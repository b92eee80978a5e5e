"""The Cassandra sink, on a real server, keeps what every sink keeps."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.cassandra.sink import CassandraSinkConnector
from engine.api.testing import SinkCase, SinkSuite
from tests.harness.cassandra import CassandraServer, UserCassandra

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]


class TestCassandraSink(SinkSuite):
    connector = CassandraSinkConnector

    @pytest.fixture
    def case(self, cassandra: CassandraServer | UserCassandra, session: Any, keyspace: str) -> SinkCase:
        session.execute(f"CREATE TABLE {keyspace}.t (id text PRIMARY KEY)")
        mapping = f"topic.topic.{keyspace}.t.mapping"

        def written() -> list[int]:
            rows = session.execute(f"SELECT id FROM {keyspace}.t")
            return [int(row[0].removeprefix("value ")) for row in rows if row[0].startswith("value ")]

        return SinkCase(
            config={"name": "orders", "topics": "topic", **cassandra.keys(), mapping: "id=value"},
            written=written,
            bad={mapping: "id=value, w=value", "contact.points": ""},
            bad_values=[b"\xff", ""],
            is_once=True,
        )
