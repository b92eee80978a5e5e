"""Cassandra goes away while it is written to: rows are sent again until they are there, none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.cassandra.sink import CassandraSinkConnector, CassandraSinkTask
from engine.api.errors import RetriableError
from tests.harness import wait
from tests.harness.cassandra import CassandraServer
from tests.harness.contexts import FakeSinkContext, sink_batch
from tests.harness.server import UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]

PUTS = 30
ROWS = 100
STOPS = (5, 15)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CassandraServer]:
    """One for this test, which stops it."""
    try:
        found = CassandraServer(tmp_path / "cassandra").start()
    except UnavailableError as error:
        pytest.skip(f"no real Cassandra: {error}")
    with found:
        yield found


def config_of(server: CassandraServer) -> dict[str, str]:
    return {
        "name": "orders",
        "topics": "topic",
        "contact.points": server.host,
        "port": str(server.port),
        "request.timeout.ms": "2000",
        "connect.timeout.ms": "2000",
        "topic.topic.k.t.mapping": "value.*",
    }


def test_nothing_is_lost_when_the_server_goes_away(server: CassandraServer) -> None:
    with server.session() as session:
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE k.t (p int, id int, PRIMARY KEY (p, id))")
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    task.start(config_of(server))
    flushed = 0

    def is_done(call: object, *arguments: object) -> bool:
        try:
            call(*arguments)  # type: ignore[operator]  # a method of the task
        except RetriableError:
            if not server.is_running:
                server.start()
            return False
        return True

    for number in range(PUTS):
        if number in STOPS:
            # Stopped, not killed: a node alone keeps its log of writes for a second before it is on the disk.
            server.stop()
        ids = range(number * ROWS, (number + 1) * ROWS)
        batch = sink_batch([{"p": at % 5, "id": at} for at in ids], first_offset=ids.start)
        wait.until(lambda: is_done(task.put, batch), "put", timeout_s=120)  # noqa: B023  called within this turn
        if number % 3 == 0:
            wait.until(lambda: is_done(task.flush, {}), "flush", timeout_s=120)
            flushed = ids.stop
    wait.until(lambda: is_done(task.flush, {}), "flush", timeout_s=120)
    task.stop()
    assert flushed
    with server.session() as session:
        assert session.execute("SELECT count(*) FROM k.t").one()[0] == PUTS * ROWS


def test_a_cluster_that_is_away_is_waited_for(server: CassandraServer) -> None:
    server.stop()
    assert CassandraSinkConnector().validate(config_of(server)) == []
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    with pytest.raises(RetriableError, match=r"connecting to 127\.0\.0\.1, port \d+: no host of Cassandra answers"):
        task.start(config_of(server))
    task.stop()
