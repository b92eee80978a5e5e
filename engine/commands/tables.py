"""Tables for people: columns as wide as their widest cell, one line a row, the same whatever the terminal's width.

Used by: engine.commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

__all__ = ["table"]

_GAP = "  "
_COLORS = {
    "RUNNING": typer.colors.GREEN,
    "FAILED": typer.colors.RED,
    "STALLED": typer.colors.RED,
    "good": typer.colors.GREEN,
    "bad": typer.colors.RED,
    "warning": typer.colors.YELLOW,
}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The text of a table. rows: as many cells each as the head has."""
    lines = [head, *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        _GAP.join(_colored(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _one_line(cell: object) -> str:
    return " ".join(str(cell).split()) or "-"


def _colored(cell: str, width: int) -> str:
    padded = cell.ljust(width)
    color = _COLORS.get(cell)
    if color is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return padded
    return typer.style(cell, fg=color) + padded[len(cell) :]
