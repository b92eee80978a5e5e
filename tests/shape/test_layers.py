"""Imports go down the stairs, and no process imports what its room forbids (.importlinter)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.shape.tree import ROOT, SHIPPED

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@pytest.mark.slow
def test_every_contract_of_imports_is_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_folder_of_a_package_says_what_it_is() -> None:
    # Without an __init__.py the import linter does not see a folder's modules.
    for name in SHIPPED:
        folders = {path.parent for path in (ROOT / name).rglob("*.py")}
        missing = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
        assert not missing
        assert all((folder / "__init__.py").read_text().startswith('"""') for folder in folders)
