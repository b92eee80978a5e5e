"""FileStreamSink: the text of each value becomes a line of a file, or of standard output.

    batch ──► one block of bytes ──► one write

Nothing is kept back: what `put` has taken is in the file. After a kill the file may end in a part of a line,
whose record has not been committed and comes again; the next start cuts that part off.

Source: Kafka Connect's FileStreamSink; what differs is in docs/connectors/file.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, field

from connectors.file.appender import Appender
from connectors.file.lines import valid_utf8
from connectors.file.places import why_unwritable
from engine.api.batch import SinkBatch
from engine.api.column import Utf8Column
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import ConfigError, Problem
from engine.api.record import TopicPartition
from engine.api.schema import Schema
from engine.api.task import SinkTask

__all__ = ["FileSinkConfig", "FileStreamSinkConnector", "FileStreamSinkTask"]

STDOUT = 1


class FileSinkConfig(Config, frozen=True, kw_only=True):
    """What is written, and how surely."""

    file: Annotated[
        str | None,
        Meta(description="The file to append to. Absent: standard output.", extra={"importance": "HIGH"}),
    ] = None
    fsync: Annotated[
        bool,
        Meta(description="Whether a flush waits until the lines are on the disk, not only with the system."),
    ] = field(name="file.fsync", default=False)


class FileStreamSinkTask(SinkTask):
    """Appends to the file; several tasks may append to one."""

    reads_timestamps = False
    reads_headers = False

    def __init__(self, stdout: int = STDOUT) -> None:
        """stdout: what is written when no file is configured; never closed."""
        self._stdout = stdout
        self._output: Appender | None = None
        self._is_file = False

    def start(self, config: Mapping[str, str]) -> None:
        settings = FileSinkConfig.parse(config)
        self._is_file = settings.file is not None
        self._fsync = settings.fsync and self._is_file
        if settings.file is None:
            self._output = Appender(self._stdout, "standard output")
            return
        self._output = Appender.open(settings.file)
        self._output.mend()

    def put(self, batch: SinkBatch) -> None:
        block = block_of(batch.values, batch.value_schemas)
        if block:
            assert self._output is not None
            self._output.append(block)

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._fsync:
            assert self._output is not None
            self._output.sync()

    def stop(self) -> None:
        if self._is_file and self._output is not None:
            self._output.close()
        self._output = None


class FileStreamSinkConnector(SinkConnector):
    """Writes one file, with as many tasks as it may have."""

    config = FileSinkConfig
    task = FileStreamSinkTask

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            path = FileSinkConfig.parse(properties).file
        except ConfigError:
            return []  # single keys tell that
        # Who goes on has a task that fails and is started again, as in Kafka Connect: a folder may come later.
        reason = why_unwritable(path) if self.is_bulk and path is not None else ""
        return [Problem("file", f"Invalid value {path} for configuration file: {reason}")] if reason else []

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True


def block_of(values: Sequence[Any], schemas: Sequence[Schema | None]) -> bytes:
    """The values as Java prints them, in UTF-8, each followed by a newline."""
    if not isinstance(values, Utf8Column):
        from engine.api import java_text  # noqa: PLC0415  here, because text that came as bytes does without it

        return java_text.block(values, schemas)
    texts: list[bytes] = [*values.encoded, b""]  # type: ignore[list-item]  # the few columns with a None fail to join
    try:
        block = b"\n".join(texts)
    except TypeError:
        texts = [b"null" if text is None else text for text in texts]
        block = b"\n".join(texts)
    try:
        block.decode()  # one look for all of them: a block is valid when each of its lines is
    except UnicodeDecodeError:
        block = b"\n".join(map(valid_utf8, texts))
    return block
