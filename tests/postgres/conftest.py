"""Fixtures of the tests on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.postgres import PostgresServer
from tests.harness.postgres_bed import Bed


@pytest.fixture
def bed(postgres: PostgresServer, database: str) -> Iterator[Bed]:
    """A sink's task and an empty database."""
    bed = Bed(postgres, database)
    yield bed
    for task in bed.tasks:
        task.stop()
