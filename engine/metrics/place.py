"""Where a snapshot may be left: said before anything starts, and again whenever one is written.

Light on purpose: the supervisor imports it.

Used by: engine.boot, engine.control.serving, engine.metrics.snapshot.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.api.errors import ConfigError, Problem

__all__ = ["check_snapshot_path"]

KEY = "metrics.file"
SUFFIX = ".prom"


def check_snapshot_path(path: str | Path) -> Path:
    """The path, where a snapshot can be left there. Raises ConfigError."""
    path = Path(path)
    if path.suffix != SUFFIX:
        reason = f"expected a name that ends in {SUFFIX}: the node exporter's textfile collector reads no other"
    elif not path.parent.is_dir():
        reason = f"expected a folder that is there: {path.parent}"
    elif not os.access(path.parent, os.W_OK):
        reason = f"expected a folder that this user may write to: {path.parent}"
    else:
        return path
    raise ConfigError([Problem(KEY, f"Invalid value {path} for configuration {KEY}: {reason}")])
