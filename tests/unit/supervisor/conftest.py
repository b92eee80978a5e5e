"""A run of scripted lines, whose processes are gone after the test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.unit.supervisor.scripted import Run


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    for line in made.lines:
        for pid in line.pids():
            os.kill(pid, signal.SIGKILL)
    os.close(made.descriptor)
