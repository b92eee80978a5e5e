"""What plugins want to know, and whether a configuration is good, told key by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.dual.asked import Asked, error

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

FULL = "org.apache.kafka.connect.file.FileStreamSourceConnector"
GOOD = {"connector.class": "FileStreamSource", "name": "x", "topic": "t", "file": "/tmp/x"}
UNREADABLE: Sequence[object] = (b"", b"{", b"null", [], {**GOOD, "x": {}})
KEY = ["name", "type", "required", "default_value", "importance", "documentation", "group", "order_in_group", "width"]


def validated(worker: Asked, config: dict[str, Any], plugin: str = "FileStreamSource") -> dict[str, Any]:
    answer = worker.put(f"/connector-plugins/{plugin}/config/validate", config)
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json
    assert list(told) == ["name", "error_count", "groups", "configs"]
    return told


def errors(told: dict[str, Any]) -> dict[str, list[str]]:
    """By key."""
    found = {one["value"]["name"]: one["value"]["errors"] for one in told["configs"] if one["value"] is not None}
    return {key: messages for key, messages in found.items() if messages}


@pytest.mark.parametrize("plugin", ["FileStreamSource", "FileStreamSourceConnector", FULL])
def test_a_connectors_keys_are_its_own_and_then_all_connectors(worker: Asked, plugin: str) -> None:
    keys = worker.get(f"/connector-plugins/{plugin}/config").json
    names = [key["name"] for key in keys]
    assert set(names[:3]) == {"file", "topic", "batch.size"}
    assert {"name", "connector.class", "tasks.max", "key.converter", "transforms", "errors.tolerance"} <= set(names)
    (topic,) = (key for key in keys if key["name"] == "topic")
    assert list(topic)[:9] == KEY
    assert (topic["type"], topic["required"], topic["default_value"]) == ("STRING", True, None)


@pytest.mark.parametrize("plugin", ["JsonConverter", "Json", "org.apache.kafka.connect.storage.StringConverter"])
def test_a_converter_has_keys(worker: Asked, plugin: str) -> None:
    keys = {key["name"]: key for key in worker.get(f"/connector-plugins/{plugin}/config").json}
    expected = "converter.encoding" if "String" in plugin else "schemas.enable"
    assert expected in keys
    assert "connector.class" not in keys


@pytest.mark.parametrize("plugin", ["BooleanConverter", "DoubleConverter", "Integer", "ByteArrayConverter"])
def test_a_converter_with_nothing_to_configure_has_its_type_only(worker: Asked, plugin: str) -> None:
    keys = worker.get(f"/connector-plugins/{plugin}/config").json
    assert [key["name"] for key in keys] == ["converter.type"]


@pytest.mark.parametrize("name", ["Boolean", "Double", "Float", "Integer", "Long", "Short"])
def test_converters_of_numbers_may_be_named(worker: Asked, name: str) -> None:
    full = f"org.apache.kafka.connect.converters.{name}Converter"
    keys = {"key.converter": full, "value.converter": f"{name}Converter", "header.converter": full}
    assert errors(validated(worker, {**GOOD, **keys})) == {}


def test_a_plugin_that_is_not_there_has_none(worker: Asked) -> None:
    assert error(worker.get("/connector-plugins/Nope/config"), 404) == "Unknown plugin Nope."
    assert worker.get("/connector-plugins/FileStreamSink").status == 404
    assert worker.get("/connector-plugins/FileStreamSink/config/validate").status == 405


def test_a_good_configuration_has_no_errors(worker: Asked) -> None:
    told = validated(worker, GOOD)
    assert (told["name"], told["error_count"], errors(told)) == ("FileStreamSource", 0, {})
    assert {"Common", "Transforms", "Predicates", "Error Handling"} <= set(told["groups"])
    (topic,) = (one for one in told["configs"] if one["value"] and one["value"]["name"] == "topic")
    assert list(topic) == ["definition", "value"]
    assert topic["value"] == {"name": "topic", "value": "t", "recommended_values": [], "errors": [], "visible": True}
    assert list(topic["definition"])[:9] == KEY


def test_errors_stand_with_their_keys(worker: Asked) -> None:
    told = validated(worker, {"connector.class": "FileStreamSource"})
    assert (told["error_count"], set(errors(told))) == (2, {"name", "topic"})
    told = validated(worker, {**GOOD, "tasks.max": "abc", "nope": "1"})
    assert errors(told)["tasks.max"][0].startswith("Invalid value abc for configuration tasks.max")
    told = validated(worker, {**GOOD, "x": None})
    assert set(errors(told)) == {"x"}


def test_the_class_is_the_plugins(worker: Asked) -> None:
    path = "/connector-plugins/FileStreamSource/config/validate"
    other = worker.put(path, {"connector.class": "FileStreamSink"})
    assert error(other, 400) == "Included connector type FileStreamSink does not match request type FileStreamSource"
    assert "contains no connector type" in str(error(worker.put(path, {}), 500))
    assert "Nope" in str(error(worker.put("/connector-plugins/Nope/config/validate", {"connector.class": "Nope"}), 500))
    for body in UNREADABLE:
        assert error(worker.put(path, body), 500)
    assert worker.post(path, GOOD).status == 405
