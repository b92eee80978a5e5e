"""Plants a mistake in a copy of the tree, and sees whether it is caught, and for a good reason.

    copy of the tree ──► replace the text ──► run the test that must notice ──► it must fail, by a claim of ours
                                                                                the text is put back

Seeds count up to SEEDS_MAX. A test that cannot be imported, or that ends in an error of the language, has noticed
nothing. The same test passes on the copy as it is, which is run first.

Used by: tests.mistakes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import confluent_kafka.admin
import hypothesis
import pytest
from msgspec import Struct

from tests.mistakes.mistake import Mistake, is_by_seeds
from tests.shape.tree import ROOT, SHIPPED
from tests.simulation.seeds import SEEDS_KEY

__all__ = ["Caught", "PlantingError", "Tree", "stale"]

SEEDS_MAX = 1_000
#: Of a copy without a mistake; the simulation itself runs many more.
SEEDS_WITHOUT = 20
SECONDS_MAX = 1_800
#: What a child has imported already.
PREPARED = (confluent_kafka.admin, hypothesis, pytest)
#: What a test says that has noticed something; anything else is an accident.
_GOOD = re.compile(
    r"assert |(?:[\w.]+\.)?(?:AssertionError|Wrong|LedgerError|CorruptFrameError|RetriableError|Failed)\b"
)
#: A text that is planted wrongly, rather than a mistake.
LANGUAGE = re.compile(r"\b(?:Import|ModuleNotFound|Syntax|Indentation|Name|Attribute|Type|UnboundLocal)Error\b")
_REASON = re.compile(r"^E +(.*)$", re.MULTILINE)
_FAILED = re.compile(r"^FAILED (\S+?)(?:\[(.*)\])?(?: - .*)?$", re.MULTILINE)


class PlantingError(Exception):
    """A mistake cannot be planted, or nothing good can be said of what came of it."""


class Caught(Struct, frozen=True):
    """How a mistake was noticed."""

    at: str  # the seed, or what else stands in the test's brackets; empty: nothing does
    said: str
    seconds: float


def stale(mistake: Mistake, root: Path = ROOT) -> str:
    """Why a mistake cannot be planted any more; empty: it can."""
    for change in mistake.changes:
        count = (root / change.file).read_text().count(change.old)
        if count != 1:
            return f"{mistake.name}: {change.file} has this {count} times, not once: {change.old!r}"
    return ""


class Tree:
    """A copy of the tree, in a folder that is the caller's to remove."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passed: set[str] = set()
        skipped = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
        for name in (*SHIPPED, "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=skipped)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def catch(self, mistake: Mistake) -> Caught:
        """Plant a mistake and see it caught. Raises PlantingError when it is not, or cannot be planted."""
        if why := stale(mistake, self._folder):
            raise PlantingError(why)
        self._require_pass(mistake)
        before = {change.file: (self._folder / change.file).read_text() for change in mistake.changes}
        try:
            for change in mistake.changes:
                path = self._folder / change.file
                path.write_text(path.read_text().replace(change.old, change.new))
            begin = time.monotonic()
            code, output = self._run(mistake, SEEDS_MAX)
            seconds = time.monotonic() - begin
        finally:
            for file, text in before.items():
                (self._folder / file).write_text(text)
        if code == 0:
            raise PlantingError(f"{mistake.name}: nothing has caught it ({mistake.caught_by})")
        if code < 0:
            raise PlantingError(f"{mistake.name}: no end after {SECONDS_MAX} s ({mistake.caught_by})")
        return _judged(mistake, output, seconds)

    def _require_pass(self, mistake: Mistake) -> None:
        if mistake.caught_by in self._passed:
            return
        code, output = self._run(mistake, SEEDS_WITHOUT)
        if code != 0:
            raise PlantingError(f"{mistake.caught_by} fails without a mistake:\n{output}")
        self._passed.add(mistake.caught_by)

    def _run(self, mistake: Mistake, seeds: int) -> tuple[int, str]:
        """Run what must notice in a child; returns its exit code, and what it wrote.

        It is forked, and not started anew, because this process has imported what is not ours: three seconds each.
        """
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if not pid:
                _become_a_test_run(self._folder, output.fileno(), str(seeds) if is_by_seeds(mistake) else "")
                arguments = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", "", mistake.caught_by]
                os._exit(pytest.main(arguments))
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


def _become_a_test_run(folder: Path, output: int, seeds: str) -> None:
    """Be a process that has imported nothing of ours, stands in the copy, and writes to `output`; for a child."""
    signal.alarm(SECONDS_MAX)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ[SEEDS_KEY] = seeds
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    for name in list(sys.modules):
        if name.partition(".")[0] in (*SHIPPED, "tests"):
            del sys.modules[name]


def _judged(mistake: Mistake, output: str, seconds: float) -> Caught:
    failed = _FAILED.search(output)
    reasons = [line.strip() for line in _REASON.findall(output) if line.strip()]
    good = [line for line in reasons if _GOOD.match(line)]
    if failed is None or not good or LANGUAGE.search("\n".join(reasons)):
        raise PlantingError(f"{mistake.name}: the test ends for no good reason:\n{output[-4_000:]}")
    said = re.sub(r" at 0x\w+", "", good[0].partition(": ")[2] or good[0])
    return Caught(failed[2] or "", said, seconds)
