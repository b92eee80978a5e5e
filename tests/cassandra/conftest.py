"""What tests on a real Cassandra share: a keyspace of their own, and a task that writes into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.cassandra import sender
from connectors.cassandra.sink import CassandraSinkTask
from engine.api.testing import FakeReporter, FakeSinkContext
from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.proxy import Proxy
from tests.harness.server import free_ports

Start = Callable[..., CassandraSinkTask]


@pytest.fixture(scope="session")
def session(cassandra: CassandraServer | UserCassandra) -> Iterator[Any]:
    """The driver's own, to look with."""
    with cassandra.session() as session:
        yield session


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine calls again after a second without an answer; tests that call a task themselves wait longer."""
    monkeypatch.setattr(sender, "WAIT_S_MAX", 30.0)


@pytest.fixture
def keyspace(session: Any, cassandra: CassandraServer | UserCassandra) -> Iterator[str]:
    """Its name. Dropped after the test where the server stays: dropping takes longer than most tests."""
    name = f"k{uuid.uuid4().hex[:12]}"
    session.execute(f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
    yield name
    if isinstance(cassandra, UserCassandra):
        session.execute(f"DROP KEYSPACE {name}")


@pytest.fixture
def start(cassandra: CassandraServer | UserCassandra, keyspace: str) -> Iterator[Start]:
    """Starts a task for topic `topic` and a table t: settings of the table by name, other keys in `keys`."""
    tasks: list[CassandraSinkTask] = []

    def started(
        keys: dict[str, str] | None = None, *, table: str = "t", reporter: FakeReporter | None = None, **settings: str
    ) -> CassandraSinkTask:
        config = {"name": "orders", **cassandra.keys()}
        config |= {f"topic.topic.{keyspace}.{table}.{name}": text for name, text in settings.items()}
        task = CassandraSinkTask()
        task.initialize(FakeSinkContext(reporter=reporter))
        tasks.append(task)
        task.start(config | (keys or {}))
        return task

    yield started
    for task in tasks:
        task.stop()


@pytest.fixture(scope="session")
def ours(cassandra: CassandraServer | UserCassandra) -> CassandraServer:
    """The server, where it may be killed and its users changed."""
    if isinstance(cassandra, UserCassandra):
        pytest.skip("MILLRACE_TEST_CASSANDRA names a server that is not ours to change")
    return cassandra


@pytest.fixture
def proxy(ours: CassandraServer, tmp_path: Path) -> Iterator[Proxy]:
    """Stands before the server, at `port_of(proxy)`, and has a bad day on request."""
    (port,) = free_ports(1)
    with Proxy(tmp_path / "proxy", {port: ours.port}) as proxy:
        yield proxy


def port_of(proxy: Proxy) -> int:
    """Where clients of a proxy with one route come in."""
    (port,) = proxy.routes
    return port
