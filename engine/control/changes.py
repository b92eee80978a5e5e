"""Files that hold values of connectors' configurations: which of them have changed, so that it is planned again.

A stat for each file, every LOOK_SECONDS: what a file is replaced by, or a link of Kubernetes led to, is seen as well
as what is written into it.

Used by: engine.control.herding.
Not here: which files (engine.config.freshness), what comes of a change (engine.herder).
"""

from __future__ import annotations

from engine.config.freshness import version_of
from engine.herder.model import Due, RemindOnChange

__all__ = ["LOOK_SECONDS", "Changes"]

LOOK_SECONDS = 2.0


class Changes:
    """The files of all connectors."""

    def __init__(self) -> None:
        self._asked: dict[str, RemindOnChange] = {}  # by connector: what was asked for last

    def add(self, asked: RemindOnChange) -> None:
        """Look at these files, in place of those that the connector had before."""
        self._asked[asked.due.name] = asked

    def found(self) -> list[Due]:
        """What is due now; it is not looked at any more."""
        due = [asked.due for asked in self._asked.values() if _has_changed(asked)]
        for one in due:
            del self._asked[one.name]
        return due


def _has_changed(asked: RemindOnChange) -> bool:
    return any(version_of(file) != version for file, version in asked.files.items())
