"""Whether files have changed since the last look: certificates and passwords are renewed while a worker runs.

Used by: engine.control.access, engine.control.http.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["Watch"]


class Watch:
    """Some files, by their time, size and number."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._seen = self._ages()

    def has_changed(self) -> bool:
        """Whether one of them is another than at the last look, or came, or went."""
        before, self._seen = self._seen, self._ages()
        return self._seen != before

    def _ages(self) -> tuple[object, ...]:
        return tuple(_age(path) for path in self._paths)


def _age(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino
