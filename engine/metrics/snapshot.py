"""The last values in a file, for the node exporter's textfile collector: how a job of 40 seconds is seen as well.

Used by: engine.control.serving.
Not here: what is in it (collector.py), where one may be left (place.py).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from engine.metrics import collector
from engine.metrics.place import check_snapshot_path
from engine.shm.board import Board

__all__ = ["leave_snapshot", "write_snapshot"]

#: The node exporter runs as a user of its own.
MODE = 0o644


def write_snapshot(board: Board, path: str | Path, *, workers: dict[str, int] | None = None) -> None:
    """Leave the values of now, as `leave_snapshot`."""
    path = check_snapshot_path(path)
    leave_snapshot(path, collector.exposition(board, workers=workers))


def leave_snapshot(path: str | Path, text: bytes) -> None:
    """Put it in place of the file's, in one step: a reader sees all of the old or all of the new.

    Raises ConfigError for a path where none can be left, OSError when writing fails.
    """
    path = check_snapshot_path(path)
    # In the same folder, so that the rename is one step; its name is one that the textfile collector passes over.
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".draft", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
