"""What tests on a real Cassandra share: a keyspace of their own, and a task that writes into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.cassandra.sink import CassandraSinkTask
from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.contexts import FakeReporter, FakeSinkContext

Start = Callable[..., CassandraSinkTask]


@pytest.fixture(scope="session")
def session(cassandra: CassandraServer | UserCassandra) -> Iterator[Any]:
    """The driver's own, to look with."""
    with cassandra.session() as session:
        yield session


@pytest.fixture
def keyspace(session: Any) -> Iterator[str]:
    """Its name; dropped after the test."""
    name = f"k{uuid.uuid4().hex[:12]}"
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    yield name
    session.execute(f"DROP KEYSPACE {name}")


@pytest.fixture
def start(cassandra: CassandraServer | UserCassandra, keyspace: str) -> Iterator[Start]:
    """Starts a task for topic `topic` and a table t: settings of the table by name, other keys in `keys`."""
    tasks: list[CassandraSinkTask] = []

    def started(
        keys: dict[str, str] | None = None, *, table: str = "t", reporter: FakeReporter | None = None, **settings: str
    ) -> CassandraSinkTask:
        config = {"name": "orders", "contact.points": cassandra.host, "port": str(cassandra.port)}
        config |= {f"topic.topic.{keyspace}.{table}.{name}": text for name, text in settings.items()}
        task = CassandraSinkTask()
        task.initialize(FakeSinkContext(reporter=reporter))
        tasks.append(task)
        task.start(config | (keys or {}))
        return task

    yield started
    for task in tasks:
        task.stop()
