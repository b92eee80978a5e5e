"""A class by its path, "package.module:Class". Names and aliases are the catalog's business (catalog.py).

Used by: engine.plugins.catalog, engine.task.main.
"""

from __future__ import annotations

import importlib
from typing import Any

from engine.api.errors import NotFoundError

__all__ = ["load", "path_of"]


def load(path: str) -> type[Any]:
    """The class at "package.module:Class". Raises NotFoundError, with the reason when its module does not load."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a plugin's module may raise whatever it likes
        raise NotFoundError(f"class {path}: its module cannot be loaded: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise NotFoundError(f"class {path}: there is no such class in module {module_name}")
    return found


def path_of(cls: type[Any]) -> str:
    """The path that `load` takes."""
    return f"{cls.__module__}:{cls.__qualname__}"
