"""A connector that watches gets tasks while it runs, also without control; those that it had go on undisturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait
from tests.harness.environments import install, virtual
from tests.harness.kafka import KafkaServer, UserKafka
from tests.kafka.test_standalone import Worker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CONNECTORS = Path(__file__).parent.parent / "unit" / "watcher" / "connectors_of_tests.py"


@pytest.fixture
def worker(kafka: KafkaServer | UserKafka, tmp_path: Path) -> Iterator[Worker]:
    """One whose watching connector is in an environment of its own."""
    points = {"millrace.connectors": {"Folder": "watching:Folder"}}
    install(virtual(tmp_path / "plugins" / "one"), "watching", "1.5", {"watching.py": CONNECTORS.read_text()},
            points=points)  # fmt: skip
    made = Worker(kafka, tmp_path)
    with (tmp_path / "worker.properties").open("a") as properties:
        properties.write(f"plugin.path={tmp_path}/plugins\n")
    yield made
    made.close()


def test_it_gets_tasks_when_it_asks_for_them(worker: Worker, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "a").touch()
    worker.start()
    worker.make("w", {"connector.class": "Folder", "tasks.max": "3", "folder": str(watched)})
    worker.wait_for("w", "RUNNING", "RUNNING")
    first = worker.life.roles()["w/0 task"]
    (watched / "b").touch()
    worker.wait_for("w", "RUNNING", "RUNNING", "RUNNING")
    assert worker.life.roles()["w/0 task"] == first
    tasks = worker.client.get("/connectors/w/tasks").json()
    assert [task["config"]["file"] for task in tasks] == ["a", "b"]
    assert worker.client.get("/connectors/w/status").json()["connector"]["version"] == "1.5"

    process = worker.life.roles()["w watcher"]
    worker.life.kill9("control")
    (watched / "c").touch()
    wait.until(lambda: worker.is_serving() and len(worker.states("w")) == 4, "the third task")
    assert (worker.life.roles()["w watcher"], worker.life.roles()["w/0 task"]) == (process, first)

    worker.client.put("/connectors/w/pause")
    worker.wait_for("w", *["PAUSED"] * 4)
    wait.until(lambda: "w watcher" not in worker.life.roles(), "its end")
    (watched / "c").unlink()
    worker.client.put("/connectors/w/resume")
    worker.wait_for("w", *["RUNNING"] * 3)

    (watched / "fail").touch()
    wait.until(lambda: worker.states("w")[0] == "FAILED", "its failure")
    status = worker.client.get("/connectors/w/status").json()
    assert "there is a file that should not be" in status["connector"]["trace"]
    assert [task["state"] for task in status["tasks"]] == ["RUNNING", "RUNNING"]
    (watched / "fail").unlink()
    worker.client.post("/connectors/w/restart")
    worker.wait_for("w", *["RUNNING"] * 3)
    worker.end()
    assert (tmp_path / "stopped").exists()
