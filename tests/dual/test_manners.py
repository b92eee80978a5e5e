"""What every path has in common: the root, health, methods, slashes, media types, errors without a type."""

from __future__ import annotations

import pytest

from tests.dual.asked import Asked, error

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_the_root_tells_version_commit_and_cluster(worker: Asked) -> None:
    answer = worker.get("/")
    assert (answer.status, list(answer.json)) == (200, ["version", "commit", "kafka_cluster_id"])
    assert answer.json["version"] == "4.3.1"
    assert answer.json["commit"]
    assert answer.json["kafka_cluster_id"]
    assert answer.headers["content-type"] == "application/json"


def test_a_worker_that_answers_is_healthy(worker: Asked) -> None:
    answer = worker.get("/health")
    message = "Worker has completed startup and is ready to handle requests."
    assert (answer.status, answer.json) == (200, {"status": "healthy", "message": message})


@pytest.mark.parametrize("path", ["/", "/health", "/connectors", "/connector-plugins"])
def test_head_is_get_without_a_body(worker: Asked, path: str) -> None:
    answer = worker.ask("HEAD", path)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/json")


@pytest.mark.parametrize("path", ["/nope", "/connectors/a/b/c/d", "/connectors/a/tasks-config"])
def test_an_unknown_path_is_404_with_a_body_and_no_type(worker: Asked, path: str) -> None:
    answer = worker.get(path)
    assert error(answer, 404) == "HTTP 404 Not Found"
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/connectors"),
        ("PUT", "/connectors"),
        ("PATCH", "/connectors"),
        ("POST", "/"),
        ("GET", "/connectors/a/pause"),
        ("POST", "/connectors/a/status"),
        ("GET", "/connectors/a/tasks/0/restart"),
    ],
)
def test_another_method_is_405_with_a_body_and_no_type(worker: Asked, method: str, path: str) -> None:
    answer = worker.ask(method, path)
    assert error(answer, 405) == "HTTP 405 Method Not Allowed"
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", {"GET", "HEAD", "OPTIONS"}),
        ("/connectors", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/connectors/a", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("/connectors/a/config", {"GET", "HEAD", "OPTIONS", "PATCH", "PUT"}),
    ],
)
def test_options_tells_the_methods(worker: Asked, path: str, methods: set[str]) -> None:
    answer = worker.ask("OPTIONS", path)
    assert (answer.status, set(answer.body.decode().split(", "))) == (200, methods)
    assert set(answer.headers["allow"].split(",")) == methods
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/health/", "/connectors/", "/connector-plugins/"])
def test_a_slash_at_the_end_changes_nothing(worker: Asked, path: str) -> None:
    assert worker.get(path).json == worker.get(path.removesuffix("/")).json


def test_an_empty_part_of_a_path_is_refused(worker: Asked) -> None:
    assert worker.get("//connectors").status == 400
    assert worker.get("/connectors//a").status == 400


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("text/html,*/*;q=0.1", 200),
        ("text/plain", 406),
        ("application/xml", 406),
        ("garbage", 406),
    ],
)
def test_json_is_given_to_those_who_take_it(worker: Asked, accept: str, status: int) -> None:
    answer = worker.ask("GET", "/connectors", headers={"Accept": accept})
    assert answer.status == status
    if status == 406:
        assert error(answer, 406) == "HTTP 406 Not Acceptable"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/vnd.x+json", 415),
        ("application/json; charset=utf-8", 404),
    ],
)
def test_a_body_is_json(worker: Asked, kind: str, status: int) -> None:
    answer = worker.ask("PATCH", "/connectors/nope/config", {"a": "b"}, {"Content-Type": kind})
    assert answer.status == status
    if status == 415:
        assert error(answer, 415) == "HTTP 415 Unsupported Media Type"
        assert "content-type" not in answer.headers


def test_plugins_are_listed_with_class_type_and_version(worker: Asked) -> None:
    plugins = worker.get("/connector-plugins").json
    assert {plugin["type"] for plugin in plugins} == {"sink", "source"}
    classes = [plugin["class"] for plugin in plugins]
    for name in ("FileStreamSinkConnector", "FileStreamSourceConnector"):
        assert f"org.apache.kafka.connect.file.{name}" in classes
    assert all({"class", "type"} <= set(plugin) <= {"class", "type", "version"} for plugin in plugins)
    everything = worker.get("/connector-plugins?connectorsOnly=false").json
    assert {"converter", "header_converter", "sink", "source"} <= {plugin["type"] for plugin in everything}
    kinds = [plugin["type"] for plugin in everything]
    assert kinds == sorted(
        kinds, key=["sink", "source", "transformation", "predicate", "converter", "header_converter"].index
    )
