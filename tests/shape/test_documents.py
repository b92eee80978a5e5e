"""What documents say of the code is true: exit codes, the places of the walk, links between pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bench.line.table import HEADS
from engine.exits import ExitCode
from tests.shape.tree import ROOT

FOLDERS = ("bench", "docs", "examples")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")
LINK = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")
#: What `python -m bench.line --readme` writes.
TABLE = re.compile(r"<!-- table -->\n(.*)<!-- table -->", re.DOTALL)
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


def test_every_module_and_folder_of_the_engine_is_in_the_tree() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text().partition("## The tree")[2]
    named = set(re.findall(r"(\w+)(?:\.py|/)", drawn))
    folder = ROOT / "engine"
    there = {path.stem for path in (*folder.glob("[a-z]*.py"), *(init.parent for init in folder.glob("*/__init__.py")))}
    assert there <= named


def test_what_was_measured_stands_beside_how() -> None:
    (text,) = TABLE.findall((ROOT / "bench" / "README.md").read_text())
    tables = [part.strip().splitlines() for part in text.split("\n\n") if part.startswith("|")]
    published = [tuple(cell.strip() for cell in head.strip("|").split("|")) for head, *_ in tables]
    # What was not run has no table, but its place.
    known = iter(HEADS)
    assert published and all(any(head == one for one in known) for head in published), (
        f"bench/README.md has other heads than bench/line/table.py makes (python -m bench.line --readme): {published}"
    )
    assert all(len(rows) > 2 for rows in tables), "a head and no row"


def test_the_walk_names_a_place_at_every_step() -> None:
    steps = re.split(r"^\d+\. ", (ROOT / "docs" / "walk.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(steps) > 10
    assert all(PLACE.search(step) for step in steps)
