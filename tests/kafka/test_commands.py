"""Commands, typed at a shell, with a worker that runs: Millrace's own, and the real Kafka Connect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.config.passwords import hashed
from tests.harness import command, wait
from tests.harness.certificates import Authority
from tests.harness.connect import ConnectWorker
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import UnavailableError, free_ports
from tests.harness.service import Service

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
LIMIT_S = 120.0


class Shell:
    """Types commands for one worker, in a folder."""

    def __init__(self, url: str, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.variables = {"MILLRACE_URL": url, **(variables or {})}
        self.folder = folder
        self.connectors = str(folder / "connectors")

    def run(self, *arguments: str, code: int = 0) -> str:
        """What it prints. The exit code must be this one."""
        done = command.run(*arguments, environment=self.variables)
        assert done.code == code, f"{arguments}: {done.code}\n{done.out}{done.err}"
        return done.out + (done.err if code else "")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def declare(self, name: str, **config: object) -> None:
        """A file of a connector that reads a file."""
        fixed = {"connector.class": SOURCE, "file": str(self.folder / "in.txt"), "tasks.max": "1"}
        declared = {"name": name, "config": {**fixed, **config}}
        Path(self.connectors).mkdir(exist_ok=True)
        (Path(self.connectors) / f"{name}.json").write_text(json.dumps(declared))

    def states(self, name: str) -> list[str]:
        found = next((one for one in self.json("status") if one["name"] == name), None)
        return [] if found is None else [found["connector"]["state"], *(task["state"] for task in found["tasks"])]


def live_with(shell: Shell, topic: str) -> None:
    """A connector's life, by commands alone."""
    first, second = f"a-{topic}", f"b {topic} ü"
    (shell.folder / "in.txt").write_text("one\ntwo\n")
    shell.declare(first, topic=topic)
    assert f"+ {first} to be made" in shell.run("apply", shell.connectors, code=7)
    assert shell.json("connectors") == {}
    shell.run("apply", shell.connectors, "--yes")
    wait.until(lambda: shell.states(first) == ["RUNNING", "RUNNING"], "a connector that runs", timeout_s=LIMIT_S)
    assert shell.run("apply", shell.connectors) == "all 1 connectors are as declared\n"
    assert shell.run("connectors").splitlines()[1].split()[:4] == [first, "source", "RUNNING", "1/1"]
    shell.run("create", str(_other(shell, second, topic)))
    wait.until(
        lambda: shell.states(second) == ["PAUSED"] or shell.states(second) == ["PAUSED", "PAUSED"], "one that pauses"
    )
    shell.run("restart", first, "--with-tasks")
    wait.until(lambda: shell.states(first) == ["RUNNING", "RUNNING"], "one that was restarted", timeout_s=LIMIT_S)
    shell.run("config", first, "tasks.max=2", "batch.size=3")
    assert shell.json("config", first)["batch.size"] == "3"
    assert "    - batch.size = 3" in shell.run("apply", shell.connectors, code=7)
    wait.until(lambda: shell.json("topics", first)[first]["topics"] == [topic], "its topic", timeout_s=LIMIT_S)
    shell.run("stop", first)
    wait.until(lambda: shell.states(first) == ["STOPPED"], "one that has stopped", timeout_s=LIMIT_S)
    offsets_are_kept_and_put_back(shell, first)
    shell.run("resume", first)
    wait.until(lambda: shell.states(first) == ["RUNNING", "RUNNING"], "one that goes on", timeout_s=LIMIT_S)
    assert any("FileStream" in plugin["class"] for plugin in shell.json("plugins", "list"))
    assert "not found" in shell.run("config", "nobody", code=1)
    shell.run("apply", shell.connectors, "--yes", "--delete-missing")
    assert list(shell.json("connectors")) == [first]
    shell.run("delete", first)
    assert shell.run("status").splitlines()[1:] == []


def offsets_are_kept_and_put_back(shell: Shell, name: str) -> None:
    found = wait.until(lambda: shell.json("offsets", name)["offsets"], "offsets", timeout_s=LIMIT_S)
    assert [one["offset"] for one in found] == [{"position": 8}]
    kept = shell.folder / "offsets.json"
    kept.write_text(shell.run("offsets", name, "--json"))
    assert "reset successfully" in shell.run("offsets", name, "--reset")
    assert shell.json("offsets", name) == {"offsets": []}
    assert "altered successfully" in shell.run("offsets", name, "--set", str(kept))
    assert shell.json("offsets", name) == json.loads(kept.read_text())


