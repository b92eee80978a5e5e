"""A file that grows by whole blocks of lines: a block is in it whole, or not at all.

    append(block)   lock ─► mend ─► note the size ─► write ─► (an error: cut back to the size noted) ─► unlock
    mend()          lock ─► cut what follows the last newline, left by a writer that was killed ─► unlock

Several tasks may append to one file, and one that is killed in the middle of a block gives up its lock with it:
whoever appends next cuts its torn line off first, or would lose its own first line to it. All is done under the
file's advisory lock: a size noted is still the size when it is cut back to, and a block that another task is
writing is never taken for a torn one. What is no regular file, or not ours to append to (a pipe, a terminal), is
neither locked nor cut: there an error may leave a part of a block. Standard output that goes to a file is cut back
after an error, and not mended: we may not read it.

Used by: sink.py.
Not here: what a line is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from engine.api.errors import ConnectError, RetriableError

__all__ = ["Appender"]

logger = logging.getLogger(__name__)

#: A torn line longer than this was hardly written by a sink; then the file is left alone.
TORN_BYTES_MAX = 64 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
#: How long another task may hold the lock, and how often it is tried.
LOCK_SECONDS_MAX = 10.0
LOCK_RETRY_SECONDS = 0.001


class Appender:
    """The open file; one a task."""

    def __init__(self, fd: int, name: str) -> None:
        """fd: open for writing; closed only by `close`. name: for errors, and the path when it is a file."""
        self._fd = fd
        self._name = name
        is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        self._can_undo = is_regular and bool(flags & os.O_APPEND)
        self._can_mend = self._can_undo and flags & os.O_ACCMODE == os.O_RDWR

    @classmethod
    def open(cls, path: str) -> Appender:
        """Open `path`, made if it is not there; a file must be ours to read as well. Raises ConnectError."""
        try:
            # A pipe opened for both would seem to have a reader.
            access = os.O_RDWR if Path(path).is_file() or not Path(path).exists() else os.O_WRONLY
            return cls(os.open(path, access | os.O_APPEND | os.O_CREAT, 0o666), path)
        except (OSError, ValueError) as error:
            raise ConnectError(f"cannot open or make {path} (key file): {error}") from error

    def append(self, block: bytes) -> None:
        """Write all of the block at the file's end.

        Raises RetriableError when another task holds the file, ConnectError when it cannot be written; in both
        cases a regular file is as it was before.
        """
        if not self._can_undo:
            self._write(block)
            return
        self._lock()
        try:
            size = os.fstat(self._fd).st_size
            if self._can_mend:
                size -= self._cut(size)
            try:
                self._write(block)
            except ConnectError as error:
                self._undo(size, error)
                raise
        finally:
            self._unlock()

    def mend(self) -> int:
        """Cut a torn last line off, and say so in the log; returns how many bytes were cut. Raises ConnectError."""
        if not self._can_mend:
            return 0
        self._lock()
        try:
            return self._cut(os.fstat(self._fd).st_size)
        finally:
            self._unlock()

    def sync(self) -> None:
        """Have what was appended on the disk. Raises ConnectError."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise ConnectError(f"cannot sync {self._name} (key file): {error.strerror}") from error

    def close(self) -> None:
        """Close the file; what was appended is in it."""
        os.close(self._fd)

    def _write(self, block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise ConnectError(
                f"cannot write {len(block)} bytes to {self._name} (key file): {error.strerror}"
            ) from error

    def _cut(self, size: int) -> int:
        """Under the lock: cut what follows the last newline; returns how many bytes."""
        if not size or os.pread(self._fd, 1, size - 1) == b"\n":
            return 0
        end = _end_of_lines(self._fd, size)
        if end is None:
            raise ConnectError(
                f"{self._name} (key file) does not end with a newline, nor is there one in its last "
                f"{TORN_BYTES_MAX} bytes: lines cannot be appended to it"
            )
        os.ftruncate(self._fd, end)
        logger.warning("file %s ended in a torn line: %d bytes cut off its end", self._name, size - end)
        return size - end

    def _undo(self, size: int, error: ConnectError) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError as second:
            raise ConnectError(f"{error}; nor could it be cut back to {size} bytes: {second.strerror}") from error

    def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RetriableError(
                        f"{self._name} (key file) has been locked by another process for {LOCK_SECONDS_MAX:.0f} s"
                    ) from None
                time.sleep(LOCK_RETRY_SECONDS)

    def _unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)


def _end_of_lines(fd: int, size: int) -> int | None:
    """Where the last whole line ends; 0 when there is none; None when it is too far away to be a torn line."""
    end = size
    while end and size - end < TORN_BYTES_MAX:
        begin = max(0, end - BLOCK_BYTES)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return None if end else 0
