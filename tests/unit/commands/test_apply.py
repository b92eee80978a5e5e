"""`apply` makes a worker have what files declare, shows it first, and changes nothing while anything is wrong."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.commands.declared import changes
from engine.config.files import ConnectorFile
from engine.exits import ExitCode
from tests.harness.command import run
from tests.harness.fake_connect import FakeConnect

CONFIG = {"connector.class": "Generator", "topic": "orders", "db.password": "hunter2"}


@pytest.fixture
def connect() -> Iterator[FakeConnect]:
    with FakeConnect() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Declares three connectors, in each kind of file, and a worker that is not to be applied."""
    (tmp_path / "a.json").write_text(json.dumps({"name": "a", "config": CONFIG, "initial_state": "STOPPED"}))
    (tmp_path / "b.properties").write_text(
        "".join(f"{key}={value}\n" for key, value in {"name": "b", **CONFIG}.items())
    )
    (tmp_path / "c.toml").write_text(
        '[worker]\n"bootstrap.servers" = "x:1"\n[connectors.c]\n"connector.class" = "Generator"\nrate = 3\n'
    )
    (tmp_path / "notes.txt").write_text("no file of a connector\n")
    return tmp_path


def test_what_would_change_is_shown_and_nothing_is_changed_without_a_yes(connect: FakeConnect, folder: Path) -> None:
    connect.add("b", {**CONFIG, "topic": "older", "db.password": "older", "batch": "1"})
    connect.add("c", {"connector.class": "Generator", "rate": "3"})
    connect.add("d", CONFIG)
    done = run("apply", str(folder), "--delete-missing", "--url", connect.url)
    assert done.code == ExitCode.DIFFERS
    assert done.lines == [
        f"+ a to be made ({folder}/a.json)",
        "    initial_state: STOPPED",
        "    + connector.class = Generator",
        "    + db.password = [hidden]",
        "    + name = a",
        "    + topic = orders",
        f"~ b to be changed ({folder}/b.properties)",
        "    - batch = 1",
        "    ~ db.password = [hidden], another one",
        "    - topic = older",
        "    + topic = orders",
        "- d to be deleted",
    ]
    assert "nothing was changed; --yes makes the changes" in done.err
    assert "what it says of the worker is not applied" in done.err
    assert sorted(connect.configs) == ["b", "c", "d"]


def test_the_worker_has_what_is_declared_and_what_is_the_same_is_left_alone(connect: FakeConnect, folder: Path) -> None:
    connect.add("b", {**CONFIG, "topic": "older"})
    connect.add("c", {"connector.class": "Generator", "rate": "3"})
    connect.add("d", CONFIG)
    done = run("apply", str(folder), "--yes", "--url", connect.url)
    assert (done.code, done.lines[-2:]) == (ExitCode.OK, ["a: created", "b: updated"])
    changed = [(method, path) for method, path in connect.asked if method != "GET" and "plugins" not in path]
    assert changed == [("POST", "/connectors"), ("PUT", "/connectors/b/config")]
    assert connect.states["a"][0] == "STOPPED"
    assert sorted(connect.configs) == ["a", "b", "c", "d"]
    again = run("apply", str(folder), "--url", connect.url)
    assert (again.code, again.lines) == (ExitCode.OK, ["all 3 connectors are as declared"])
    assert run("apply", str(folder), "--yes", "--delete-missing", "--url", connect.url).lines[-1] == "d: deleted"
    assert sorted(connect.configs) == ["a", "b", "c"]


def test_changes_are_told_to_machines_without_secrets(connect: FakeConnect, folder: Path) -> None:
    connect.add("b", {**CONFIG, "db.password": "older"})
    done = run("apply", str(folder / "b.properties"), "--json", "--url", connect.url)
    assert done.code == ExitCode.DIFFERS
    assert done.json == {
        "applied": False,
        "changes": [
            {
                "action": "update",
                "name": "b",
                "file": str(folder / "b.properties"),
                "keys": {"db.password": {"before": "[hidden]", "after": "[hidden]"}},
            }
        ],
        "refused": {},
    }


