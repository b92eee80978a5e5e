"""A sink whose first `put` takes long: as many seconds as it is told, and as long as the file `held` is there.

Each `put` writes the values as lines when it is over; which partitions come and go is noted beside them.

Loaded by name, in the process of a task. Not here: who waits for it (tests/faults/test_slow_put.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.record import TopicPartition
from engine.api.task import SinkTask

LOOK_S = 0.02


class SlowConfig(Config, frozen=True, kw_only=True):
    """How slow, and where it writes."""

    file: str
    notes: str
    held: str
    seconds: float = 0.0


class SlowSinkTask(SinkTask):
    """Waits once, and writes."""

    reads_timestamps = False

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = SlowConfig.parse(config)
        self._has_waited = False

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self._note("open", partitions)

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self._note("close", partitions)

    def put(self, batch: SinkBatch) -> None:
        if not self._has_waited:
            self._note("put", ())
            self._has_waited = True
            over_at = time.monotonic() + self._settings.seconds
            while time.monotonic() < over_at or Path(self._settings.held).exists():
                time.sleep(LOOK_S)
        with Path(self._settings.file).open("a", encoding="ascii") as file:
            file.writelines(f"{value}\n" for value in batch.values)

    def _note(self, what: str, partitions: Collection[TopicPartition]) -> None:
        with Path(self._settings.notes).open("a", encoding="ascii") as notes:
            notes.write(f"{what} {' '.join(sorted(str(place.partition) for place in partitions))}".strip() + "\n")


class SlowSinkConnector(SinkConnector):
    """One task."""

    config = SlowConfig
    task = SlowSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
