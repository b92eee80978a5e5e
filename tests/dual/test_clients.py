"""Real clients of Kafka Connect, unmodified from PyPI, do with a worker all that they can.

    kc                            kafka-connect-py: a command for people
    kafka-connect-healthcheck     for probes: 200 while all is well, 503 when a connector or task has failed

kafka-connect-py's own `validate-config` sends its configuration as a JSON text in a JSON text, which Kafka Connect
answers with 500; its class, which the command is a shell around, does it right and is used here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.dual.asked import Asked
from tests.harness import wait
from tests.harness.asking import Answer, ask
from tests.harness.server import Server, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

COMMAND_S = 60.0


def program(name: str) -> str:
    """A client's command, where pip has put it."""
    path = Path(sys.executable).with_name(name)
    found = str(path) if path.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: it comes with the test extra (pip install 'millrace[test]')")
    return found


class Kc:
    """`kc`, run as a person runs it."""

    def __init__(self, url: str) -> None:
        self._environment = {**os.environ, "KAFKA_CONNECT_URL": url, "NO_PROXY": "*", "no_proxy": "*"}
        self._kc = program("kc")

    def __call__(self, *arguments: str) -> str:
        """What it prints."""
        done = subprocess.run(
            [self._kc, *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        return done.stdout.strip()

    def tell(self, *arguments: str) -> Any:
        """What it prints, as JSON."""
        printed = self(*arguments)
        try:
            return json.loads(printed)
        except json.JSONDecodeError as error:
            raise AssertionError(f"kc {arguments} printed {printed!r}") from error


@pytest.fixture
def kc(worker: Asked) -> Kc:
    return Kc(worker.url)


@pytest.fixture
def sink(topic: str, tmp_path: Path) -> dict[str, str]:
    """A good configuration of two tasks."""
    return {"connector.class": "FileStreamSink", "topics": topic, "file": str(tmp_path / "out.txt"), "tasks.max": "2"}


def test_kc_makes_reads_changes_and_deletes(worker: Asked, kc: Kc, sink: dict[str, str], tmp_path: Path) -> None:
    assert kc.tell("info")["version"] == "4.3.1"
    classes = [plugin["class"] for plugin in kc.tell("list-plugins")]
    assert "org.apache.kafka.connect.file.FileStreamSinkConnector" in classes
    file = tmp_path / "copy.json"
    file.write_text(json.dumps({"name": "copy", "config": sink}))
    assert kc.tell("create", "--config-file", str(file))["name"] == "copy"
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    assert "409" in kc("create", "--config-data", file.read_text())
    assert kc.tell("update", "copy", "--config-data", json.dumps({**sink, "x": "1"}))["config"]["x"] == "1"
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    assert kc.tell("get", "copy")["tasks"] == [{"connector": "copy", "task": 0}, {"connector": "copy", "task": 1}]
    assert kc.tell("config", "copy")["x"] == "1"
    assert kc.tell("list") == ["copy"]
    assert list(kc.tell("list", "--expand", "status")["copy"]) == ["status"]
    assert list(kc.tell("list", "--expand", "info", "--pattern", "co.*")["copy"]) == ["info"]
    assert kc.tell("list", "--state", "running") == ["copy"]
    assert kc.tell("list", "--state", "failed") == []
    assert [task["id"]["task"] for task in kc.tell("list-tasks", "copy")] == [0, 1]
    assert kc.tell("task-status", "copy", "1")["state"] == "RUNNING"
    assert "404" in kc("status", "nope")
    kc("delete", "copy")
    assert kc.tell("list") == []


def test_kc_pauses_resumes_and_restarts_one_or_all(worker: Asked, kc: Kc, sink: dict[str, str]) -> None:
    for name in ("one", "two"):
        worker.make(name, {**sink, "tasks.max": "1"})
    kc("pause", "one")
    worker.wait_for("one", "PAUSED", "PAUSED")
    assert kc.tell("status", "one")["tasks"][0]["state"] == "PAUSED"
    kc("pause", "--all")
    worker.wait_for("two", "PAUSED", "PAUSED")
    assert sorted(kc.tell("list", "--state", "paused")) == ["one", "two"]
    kc("resume", "--all", "--pattern", "tw.*")
    worker.wait_for("two", "RUNNING", "RUNNING")
    assert worker.states("one") == ["PAUSED", "PAUSED"]
    kc("resume", "one")
    worker.wait_for("one", "RUNNING", "RUNNING")
    assert kc.tell("restart", "one")["name"] == "one"
    assert kc.tell("restart", "one", "--include-tasks", "--only-failed")["name"] == "one"
    assert kc.tell("restart-task", "one", "0") is None
    assert sorted(kc.tell("restart", "--all", "--include-tasks")) == ["one", "two"]
    for name in ("one", "two"):
        worker.wait_for(name, "RUNNING", "RUNNING")
    kc("delete", "--all")
    assert kc.tell("list") == []


class HealthCheck(Server):
    """kafka-connect-healthcheck beside a worker."""

    name = "healthcheck"

    def __init__(self, folder: Path, url: str, worker_id: str | None = None) -> None:
        super().__init__(folder)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        options = [] if worker_id is None else ["--connect-worker-id", worker_id]
        self._command = [
            "env",
            "NO_PROXY=*",
            "no_proxy=*",
            program("kafka-connect-healthcheck"),
            "--port",
            str(port),
            "--connect-url",
            url,
            *options,
        ]

    def command(self) -> list[str]:
        return self._command

    def is_ready(self) -> bool:
        try:
            return ask(self.url, "GET", "/ping").status == 200
        except OSError:
            return False

    def look(self) -> Answer:
        """What it says of the worker now."""
        return ask(self.url, "GET", "/")


@pytest.fixture
def check(worker: Asked, tmp_path: Path) -> Iterator[HealthCheck]:
    with HealthCheck(tmp_path / "healthcheck", worker.url) as started:
        yield started


def _failures(answer: Answer) -> list[Mapping[str, Any]]:
    failures: list[Mapping[str, Any]] = answer.json["failures"]
    return failures


def test_the_healthcheck_tells_who_has_failed_and_that_all_is_well_again(
    worker: Asked, check: HealthCheck, sink: dict[str, str]
) -> None:
    empty = check.look()
    assert (empty.status, empty.json["healthy"]) == (200, True)
    worker.make("good", sink)
    worker.wait_for("good", "RUNNING", "RUNNING", "RUNNING")
    assert check.look().status == 200
    missing = str(Path(sink["file"]).parent / "missing" / "out.txt")
    worker.make("bad", {**sink, "file": missing, "tasks.max": "1"})
    worker.wait_for("bad", "RUNNING", "FAILED")
    ill = check.look()
    assert (ill.status, ill.json["healthy"]) == (503, False)
    (failure,) = _failures(ill)
    assert (failure["type"], failure["connector"], failure["id"], failure["state"]) == ("task", "bad", 0, "FAILED")
    assert missing in failure["trace"]
    Path(missing).parent.mkdir()
    assert worker.post("/connectors/bad/tasks/0/restart").status == 204
    worker.wait_for("bad", "RUNNING", "RUNNING")
    wait.until(lambda: check.look().status == 200, "a healthy worker")


def test_the_healthcheck_looks_at_its_own_worker_only(worker: Asked, sink: dict[str, str], tmp_path: Path) -> None:
    worker.make("bad", {**sink, "file": str(tmp_path / "missing" / "out.txt"), "tasks.max": "1"})
    worker.wait_for("bad", "RUNNING", "FAILED")
    worker_id = worker.get("/connectors/bad/status").json["tasks"][0]["worker_id"]
    with HealthCheck(tmp_path / "own", worker.url, worker_id) as own:
        assert own.look().status == 503
    with HealthCheck(tmp_path / "other", worker.url, "elsewhere:8083") as other:
        assert other.look().status == 200
