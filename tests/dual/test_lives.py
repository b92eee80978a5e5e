"""What becomes of connectors and tasks over REST: states, restarts, pauses, stops, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dual.asked import Asked, error

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
def sink(topic: str, tmp_path: Path) -> dict[str, str]:
    """A good configuration of two tasks."""
    return {"connector.class": "FileStreamSink", "topics": topic, "file": str(tmp_path / "out.txt"), "tasks.max": "2"}


@pytest.fixture
def running(worker: Asked, sink: dict[str, str]) -> str:
    """The path of a connector with two running tasks."""
    worker.make("copy", sink)
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    return "/connectors/copy"


def test_a_status_says_of_each_task_where_and_how_it_is(worker: Asked, running: str) -> None:
    status = worker.get(f"{running}/status").json
    assert list(status) == ["name", "connector", "tasks", "type"]
    assert (status["name"], status["type"]) == ("copy", "sink")
    host, port = status["connector"]["worker_id"].rsplit(":", 1)
    assert host
    assert port.isdigit()
    ours = {"state": "RUNNING", "worker_id": f"{host}:{port}"}
    assert {key: status["connector"][key] for key in ours} == ours
    assert status["connector"]["version"]
    assert [{key: task[key] for key in ("id", *ours)} for task in status["tasks"]] == [
        {"id": 0, **ours},
        {"id": 1, **ours},
    ]
    assert [task["version"] for task in status["tasks"]] == [status["connector"]["version"]] * 2
    assert not [element for element in (status["connector"], *status["tasks"]) if "trace" in element]
    assert worker.get(f"{running}/tasks/1/status").json == status["tasks"][1]
    assert worker.get(f"{running}/tasks/+1/status").json == status["tasks"][1]


def test_a_failed_task_has_its_reason_and_may_be_started_again(worker: Asked, sink: dict[str, str]) -> None:
    missing = str(Path(sink["file"]).parent / "missing" / "out.txt")
    worker.make("copy", {**sink, "file": missing})
    worker.wait_for("copy", "RUNNING", "FAILED", "FAILED")
    status = worker.get("/connectors/copy/status").json
    assert all(missing in task["trace"] for task in status["tasks"])
    untouched = worker.post("/connectors/copy/restart?onlyFailed=true")
    assert untouched.status == 202
    assert [untouched.json["connector"]["state"], *(task["state"] for task in untouched.json["tasks"])] == [
        "RUNNING",
        "FAILED",
        "FAILED",
    ]
    Path(missing).parent.mkdir()
    again = worker.post("/connectors/copy/restart?includeTasks=true&onlyFailed=true")
    assert again.status == 202
    assert again.json["connector"]["state"] == "RUNNING"
    assert [task["state"] for task in again.json["tasks"]] == ["RESTARTING"] * 2
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")


@pytest.mark.long
def test_a_failed_task_stays_so_while_its_connector_is_paused(worker: Asked, sink: dict[str, str]) -> None:
    worker.make("copy", {**sink, "file": str(Path(sink["file"]).parent / "missing" / "out.txt"), "tasks.max": "1"})
    worker.wait_for("copy", "RUNNING", "FAILED")
    assert worker.put("/connectors/copy/pause").status == 202
    worker.wait_for("copy", "PAUSED", "FAILED")
    assert worker.put("/connectors/copy/resume").status == 202
    worker.wait_for("copy", "RUNNING", "FAILED")


def test_restarts_answer_by_what_is_asked(worker: Asked, running: str) -> None:
    plain = worker.post(f"{running}/restart")
    assert (plain.status, plain.body) == (204, b"")
    for flag in ("includeTasks=false", "includeTasks=nope", "includeTasks=", "includeTasks", "onlyFailed=1"):
        assert worker.post(f"{running}/restart?{flag}").status == 204
    whole = worker.post(f"{running}/restart?includeTasks=TRUE")
    assert whole.status == 202
    assert list(whole.json) == ["name", "connector", "tasks", "type"]
    assert whole.json["connector"]["state"] == "RESTARTING"
    assert sorted((task["id"], task["state"]) for task in whole.json["tasks"]) == [(0, "RESTARTING"), (1, "RESTARTING")]
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    one = worker.post(f"{running}/tasks/1/restart")
    assert (one.status, one.body) == (204, b"")
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    assert worker.post(f"{running}/restart", {"a": 1}).status == 204


def test_pause_resume_and_stop(worker: Asked, running: str) -> None:
    for _ in range(2):
        paused = worker.put(f"{running}/pause")
        assert (paused.status, paused.body) == (202, b"")
    worker.wait_for("copy", "PAUSED", "PAUSED", "PAUSED")
    assert len(worker.get(f"{running}/tasks").json) == 2
    for _ in range(2):
        assert worker.put(f"{running}/resume").status == 202
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")
    for _ in range(2):
        stopped = worker.put(f"{running}/stop")
        assert (stopped.status, stopped.body) == (204, b"")
    worker.wait_for("copy", "STOPPED")
    assert worker.get(f"{running}/tasks").json == []
    assert worker.get(running).json["tasks"] == []
    assert error(worker.get(f"{running}/tasks/0/status"), 404) == "No status found for task copy-0"
    assert worker.post(f"{running}/restart").status == 204
    assert worker.post(f"{running}/restart?includeTasks=true").status == 202
    worker.wait_for("copy", "STOPPED")
    # Last, because a standalone Kafka Connect has such a task in its status from then on, as FAILED; a distributed one
    # answers 409 for ever.
    assert worker.is_distributed or error(worker.post(f"{running}/tasks/0/restart"), 404)
    assert worker.put(f"{running}/resume").status == 202
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")


def test_what_is_started_again_or_changed_while_it_is_paused_is_paused(worker: Asked, running: str) -> None:
    worker.put(f"{running}/pause")
    worker.wait_for("copy", "PAUSED", "PAUSED", "PAUSED")
    assert worker.post(f"{running}/tasks/0/restart").status == 204
    assert worker.post(f"{running}/restart?includeTasks=true").status == 202
    worker.wait_for("copy", "PAUSED", "PAUSED", "PAUSED")
    assert worker.patch(f"{running}/config", {"x": "1"}).status == 200
    worker.wait_for("copy", "PAUSED", "PAUSED", "PAUSED")
    worker.put(f"{running}/resume")
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")


@pytest.mark.long
def test_a_stopped_connector_takes_a_configuration_and_stays_stopped(worker: Asked, running: str) -> None:
    worker.put(f"{running}/stop")
    worker.wait_for("copy", "STOPPED")
    assert worker.patch(f"{running}/config", {"tasks.max": 1}).json["config"]["tasks.max"] == "1"
    worker.wait_for("copy", "STOPPED")
    assert worker.get(f"{running}/tasks").json == []
    worker.put(f"{running}/resume")
    worker.wait_for("copy", "RUNNING", "RUNNING")


@pytest.mark.long
@pytest.mark.parametrize(
    ("initial", "states"),
    [("paused", ["PAUSED"]), ("STOPPED", ["STOPPED"]), ("Running", ["RUNNING"] * 3), (None, ["RUNNING"] * 3)],
)
def test_a_connector_begins_in_its_initial_state(
    worker: Asked, sink: dict[str, str], initial: str | None, states: list[str]
) -> None:
    worker.make("copy", sink, initial_state=initial)
    worker.wait_for("copy", *states)
    worker.put("/connectors/copy/resume")
    worker.wait_for("copy", "RUNNING", "RUNNING", "RUNNING")


@pytest.mark.parametrize("number", ["7", "-1"])
def test_a_task_that_is_not_there_has_no_status(worker: Asked, number: str) -> None:
    message = error(worker.get(f"/connectors/nope/tasks/{number}/status"), 404)
    assert message == f"No status found for task nope-{number}"


@pytest.mark.long
def test_a_task_that_is_not_there_cannot_be_restarted(worker: Asked, running: str) -> None:
    # "Task copy-7 not found" or "Unknown task: copy-7": standalone and distributed workers differ.
    assert "copy-7" in str(error(worker.post(f"{running}/tasks/7/restart"), 404))


@pytest.mark.parametrize("number", ["x", "99999999999", "1.5", "%20"])
def test_a_task_that_is_no_number_is_no_path(worker: Asked, number: str) -> None:
    for method, path in (("GET", f"tasks/{number}/status"), ("POST", f"tasks/{number}/restart")):
        answer = worker.ask(method, f"/connectors/nope/{path}")
        assert error(answer, 404) == "HTTP 404 Not Found"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "", "Connector nope not found"),
        ("GET", "/config", "Connector nope not found"),
        ("GET", "/tasks", "Connector nope not found"),
        ("DELETE", "", "Connector nope not found"),
        ("GET", "/status", "No status found for connector nope"),
        ("PUT", "/pause", "Unknown connector nope"),
        ("PUT", "/resume", "Unknown connector nope"),
        ("POST", "/restart?includeTasks=true", "Unknown connector: nope"),
        ("POST", "/restart?onlyFailed=true", "Unknown connector: nope"),
    ],
)
def test_a_connector_that_is_not_there_is_404_in_the_words_of_each_path(
    worker: Asked, method: str, path: str, message: str
) -> None:
    assert error(worker.ask(method, f"/connectors/nope{path}"), 404) == message


@pytest.mark.parametrize("path", ["/stop", "/restart", "/tasks/0/restart"])
def test_where_a_standalone_worker_runs_into_its_own_exception_millrace_answers_as_a_distributed_one(
    worker: Asked, path: str
) -> None:
    method = "PUT" if path == "/stop" else "POST"
    expected = 500 if worker.kind == "connect" else 404
    assert error(worker.ask(method, f"/connectors/nope{path}"), expected)
