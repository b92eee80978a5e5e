"""The connectors of PostgreSQL, on a real server, keep what every connector keeps."""

from __future__ import annotations

import pytest

from connectors.postgres.sink import PostgresSinkConnector
from connectors.postgres.source.changes_connector import PostgresSourceConnector
from connectors.postgres.source.polling_connector import PostgresPollingSourceConnector
from engine.api.schema import INT64, STRING, Schema
from engine.api.testing import SECRET, SinkCase, SinkSuite, SourceCase, SourceSuite
from tests.harness.capture import Capture
from tests.harness.postgres import LIMITED
from tests.harness.postgres_bed import KEYED, Bed

pytestmark = pytest.mark.postgres

COUNT = 20
ROW = Schema.struct({"id": INT64, "note": STRING.as_optional()}, name="row")
KEY = Schema.struct({"id": INT64}, name="key")
#: The server refuses this password.
REFUSED = {"connection.user": LIMITED}


class TestPostgresSink(SinkSuite):
    """Each record a row."""

    connector = PostgresSinkConnector

    @pytest.fixture
    def case(self, bed: Bed) -> SinkCase:
        bed.sql("CREATE TABLE orders (id bigint CHECK (id < 5000), note text)")
        return SinkCase(
            topic="orders",
            config=bed.config(),
            written=lambda: [row[0] for row in bed.sql("SELECT id FROM orders WHERE note IS NOT NULL")],
            value=lambda number: {"id": number, "note": "a note"},
            bad={"connection.url": "postgresql://h:port/db", "pk.mode": "kafka,", "offsets.table": "a.b.c"},
            secrets=REFUSED,
            bad_values=[{"id": "text"}, {"id": 5001}, {"id": 1, "note": "\0"}],
            is_once=True,
        )


class TestPostgresSinkUpserting(SinkSuite):
    """Each key a row, with schemas, into a table that is made for them."""

    connector = PostgresSinkConnector

    @pytest.fixture
    def case(self, bed: Bed) -> SinkCase:
        bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
        keys = {**KEYED, "auto.evolve": "true", "delete.enabled": "true"}
        return SinkCase(
            topic="orders",
            config=bed.config(**keys),
            written=lambda: [row[0] for row in bed.sql("SELECT id FROM orders")],
            value=lambda number: ROW.struct_type(id=number, note="a note"),
            value_schema=ROW,
            key=lambda number: KEY.struct_type(id=number),
            key_schema=KEY,
            bad={"pk.mode": "none", "table.name.format": "a.b.c"},
            secrets={"connection.url": f"postgresql://{LIMITED}:{SECRET}@127.0.0.1:{bed.postgres.port}/{bed.database}"},
            is_once=True,
        )


@pytest.fixture
def two_tables(bed: Bed) -> Bed:
    for table in ("items", "orders"):
        bed.sql(f"CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
        bed.sql(f"INSERT INTO {table} (note) SELECT 'note ' || n FROM generate_series(1, {COUNT // 2}) n")
    return bed


class TestPostgresPollingSource(SourceSuite):
    """Two tables."""

    connector = PostgresPollingSourceConnector

    @pytest.fixture
    def case(self, two_tables: Bed) -> SourceCase:
        return SourceCase(
            config={
                "name": "shop",
                "connection.url": two_tables.postgres.url(two_tables.database),
                "mode": "incrementing",
                "table.whitelist": "items,orders",
                "incrementing.column.name": "id",
                "poll.interval.ms": "1",
                "batch.max.rows": "5",
            },
            count=COUNT,
            more=lambda: two_tables.sql("INSERT INTO items (note) VALUES ('one more')"),
            bad={"incrementing.column.name": "note", "table.whitelist": "none", "db.timezone": "Nowhere"},
            secrets=REFUSED,
        )


class TestPostgresSource(SourceSuite):
    """Changes."""

    connector = PostgresSourceConnector

    @pytest.fixture
    def case(self, capture: Capture) -> SourceCase:
        capture.begin()
        for first in range(0, COUNT, 4):
            capture.run(f"INSERT INTO orders SELECT {first} + n, 'note', n FROM generate_series(1, 4) n")
        return SourceCase(
            config=capture.keys({"max.batch.size": 5}),
            count=COUNT,
            more=lambda: capture.run("INSERT INTO orders VALUES (1000)"),
            bad={"table.include.list": "(", "snapshot.mode": "sometimes", "slot.name": "No Name"},
            secrets=REFUSED,
        )


class TestPostgresSourceSnapshot(SourceSuite):
    """Rows that were there before."""

    connector = PostgresSourceConnector

    @pytest.fixture
    def case(self, capture: Capture, monkeypatch: pytest.MonkeyPatch) -> SourceCase:
        monkeypatch.setattr("connectors.postgres.source.snapshot.RANGE_PAGES", 1)
        capture.run(f"INSERT INTO orders SELECT n, repeat('x', 1000), n FROM generate_series(1, {COUNT}) n")
        return SourceCase(
            config=capture.keys({"snapshot.mode": "initial", "max.batch.size": 5}),
            count=COUNT,
            is_exact=False,  # a range is read again
            more=lambda: capture.run("INSERT INTO orders VALUES (1000)"),
            secrets=REFUSED,
        )
