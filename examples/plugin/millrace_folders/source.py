"""FolderSource: each file of a folder becomes a record, in the order of their names.

    inbox/0001.txt "one"   ──►   key "0001.txt", value "one"
    inbox/0002.txt "two"   ──►   key "0002.txt", value "two"

The offset of a record is the name of its file, so that a task goes on after it; files that come later need names
that come later. Hidden files are left alone: write a file under a hidden name, then rename it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, field

from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.errors import ConnectError, Problem
from engine.api.record import SourceRecord
from engine.api.schema import STRING
from engine.api.task import SourceTask

__all__ = ["FolderSourceConfig", "FolderSourceConnector", "FolderSourceTask"]

#: How long a poll waits when there is no new file.
IDLE_SECONDS = 0.5


class FolderSourceConfig(Config, frozen=True, kw_only=True):
    """What is read, and where to."""

    folder: Annotated[str, Meta(min_length=1, description="The folder whose files are read.")]
    topic: Annotated[str, Meta(min_length=1, description="The topic that gets the records.")]
    batch_files: Annotated[int, Meta(ge=1, description="The most files in one batch.")] = field(
        name="batch.files", default=100
    )


class FolderSourceTask(SourceTask):
    """Reads the files; there is one task."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = FolderSourceConfig.parse(config)
        self._folder = Path(self._settings.folder)
        self._partition = {"folder": self._settings.folder}
        stored = self.context.offset(self._partition)
        self._after = "" if stored is None else _name_of(stored)

    def poll(self) -> list[SourceRecord] | None:
        paths = self._next()
        if not paths:
            if self.context.is_bulk:
                self.context.end()
            else:
                self.context.wait(IDLE_SECONDS)
            return None
        self._after = paths[-1].name
        return [self._record(path) for path in paths]

    def _next(self) -> list[Path]:
        try:
            new = [path for path in self._folder.iterdir() if path.name > self._after and path.is_file()]
        except OSError as error:
            raise ConnectError(f"folder {self._folder} cannot be read: {error.strerror}") from error
        visible = sorted(path for path in new if not path.name.startswith("."))
        return visible[: self._settings.batch_files]

    def _record(self, path: Path) -> SourceRecord:
        return SourceRecord(
            topic=self._settings.topic,
            key=path.name,
            key_schema=STRING,
            value=path.read_text(errors="replace"),
            value_schema=STRING,
            source_partition=self._partition,
            source_offset={"name": path.name},
        )


class FolderSourceConnector(SourceConnector):
    """One folder, one task."""

    config = FolderSourceConfig
    task = FolderSourceTask
    version = "1.0.0"

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        folder = FolderSourceConfig.parse(properties).folder
        return [] if Path(folder).is_dir() else [Problem("folder", f"folder={folder}: expected a folder that is there")]

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        for offset in offsets.values():
            if offset is not None:  # else it is to be forgotten, whatever the partition
                _name_of(offset)
        return True


def _name_of(offset: Mapping[str, Any]) -> str:
    name = offset.get("name")
    if not isinstance(name, str):
        raise ConnectError(f'offset {dict(offset)}: expected the name of a file, as {{"name": "0001.txt"}}')
    return name
