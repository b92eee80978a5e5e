"""A sink that asks to be called again for as long as the file `away` is there, and else appends values as lines.

Loaded by name, in the process of a task. Not here: who takes the file away (tests/faults/test_waits.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import RetriableError
from engine.api.task import SinkTask

RETRY_MS = 100


class RefusingConfig(Config, frozen=True, kw_only=True):
    """Where it looks and writes."""

    away: str
    file: str


class RefusingSinkTask(SinkTask):
    """Has no buffer: what was put is safe."""

    reads_timestamps = False

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = RefusingConfig.parse(config)

    def put(self, batch: SinkBatch) -> None:
        if Path(self._settings.away).exists():
            self.context.retry_after(RETRY_MS)
            raise RetriableError("the database does not answer")
        with Path(self._settings.file).open("a", encoding="utf-8") as file:
            file.writelines(f"{value}\n" for value in batch.values)


class RefusingSinkConnector(SinkConnector):
    """One task."""

    config = RefusingConfig
    task = RefusingSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
