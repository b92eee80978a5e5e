"""Planted mistakes are caught: a few in every run, all of them in the long form."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mistakes.catalog import MISTAKES
from tests.shape.tree import ROOT

pytestmark = pytest.mark.slow

FEW = ("release-before-acknowledge", "commit-before-flush", "resume-off-by-one")
HARMLESS = """
import tempfile
from pathlib import Path
from tests.mistakes.mistake import Change, Mistake
from tests.mistakes.planting import Tree
text = "        self._position = self._control[HEAD]\\n        self._in_flight: deque"
test = "tests/simulation/test_framing.py::test_what_a_fetch_brings_again_is_in_no_second_frame"
with tempfile.TemporaryDirectory() as folder:
    Tree(Path(folder)).catch(Mistake("harmless", "nothing", test, (Change("engine/shm/ring.py", text, text),)))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_mistakes_are_caught() -> None:
    done = python("-m", "tests.mistakes", *FEW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(FEW)} caught, 0 not" in done.stdout


@pytest.mark.long
def test_every_mistake_is_caught() -> None:
    done = python("-m", "tests.mistakes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(MISTAKES)} caught, 0 not" in done.stdout


def test_what_nothing_catches_is_told() -> None:
    done = python("-c", HARMLESS)
    assert "PlantingError: harmless: nothing has caught it" in done.stderr
