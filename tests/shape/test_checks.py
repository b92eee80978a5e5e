"""Formatter, linter and type checker have nothing to say; each takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.shape.tree import ROOT

CHECK_SECONDS_MAX = 300

CHECKS = [
    pytest.param(["ruff", "format", "--check", "--diff", "."], id="format"),
    pytest.param(["ruff", "check", "."], id="lint"),
    pytest.param(["mypy", "--no-incremental"], id="types"),
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", CHECKS)
def test_a_check_finds_nothing(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
