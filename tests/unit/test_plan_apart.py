"""A plan with plugins of environments asks each connector where its own are, and nothing of one reaches another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.api.errors import ConfigError
from engine.config.files import Pipeline, load
from engine.herder.model import Plan as PlanOrder
from engine.herder.model import Planned
from engine.looking import plan_one
from engine.plan import Plan, PlanOptions, make_plan
from tests.harness.environments import install, virtual
from tests.unit.plugins.test_environment import CONNECTORS, SHOP, shop

OPTIONS = PlanOptions(worker_id="w1")
PLAIN = '[connectors.plain]\n"connector.class" = "NullSink"\ntopics = "a"\n'
PROVIDER = """
from engine.api.provider import ConfigProvider
import vaults

class Vault(ConfigProvider):
    def configure(self, parameters): pass
    def get(self, path, keys): return {key: "5" for key in keys}
"""


def pipeline(folder: Path, connectors: str, worker: str = "") -> Pipeline:
    file = folder / "pipeline.toml"
    file.write_text(
        f"""
[worker]
"bootstrap.servers" = "localhost:1"
"key.converter" = "StringConverter"
"value.converter" = "StringConverter"
"plugin.path" = "{folder / "plugins"}"
{worker}
{connectors}
"""
    )
    return load([file])


def connector(name: str, *lines: str) -> str:
    return "\n".join([f"[connectors.{name}]", '"connector.class" = "Shop"', *lines, ""])


def rulers_of(plan: Plan) -> dict[str, str]:
    return {line.connector: line.task_config["rulers"] for line in plan.lines if "rulers" in line.task_config}


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder with two versions of a connector, each with a library that the other cannot use."""
    shop(tmp_path / "plugins" / "old", "1.0", "0.9")
    shop(tmp_path / "plugins" / "new", "2.0", "3.1")
    return tmp_path / "plugins"


@pytest.mark.slow
def test_connectors_with_other_versions_of_a_library_are_planned_together(tmp_path: Path, plugins: Path) -> None:
    files = pipeline(tmp_path, connector("a", '"connector.plugin.version" = "1.0"') + PLAIN + connector("b"))
    plan = make_plan(files, OPTIONS)
    assert [line.connector for line in plan.lines] == ["a", "plain", "b"]
    assert rulers_of(plan) == {"a": "0.9", "b": "3.1"}
    folders = {line.connector: line.environments for line in plan.lines}
    assert folders["plain"] == ()
    assert [Path(folder).is_relative_to(plugins / "old") for folder in folders["a"]] == [True]
    assert [Path(folder).is_relative_to(plugins / "new") for folder in folders["b"]] == [True]


@pytest.mark.slow
def test_what_is_wrong_in_environments_is_told_with_everything_else(tmp_path: Path, plugins: Path) -> None:
    site = virtual(plugins / "crash")
    crash = (
        SHOP.replace("import rulers", "import os")
        .replace("class Shop(", "class Crash(")
        .replace("return [{", "os.abort() or [{")
    )
    install(
        site, "crash", "1.0", {"crash.py": crash}, points={CONNECTORS: {"Crash": "crash:Crash"}}, requires=["orjson<1"]
    )
    files = pipeline(
        tmp_path,
        connector("a", '"connector.plugin.version" = "[9,)"')
        + connector("b", '"tasks.max" = 0')
        + connector("c").replace('"Shop"', '"Crash"'),
        '"key.converter.plugin.version" = "]"\n"plugin.discovery" = "Only_Scan"',
    )
    with pytest.raises(ConfigError) as caught:
        make_plan(files, OPTIONS)
    text = "Plugin shop.Shop not found that matches the version range [9,), available versions: [1.0, 2.0]"
    expected = [
        f"connector a: {text}",
        "connector b: Invalid value 0 for configuration tasks.max: Value must be at least 1",
        "connector c: task_configs: its process crashed with signal 6 (SIGABRT)",
        "Invalid value ] for configuration key.converter.plugin.version: ] is no version",
    ]
    texts = [str(problem) for problem in caught.value.problems]
    for one in expected:
        assert sum(one in text for text in texts) == 1, (one, texts)


@pytest.mark.slow
def test_a_library_that_cannot_be_replaced_is_refused(tmp_path: Path, plugins: Path) -> None:
    install(plugins / "new" / "lib", "x", "1", {})
    site = next((plugins / "new").glob("lib/*/site-packages"))
    install(site, "wants", "1.0", {}, requires=["orjson<1"])
    with pytest.raises(ConfigError, match=r"connector a: .*wants 1.0 needs orjson <1, and the worker's is"):
        make_plan(pipeline(tmp_path, connector("a")), OPTIONS)


@pytest.mark.slow
def test_a_config_provider_of_an_environment_answers_for_all(tmp_path: Path, plugins: Path) -> None:
    site = virtual(plugins / "vault")
    install(
        site,
        "vault",
        "1.0",
        {"vault.py": PROVIDER, "vaults.py": "", "rulers.py": "raise RuntimeError('not these')"},
        points={"millrace.config_providers": {"Vault": "vault:Vault"}},
    )
    worker = '"config.providers" = "v"\n"config.providers.v.class" = "Vault"'
    plan = make_plan(pipeline(tmp_path, connector("a", '"poll.ms" = "${v:x:y}"'), worker), OPTIONS)
    assert rulers_of(plan) == {"a": "3.1"}
    assert "5" in plan.secrets


@pytest.mark.slow
def test_a_plugin_path_that_leads_nowhere_is_an_error_in_toml_and_a_warning_elsewhere(tmp_path: Path) -> None:
    files = pipeline(tmp_path, PLAIN)
    with pytest.raises(ConfigError, match=r"plugin.path: .*plugins: No such file or directory; it is left out"):
        make_plan(files, OPTIONS)
    properties = tmp_path / "w.properties"
    sink = tmp_path / "sink.properties"
    sink.write_text("name=plain\nconnector.class=NullSink\ntopics=a\n")
    properties.write_text(
        f"key.converter=StringConverter\nvalue.converter=StringConverter\noffset.storage.file.filename=o\n"
        f"plugin.path={tmp_path}/absent\n"
    )
    (warning,) = make_plan(load([properties, sink]), OPTIONS).warnings
    assert warning.startswith(f"plugin.path: {tmp_path}/absent: No such file")


@pytest.mark.slow
def test_a_plan_for_rest_is_made_apart_and_lists_every_version(tmp_path: Path, plugins: Path) -> None:
    files = pipeline(tmp_path, PLAIN)
    config = {"connector.class": "Shop", "connector.plugin.version": "1.0"}
    answer = msgspec.msgpack.decode(plan_one(files, OPTIONS, PlanOrder(7, "a", config, True)), type=Planned)
    assert (answer.attempt, answer.version, answer.type) == (7, "1.0", "source")
    assert answer.task_configs == ({"rulers": "0.9", "task.class": "shop:ShopTask"},)
    plan = make_plan(files, PlanOptions(worker_id="w1", serves_rest=True))
    assert [one["version"] for one in plan.plugins if one["class"] == "shop.Shop"] == ["1.0", "2.0"]
