"""Plugins apart: environments of their own, each with its versions of whatever it needs.

    plugin.path=/opt/plugins            Python's own library
      /opt/plugins/orders   (venv)      the connector's environment, then those of its converters and transforms
      /opt/plugins/stock    (venv)  ──► the worker's                    the path of a process that has entered them

Environments are found and read by their metadata; nothing in them is imported until a process enters one: a task
process after its fork, or the probe that asks their plugins. What such a process has imported before stays as it is,
Millrace itself above all, and `KEPT`.

Used by: engine.plugins.catalog, engine.plugins.apart, engine.task.main.
Not here: making one (installing.py), which plugin a name means (catalog.py).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = [
    "KEPT",
    "OURS",
    "Environment",
    "clashes",
    "distributions",
    "enter",
    "find_environments",
    "has_module",
    "unmet",
]

#: Millrace's own packages, whatever else is called so in an environment.
OURS = ("engine", "connectors", "converters")
#: Distributions that are imported before a task's process is forked: no environment can have another version of them.
KEPT = (
    "annotated-doc",
    "confluent-kafka",
    "msgspec",
    "orjson",
    "packaging",
    "setproctitle",
    "shellingham",
    "typer",
    "typing-extensions",
    "xxhash",
)
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Environment(Struct, frozen=True):
    """One of them."""

    path: str  # as people know it: the virtual environment, or the folder
    folder: str  # what is put on the path: its site-packages, or the same folder


class Found(Struct, frozen=True):
    """What the elements of `plugin.path` hold."""

    environments: tuple[Environment, ...]
    complaints: tuple[str, ...]  # of elements that are none


def find_environments(elements: Iterable[str]) -> Found:
    """The environments that `plugin.path` names: virtual environments, folders of packages, and folders of those."""
    environments: dict[str, Environment] = {}
    complaints = []
    for element in filter(None, (text.strip() for text in elements)):
        path = Path(element).absolute()
        try:
            found = _of(path)
            inner = [] if found else [path / name for name in sorted(each.name for each in path.iterdir())]
            found = found or [one for folder in inner if folder.is_dir() for one in _of(folder)]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            complaints.append(f"{element}: {reason}; it is left out")
            continue
        if not found:
            complaints.append(f"{element}: {_nothing(inner)}; it is left out")
        environments |= {one.folder: one for one in found}
    return Found(tuple(environments.values()), tuple(complaints))


def enter(folders: Sequence[str]) -> None:
    """Put environments on this process's path, the first before the others, all before the worker's.

    For the rest of its life: what is imported stays. Call it once, before plugins are loaded.
    """
    if not folders:
        return
    for name in OURS:
        importlib.import_module(name)  # from now on its modules are found where it is
    before = list(sys.path)
    for folder in folders:
        site.addsitedir(folder)
    added = [path for path in sys.path if path not in before]
    own = {str(Path(path)) for path in _own_library()}
    sys.path[:] = [
        *(path for path in before if path in own),
        *added,
        *(path for path in before if path not in own),
    ]
    importlib.invalidate_caches()


def distributions(environment: Environment) -> Iterator[importlib.metadata.Distribution]:
    """What is installed there, but for a copy of Millrace itself."""
    for distribution in importlib.metadata.distributions(path=[environment.folder]):
        if distribution.metadata["Name"] and canonicalize_name(distribution.name) != "millrace":
            yield distribution


def has_module(environment: Environment, module: str) -> bool:
    """Whether the package or module that `module` lies in is there."""
    top = module.partition(".")[0]
    folder = Path(environment.folder)
    return top not in OURS and ((folder / top).is_dir() or any(folder.glob(f"{top}.*")))


def unmet(environment: Environment) -> list[str]:
    """What is required there in a version that it cannot have, because the worker's has been imported before."""
    found = []
    for distribution in distributions(environment):
        for text in distribution.requires or ():
            try:
                needed = Requirement(text)
            except InvalidRequirement:
                continue
            version = _kept_version(needed)
            if version and not needed.specifier.contains(version, prereleases=True):
                found.append(
                    f"{environment.path}: {distribution.name} {distribution.version} needs {needed.name} "
                    f"{needed.specifier}, and the worker's is {version}: an environment cannot replace it, as it is "
                    f"imported before a task's process starts; install a {distribution.name} that takes it, or give "
                    "the worker another one"
                )
    return found


def clashes(environments: Sequence[Environment]) -> list[str]:
    """Of which distributions several of these environments have different versions, and whose counts."""
    first: dict[str, tuple[str, str]] = {}
    found = []
    for environment in environments:
        for distribution in distributions(environment):
            name, version = canonicalize_name(distribution.name), distribution.version
            path, counts = first.setdefault(name, (environment.path, version))
            if counts != version:
                found.append(
                    f"{environment.path} has {name} {version}, {path} has {counts}, and both are on the path of its "
                    f"processes: {counts} counts"
                )
    return found


def _of(path: Path) -> list[Environment]:
    """The one environment that this folder is, or none. Raises OSError, ValueError."""
    if (path / "pyvenv.cfg").is_file():
        folder = path / "lib" / _PYTHON / "site-packages"
        if not folder.is_dir():
            made_for = ", ".join(sorted(each.parent.name for each in path.glob("lib/python*/site-packages")))
            raise ValueError(
                f"a virtual environment of {made_for or 'another system'}, and this worker runs {_PYTHON}: "
                "make it anew with this one"
            )
        return [Environment(str(path), str(folder))]
    names = [each.name for each in path.iterdir()]
    has_packages = any(name.endswith((".dist-info", ".egg-info", ".py")) for name in names)
    if has_packages or any((path / name / "__init__.py").is_file() for name in names):
        return [Environment(str(path), str(path))]
    return []


def _nothing(inner: Sequence[Path]) -> str:
    if any(each.suffix == ".jar" or any(each.glob("*.jar")) for each in inner):
        return "Java's plugins, which are not loaded: plugins are Python packages here"
    return "neither a virtual environment, nor a folder of Python packages, nor a folder of those"


def _kept_version(needed: Requirement) -> str:
    """The worker's version of what is needed here and kept; empty: another one can be had."""
    if canonicalize_name(needed.name) not in KEPT or (needed.marker and not needed.marker.evaluate({"extra": ""})):
        return ""
    return importlib.metadata.version(needed.name)


def _own_library() -> list[str]:
    """Where Python's own library is."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return [*paths, *(str(Path(path) / "lib-dynload") for path in paths), str(Path(paths[0]).parent / archive)]
