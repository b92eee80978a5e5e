"""A worker validates what it is asked to, whatever plugins do, and reads secrets anew when their file changes.

The worker, its processes, its plugins and the broker are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.standalone import Kafka, Worker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

VALIDATE = "/connector-plugins/{}/config/validate"
HANGING = 6
PLUGIN = """
import os, time
from engine.api.connector import SourceConnector
from engine.api.task import SourceTask

class Task(SourceTask):
    def start(self, config): pass
    def poll(self): return None

class Hanging(SourceConnector):
    task = Task
    def validate(self, properties):
        while True:
            time.sleep(60)
    def task_configs(self, tasks_max): return []

class Leaving(Hanging):
    def validate(self, properties):
        os._exit(3)

class Eating(Hanging):
    def validate(self, properties):
        return [len(bytearray(1024**3))]
"""


@pytest.fixture
def worker(kafka: Kafka, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(kafka, tmp_path)
    (tmp_path / "odd.py").write_text(PLUGIN)
    with (tmp_path / "worker.properties").open("a") as file:
        file.write("probe.timeout.ms=2000\nprobe.memory.max=268435456\n")
        file.write("config.providers=file\nconfig.providers.file.class=FileConfigProvider\n")
    yield made
    made.close()


def test_validation_tells_of_odd_plugins_and_holds_up_no_connector(topic: str, worker: Worker) -> None:
    worker.start()
    client = worker.client

    def ask(name: str) -> str:
        answer = client.put(VALIDATE.format(name), json={"name": "c", "connector.class": f"odd.{name}"})
        return answer.json()["message"] if answer.status_code == 500 else answer.text

    with ThreadPoolExecutor(HANGING) as pool:
        hanging = [pool.submit(ask, "Hanging") for _ in range(HANGING)]
        worker.make("numbers", {"connector.class": "Generator", "topic": topic, "rate": 10})
        assert not all(one.done() for one in hanging), "more of them than are asked at a time"
        assert "left with exit code 3" in ask("Leaving")
        assert "MemoryError" in ask("Eating")
        assert all("connector c: validate: no answer within 2 s" in one.result() for one in hanging)
    worker.wait_for("numbers", "RUNNING", "RUNNING")
    good = {"name": "c", "connector.class": "FileStreamSource", "topic": topic, "tasks.max": "none"}
    infos = client.put(VALIDATE.format("FileStreamSource"), json=good).json()
    assert infos["error_count"] == 2
    told = client.post("/connectors", json={"name": "c", "config": good}).json()["message"]
    errors = [error for one in infos["configs"] for error in one["value"]["errors"]]
    assert told.splitlines()[1:-1] == errors
    worker.end()


def test_a_value_is_read_anew_when_its_file_changes(kafka: Kafka, topic: str, worker: Worker, tmp_path: Path) -> None:
    other, secret = f"{topic}-other", tmp_path / "secret.properties"
    secret.write_text(f"topic={topic}\n")
    topics.create_topic(kafka.bootstrap, other)
    worker.start()
    worker.make("numbers", {"connector.class": "Generator", "topic": f"${{file:{secret}:topic}}", "rate": 50})
    worker.wait_for("numbers", "RUNNING", "RUNNING")
    secret.write_text(f"topic={other}\n")
    wait.until(lambda: sum(topics.end_offsets(kafka.bootstrap, other).values()) > 0, "records in the other topic")
    secret.unlink()
    wait.until(lambda: worker.states("numbers") == ["FAILED", "RUNNING"], "the connector told of its missing file")
    secret.write_text(f"topic={topic}\n")
    worker.wait_for("numbers", "RUNNING", "RUNNING")
    worker.end()
