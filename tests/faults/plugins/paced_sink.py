"""A sink that takes its time for every `put`, and then writes each value as a line of JSON.

Loaded by name, in the process of a task. Not here: who kills it (tests/kafka/test_dead_letters.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.task import SinkTask


class PacedConfig(Config, frozen=True, kw_only=True):
    """How slow, and where it writes."""

    file: str
    seconds: float = 0.1


class PacedSinkTask(SinkTask):
    """Waits and writes."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = PacedConfig.parse(config)

    def put(self, batch: SinkBatch) -> None:
        time.sleep(self._settings.seconds)
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            file.writelines(json.dumps(value) + "\n" for value in batch.values)


class PacedSinkConnector(SinkConnector):
    """One task."""

    config = PacedConfig
    task = PacedSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
