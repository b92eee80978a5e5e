"""Configurations, offsets, topics, loggers and plugins of a worker, shown and changed; secrets are not shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.exits import ExitCode
from tests.harness.command import run
from tests.harness.fake_connect import FakeConnect

CONFIG = {"connector.class": "Generator", "topic": "orders", "db.password": "hunter2", "api.key": "abc123"}


@pytest.fixture
def connect() -> Iterator[FakeConnect]:
    with FakeConnect() as made:
        made.add("orders", CONFIG)
        yield made


def test_a_configuration_hides_what_its_name_or_its_plugin_calls_a_secret(connect: FakeConnect) -> None:
    done = run("config", "orders", "--url", connect.url)
    assert done.lines == [
        "KEY              VALUE",
        "api.key          [hidden]",
        "connector.class  Generator",
        "db.password      [hidden]",
        "name             orders",
        "topic            orders",
    ]
    assert run("config", "orders", "--json", "--url", connect.url).json["api.key"] == "[hidden]"
    assert run("connectors", "--json", "--url", connect.url).json["orders"]["info"]["config"]["api.key"] == "[hidden]"
    assert "hunter2" in run("config", "orders", "--show-secrets", "--url", connect.url).out


def test_keys_are_changed_and_taken_away_and_the_others_stay(connect: FakeConnect) -> None:
    done = run("config", "orders", "rate=1=2", "db.password=better", "--unset", "topic", "--url", connect.url)
    assert done.code == ExitCode.OK
    assert done.lines == ["orders: db.password = [hidden]", "orders: rate = 1=2", "orders: topic is taken away"]
    assert connect.bodies == [{"topic": None, "rate": "1=2", "db.password": "better"}]
    assert run("config", "orders", "rate=1=2", "--url", connect.url).lines == ["orders: it was so already"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("rate",), ExitCode.USAGE, "rate: expected KEY=VALUE"),
        (("--unset", "nothing"), ExitCode.FAILED, "no key nothing to be taken away"),
    ],
)
def test_a_change_that_is_none_changes_nothing(
    arguments: tuple[str, ...], code: ExitCode, says: str, connect: FakeConnect
) -> None:
    done = run("config", "orders", *arguments, "--url", connect.url)
    assert (done.code, connect.bodies) == (code, [])
    assert says in done.err


def test_offsets_are_shown_set_and_forgotten(connect: FakeConnect, tmp_path: Path) -> None:
    assert run("offsets", "orders", "--url", connect.url).lines == ["PARTITION  OFFSET", "file=a     position=3"]
    refused = run("offsets", "orders", "--reset", "--url", connect.url)
    assert refused.code == ExitCode.FAILED
    assert "must be in the STOPPED state" in refused.err
    run("stop", "orders", "--url", connect.url)
    assert "reset successfully" in run("offsets", "orders", "--reset", "--url", connect.url).out
    printed = run("offsets", "orders", "--json", "--url", connect.url).out
    (tmp_path / "offsets.json").write_text(printed)
    done = run("offsets", "orders", "--set", str(tmp_path / "offsets.json"), "--url", connect.url)
    assert "altered successfully" in done.out
    assert connect.bodies[-1] == json.loads(printed)
    assert "altered" in run("offsets", "orders", "--set", "-", "--url", connect.url, answers=printed).out


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_a_file_of_offsets_that_is_no_json_is_refused(text: str, connect: FakeConnect, tmp_path: Path) -> None:
    (tmp_path / "offsets.json").write_text(text)
    done = run("offsets", "orders", "--set", str(tmp_path / "offsets.json"), "--url", connect.url)
    assert (done.code, connect.asked) == (ExitCode.USAGE, [])
    assert 'expected JSON: {"offsets"' in done.err


def test_topics_are_listed_and_counted_anew(connect: FakeConnect) -> None:
    assert run("topics", "orders", "--url", connect.url).lines == ["TOPIC", "a", "b"]
    assert run("topics", "orders", "--reset", "--url", connect.url).code == ExitCode.OK
    assert connect.asked[-1] == ("PUT", "/connectors/orders/topics/reset")


def test_levels_of_loggers_are_shown_and_changed(connect: FakeConnect) -> None:
    assert run("loggers", "--url", connect.url).lines == ["LOGGER  LEVEL", "root    INFO"]
    assert run("loggers", "millrace.pump", "debug", "--cluster", "--url", connect.url).code == ExitCode.OK
    assert connect.asked[-1] == ("PUT", "/admin/loggers/millrace.pump?scope=cluster")
    assert run("loggers", "millrace.pump", "--url", connect.url).lines[1:] == ["millrace.pump  DEBUG"]


def test_plugins_of_a_worker_and_the_keys_of_one_are_listed(connect: FakeConnect) -> None:
    listed = run("plugins", "list", "--url", connect.url)
    assert listed.lines[1:] == ["source  org.example.Generator  1.0"]
    keys = run("plugins", "keys", "Generator", "--url", connect.url)
    assert keys.lines[1].split(maxsplit=4) == ["topic", "STRING", "(required)", "HIGH", "What it is."]
