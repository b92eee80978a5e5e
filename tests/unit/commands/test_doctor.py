"""`millrace doctor` looks at a machine and at files, changes nothing, and ends with 1 when something is bad."""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.commands import doctor
from engine.exits import ExitCode
from tests.harness.command import run
from tests.harness.server import free_ports


def found(*arguments: str) -> dict[str, list[dict[str, Any]]]:
    """The findings by their check."""
    done = run("doctor", *arguments, "--json")
    by_check: dict[str, list[dict[str, Any]]] = {}
    for one in done.json:
        by_check.setdefault(one["check"], []).append(one)
    is_bad = any(one["verdict"] == "bad" for one in done.json)
    assert done.code == (ExitCode.FAILED if is_bad else ExitCode.OK)
    return by_check


@pytest.mark.slow
def test_a_machine_on_which_these_tests_run_is_good_for_a_worker() -> None:
    checks = found()
    assert {"machine", "python", "libraries", "plugins", "open files", "processes", "temporary files", "clock"} == {
        *checks
    }
    assert not [one for many in checks.values() for one in many if one["verdict"] == "bad"]


@pytest.mark.slow
def test_files_that_are_bad_are_named_with_all_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text('[worker]\nnothing = 1\n[connectors.a]\n"connector.class" = "Nobody"\n')
    texts = [one["text"] for one in found(str(file))["configuration"]]
    assert any('unknown key "nothing"' in text for text in texts)
    assert any("Nobody" in text for text in texts)
    assert all(str(file) in text for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize("connector", ['[connectors.a]\n"connector.class" = "Generator"\ntopic = "t"\n', ""])
def test_brokers_that_do_not_answer_are_told_with_what_to_look_at(connector: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    file = tmp_path / "pipeline.toml"
    file.write_text(
        f'[worker]\n"bootstrap.servers" = "127.0.0.1:{port}"\n"startup.timeout.ms" = 1000\n'
        '"key.converter" = "String"\n"value.converter" = "String"\n'
        f"{connector}"
    )
    checks = found(str(file))
    (brokers,) = checks["brokers"]
    assert brokers["verdict"] == "bad"
    assert f"127.0.0.1:{port}: no broker answers within 1 s" in brokers["text"]
    assert "bootstrap.servers" in brokers["advice"]
    assert "rights" not in checks
    count = 1 if connector else 0
    assert checks["configuration"][0]["text"] == f"{count} connectors, {count} tasks"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.toml"], "something was made"


def test_a_store_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "offsets.millrace.db"
    assert (doctor.look_at_store(path).verdict, path.parent.exists()) == ("good", False)
    path.parent.mkdir()
    assert doctor.look_at_store(path).verdict == "good"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE of_another_program (a)")
    other = doctor.look_at_store(path)
    assert (other.verdict, "of another program" in other.text) == ("bad", True)
    path.unlink()
    with path.with_name(path.name + ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert doctor.look_at_store(path).verdict == "warning"


def test_a_listener_that_is_taken_is_told() -> None:
    (port,) = free_ports(1)
    (free,) = doctor.look_at_listeners([f"http://127.0.0.1:{port}"])
    assert free.verdict == "good"
    taken = doctor.look_at_listeners(["http://192.0.2.1:1"])
    assert [one.verdict for one in taken] == ["warning"]


@pytest.mark.slow
def test_plugins_that_cannot_be_imported_are_named_and_the_others_are_good(tmp_path: Path) -> None:
    *bad, last = doctor.look_at_plugins([str(tmp_path / "nothing")])
    assert [(one.verdict, str(tmp_path / "nothing") in one.text) for one in bad] == [("warning", True)]
    assert (last.verdict, "of them connectors" in last.text) == ("good", True)
