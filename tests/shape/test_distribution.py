"""One distribution, `millrace`, ships three packages and nothing else."""

from __future__ import annotations

import tomllib
from importlib import metadata

from tests.shape.tree import ROOT, SHIPPED


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
