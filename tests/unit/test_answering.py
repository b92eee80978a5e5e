"""What a plugin does while it is asked costs an error in the answer; the answer says which step it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.generator.source import GeneratorTaskConfig
from engine.answering import answer, answers, warm
from engine.api.config import keys_of
from engine.config.files import Pipeline
from engine.config.freshness import version_of
from engine.connector_lines import PlanOptions
from engine.herder.model import Plan, Planned, Refusal
from engine.herder.questions import Answered, Ask, PluginConfig, Question, Validate
from engine.mending import Kind
from tests.unit.plugins import plugins_of_tests

PLUGINS = plugins_of_tests.__name__
STRING = "StringConverter"
TICKET = 7


def asked(folder: Path, question: Question, **worker: str) -> Any:
    """The answer, read; or the refusal."""
    pipeline = Pipeline(
        worker={
            "bootstrap.servers": "localhost:9092",
            "key.converter": STRING,
            "value.converter": STRING,
            "offset.storage.file.filename": str(folder / "offsets"),
            **{key.replace("_", "."): value for key, value in worker.items()},
        },
        worker_file="worker.properties",
        connectors=(),
    )
    found = msgspec.msgpack.decode(answer(pipeline, PlanOptions(is_bulk=False), Ask(TICKET, question)), type=Answered)
    assert found.ticket == TICKET
    if found.refusal is not None:
        return found.refusal
    if isinstance(question, Plan):
        return msgspec.msgpack.decode(found.answer, type=Planned)
    return msgspec.json.decode(found.answer)


def validated(folder: Path, worker: dict[str, str] | None = None, /, **config: str) -> Any:
    given = {"name": "c", "topic": "t", **{key.replace("__", "."): value for key, value in config.items()}}
    return asked(folder, Validate("c", given), **(worker or {}))


def plugin(name: str) -> str:
    return f"{PLUGINS}:{name}"


def errors_of(infos: dict[str, Any]) -> dict[str, list[str]]:
    return {one["value"]["name"]: one["value"]["errors"] for one in infos["configs"] if one["value"]["errors"]}


def test_a_good_configuration_has_no_errors_and_all_its_keys(tmp_path: Path) -> None:
    infos = validated(tmp_path, connector__class=plugin("Counting"), batch__size="3")
    assert (infos["name"], infos["error_count"]) == (plugin("Counting"), 0)
    values = {one["value"]["name"]: one["value"]["value"] for one in infos["configs"]}
    assert values["batch.size"] == "3"
    assert values["tasks.max"] == "1"
    assert values["connector.plugin.version"] == "1.2.3"
    assert values["key.converter"] == "org.apache.kafka.connect.storage.StringConverter"


def test_whoever_makes_a_connector_hears_what_validation_says(tmp_path: Path) -> None:
    config = {"name": "c", "connector.class": plugin("Picky"), "tasks.max": "x", "errors.tolerance": "some"}
    infos = asked(tmp_path, Validate("c", config))
    planned = asked(tmp_path, Plan(1, "c", config, wants_tasks=True))
    assert list(planned.problems) == [error for one in infos["configs"] for error in one["value"]["errors"]]
    assert len(planned.problems) == infos["error_count"] >= 3


@pytest.mark.parametrize(
    ("topic", "told", "kind"),
    [("t", "the database is away", Kind.OUTSIDE), ("refused", "the database refuses the password", Kind.REFUSED)],
)
def test_a_system_that_is_away_is_an_error_of_who_validates_and_looked_at_again_by_a_worker(
    tmp_path: Path, topic: str, told: str, kind: Kind
) -> None:
    config = {"name": "c", "connector.class": plugin("ValidatingAway"), "topic": topic}
    infos = asked(tmp_path, Validate("c", config))
    assert errors_of(infos) == {"connector.class": [f"validate: {told}"]}
    planned = asked(tmp_path, Plan(1, "c", config, wants_tasks=True))
    assert planned.problems == (f"validate: {told}",)
    assert (planned.failure_kind, planned.lines) == (kind, ())
    assert planned.restarts is not None


def test_a_null_is_an_error_of_any_key_but_the_connectors_own(tmp_path: Path) -> None:
    config = {"name": "c", "connector.class": plugin("Counting"), "topic": "t"}
    infos = asked(tmp_path, Validate("c", config, ("batch.size", "tasks.max", "x")))
    null = ["Null value can not be supplied as the configuration value."]
    assert errors_of(infos) == {"x": null, "tasks.max": null}
    assert infos["error_count"] == 2


def test_a_password_is_hidden_and_so_is_what_a_provider_has_answered(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "topic").write_text("from-a-file")
    infos = validated(
        tmp_path,
        {
            "config.providers": "dir",
            "config.providers.dir.class": "DirectoryConfigProvider",
        },
        connector__class=plugin("Counting"),
        password="hunter22",
        topic="${dir:" + str(secrets) + ":topic}",
        batch__size="${dir:" + str(secrets) + ":topic}",
    )
    values = {one["value"]["name"]: one["value"]["value"] for one in infos["configs"]}
    assert values["password"] == "[hidden]"
    assert values["topic"].startswith("${dir:")
    assert errors_of(infos)["batch.size"][0].startswith("Invalid value [hidden] for configuration batch.size")
    assert "from-a-file" not in str(infos)
    assert "hunter22" not in str(infos)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "Connector config {name=c} contains no connector type"),
        (
            {"connector__class": "Nope"},
            "Failed to find any class that implements Connector and which name matches Nope, available connectors are:",
        ),
    ],
)
def test_without_a_class_there_are_no_keys_to_tell_of(tmp_path: Path, config: dict[str, str], message: str) -> None:
    refusal = validated(tmp_path, **config)
    assert refusal.status == 500
    assert f"BadRequestException: {message}" in refusal.message
    planned = asked(tmp_path, Plan(1, "c", {key.replace("__", "."): one for key, one in config.items()}, False))
    assert not planned.has_class
    assert planned.problems[0].startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("Hanging", "no answer within 1 s (probe.timeout.ms); its process was ended"),
        ("Leaving", "left with exit code 3 instead of answering"),
        ("Crashing", "crashed with signal 11 (SIGSEGV)"),
    ],
)
def test_a_plugin_that_gives_no_answer_is_named_with_what_it_was_asked(tmp_path: Path, name: str, ending: str) -> None:
    refusal = validated(tmp_path, {"probe.timeout.ms": "1000"}, connector__class=plugin(f"Validating{name}"))
    assert isinstance(refusal, Refusal)
    assert refusal.status == 500
    assert "connector c: validate: " in refusal.message
    assert ending in refusal.message


def test_a_plugin_that_exits_or_eats_memory_has_an_error_of_its_class(tmp_path: Path) -> None:
    exiting = errors_of(validated(tmp_path, connector__class=plugin("ValidatingExiting")))
    assert "validate: SystemExit: 5" in exiting["connector.class"][0]
    eating = errors_of(
        validated(tmp_path, {"probe.memory.max": str(256 * 1024**2)}, connector__class=plugin("ValidatingEating"))
    )
    assert "validate: MemoryError" in eating["connector.class"][0]


@pytest.mark.parametrize("name", ["FileStreamSource", "org.apache.kafka.connect.file.FileStreamSourceConnector"])
def test_a_connectors_own_keys_come_before_those_of_every_connector(tmp_path: Path, name: str) -> None:
    told = asked(tmp_path, PluginConfig(name))
    assert [one["name"] for one in told][:5] == ["file", "topic", "batch.size", "name", "connector.class"]
    assert {"name": "topic", "required": True, "default_value": None, "order_in_group": -1}.items() <= told[1].items()


def test_other_plugins_have_only_keys_of_their_own(tmp_path: Path) -> None:
    assert [one["name"] for one in asked(tmp_path, PluginConfig("Json"))][:2] == ["converter.type", "schemas.enable"]
    assert asked(tmp_path, PluginConfig("SimpleHeaderConverter")) == []


@pytest.mark.parametrize(
    ("question", "status", "message"),
    [
        (PluginConfig("Nope"), 404, "Unknown plugin Nope."),
        (
            PluginConfig("FileConfigProvider"),
            400,
            "Invalid plugin class FileConfigProvider. Valid types are sink, source, converter, header_converter, ",
        ),
        (
            PluginConfig("FileStreamSource", "9.9"),
            400,
            "Plugin org.apache.kafka.connect.file.FileStreamSourceConnector not found that matches the version",
        ),
    ],
)
def test_a_plugin_that_is_not_there_is_refused(
    tmp_path: Path, question: PluginConfig, status: int, message: str
) -> None:
    refusal = asked(tmp_path, question)
    assert refusal.status == status
    assert refusal.message.startswith(message)


def test_a_plan_tells_which_files_hold_its_values_unless_it_is_not_to_be_reloaded(tmp_path: Path) -> None:
    secret = tmp_path / "db.properties"
    secret.write_text("topic=t")
    providers = {"config.providers": "file", "config.providers.file.class": "FileConfigProvider"}
    config = {"name": "c", "connector.class": plugin("Counting"), "topic": f"${{file:{secret}:topic}}"}
    planned = asked(tmp_path, Plan(1, "c", config, wants_tasks=True), **providers)
    assert planned.files == {str(secret): version_of(str(secret))}
    assert planned.lines[0].task_config["topic"] == "t"
    config["config.action.reload"] = "none"
    assert asked(tmp_path, Plan(1, "c", config, wants_tasks=True), **providers).files == {}
    secret.unlink()
    config["config.action.reload"] = "restart"
    failed = asked(tmp_path, Plan(1, "c", config, wants_tasks=True), **providers)
    assert failed.files == {str(secret): None}
    assert "could not read properties from file" in failed.problems[0]


def test_plans_that_share_a_probe_are_answered_as_if_each_had_one(tmp_path: Path) -> None:
    pipeline = Pipeline(
        worker={
            "bootstrap.servers": "localhost:9092",
            "key.converter": STRING,
            "value.converter": STRING,
            "offset.storage.file.filename": str(tmp_path / "offsets"),
            "probe.timeout.ms": "1000",
        },
        worker_file="worker.properties",
        connectors=(),
    )
    options = PlanOptions(is_bulk=False)
    classes = ["Counting", "Absent", "ValidatingHanging", "Counting"]
    asks = [
        Ask(ticket, Plan(ticket, f"c{ticket}", {"connector.class": plugin(name), "topic": "t"}, wants_tasks=True))
        for ticket, name in enumerate(classes)
    ]
    alone = [answer(pipeline, options, ask) for ask in asks]
    assert list(answers(pipeline, options, asks)) == alone
    planned = [msgspec.msgpack.decode(msgspec.msgpack.decode(one, type=Answered).answer, type=Planned) for one in alone]
    assert [bool(one.lines) for one in planned] == [True, False, False, True]


def test_a_run_without_rest_imports_the_plugins_of_its_lines_and_no_others() -> None:
    code = """
import sys
from msgspec.structs import replace
from engine.answering import warm
from engine.config.line import PluginSpec, StepSpec
from tests.harness.banks import line_spec
places = "engine.transforms.value_to_key:ValueToKey", "engine.transforms.filtering:RecordIsTombstone"
step = StepSpec(*map(PluginSpec, places))
warm([replace(line_spec("sink"), task_path="connectors.null:NullSinkTask", transforms=(step,))])
names = "connectors.null engine.transforms.value_to_key engine.transforms.filtering connectors.generator"
print(*(name in sys.modules for name in names.split()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False"]


def test_the_keys_of_our_tasks_are_read_before_the_forks() -> None:
    warm()
    before = keys_of.cache_info().misses
    keys_of(GeneratorTaskConfig)
    assert keys_of.cache_info().misses == before
