"""A task that has failed says why and mends itself by its cause, on real processes; nothing is lost on the way.

The plugin does what a file tells it to (plugins/hurting_source.py); what is asserted is what REST says.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import topics, wait
from tests.harness.cgroup import as_a_unit, place_or_skip
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
PLUGINS = Path(__file__).parent / "plugins"
RESTARTS = {
    "restart.max": 1,
    "restart.backoff.ms": 10,
    "restart.backoff.max.ms": 20,
    "restart.circuit.ms": 1_500,
    "restart.backoff.refused.ms": 3_600_000,
}
MEMORY_BYTES = 512 * 1024 * 1024


class Hurt:
    """A worker with one connector, which does what it is told."""

    def __init__(self, kafka: Kafka, topic: str, folder: Path, command: Sequence[str] = ()) -> None:
        """command: as of `Millrace`."""
        self._kafka = kafka
        self.topic = topic
        self._way = folder / "way"
        self.password = folder / "password"
        self.password.write_text("value=wrong\n")
        (port,) = free_ports(1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        restarts = "".join(f"{key}={value}\n" for key, value in RESTARTS.items())
        (folder / "worker.properties").write_text(
            f"bootstrap.servers={kafka.bootstrap}\nkey.converter={TEXT}\nvalue.converter={TEXT}\n"
            f"offset.storage.file.filename={folder}/offsets\noffset.flush.interval.ms=100\n"
            f"listeners=http://127.0.0.1:{port}\nconfig.providers=file\nconfig.providers.file.class=FileConfigProvider\n"
            f"task.memory.max={MEMORY_BYTES}\n{restarts}"
        )
        self.worker = Millrace(
            "standalone",
            "worker.properties",
            folder=folder,
            environment={"PYTHONPATH": str(PLUGINS)},
            command=command,
        )

    def tell(self, way: str) -> None:
        """Do this from now on; empty: go on well."""
        if way:
            self._way.write_text(way)
        else:
            self._way.unlink(missing_ok=True)

    def make(self) -> None:
        wait.until(self._is_serving, "REST")
        config = {
            "connector.class": "hurting_source:HurtingSourceConnector",
            "topic": self.topic,
            "way": str(self._way),
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "password": f"${{file:{self.password}:value}}",
        }
        self._make("hurt", config)

    def make_neighbour(self) -> None:
        """A connector beside it that writes to the same topic."""
        self._make("steady", {"connector.class": "Generator", "topic": self.topic, "rate": "100"})

    def neighbour(self) -> tuple[int, int]:
        """The pid of its task process, and the restarts of its task."""
        status = self.client.get("/connectors/steady/tasks/0/status").json()
        assert status["state"] == "RUNNING", status
        return self.worker.roles()["steady/0 task"], status["millrace"]["restarts"]

    def connector(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/connectors/hurt/status").json()
        return found

    def task(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/connectors/hurt/tasks/0/status").json()
        return found

    def wait_for(self, state: str, kind: str | None = None, circuit: str | None = None) -> dict[str, Any]:
        """The task's status, once it is so."""

        def look() -> dict[str, Any] | None:
            task = self.task()
            more = task.get("millrace", {})
            is_so = task.get("state") == state and kind in (None, more["last_kind"])
            return task if is_so and circuit in (None, more["circuit"]) else None

        found = wait.until(look, f"{state} {kind} {circuit}")
        assert found is not None
        return found

    def until_flowing(self) -> None:
        before = self.written()
        wait.until(lambda: self.written() > before + 5, "more records")

    def written(self) -> int:
        return sum(topics.end_offsets(self._kafka.bootstrap, self.topic).values())

    def _make(self, name: str, config: dict[str, str]) -> None:
        answer = self.client.post("/connectors", json={"name": name, "config": config})
        assert answer.status_code == 201, answer.text

    def _is_serving(self) -> bool:
        assert self.worker.is_running, self.worker.stderr
        try:
            return self.client.get("/").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def hurt(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[Hurt]:
    made = Hurt(kafka, topic, tmp_path)
    yield made
    made.client.close()
    made.worker.close()


@pytest.fixture
def hurt_without_cgroups(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[Hurt]:
    with as_a_unit() as command:
        made = Hurt(kafka, topic, tmp_path, command)
        yield made
        made.client.close()
        made.worker.close()


def test_a_segmentation_fault_is_told_opens_the_circuit_and_a_trial_closes_it(hurt: Hurt) -> None:
    hurt.make()
    hurt.until_flowing()
    hurt.tell("segfault")
    task = hurt.wait_for("FAILED", "crash", "open")
    assert task["trace"].startswith("task process ended by SIGSEGV (segmentation fault: ")
    assert "last in poll)" in task["trace"]
    assert 0 <= task["millrace"]["next_attempt_ms"] <= RESTARTS["restart.circuit.ms"]
    hurt.tell("")
    hurt.until_flowing()
    hurt.wait_for("RUNNING", circuit="closed")
    hurt.worker.signal(signal.SIGTERM)
    assert hurt.worker.wait() == 0


def test_a_plugin_that_outgrows_its_cgroup_is_killed_alone_told_with_its_limit_and_tried_again(hurt: Hurt) -> None:
    folder = place_or_skip().folder
    hurt.make()
    hurt.make_neighbour()
    hurt.until_flowing()
    wait.until(lambda: hurt.worker.roles().get("steady/0 task"), "the neighbour")

    def made() -> list[Path]:
        return list(folder.glob(f"millrace-{hurt.worker.pid}-*"))

    wait.until(lambda: len(made()) == 2, "a cgroup for each task", steady_s=0.2)
    before = hurt.neighbour()
    hurt.tell("memory")
    task = hurt.wait_for("FAILED", "crash", "open")
    killed = (
        "task process ended by SIGKILL (out of memory: the kernel has killed it, "
        f"task.memory.max={MEMORY_BYTES}, last in poll): where poll itself ends its process, there is no record to skip"
    )
    assert task["trace"] == f"{killed} (after 1 restarts without progress)"
    assert f"{killed}; starting it again in " in hurt.worker.stderr
    assert f"task.memory.max is kept by cgroups in {folder}" in hurt.worker.stderr
    hurt.until_flowing()  # by the neighbour alone
    assert hurt.neighbour() == before
    hurt.tell("")
    hurt.wait_for("RUNNING", circuit="closed")
    hurt.worker.signal(signal.SIGTERM)
    assert hurt.worker.wait() == 0
    assert not made()


@pytest.mark.long
def test_a_plugin_that_takes_too_much_memory_without_a_cgroup_gets_an_error_that_is_told_with_its_limit(
    hurt_without_cgroups: Hurt,
) -> None:
    hurt = hurt_without_cgroups
    hurt.make()
    hurt.until_flowing()
    hurt.tell("memory")
    task = hurt.wait_for("FAILED", "crash", "open")
    assert task["trace"] == (
        f"out of memory (MemoryError), task.memory.max lets its process have {MEMORY_BYTES} bytes (in poll) "
        "(after 1 restarts without progress)"
    )
    hurt.tell("")
    hurt.until_flowing()


@pytest.mark.long
def test_what_is_away_is_tried_again_without_end(hurt: Hurt) -> None:
    hurt.tell("away")
    hurt.make()
    wait.until(lambda: hurt.task()["millrace"]["restarts"] > RESTARTS["restart.max"] + 3, "restarts without end")
    assert hurt.task()["state"] != "FAILED"
    assert hurt.task()["millrace"]["last_cause"] == "ConnectionRefusedError: no database at this port (in poll)"
    hurt.tell("")
    hurt.until_flowing()


@pytest.mark.long
def test_a_bad_record_is_tried_once_more_and_named(hurt: Hurt) -> None:
    hurt.make()
    hurt.until_flowing()
    hurt.tell("record")
    task = hurt.wait_for("FAILED", "record", "closed")
    assert task["millrace"]["next_attempt_ms"] is None
    assert f"the record for topic {hurt.topic} at {{'all': 1}} {{'next': " in task["trace"]
    assert "could not be converted" in task["trace"]
    hurt.tell("")
    assert hurt.client.post("/connectors/hurt/tasks/0/restart").status_code == 204
    hurt.until_flowing()


def test_a_refused_login_rests_long_unless_its_file_changes(hurt: Hurt) -> None:
    hurt.tell("login")
    hurt.make()
    task = hurt.wait_for("RESTARTING", "refused")
    assert task["millrace"]["last_cause"] == "the database refuses this password"
    assert task["millrace"]["next_attempt_ms"] > 1_000_000
    hurt.password.write_text("value=right\n")
    hurt.until_flowing()
    hurt.wait_for("RUNNING")


@pytest.mark.long
def test_a_connector_that_cannot_be_started_is_tried_again(hurt: Hurt) -> None:
    hurt.tell("start")
    hurt.make()
    status = wait.until(
        lambda: (found := hurt.connector())["connector"].get("millrace", {}).get("circuit") == "open" and found,
        "an open circuit",
    )
    assert status["connector"]["state"] == "FAILED"
    assert "no such place" in status["connector"]["trace"]
    assert status["connector"]["millrace"]["last_kind"] == "error"
    hurt.tell("")
    hurt.until_flowing()
    assert hurt.connector()["connector"]["state"] == "RUNNING"
