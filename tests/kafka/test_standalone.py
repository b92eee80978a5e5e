"""`millrace standalone` takes connectors over REST as Kafka Connect does, and its data flows on without its control.

The worker, its processes and the broker are real; only this file talks to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import topics, wait
from tests.harness.standalone import ANSWER_S, USER, Kafka, Worker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RECORDS = 5_000


@pytest.fixture
def worker(kafka: Kafka, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(kafka, tmp_path)
    yield made
    made.close()


@pytest.fixture
def https_worker(kafka: Kafka, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(kafka, tmp_path, is_https=True)
    yield made
    made.close()


def source(topic: str, **more: object) -> dict[str, object]:
    fixed = {"connector.class": "Generator", "topic": topic, "format": "sequence", "partitions": 4}
    return {**fixed, "records": RECORDS, **more}


def sink(topic: str, file: Path, **more: object) -> dict[str, object]:
    group = {"consumer.override.group.id": f"connect-{topic}"}
    return {"connector.class": "FileStreamSink", "topics": topic, "file": str(file), **group, **more}


def numbers(file: Path) -> list[int]:
    return [int(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def test_connectors_are_made_changed_paused_and_deleted_and_every_record_arrives(
    kafka: Kafka, topic: str, worker: Worker, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    worker.start()
    worker.make("numbers", source(topic), initial_state="STOPPED")
    assert worker.states("numbers") == ["STOPPED"]
    worker.make("copy", sink(topic, out, **{"tasks.max": 2}))
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    assert worker.client.put("/connectors/copy/pause").status_code == 202
    worker.wait_for("copy", "PAUSED", "PAUSED", "PAUSED")
    assert worker.client.put("/connectors/numbers/resume").status_code == 202
    wait.until(lambda: sum(topics.end_offsets(kafka.bootstrap, topic).values()) == RECORDS, "all records in Kafka")
    assert numbers(out) == []
    assert worker.client.put("/connectors/copy/resume").status_code == 202
    wait.until(lambda: len(numbers(out)) >= RECORDS, "all records in the file")
    answer = worker.client.patch("/connectors/copy/config", json={"tasks.max": 1})
    assert (answer.status_code, len(answer.json()["tasks"])) == (200, 1)
    worker.wait_for("copy", "RUNNING", "RUNNING")
    assert sorted(numbers(out)) == list(range(RECORDS))
    assert worker.client.delete("/connectors/copy").status_code == 204
    assert worker.client.get("/connectors").json() == ["numbers"]
    assert not [role for role in worker.run.roles() if role.startswith("copy/")]
    committed = topics.group_offsets(kafka.bootstrap, f"connect-{topic}")
    assert sum(committed.values()) == RECORDS
    worker.end()


def test_records_flow_on_while_control_is_gone_and_no_client_is_refused(
    topic: str, https_worker: Worker, tmp_path: Path
) -> None:
    worker, out = https_worker, tmp_path / "out.txt"
    worker.start()
    worker.make("numbers", source(topic, records=1_000_000, rate=1000))
    worker.make("copy", sink(topic, out))
    wait.until(lambda: len(numbers(out)) > 100, "records in the file")
    before = {role: pid for role, pid in worker.run.roles().items() if "/" in role}
    worker.run.kill9("control")
    # A connection that was open is gone with it; a new one waits to be accepted.
    url = worker.client.base_url.join("/connectors")
    answer = httpx.get(url, timeout=ANSWER_S, verify=worker.verify, auth=USER)
    assert answer.json() == ["copy", "numbers"]
    assert httpx.get(url, timeout=ANSWER_S, verify=worker.verify).status_code == 401
    seen = len(numbers(out))
    wait.until(lambda: len(numbers(out)) > seen, "more records in the file")
    worker.wait_for("copy", "RUNNING", "RUNNING")
    answer = worker.client.patch("/connectors/numbers/config", json={"rate": 2000})
    assert answer.status_code == 200, answer.text
    after = {role: pid for role, pid in worker.run.roles().items() if "/" in role}
    assert {role: pid for role, pid in after.items() if role.startswith("copy/")} == {
        role: pid for role, pid in before.items() if role.startswith("copy/")
    }, "a sink that nobody has changed was started again"
    worker.end()


def test_what_was_made_comes_back_with_the_worker_and_a_file_wins(topic: str, worker: Worker, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    worker.start()
    worker.make("numbers", source(topic))
    worker.make("copy", sink(topic, out))
    worker.make("idle", sink(topic, tmp_path / "other.txt", **{"consumer.override.group.id": f"other-{topic}"}))
    assert worker.client.put("/connectors/idle/stop").status_code == 204
    wait.until(lambda: len(numbers(out)) >= RECORDS, "all records in the file")
    worker.end()
    (tmp_path / "copy.properties").write_text(
        "".join(f"{key}={value}\n" for key, value in {"name": "copy", **sink(topic, tmp_path / "new.txt")}.items())
    )
    worker.start("copy.properties")
    assert sorted(worker.client.get("/connectors").json()) == ["copy", "idle", "numbers"]
    worker.wait_for("copy", "RUNNING", "RUNNING")
    assert worker.states("idle") == ["STOPPED"]
    assert worker.client.get("/connectors/copy/config").json()["file"].endswith("new.txt")
    assert "connector copy: its file wins" in worker.run.stderr
    assert numbers(tmp_path / "new.txt") == []
    worker.end()
    assert sorted(numbers(out)) == list(range(RECORDS))


def test_levels_of_loggers_reach_processes_that_run_and_those_that_are_started_later(
    topic: str, worker: Worker
) -> None:
    def stop() -> bool:
        """Whether the sink's task has said its last."""
        before = worker.run.stderr.count("taken: ")
        assert worker.client.put("/connectors/drop/stop").status_code == 204
        wait.until(lambda: not [role for role in worker.run.roles() if role.startswith("drop/")], "end of its task")
        return worker.run.stderr.count("taken: ") > before

    def start() -> None:
        assert worker.client.put("/connectors/drop/resume").status_code == 202
        worker.wait_for("drop", "RUNNING", "RUNNING")

    worker.start()
    worker.make("numbers", source(topic, records=1))
    worker.make("drop", {"connector.class": "NullSink", "topics": topic})
    worker.wait_for("drop", "RUNNING", "RUNNING")
    assert worker.client.put("/admin/loggers/connectors.null", json={"level": "ERROR"}).json() == ["connectors.null"]
    assert not stop()
    worker.run.kill9("control")
    httpx.get(worker.client.base_url.join("/connectors"), timeout=ANSWER_S)  # its own connection is gone
    start()
    assert not stop()
    url = worker.client.base_url.join("/admin/loggers/connectors.null")
    assert httpx.put(url, json={"level": "INFO"}, timeout=ANSWER_S).json() == ["connectors.null"]
    start()
    assert stop()
    worker.end()
