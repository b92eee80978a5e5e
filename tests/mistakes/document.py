"""docs/mistakes.md: every planted mistake, and what has caught it.

Used by: tests.mistakes, tests/shape/test_mistakes.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from tests.mistakes.catalog import MISTAKES
from tests.mistakes.mistake import SINK_SEEDS, SOURCE_SEEDS, Mistake
from tests.mistakes.planting import Caught
from tests.shape.tree import ROOT

__all__ = ["FILE", "Row", "by_what", "read", "text"]

FILE = ROOT / "docs" / "mistakes.md"
SAID_MAX = 110
HEAD = """# Planted mistakes, and what catches them

Written by `python -m tests.mistakes --write`, which plants each mistake in a copy of the code, one at a time, and
runs what must notice: up to 1,000 seeds of the simulation, or one named test. `python -m tests.mistakes NAME` does so
for one, `--list` names them all; they stand in `tests/mistakes/`. A mistake that is not caught, or not for a good
reason, fails the run; so does one whose place in the code is gone.

| mistake | what is not so any more | caught by | at | it says |
|---|---|---|---|---|
"""
_ROW = re.compile(r"^\| `([\w-]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)


class Row(Struct, frozen=True):
    """A row of the table."""

    breaks: str
    caught_by: str
    at: str
    said: str


def by_what(mistake: Mistake) -> str:
    """What catches a mistake, for a reader."""
    if mistake.caught_by == SOURCE_SEEDS:
        return "seeds of the source"
    if mistake.caught_by == SINK_SEEDS:
        return "seeds of the sink"
    file, _, test = mistake.caught_by.partition("::")
    named = test.partition("[")[0].partition("::")[0]
    return f"`{named}` of {file.rpartition('/')[2]}"


def read(document: str) -> dict[str, Row]:
    """The rows of the table, by name."""
    return {name: Row(*cells) for name, *cells in _ROW.findall(document)}


def text(caught: Mapping[str, Caught], before: Mapping[str, Row]) -> str:
    """The document; what was not run this time stands as before."""
    rows = []
    for name, mistake in MISTAKES.items():
        now = caught.get(name)
        if now is not None:
            at, said = now.at, _short(now.said)
        elif name in before:
            at, said = before[name].at, before[name].said
        else:
            continue
        rows.append(f"| `{name}` | {mistake.breaks} | {by_what(mistake)} | {at} | {said} |\n")
    return HEAD + "".join(rows)


def _short(said: str) -> str:
    plain = said.replace("|", "/").replace("`", "'")
    return plain if len(plain) <= SAID_MAX else plain[: SAID_MAX - 3] + "..."
