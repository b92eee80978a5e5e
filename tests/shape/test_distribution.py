"""One distribution, `millrace`, ships three packages and nothing else; what README's first line installs, works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.harness.engine import Millrace
from tests.shape.tree import ROOT, SHIPPED

#: README's way to watch it work.
FIRST_LINE = re.compile(r"(?m)^ {4}python3 -m venv \.venv && \.venv/bin/pip install -q \. && \.venv/bin/(\w+) (\w+)$")
BUILD_S = 120


def test_each_import_name_belongs_to_millrace_alone() -> None:
    owners = metadata.packages_distributions()
    for name in SHIPPED:
        assert set(owners[name]) == {"millrace"}
    for name in ("tests", "bench", "examples"):
        assert "millrace" not in owners.get(name, ())


def test_the_packages_are_named_one_by_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(named) == sorted([*SHIPPED, *(f"{name}.*" for name in SHIPPED)])


def test_an_installed_wheel_holds_nothing_else() -> None:
    files = metadata.distribution("millrace").files or []
    beside = {"LICENSE", "README.md", "pyproject.toml", "setup.cfg"}  # an editable install names its sources
    tops = {file.parts[0] for file in files if len(file.parts) > 1 and file.parts[0] != ".."}
    ours = {top for top in tops if not top.startswith("millrace") and top != "__pycache__"}
    assert ours <= set(SHIPPED)
    loose = {str(file) for file in files if len(file.parts) == 1 and not str(file).startswith("__editable__")}
    assert loose <= beside


def test_an_installed_wheel_holds_no_module_that_is_gone() -> None:
    # What an earlier build has left behind in build/lib would be shipped again.
    files = metadata.distribution("millrace").files or []
    modules = [file for file in files if file.parts[0] in SHIPPED and file.suffix == ".py"]
    assert [str(file) for file in modules if not (ROOT / file).exists()] == []


def test_every_entry_point_leads_to_a_class() -> None:
    points = [point for point in metadata.distribution("millrace").entry_points if point.group.startswith("millrace.")]
    assert points
    for point in points:
        assert isinstance(point.load(), type), point


@pytest.mark.slow
def test_the_wheel_that_the_first_line_of_the_readme_installs_is_whole_and_runs_what_it_names(tmp_path: Path) -> None:
    script, command = FIRST_LINE.findall((ROOT / "README.md").read_text())[0]
    wheel = tmp_path / "wheel"
    with zipfile.ZipFile(build_wheel(tmp_path)) as file:
        file.extractall(wheel)
    assert packed(wheel) == packed(ROOT)
    (told,) = metadata.distributions(name="millrace", path=[str(wheel)])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = {"console_scripts": project["scripts"], **project["entry-points"]}
    assert {(point.group, point.name, point.value) for point in told.entry_points} == {
        (group, name, value) for group, named in points.items() for name, value in named.items()
    }
    (module, function) = project["scripts"][script].split(":")
    start = f"import {module}, sys; print({module}.__file__, file=sys.stderr); {module}.{function}()"
    run = [sys.executable, "-c", start]
    where = {"PYTHONPATH": str(wheel)}
    with Millrace(command, "--records", "1000", folder=tmp_path / "run", environment=where, command=run) as millrace:
        assert millrace.wait() == 0, millrace.stderr
    assert millrace.stderr.startswith(f"{wheel}/")
    assert "1,000 records in, 1,000 records out" in millrace.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built as pip does it, from a copy: what a build leaves behind lies there."""
    source = folder / "source"
    for name in SHIPPED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=BUILD_S)
    (wheel,) = folder.glob("millrace-*.whl")
    return wheel


def packed(root: Path) -> set[str]:
    """The files of the three packages: modules, and whatever else they need."""
    files = (path for name in SHIPPED for path in (root / name).rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}
