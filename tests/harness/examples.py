"""The command that runs the examples, as their READMEs have it: on servers of the tests, or on its own.

    shown = run_examples(folder, "plugin", "--kafka", kafka.bootstrap)
    shown.lines[-1]            what the last of its lines has printed

Used by: tests/kafka/test_examples.py, tests/postgres/test_line.py, tests/postgres/test_source_example.py,
tests/cassandra/test_kongo.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.harness.engine import Millrace

__all__ = ["Shown", "example_command", "replaced", "run_examples"]

COMMAND = (sys.executable, str(Path(__file__).parents[2] / "examples"))
PROMPT = re.compile(r"^[\w-]+\$ .*\n", re.MULTILINE)
WAIT_S = 300.0


class Shown(NamedTuple):
    """What a run has printed."""

    lines: list[str]  # of each line that it has run
    log: str


def example_command(folder: Path, *arguments: str) -> Millrace:
    """The command, started in a folder, where its output is kept."""
    return Millrace(*arguments, command=COMMAND, folder=folder)


def replaced(texts: Mapping[str, str]) -> list[str]:
    """The arguments that have these texts replaced in an example's files."""
    return [argument for old, new in texts.items() for argument in ("--replace", old, new)]


def run_examples(folder: Path, *arguments: str) -> Shown:
    """Return when it has ended well. Raises AssertionError with all that it has said."""
    with example_command(folder, *arguments) as run:
        assert run.wait(WAIT_S) == 0, run.stdout + run.stderr
        return Shown(PROMPT.split(run.stdout)[1:], run.stderr)