def _other(shell: Shell, name: str, topic: str) -> Path:
    config = {"connector.class": SOURCE, "file": str(shell.folder / "in.txt"), "topic": topic}
    path = shell.folder / "other.json"
    path.write_text(json.dumps({"name": name, "config": config, "initial_state": "PAUSED"}))
    return path


@pytest.fixture
def millrace(kafka: Kafka, tmp_path: Path) -> Iterator[Shell]:
    (port,) = free_ports(1)
    (tmp_path / "worker.properties").write_text(
        f"bootstrap.servers={kafka.bootstrap}\nkey.converter={TEXT}\nvalue.converter={TEXT}\n"
        f"offset.storage.file.filename={tmp_path}/offsets\nlisteners=http://127.0.0.1:{port}\n"
    )
    with Service("standalone", "worker.properties", folder=tmp_path) as service:
        service.wait_for("READY=1")
        yield Shell(f"http://127.0.0.1:{port}", tmp_path)
        assert service.stop() == 0


def test_a_connector_lives_by_commands(millrace: Shell, topic: str) -> None:
    live_with(millrace, topic)


def test_who_may_read_sees_and_changes_nothing_and_who_may_write_does_both(kafka: Kafka, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue(tmp_path / "worker.pem", "worker")
    (tmp_path / "access.toml").write_text(
        f'[users.reader]\nrole = "read"\npassword = "{hashed("looking")}"\n'
        f'[users.writer]\nrole = "write"\npassword = "{hashed("glass")}"\n'
    )
    (tmp_path / "worker.properties").write_text(
        f"bootstrap.servers={kafka.bootstrap}\nkey.converter={TEXT}\nvalue.converter={TEXT}\n"
        f"offset.storage.file.filename={tmp_path}/offsets\nlisteners=https://127.0.0.1:{port}\n"
        f"listeners.https.ssl.keystore.type=PEM\nlisteners.https.ssl.keystore.location={certificate}\n"
        f"rest.access.file={tmp_path}/access.toml\n"
    )
    with Service("standalone", "worker.properties", folder=tmp_path) as service:
        service.wait_for("READY=1")
        shell = Shell(f"https://127.0.0.1:{port}", tmp_path, {"MILLRACE_CA": str(authority.file)})
        assert "wants to know the user" in shell.run("status", code=1)
        shell.variables |= {"MILLRACE_USER": "reader", "MILLRACE_PASSWORD": "wrong"}
        assert "does not accept the user reader" in shell.run("status", code=1)
        shell.variables["MILLRACE_PASSWORD"] = "looking"
        assert shell.json("status") == []
        assert shell.json("loggers")["root"]["level"] == "INFO"
        assert "may only read" in shell.run("loggers", "root", "debug", code=1)
        shell.variables |= {"MILLRACE_USER": "writer", "MILLRACE_PASSWORD": "glass"}
        assert "root" in shell.run("loggers", "root", "debug")
        assert shell.json("loggers", "root")["root"]["level"] == "DEBUG"
        assert service.stop() == 0
    assert "glass" not in service.life.stderr


def test_a_doctor_finds_a_pipeline_good_that_runs(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(
        f'[worker]\n"bootstrap.servers" = "{kafka.bootstrap}"\n'
        '"key.converter" = "String"\n"value.converter" = "String"\n'
        f'[connectors."out-{topic}"]\n"connector.class" = "FileStreamSink"\ntopics = "{topic}"\nfile = "out"\n'
    )
    with Millrace("doctor", "pipeline.toml", "--json", folder=tmp_path) as doctor:
        assert doctor.wait() == 0, doctor.stderr
    found = json.loads(doctor.stdout)
    assert [one for one in found if one["verdict"] == "bad"] == []
    assert {"configuration", "store", "brokers", "rights", "memory"} <= {one["check"] for one in found}
    made = {path.name for path in tmp_path.iterdir() if not path.name.startswith("millrace-")}
    assert made == {"pipeline.toml"}, "something was made"


@pytest.mark.long
def test_a_connector_of_kafka_connect_lives_by_the_same_commands(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    try:
        worker = ConnectWorker(tmp_path / "connect", kafka.bootstrap).start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka Connect: {error}")
    with worker:
        live_with(Shell(worker.url, tmp_path), topic)
