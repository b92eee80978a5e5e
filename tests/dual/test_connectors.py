"""Connectors over REST: made, read, changed, deleted, in the same words by every worker.

Where the real worker's answer is an exception of its own code (a NullPointerException's text), only its status is asked
for. Where Millrace differs on purpose, the test says so and docs/compatibility.md says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.dual.asked import Asked, error

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

INVALID = "Connector configuration is invalid and contains the following"
#: As a configuration.
UNREADABLE: Sequence[object] = (b"", b"null", b"[]", b"1", b"{", {"a": {}})
HINT = "You can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`"


@pytest.fixture
def source(topic: str, tmp_path: Path) -> dict[str, str]:
    """A good configuration."""
    file = tmp_path / "in.txt"
    file.write_text("one\ntwo\n")
    return {"connector.class": "FileStreamSource", "topic": topic, "file": str(file)}


@pytest.fixture
def sink(topic: str, tmp_path: Path) -> dict[str, str]:
    """A good configuration of two tasks."""
    return {"connector.class": "FileStreamSink", "topics": topic, "file": str(tmp_path / "out.txt"), "tasks.max": "2"}


def test_a_connector_is_made_read_and_deleted(worker: Asked, source: dict[str, str]) -> None:
    answer = worker.post("/connectors", {"name": "orders", "config": source})
    assert answer.status == 201
    assert answer.headers["location"] == f"{worker.url}/connectors/orders"
    assert answer.headers["content-type"] == "application/json"
    made = answer.json
    assert list(made) == ["name", "config", "tasks", "type"]
    assert (made["name"], made["type"]) == ("orders", "source")
    assert made["config"] == {**source, "name": "orders"}
    worker.wait_for("orders", "RUNNING", "RUNNING")
    assert worker.get("/connectors/orders").json == {**made, "tasks": [{"connector": "orders", "task": 0}]}
    assert worker.get("/connectors/orders/config").json == made["config"]
    assert worker.get("/connectors").json == ["orders"]
    (task,) = worker.get("/connectors/orders/tasks").json
    assert task["id"] == {"connector": "orders", "task": 0}
    assert {key: task["config"][key] for key in made["config"]} == made["config"]
    assert task["config"]["task.class"].endswith("FileStreamSourceTask")
    gone = worker.delete("/connectors/orders")
    assert (gone.status, gone.body) == (204, b"")
    assert worker.get("/connectors").json == []
    assert worker.get("/connectors/orders").status == 404


def test_numbers_and_booleans_become_text(worker: Asked, source: dict[str, str]) -> None:
    odd = {"batch.size": 100, "a": True, "b": 1.50, "c": 12345678901234567890, "d": 1e3}
    made = worker.make("orders", {**source, **odd})
    expected = {"batch.size": "100", "a": "true", "b": "1.5", "c": "12345678901234567890", "d": "1000.0"}
    assert {key: made["config"][key] for key in odd} == expected


def test_a_name_is_trimmed_and_taken_once(worker: Asked, source: dict[str, str]) -> None:
    made = worker.make("  orders  ", source)
    assert (made["name"], made["config"]["name"]) == ("orders", "orders")
    again = worker.post("/connectors", {"name": "orders", "config": source})
    assert error(again, 409) == "Connector orders already exists"


def test_a_configuration_may_not_name_another(worker: Asked, source: dict[str, str]) -> None:
    text = "Connector name configuration (b) doesn't match connector name in the URL (a)"
    assert error(worker.post("/connectors", {"name": "a", "config": {**source, "name": "b"}}), 400) == text
    assert error(worker.put("/connectors/a/config", {**source, "name": "b"}), 400) == text
    assert worker.put("/connectors/a/config", {**source, "name": "a"}).status == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"a"',
        b"{}",
        b"\xff\xfe{",
        b"{'name':'x'}",
        b'{"name":"x","config":{},}',
        b'{"name":"x"}',
        b'{"name":"x","config":null}',
        b'{"name":"x","config":[]}',
        b'{"name":"x","config":"a"}',
        b'{"name":["x"],"config":{}}',
        b'{"name":"x","config":{"connector.class":"FileStreamSource","a":{}}}',
        b'{"name":"x","config":{"connector.class":"FileStreamSource","a":[]}}',
        b'{"name":"x","config":{"connector.class":"FileStreamSource"},"initial_state":"nope"}',
        b'{"name":"x","config":{"connector.class":"FileStreamSource"},"initial_state":""}',
        b'{"name":"x","config":{"connector.class":"FileStreamSource","topic":"t"}} more',
    ],
    ids=lambda body: body.decode(errors="replace")[:60],
)
def test_a_body_that_cannot_be_read_is_500_and_makes_nothing(worker: Asked, body: bytes) -> None:
    assert error(worker.post("/connectors", body), 500)
    assert worker.get("/connectors").json == []


def test_an_unknown_field_is_named(worker: Asked) -> None:
    answer = worker.post("/connectors", {"name": "x", "config": {}, "more": 1})
    assert str(error(answer, 500)).startswith('Unrecognized field "more"')


@pytest.mark.long
@pytest.mark.parametrize(
    ("config", "texts"),
    [
        ({}, ["onnector"]),  # "Connector config {...} contains no connector type", or the key that is missing
        (
            {"connector.class": "Nope"},
            ["Failed to find any class that implements Connector and which name matches Nope"],
        ),
        ({"connector.class": "FileStreamSource"}, [INVALID, 'Missing required configuration "topic"', HINT]),
        (
            {"connector.class": "FileStreamSource", "topic": "t", "tasks.max": "0"},
            [INVALID, "Invalid value 0 for configuration tasks.max"],
        ),
        (
            {"connector.class": "FileStreamSource", "topic": "t", "tasks.max": "abc"},
            [INVALID, "Invalid value abc for configuration tasks.max"],
        ),
        (
            {"connector.class": "FileStreamSource", "topic": "t", "batch.size": "abc"},
            [INVALID, "Invalid value abc for configuration batch.size"],
        ),
        (
            {"connector.class": "FileStreamSource", "topic": "t", "key.converter": "Nope"},
            [INVALID, "Invalid value Nope for configuration key.converter"],
        ),
        ({"connector.class": "FileStreamSource", "topic": ""}, [INVALID, "Invalid value  for configuration topic"]),
        ({"connector.class": "FileStreamSink"}, [INVALID, "topics.regex"]),
        ({"connector.class": "FileStreamSink", "topics": "a", "topics.regex": "b"}, [INVALID, "topics.regex"]),
        ({"connector.class": "FileStreamSource", "topic": "t", "a": None}, ["Null value can not be supplied"]),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_bad_configuration_is_400_and_makes_nothing(
    worker: Asked, config: Mapping[str, Any], texts: list[str]
) -> None:
    for answer in (
        worker.post("/connectors", {"name": "x", "config": config}),
        worker.put("/connectors/x/config", dict(config)),
    ):
        message = error(answer, 400)
        assert [text for text in texts if text not in str(message)] == [], message
    assert worker.get("/connectors").json == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "for configuration name"), (None, "for configuration name"), ("a\nb", "for configuration name")],
)
def test_a_name_that_is_none_is_refused(worker: Asked, source: dict[str, str], name: str | None, problem: str) -> None:
    assert problem in str(error(worker.post("/connectors", {"name": name, "config": source}), 400))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["with space", "quo\"te'", "é中", "?#+&;,:@()[]|<>~", ".", "..", "a.b", "$", "=", "*", "!", "^`"]
)
def test_names_with_odd_characters_work_when_they_are_encoded(worker: Asked, source: dict[str, str], name: str) -> None:
    path = f"/connectors/{quote(name, safe='')}"
    answer = worker.post("/connectors", {"name": name, "config": source, "initial_state": "STOPPED"})
    assert answer.status == 201
    assert unquote(answer.headers["location"]) == f"{worker.url}/connectors/{name}"
    assert worker.get(path).json["name"] == name
    worker.wait_for(name, "STOPPED")
    assert worker.get(f"{path}/status").json["name"] == name
    assert worker.put(f"{path}/config", source).status == 200
    assert worker.delete(path).status == 204
    assert worker.get("/connectors").json == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["a/b", "50%", "back\\slash", "{x}"])
def test_names_that_kafka_connect_makes_and_cannot_read_are_names_to_millrace(
    worker: Asked, source: dict[str, str], name: str
) -> None:
    path = f"/connectors/{quote(name, safe='')}"
    if not worker.is_millrace:
        assert worker.get(path).status in (400, 404)  # not made here: nobody could delete it
        return
    assert worker.post("/connectors", {"name": name, "config": source}).status == 201
    assert worker.get(path).json["name"] == name
    assert worker.delete(path).status == 204


def test_put_makes_and_replaces(worker: Asked, source: dict[str, str]) -> None:
    first = worker.put("/connectors/orders/config", source)
    assert (first.status, first.headers["location"]) == (201, f"{worker.url}/connectors/orders")
    second = worker.put("/connectors/orders/config", {**source, "batch.size": 7})
    assert (second.status, "location" in second.headers) == (200, False)
    assert second.json["config"] == {**source, "batch.size": "7", "name": "orders"}
    assert worker.put("/connectors/orders/config", source).json["config"] == {**source, "name": "orders"}
    assert error(worker.put("/connectors/orders/config", {**source, "tasks.max": 0}), 400)
    for body in UNREADABLE:
        assert worker.put("/connectors/orders/config", body).status == 500
    assert worker.get("/connectors/orders/config").json == {**source, "name": "orders"}


def test_patch_changes_adds_and_takes_away_keys(worker: Asked, source: dict[str, str]) -> None:
    worker.make("orders", source)
    path = "/connectors/orders/config"
    changed = worker.patch(path, {"batch.size": 6, "x": 1.5})
    assert (changed.status, list(changed.json)) == (200, ["name", "config", "tasks", "type"])
    assert changed.json["config"] == {**source, "name": "orders", "batch.size": "6", "x": "1.5"}
    assert worker.patch(path, {"batch.size": None, "y": None}).json["config"] == {
        **source,
        "name": "orders",
        "x": "1.5",
    }
    assert worker.patch(path, {}).status == 200
    assert 'Missing required configuration "topic"' in str(error(worker.patch(path, {"topic": None}), 400))
    assert 'Missing required configuration "name"' in str(error(worker.patch(path, {"name": None}), 400))
    assert error(worker.patch(path, {"connector.class": None}), 400)
    assert error(worker.patch(path, {"connector.class": "Nope"}), 400)
    for body in UNREADABLE:
        assert worker.patch(path, body).status == 500
    assert worker.get(path).json == {**source, "name": "orders", "x": "1.5"}
    assert error(worker.patch("/connectors/nope/config", {"a": "b"}), 404) == "Connector nope not found"


def test_patch_does_not_compare_a_name(worker: Asked, source: dict[str, str]) -> None:
    worker.make("orders", source)
    changed = worker.patch("/connectors/orders/config", {"name": "other"})
    assert (changed.status, changed.json["name"], changed.json["config"]["name"]) == (200, "orders", "other")


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["FileStreamSink", "FileStreamSinkConnector", "org.apache.kafka.connect.file.FileStreamSinkConnector"]
)
def test_a_class_has_a_full_and_two_short_names(worker: Asked, sink: dict[str, str], name: str) -> None:
    assert worker.make("copy", {**sink, "connector.class": name})["type"] == "sink"


def test_the_list_expands(worker: Asked, source: dict[str, str], sink: dict[str, str]) -> None:
    worker.make("in", source)
    worker.make("out", sink)
    worker.wait_for("in", "RUNNING", "RUNNING")
    worker.wait_for("out", "RUNNING", "RUNNING", "RUNNING")
    assert sorted(worker.get("/connectors").json) == ["in", "out"]
    status = {name: worker.get(f"/connectors/{name}/status").json for name in ("in", "out")}
    info = {name: worker.get(f"/connectors/{name}").json for name in ("in", "out")}
    expanded = worker.get("/connectors?expand=status&expand=info&expand=nonsense").json
    assert expanded == {name: {"status": status[name], "info": info[name]} for name in ("in", "out")}
    assert worker.get("/connectors?expand=info").json == {name: {"info": info[name]} for name in info}
    assert worker.get("/connectors?expand=status").json == {name: {"status": status[name]} for name in status}
    for nothing in ("", "=", "=nope", "=INFO", "=info,status"):
        assert worker.get(f"/connectors?expand{nothing}").json == {"in": {}, "out": {}}
