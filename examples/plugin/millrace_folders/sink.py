"""FolderSink: each record becomes a file.

    topic documents, partition 2, offset 17   ──►   outbox/documents-2-17

The name says where the record comes from, so that a record that is put again after a crash replaces its own file:
at-least-once delivery has the effect of exactly once. `flush` makes the files safe; what was put and not flushed is
put again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from engine.api import java_text
from engine.api.batch import SinkBatch
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import ConnectError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.task import SinkTask

__all__ = ["FolderSinkConfig", "FolderSinkConnector", "FolderSinkTask"]


class FolderSinkConfig(Config, frozen=True, kw_only=True):
    """Where records go."""

    folder: Annotated[str, Meta(min_length=1, description="The folder that gets the files; made if it is not there.")]


class FolderSinkTask(SinkTask):
    """Writes the files of its partitions; any number of tasks may share a folder."""

    def start(self, config: Mapping[str, str]) -> None:
        self._folder = Path(FolderSinkConfig.parse(config).folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConnectError(f"folder {self._folder} cannot be made: {error.strerror}") from error

    def put(self, batch: SinkBatch) -> None:
        try:
            for record in batch:
                self._write(record)
        except OSError as error:
            raise ConnectError(f"folder {self._folder} cannot be written: {error.strerror}") from error

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _write(self, record: SinkRecord) -> None:
        # Where it comes from, whatever transforms made of it.
        name = f"{record.original_topic}-{record.original_partition}-{record.original_offset}"
        hidden = self._folder / f".{name}"
        with hidden.open("wb") as file:
            file.write(java_text.text(record.value, record.value_schema).encode())
            file.flush()
            os.fsync(file.fileno())
        hidden.rename(self._folder / name)


class FolderSinkConnector(SinkConnector):
    """All tasks alike."""

    config = FolderSinkConfig
    task = FolderSinkTask
    version = "1.0.0"

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)] * tasks_max
