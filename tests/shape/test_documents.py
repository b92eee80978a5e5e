"""What documents say of the code is true: exit codes, the places of the walk, links between pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.exits import ExitCode
from tests.shape.tree import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")
LINK = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")
EXIT_ROW = re.compile(r"^\| (\d+) \| `([A-Z_]+)` \|", re.MULTILINE)


def names_of(path: Path) -> set[str]:
    """Every name a module defines at its top, and `Class.member` for what its classes define."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        for name in _defined(node):
            found.add(name)
            if isinstance(node, ast.ClassDef):
                found.update(f"{name}.{member}" for inner in node.body for member in _defined(inner))
    return found


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def test_every_exit_code_is_documented_and_no_other() -> None:
    table = EXIT_ROW.findall((ROOT / "docs" / "operations.md").read_text())
    assert [(int(number), name) for number, name in table] == [(int(code), code.name) for code in ExitCode]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_and_page_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    for file, name in PLACE.findall(text):
        assert (ROOT / file).exists(), f"{file} is not there"
        assert name in names_of(ROOT / file), f"{file} has no {name}"
    for target in LINK.findall(text):
        assert (document.parent / target).exists(), f"{target} is not there"


def test_the_walk_names_a_place_at_every_step() -> None:
    steps = re.split(r"^\d+\. ", (ROOT / "docs" / "walk.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(steps) > 10
    assert all(PLACE.search(step) for step in steps)
