"""What a module's header says of its neighbours is true: who uses it imports it, and a file it names is there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.shape.tree import ROOT, WRITTEN, modules

#: `Used by:` and what follows, to the next line that begins another subject, or the end.
USED_BY = re.compile(r"^Used by: (.*?)(?=^[A-Z]|\Z)", re.DOTALL | re.MULTILINE)
#: A module or folder of ours by its dotted path; words without a dot are prose ("supervisor", "the measurements").
DOTTED = re.compile(rf"\b(?:{'|'.join(WRITTEN)})(?:\.\w+)+")
FILE = re.compile(r"[\w/-]+\.py\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def header(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def importers() -> dict[str, set[str]]:
    """Who imports each module; who imports a folder counts for the modules that its `__init__.py` imports."""
    names = {dotted(path) for path in modules()}
    found: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    found[whole if whole in names else node.module or ""].add(dotted(path))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.name].add(dotted(path))
    for users in found.values():
        for folder in [user for user in users if (ROOT / user.replace(".", "/")).is_dir()]:
            users |= found.get(folder, set())
    return found


def nearby(path: Path, name: str) -> Path | None:
    """The file that a header means: beside it, by its path from here, or in the package's first folder."""
    places = (path.parent / name, ROOT / name, ROOT / path.relative_to(ROOT).parts[0] / name)
    return next((place for place in places if place.exists()), None)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_file_a_header_names_is_there(path: Path) -> None:
    assert [name for name in FILE.findall(header(path)) if nearby(path, name) is None] == []


@pytest.mark.parametrize("path", [path for path in modules() if USED_BY.search(header(path))], ids=name_of)
def test_who_a_header_says_uses_a_module_imports_it(path: Path) -> None:
    users = importers()[dotted(path)]
    said = "".join(USED_BY.findall(header(path)))
    files = [nearby(path, name) for name in FILE.findall(said)]
    named = {*DOTTED.findall(said), *(dotted(file) for file in files if file is not None)}
    assert {name for name in named if not any(f"{user}.".startswith(f"{name}.") for user in users)} == set()
