"""Where this checkout is, and which of its files are ours.

Not here: the installed engine, which may be elsewhere (a wheel).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "SHIPPED", "functions", "modules", "texts"]

ROOT = Path(__file__).parents[2]
SHIPPED = ("engine", "converters", "connectors")
WRITTEN = (*SHIPPED, "bench", "tests", "examples")
TEXT_SUFFIXES = (".md", ".toml", ".ini", ".properties", ".json", ".yaml", ".yml", ".txt", ".xml", ".sh")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    """Every Python file below these folders of the checkout; all that we write by default."""
    found = (path for folder in folders or WRITTEN for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "__pycache__" not in path.parts)


def texts() -> list[Path]:
    """Every text file that is ours: code, documents, configuration."""
    documents = [path for folder in (*WRITTEN, "docs", "deploy", ".ci") for path in (ROOT / folder).rglob("*")]
    documents += ROOT.glob("*")
    return sorted(
        path
        for path in documents
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in (".py", *TEXT_SUFFIXES) or path.parent.name == ".ci")
    )


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a module, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node
