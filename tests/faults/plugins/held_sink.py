"""A sink that takes nothing while it is held, and then notes what it gets: topic, key and size of each record.

    way=sleeps      put does not return before the file `held` is gone
    way=refuses     put raises RetriableError until then

Loaded by name, in the process of a task. Not here: who holds it (tests/faults/test_memory.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import RetriableError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask

LOOK_S = 0.02


class HeldConfig(Config, frozen=True, kw_only=True):
    """Where it looks and writes."""

    held: str
    file: str
    way: Literal["sleeps", "refuses"]


class HeldSinkTask(SinkTask):
    """Waits, then writes lines."""

    reads_timestamps = False

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = HeldConfig.parse(config)
        self._lines: list[str] = []

    def put(self, batch: SinkBatch) -> None:
        held = Path(self._settings.held)
        if self._settings.way == "refuses" and held.exists():
            self.context.retry_after(100)
            raise RetriableError("held")
        while held.exists():
            time.sleep(LOOK_S)
        for topic, key, value in zip(batch.topics, batch.keys, batch.values, strict=True):
            self._lines.append(f"{topic} {key.decode()} {len(value)}\n")

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            file.writelines(self._lines)
        self._lines.clear()


class HeldSinkConnector(SinkConnector):
    """One task."""

    config = HeldConfig
    task = HeldSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
