"""Fixtures of the tests on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import wait
from tests.harness.capture import Capture
from tests.harness.postgres import PostgresServer
from tests.harness.postgres_bed import Bed

CAPTURED = "captured"


@pytest.fixture
def bed(postgres: PostgresServer, database: str) -> Iterator[Bed]:
    """A sink's task and an empty database."""
    bed = Bed(postgres, database)
    yield bed
    for task in bed.tasks:
        task.stop()


@pytest.fixture(scope="session")
def captured(postgres: PostgresServer) -> str:
    """A database of their own for tests of changes: making one costs a second."""
    postgres.query(f"CREATE DATABASE {CAPTURED}")
    return CAPTURED


@pytest.fixture
def capture(postgres: PostgresServer, captured: str) -> Iterator[Capture]:
    """A table `orders` whose changes a source's tasks capture, without slot and publication."""
    if not postgres.is_running:
        postgres.start()
    made = Capture(postgres, captured)
    made.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")
    made.run("CREATE TABLE orders (id bigint PRIMARY KEY, note text, price numeric(10,2))")
    yield made
    for task in made.tasks:
        task.stop()
    mine = "FROM pg_replication_slots WHERE database = current_database()"
    made.run(f"SELECT pg_terminate_backend(active_pid) {mine} AND active")
    wait.until(lambda: not made.run(f"SELECT 1 {mine} AND active"), "slots that nobody reads")
    made.run(f"SELECT pg_drop_replication_slot(slot_name) {mine}")
    made.run("DROP PUBLICATION IF EXISTS millrace")
