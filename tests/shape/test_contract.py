"""What plugins may import is a list in a file: nothing joins or leaves the contract by accident.

After a change that was meant, write what the failing test shows to tests/shape/api.txt, and tell users in CHANGELOG.md.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import engine.api
from tests.shape.tree import modules

LIST = Path(__file__).with_name("api.txt")


def public_names() -> list[str]:
    """Every public name of the contract, as `module.name`, sorted."""
    names = []
    for found in pkgutil.iter_modules(engine.api.__path__):
        module = importlib.import_module(f"engine.api.{found.name}")
        names += [f"{found.name}.{name}" for name in module.__all__]
    return sorted(names)


def test_the_contract_is_what_the_list_says() -> None:
    assert public_names() == LIST.read_text().split()


def test_every_public_name_exists() -> None:
    for name in public_names():
        module, _, attribute = name.partition(".")
        assert hasattr(importlib.import_module(f"engine.api.{module}"), attribute), name


def test_converters_and_connectors_use_public_names_only() -> None:
    public = set(public_names())
    submodules = {name.partition(".")[0] for name in public}
    for path in modules("converters", "connectors", "examples"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("engine.api."):
                names = {f"{(node.module or '').removeprefix('engine.api.')}.{alias.name}" for alias in node.names}
                assert names <= public, f"{path}:{node.lineno} imports {names - public}"
            elif isinstance(node, ast.ImportFrom) and node.module == "engine.api":
                assert {alias.name for alias in node.names} <= submodules
