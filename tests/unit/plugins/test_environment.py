"""Environments are found and read without importing anything, and entered in a process of their own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.plugins.apart import Apart, environments_of, named_plugins
from engine.plugins.catalog import Catalog, Found, discover
from engine.plugins.environment import KEPT, OURS, clashes, find_environments, unmet
from engine.plugins.listing import as_rest, listing
from engine.plugins.versions import ranges_of
from tests.harness.environments import install, virtual

CONNECTORS = "millrace.connectors"
APART = Apart(lambda *_: None, 30.0)
SHOP = """
from engine.api.connector import SourceConnector
from engine.api.task import SourceTask
import rulers

class ShopTask(SourceTask):
    def start(self, config): pass
    def poll(self): return None

class Shop(SourceConnector):
    task = ShopTask
    def task_configs(self, tasks_max): return [{"rulers": rulers.VERSION}]
"""


def shop(folder: Path, version: str, rulers: str, *, text: str = SHOP) -> Path:
    """An environment with a connector, and the version of the library that it needs."""
    site = virtual(folder)
    install(site, "shop-connector", version, {"shop.py": text}, points={CONNECTORS: {"Shop": "shop:Shop"}})
    install(site, "rulers", rulers, {"rulers/__init__.py": f"VERSION = '{rulers}'"})
    return folder


def asked(catalog: Catalog, version: str = "") -> str:
    """What the connector of that version says where its environment is entered."""
    named = named_plugins({"connector.class": "Shop", "connector.plugin.version": version}, {})
    folders = [one.folder for one in environments_of(catalog, named)]

    def question(_: object) -> bytes:
        made = catalog.find("connector", "Shop", ranges_of(version))()
        own = catalog.version(Found("connector", "Shop", type(made)), folders)
        return f"{own} {made.task_configs(1)[0]['rulers']}".encode()

    return APART.ask(folders, question).decode()


def test_a_path_names_virtual_environments_folders_of_packages_and_folders_of_those(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    shop(plugins / "a", "1.0", "1")
    install(plugins / "b", "books", "2", {"books.py": ""})
    (plugins / "notes").mkdir()
    (tmp_path / "loose" / "mine").mkdir(parents=True)
    (tmp_path / "loose" / "mine" / "__init__.py").touch()
    found = find_environments([str(plugins), "", str(tmp_path / "loose"), str(plugins / "a")])
    assert [Path(one.path).name for one in found.environments] == ["a", "b", "loose"]
    assert found.environments[0].folder.endswith("site-packages")
    assert found.complaints == ()


def test_what_is_no_environment_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyvenv.cfg").touch()
    (tmp_path / "other" / "lib" / "python2.7" / "site-packages").mkdir(parents=True)
    (tmp_path / "java" / "jdbc").mkdir(parents=True)
    (tmp_path / "java" / "jdbc" / "jdbc.jar").touch()
    (tmp_path / "empty").mkdir()
    names = ["absent", "other", "java", "empty"]
    found = find_environments(str(tmp_path / name) for name in names)
    assert not found.environments
    reasons = ["No such file", "of python2.7, and this worker runs", "Java's plugins", "neither a virtual environment"]
    for name, reason, complaint in zip(names, reasons, found.complaints, strict=True):
        assert complaint.startswith(str(tmp_path / name))
        assert reason in complaint


@pytest.mark.slow
def test_two_versions_of_a_plugin_are_there_at_once_each_with_its_own_library(tmp_path: Path) -> None:
    shop(tmp_path / "old", "1.0", "0.9")
    shop(tmp_path / "new", "2.0", "3.1")
    catalog = discover([str(tmp_path)])
    assert asked(catalog) == "2.0 3.1"
    assert asked(catalog, "latest") == "2.0 3.1"
    assert asked(catalog, "1.0") == "1.0 0.9"
    assert asked(catalog, "[1.0,2.0)") == "1.0 0.9"
    assert "shop" not in sys.modules


def test_a_version_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    shop(tmp_path / "old", "1.0", "0.9")
    shop(tmp_path / "new", "2.0", "3.1")
    with pytest.raises(ConfigError) as caught:
        asked(discover([str(tmp_path)]), "[3,)")
    text = "Plugin shop.Shop not found that matches the version range [3,), available versions: [1.0, 2.0]"
    assert [(problem.key, problem.message) for problem in caught.value.problems] == [
        ("", text),
        ("plugin.version", text),
    ]


def test_a_class_that_nobody_registered_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "unregistered.py").write_text(SHOP.replace("import rulers", "").replace("rulers.VERSION", "'none'"))
    catalog = discover([str(tmp_path)])
    named = list(named_plugins({"connector.class": "unregistered.Shop"}, {}))
    (environment,) = environments_of(catalog, named)
    assert (
        APART.ask([environment.folder], lambda _: catalog.find("connector", named[0].name).__name__.encode()) == b"Shop"
    )


def test_a_converter_is_taken_from_beside_its_connector_before_a_newer_one_elsewhere(tmp_path: Path) -> None:
    for name, version in (("a", "1.0"), ("b", "2.0")):
        site = virtual(tmp_path / name)
        install(site, "texts", version, {"texts.py": ""}, points={"millrace.converters": {"Texts": "texts:Texts"}})
    install(site.parents[2].parent / "a" / site.relative_to(tmp_path / "b"), "shop", "1", {"shop.py": SHOP},
            points={CONNECTORS: {"Shop": "shop:Shop"}})  # fmt: skip
    catalog = discover([str(tmp_path)])
    properties = {"connector.class": "Shop"}
    beside = environments_of(catalog, named_plugins(properties, {"key.converter": "Texts"}))
    assert [Path(one.path).name for one in beside] == ["a"]
    wanted = {**properties, "key.converter": "Texts", "key.converter.plugin.version": "2.0"}
    assert [Path(one.path).name for one in environments_of(catalog, named_plugins(wanted, {}))] == ["a", "b"]
    assert clashes(beside) == []
    (clash,) = clashes(environments_of(catalog, named_plugins(wanted, {})))
    assert "has texts 2.0" in clash
    assert "1.0 counts" in clash


def test_a_version_that_another_environment_hides_is_refused(tmp_path: Path) -> None:
    text = "from engine.api.converter import RecordConverter\nclass Texts(RecordConverter):\n"
    text += "".join(f"    def {name}(self, *_): pass\n" for name in ("from_connect_value", "to_connect_value"))
    sites = {}
    for name, version in (("a", "1.0"), ("b", "2.0")):
        sites[name] = virtual(tmp_path / name)
        points = {"millrace.converters": {"Texts": "texts:Texts"}}
        install(sites[name], "texts", version, {"texts.py": text}, points=points)
    catalog = discover([str(tmp_path)])

    def question(_: object) -> bytes:
        return catalog.find("converter", "Texts", ranges_of("2.0")).__name__.encode()

    assert APART.ask([str(sites["b"]), str(sites["a"])], question) == b"Texts"
    with pytest.raises(ConfigError, match=r"version 1\.0 is loaded, from .*/a/.*, and \[2\.0,2\.0\] is wanted"):
        APART.ask([str(sites["a"]), str(sites["b"])], question)


def test_millrace_itself_is_never_an_environments_own(tmp_path: Path) -> None:
    site = virtual(tmp_path / "copy")
    fakes = {f"{name}/__init__.py": "raise RuntimeError('a copy')" for name in OURS}
    install(site, "millrace", "9", fakes, points={CONNECTORS: {"NullSink": "connectors.null:NullSinkConnector"}})
    catalog = discover([str(tmp_path)])
    assert catalog.home("connector", "NullSink").folder == ""
    assert (
        APART.ask([str(site)], lambda _: catalog.find("connector", "NullSink").__name__.encode())
        == b"NullSinkConnector"
    )


@pytest.mark.slow
def test_pythons_own_library_comes_before_an_environment(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('no such library')")
    program = (
        "import sys; from engine.plugins.environment import enter; sys.modules.pop('json', None); "
        f"enter([{str(tmp_path)!r}]); import json; print(json.__file__)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in printed


def test_a_library_that_cannot_be_replaced_is_told_when_another_version_is_needed(tmp_path: Path) -> None:
    site = virtual(tmp_path / "wants")
    requires = ["msgspec<0.1", "orjson>=1", 'xxhash<0.1; python_version < "3"', "rulers<1"]
    install(site, "shop-connector", "1.0", {}, requires=requires)
    (environment,) = find_environments([str(tmp_path)]).environments
    (told,) = unmet(environment)
    assert f"shop-connector 1.0 needs msgspec <0.1, and the worker's is {importlib.metadata.version('msgspec')}" in told


@pytest.mark.slow
def test_what_is_imported_before_a_fork_is_what_the_documents_say() -> None:
    program = """
