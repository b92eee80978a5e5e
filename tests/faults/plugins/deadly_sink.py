"""A sink whose process dies of some records, and whose values go to a file one by one.

Loaded by name, in the process of a task. Not here: what is expected of the engine (tests/kafka/test_poison.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deadly import die  # type: ignore[import-not-found]  # they lie in one folder

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.record import TopicPartition
from engine.api.task import SinkTask


class DeadlyConfig(Config, frozen=True, kw_only=True):
    """Where it writes, and how it dies."""

    file: str
    how: str = ""
    buffers: bool = False


class DeadlySinkTask(SinkTask):
    """Writes each value as a line, but for those that begin with `deadly`; when it is put, or flushed."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = DeadlyConfig.parse(config)
        self._kept: list[str] = []

    def put(self, batch: SinkBatch) -> None:
        self._kept.extend(batch.values)
        if not self._settings.buffers:
            self._write()

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self._write()
        return offsets

    def _write(self) -> None:
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            for value in self._kept:
                if value.startswith("deadly") and self._settings.how:
                    file.flush()
                    die(self._settings.how)
                file.write(value + "\n")
        self._kept.clear()


class DeadlySinkConnector(SinkConnector):
    """As many tasks as it may have."""

    config = DeadlyConfig
    task = DeadlySinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]
