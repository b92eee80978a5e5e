"""`millrace plugins` shows what is where, and `millrace plugins install` says how to use what it has made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import launch
from engine.exits import ExitCode
from tests.harness.environments import install, virtual, wheel
from tests.unit.plugins.test_environment import CONNECTORS, SHOP, shop

pytestmark = pytest.mark.slow


def test_the_list_has_the_place_of_each_plugin_and_why_one_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path / "plugins" / "good", "1.0", "0.9")
    points = {CONNECTORS: {"Broken": "broken:Broken"}}
    install(virtual(tmp_path / "plugins" / "bad"), "bad", "2.0", {"broken.py": "import absent"}, points=points)
    assert launch.list_plugins([str(tmp_path / "plugins"), str(tmp_path / "nowhere")]) == ExitCode.OK
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if "shop:Shop" in line]
    assert line.split()[:4] == ["source", "shop:Shop", "1.0", str(tmp_path / "plugins" / "good")]
    assert "cannot be used: class broken:Broken: its module cannot be loaded: ModuleNotFoundError" in out
    assert f"warning: {tmp_path / 'nowhere'}: No such file or directory" in err


def test_the_list_for_machines_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop(tmp_path / "good", "1.0", "0.9")
    assert launch.list_plugins([str(tmp_path / "good")], prints_json=True) == ExitCode.OK
    plugins = {plugin["path"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    assert plugins["shop:Shop"]["origin"] == "shop-connector 1.0"
    assert plugins["connectors.null:NullSinkConnector"]["location"] == ""


@pytest.mark.long
def test_what_is_installed_is_listed_with_the_key_that_uses_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = SHOP.replace("import rulers", "").replace("rulers.VERSION", "''")
    made = wheel(tmp_path, "shop-connector", "1.0", {"shop.py": text}, points={CONNECTORS: {"Shop": "shop:Shop"}})
    folder = tmp_path / "plugins"
    options = ["--no-index", "--quiet"]
    assert launch.install_plugin(str(made), folder, version="", name="mine", options=options) == ExitCode.OK
    out = capfd.readouterr().out
    assert "source           shop:Shop" in out
    assert f"installed in {folder / 'mine'}\nto use it, give the worker: plugin.path={folder}\n" in out
    assert launch.install_plugin(str(made), folder, version="", name="mine", options=options) == ExitCode.FAILED
    assert f"millrace: {folder / 'mine'} is there already" in capfd.readouterr().err