def test_nothing_is_changed_while_the_worker_calls_one_of_them_bad(connect: FakeConnect, folder: Path) -> None:
    (folder / "z.json").write_text(json.dumps({"name": "z", "connector.class": "Bad"}))
    done = run("apply", str(folder), "--yes", "--url", connect.url)
    assert (done.code, connect.configs) == (ExitCode.USAGE, {})
    assert f"{folder}/z.json: connector z: it is bad" in done.err


def test_a_worker_that_cannot_say_it_beforehand_is_asked_by_doing_it_and_its_words_hide_secrets(folder: Path) -> None:
    (folder / "z.json").write_text(json.dumps({"name": "z", "connector.class": "Bad", "db.password": "hunter2"}))
    with FakeConnect(can_validate=False) as connect:
        done = run("apply", str(folder), "--yes", "--url", connect.url)
        assert (done.code, sorted(connect.configs)) == (ExitCode.FAILED, ["a", "b", "c"])
    assert "z: Connector configuration is invalid" in done.err
    assert "hunter2" not in done.err + done.out


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "expected JSON"), ('{"connector.class": "Generator"}', 'Missing required configuration "name"')],
)
def test_files_that_cannot_be_read_are_all_named_before_anybody_is_asked(
    text: str, says: str, connect: FakeConnect, folder: Path
) -> None:
    (folder / "y.json").write_text(text)
    (folder / "z.toml").write_text("[")
    done = run("apply", str(folder), "--yes", "--url", connect.url)
    assert (done.code, connect.asked) == (ExitCode.USAGE, [])
    assert says in done.err
    assert "z.toml" in done.err


def test_a_folder_without_files_deletes_nothing(connect: FakeConnect, tmp_path: Path) -> None:
    connect.add("d", CONFIG)
    done = run("apply", str(tmp_path), "--yes", "--delete-missing", "--url", connect.url)
    assert (done.code, list(connect.configs)) == (ExitCode.USAGE, ["d"])


def test_connectors_of_files_are_made_and_one_that_is_there_is_refused(connect: FakeConnect, folder: Path) -> None:
    files = [str(folder / "a.json"), str(folder / "b.properties")]
    assert run("create", *files, "--url", connect.url).lines == ["a: made", "b: made"]
    again = run("create", *files, "--url", connect.url)
    assert again.code == ExitCode.FAILED
    assert "a: Connector a already exists" in again.err


def test_one_declared_key_more_or_less_is_a_change_and_the_order_of_keys_is_none() -> None:
    declared = [ConnectorFile("a", {"name": "a", "x": "1", "y": "2"}, "a.json")]
    assert changes(declared, {"a": {"y": "2", "x": "1", "name": "a"}}, deletes_missing=False) == []
    (less,) = changes(declared, {"a": {"name": "a", "x": "1"}}, deletes_missing=False)
    (more,) = changes(declared, {"a": {"name": "a", "x": "1", "y": "2", "z": "3"}}, deletes_missing=False)
    assert (less.keys, more.keys) == (["y"], ["z"])


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code", "names"), [("y", ExitCode.OK, ["a"]), ("n", ExitCode.DIFFERS, [])])
def test_a_person_at_a_terminal_is_asked(
    answer: str, code: ExitCode, names: list[str], connect: FakeConnect, folder: Path
) -> None:
    terminal, theirs = pty.openpty()
    try:
        asking = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "apply", str(folder / "a.json"), "--url", connect.url],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        os.write(terminal, f"{answer}\n".encode())
        out, _ = asking.communicate(timeout=60)
    finally:
        os.close(terminal)
        os.close(theirs)
    assert (asking.returncode, list(connect.configs)) == (code, names), out.decode()
    assert b"Make this change? [y/N]" in out
