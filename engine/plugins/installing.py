"""Making an environment for plugins: a virtual environment that has the worker's packages at hand, filled by pip.

    FOLDER/NAME/pyvenv.cfg, lib/python3.x/site-packages
                 millrace-worker.pth       what the worker has is not installed again: Millrace, for one
                 millrace-constraints.txt  what an environment cannot replace stays as the worker has it

Used by: engine.launch.
Not here: how environments are found and used (environment.py).
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from engine.api.errors import ConnectError
from engine.plugins.environment import KEPT, find_environments

__all__ = ["install"]


def install(package: str, folder: Path, *, version: str = "", name: str = "", options: Sequence[str] = ()) -> Path:
    """Make an environment in `folder` with this package; returns where it is.

    package: what pip takes: a name, with a version or without, a wheel's file, a project's folder. options: pip's own.
    Raises ConnectError; then nothing is left behind.
    """
    wanted = f"{package}=={version}" if version else package
    path = folder / (name or _name_of(wanted))
    if path.exists():
        raise ConnectError(f"{path} is there already: remove it first, or give this one another name (--name)")
    try:
        _make(path)
        _fill(path, wanted, options)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def _name_of(wanted: str) -> str:
    """What people would call an environment of this package. Raises ConnectError."""
    if wanted.endswith(".whl"):
        try:
            name, version, *_ = parse_wheel_filename(Path(wanted).name)
        except ValueError as error:
            raise ConnectError(f"{wanted}: {error}") from error
        return f"{name}-{version}"
    if "/" in wanted or (wanted and Path(wanted).is_dir()):
        return canonicalize_name(Path(wanted).absolute().name)
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement as error:
        raise ConnectError(f"{wanted}: {error}; expected a package as pip takes it, such as orders==1.2") from error
    versions = re.sub(r"[^0-9A-Za-z.]+", "-", str(requirement.specifier)).strip("-")
    return "-".join(filter(None, (canonicalize_name(requirement.name), versions)))


def _make(path: Path) -> None:
    try:
        # pip itself is the worker's, or the one that comes with Python: an environment needs none of its own.
        venv.create(path, with_pip=not _has_pip())
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConnectError(f"cannot make a virtual environment in {path}: {error}") from error
    found = find_environments([str(path)])
    assert len(found.environments) == 1, found.complaints
    site = Path(found.environments[0].folder)
    places = dict.fromkeys(str(Path(text).absolute()) for text in sys.path if text.endswith("-packages"))
    (site / "millrace-worker.pth").write_text("".join(f"{place}\n" for place in places))
    kept = [f"{name}=={importlib.metadata.version(name)}\n" for name in KEPT if _is_installed(name)]
    (path / "millrace-constraints.txt").write_text("".join(kept))


def _fill(path: Path, wanted: str, options: Sequence[str]) -> None:
    python = str(path / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python] if _has_pip() else [python, "-m", "pip"]
    constraints = ["--constraint", str(path / "millrace-constraints.txt")]
    # What pip says, it says to the person who asked.
    done = subprocess.run([*pip, "install", *constraints, *options, wanted], stdout=sys.stderr, check=False)
    if done.returncode:
        raise ConnectError(f"pip could not install {wanted}: it says why above, and nothing is left behind")


def _has_pip() -> bool:
    return _is_installed("pip")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
