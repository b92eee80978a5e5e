"""FileStreamSink, slowed down: so many records a second, that a fault finds a sink at work on a topic that is there.

Loaded by name, in the process of a task. Not here: what a fault is (tests/matrix/faults.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from connectors.file.sink import FileSinkConfig, FileStreamSinkConnector, FileStreamSinkTask
from engine.api.batch import SinkBatch


class PacedFileConfig(FileSinkConfig, frozen=True, kw_only=True):
    """The file, and how fast."""

    rate: float


class PacedFileSinkTask(FileStreamSinkTask):
    """Writes at once, then takes the time that its records should have taken."""

    def start(self, config: Mapping[str, str]) -> None:
        super().start(config)
        self._rate = PacedFileConfig.parse(config).rate

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        time.sleep(len(batch) / self._rate)


class PacedFileSinkConnector(FileStreamSinkConnector):
    """As many tasks as it may have; `rate` is of each."""

    config = PacedFileConfig  # type: ignore[assignment]  # the base's is narrower than the contract's
    task = PacedFileSinkTask