import sys, importlib.metadata
import engine.command_line, engine.launch
engine.launch.boot.warm()
owners = importlib.metadata.packages_distributions()
modules = {name.partition(".")[0] for name in sys.modules}
print(*sorted({owner.lower().replace("_", "-") for name in modules for owner in owners.get(name, ())}))
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    # Setuptools puts itself there when Python starts; coverage and the like may as well.
    assert set(printed.split()) - {"millrace", "setuptools"} <= set(KEPT)
    page = Path("docs/plugins.md").read_text()
    assert all(f"`{name}`" in page for name in KEPT)


@pytest.mark.slow
def test_a_broken_environment_costs_only_itself(tmp_path: Path) -> None:
    shop(tmp_path / "good", "1.0", "0.9")
    site = virtual(tmp_path / "bad")
    points = {"Crash": "crash:Crash", "Raise": "raises:Raise", "Fine": "fine:Shop"}
    fine = SHOP.replace("import rulers", "").replace("rulers.VERSION", "''")
    modules = {"crash.py": "import os; os.abort()", "raises.py": "raise OSError('no licence')", "fine.py": fine}
    install(site, "bad", "1.0", modules, points={CONNECTORS: points})
    found = {info.path: info for info in listing(discover([str(tmp_path)]), APART)}
    assert "SIGABRT" in found["crash:Crash"].problem
    assert "no licence" in found["raises:Raise"].problem
    assert not found["fine:Shop"].problem
    assert (found["shop:Shop"].type, found["shop:Shop"].version) == ("source", "1.0")
    assert found["shop:Shop"].location == str(tmp_path / "good")
    assert {"class": "shop.Shop", "type": "source", "version": "1.0"} in as_rest(found.values())


def test_metadata_that_cannot_be_read_are_told_and_cost_only_themselves(tmp_path: Path) -> None:
    shop(tmp_path / "good", "1.0", "0.9")
    site = virtual(tmp_path / "bad")
    install(site, "bad", "1.0", {})
    (site / "bad-1.0.dist-info" / "entry_points.txt").write_text("[millrace.connectors]\nno sign of a value\n")
    catalog = discover([str(tmp_path)])
    assert str(tmp_path / "bad") in catalog.complaints[0]
    assert asked(catalog) == "1.0 0.9"
