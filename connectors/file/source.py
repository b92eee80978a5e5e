"""FileStreamSource: each line of a file, or of standard input, becomes a record.

    read 512 KiB ──► split ──► batches of batch.size lines, with the position after each

In a bulk run the end of the file is the end of the task, and a last line without a newline is a record; else
the task waits for more, and such a line waits for its end.

Source: Kafka Connect's FileStreamSource; what differs is in docs/connectors/file.md.
"""

from __future__ import annotations

import logging
import os
import select
import stat
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from connectors.file.lines import LineSplitter
from connectors.file.places import why_unreadable
from engine.api.batch import SourceBatch
from engine.api.column import Repeat, Utf8Column
from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, ConnectError, Problem
from engine.api.schema import Schema
from engine.api.task import SourceTask

__all__ = ["FileSourceConfig", "FileStreamSourceConnector", "FileStreamSourceTask"]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 512 * 1024
#: How long a poll waits when it has found nothing to read, and when there is no file yet.
IDLE_SECONDS = 0.1
MISSING_SECONDS = 1.0

STDIN = 0
TEXT = Schema("STRING")
FILENAME, POSITION = "filename", "position"
POSITION_MAX = 2**63 - 1


class FileSourceConfig(Config, frozen=True, kw_only=True):
    """What is read, and where to."""

    file: Annotated[
        str | None,
        Meta(description="The file to read. Absent or empty: standard input.", extra={"importance": "HIGH"}),
    ] = None
    topic: Annotated[str, Meta(min_length=1, description="The topic that gets the lines.")]
    batch_size: Annotated[
        int, Meta(ge=1, le=2**31 - 1, description="The most lines in one batch.", extra={"importance": "LOW"})
    ] = field(name="batch.size", default=2000)


class FileStreamSourceTask(SourceTask):
    """Reads the file; there is one task."""

    def __init__(self, stdin: int = STDIN) -> None:
        """stdin: what is read when no file is configured; never closed."""
        self._stdin = stdin
        self._fd: int | None = None

    def start(self, config: Mapping[str, str]) -> None:
        settings = FileSourceConfig.parse(config)
        self._file = settings.file or None
        self._topic = settings.topic
        self._batch_size = settings.batch_size
        self._partition = {FILENAME: self._file}
        self._ready: select.poll | None = None  # of what may have nothing to read now: pipes, terminals
        self._lines = LineSplitter("standard input")
        self._is_missed = False
        if self._file is None:
            self._fd = self._stdin
            self._watch(self._stdin)

    def poll(self) -> SourceBatch | None:
        if self._fd is None and not self._open():
            return None
        while self._lines.is_drained:
            data = self._read()
            if data:
                self._lines.feed(data)
            elif data is not None and self.context.is_bulk:
                self._lines.finish()
                self.context.end()
                break
            else:
                self.context.wait(IDLE_SECONDS)
                return None
        return self._batch()

    def stop(self) -> None:
        if self._fd is not None and self._fd != self._stdin:
            os.close(self._fd)
        self._fd = None

    def _batch(self) -> SourceBatch | None:
        lines = self._lines.take(self._batch_size)
        if lines is None:
            return None
        offsets: Sequence[Mapping[str, Any]] = lines.positions
        if self._file is None:
            offsets = Repeat({POSITION: None}, len(lines.texts))
        return SourceBatch(
            topic=self._topic,
            values=Utf8Column(lines.texts),
            value_schema=TEXT,
            source_partition=self._partition,
            source_offsets=offsets,
        )

    def _read(self) -> bytes | None:
        """Up to CHUNK_BYTES; b"" at the end; None: nothing now, perhaps later."""
        assert self._fd is not None
        if self._ready is not None and not self._ready.poll(0):
            return None
        try:
            return os.read(self._fd, CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ConnectError(f"cannot read {self._file or 'standard input'} (key file): {error.strerror}") from error

    def _open(self) -> bool:
        """Open the file at the stored position; False when it is not there yet."""
        assert self._file is not None
        try:
            fd = os.open(self._file, os.O_RDONLY)
        except FileNotFoundError:
            if self.context.is_bulk:
                raise ConnectError(f"there is no file {self._file} (key file), and a bulk run does not wait") from None
            if not self._is_missed:
                logger.warning("no file %s yet; looked for every %.0f s until it is there", self._file, MISSING_SECONDS)
                self._is_missed = True
            self.context.wait(MISSING_SECONDS)
            return False
        except (OSError, ValueError) as error:
            raise ConnectError(f"cannot open {self._file} (key file): {error}") from error
        self._fd = fd
        position = self._stored_position()
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            os.lseek(fd, position, os.SEEK_SET)
            if position > status.st_size:
                logger.warning(
                    "file %s has %d bytes, fewer than the stored position %d: nothing is read until it has more",
                    self._file, status.st_size, position,
                )  # fmt: skip
        else:
            self._watch(fd)  # what was read of a pipe is gone from it: there is nothing to skip
        self._lines = LineSplitter(self._file, position)
        return True

    def _stored_position(self) -> int:
        stored = self.context.offset(self._partition)
        position = stored.get(POSITION) if stored else None
        if position is None:
            return 0
        if not _is_position(position):
            raise ConnectError(f"the stored position of {self._file} is {position!r}, not a whole number from 0 on")
        return int(position)

    def _watch(self, fd: int) -> None:
        self._ready = select.poll()
        self._ready.register(fd, select.POLLIN | select.POLLHUP)


class FileStreamSourceConnector(SourceConnector):
    """Reads one file with one task."""

    config = FileSourceConfig
    task = FileStreamSourceTask
    topic_keys = ("topic",)

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            path = FileSourceConfig.parse(properties).file
        except ConfigError:
            return []  # single keys tell that
        # Who goes on has a task that waits, or is started again, as in Kafka Connect.
        reason = why_unreadable(path) if self.is_bulk and path else ""
        return [Problem("file", f"Invalid value {path} for configuration file: {reason}")] if reason else []

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """True when all offsets could be stored; an offset of None (forget it) may stand for any partition.

        Raises ConnectError, in Kafka Connect's words, for standard input and for what this connector would not write.
        """
        if not FileSourceConfig.parse(properties).file:
            raise ConnectError(
                "Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used "
                "for input and offsets are not tracked."
            )
        for partition, offset in offsets.items():
            if offset is not None:
                _check_offset(offset)
                _check_partition(partition)
        return True


def _is_position(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= POSITION_MAX


def _check_offset(offset: Mapping[str, Any]) -> None:
    if POSITION not in offset:
        raise ConnectError(f"Offset objects should either be null or contain the key '{POSITION}'")
    position = offset[POSITION]
    if not isinstance(position, int) or isinstance(position, bool) or abs(position) > POSITION_MAX:
        raise ConnectError(f"The value for the '{POSITION}' key in the offset is expected to be a Long value")
    if position < 0:
        raise ConnectError(f"The value for the '{POSITION}' key in the offset should be a non-negative value")


def _check_partition(text: str) -> None:
    partition = msgspec.json.decode(text)
    if partition is None:
        raise ConnectError("Partition objects cannot be null")
    if FILENAME not in partition:
        raise ConnectError(f"Partition objects should contain the key '{FILENAME}'")
