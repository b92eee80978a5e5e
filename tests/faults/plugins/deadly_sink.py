"""A sink whose process dies of some records, and whose values go to a file one by one.

Loaded by name, in the process of a task. Not here: what is expected of the engine (tests/kafka/test_poison.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.task import SinkTask


class DeadlyConfig(Config, frozen=True, kw_only=True):
    """Where it writes, and how it dies."""

    file: str
    how: str = "segfault"


class DeadlySinkTask(SinkTask):
    """Writes each value as a line, but for those that begin with `deadly`."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = DeadlyConfig.parse(config)

    def put(self, batch: SinkBatch) -> None:
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            for value in batch.values:
                if value.startswith("deadly"):
                    file.flush()
                    self._die()
                file.write(value + "\n")

    def _die(self) -> None:
        if self._settings.how == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSEGV)


class DeadlySinkConnector(SinkConnector):
    """As many tasks as it may have."""

    config = DeadlyConfig
    task = DeadlySinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]
