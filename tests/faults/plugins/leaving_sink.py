"""A sink that opens a file for each record and leaves it open.

Loaded by name, in the process of a task. Not here: how many it may open (tests/faults/test_descriptors.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.task import SinkTask


class LeavingConfig(Config, frozen=True, kw_only=True):
    """Nothing to set."""


class LeavingSinkTask(SinkTask):
    """Leaves them open."""

    def start(self, config: Mapping[str, str]) -> None:
        """Begin with none."""

    def put(self, batch: SinkBatch) -> None:
        for _ in batch:
            os.open("/dev/null", os.O_RDONLY)


class LeavingSinkConnector(SinkConnector):
    """One task."""

    config = LeavingConfig
    task = LeavingSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
