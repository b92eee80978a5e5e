"""A sink that reports values which begin with `bad`, within `put`, and appends all others as lines.

Loaded by name, in the process of a task. Not here: who kills it (tests/kafka/test_dead_letters.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import DataError
from engine.api.task import SinkTask


class ReportingConfig(Config, frozen=True, kw_only=True):
    """Where it writes, and for how long it stays in its `put`."""

    file: str
    holds: str  # while there is this file, behind the first report; it says `held` beside it


class ReportingSinkTask(SinkTask):
    """Has no buffer: what was put is safe."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = ReportingConfig.parse(config)
        self._reporter = self.context.errant_record_reporter()

    def put(self, batch: SinkBatch) -> None:
        holds = Path(self._settings.holds)
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            for record in batch:
                if not record.value.startswith("bad"):
                    file.write(f"{record.value}\n")
                    continue
                assert self._reporter is not None
                self._reporter.report(record, DataError("it begins with bad"))
                while holds.exists():
                    holds.with_name("held").touch()
                    time.sleep(0.01)


class ReportingSinkConnector(SinkConnector):
    """One task."""

    config = ReportingConfig
    task = ReportingSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
