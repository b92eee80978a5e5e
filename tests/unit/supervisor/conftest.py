"""A run of scripted lines, whose processes are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.supervisor.scripted import Run


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as made:
        yield made
