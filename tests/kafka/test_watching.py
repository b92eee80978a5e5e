"""A connector that watches gets tasks while it runs, also without control; those that it had go on undisturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait
from tests.harness.environments import install, virtual
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.standalone import Worker

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


@pytest.fixture
def watched(worker: Worker, tmp_path: Path) -> Path:
    """The folder of a connector that runs with one task, for a file `a`."""
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a").touch()
    worker.start()
    worker.make("w", {"connector.class": "Folder", "tasks.max": "3", "folder": str(folder)})
    worker.wait_for("w", "RUNNING", "RUNNING")
    return folder


def test_it_gets_tasks_when_it_asks_for_them_also_while_control_is_dead(worker: Worker, watched: Path) -> None:
    first = worker.run.roles()["w/0 task"]
    (watched / "b").touch()
    worker.wait_for("w", *["RUNNING"] * 3)
    tasks = worker.client.get("/connectors/w/tasks").json()
    assert [task["config"]["file"] for task in tasks] == ["a", "b"]
    assert worker.client.get("/connectors/w/status").json()["connector"]["version"] == "1.5"

    process = worker.run.roles()["w watcher"]
    worker.run.kill9("control")
    (watched / "c").touch()
    wait.until(lambda: worker.is_serving() and len(worker.states("w")) == 4, "the third task")
    assert (worker.run.roles()["w watcher"], worker.run.roles()["w/0 task"]) == (process, first)
    worker.end()
    assert (watched.parent / "stopped").exists()


@pytest.mark.long
def test_its_process_is_there_while_it_is_started_and_its_failure_is_the_connectors(
    worker: Worker, watched: Path
) -> None:
    worker.client.put("/connectors/w/pause")
    worker.wait_for("w", "PAUSED", "PAUSED")
    wait.until(lambda: "w watcher" not in worker.run.roles(), "its end")
    (watched / "b").touch()
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
    worker.client.delete("/connectors/w")
    wait.until(lambda: "w watcher" not in worker.run.roles(), "its end")
    worker.end()
