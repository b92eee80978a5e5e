"""What Kafka Connect's validation was seen to answer, ours does: definitions, values, errors and their number.

Left out of the comparison: documentation and versions, which are ours; keys and plugins that Kafka Connect does not
have; the order of a converter's keys, which there is that of a hash table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.files import Pipeline
from engine.connector_lines import PlanOptions
from engine.herder.model import Plan
from engine.looking import look_at
from tests.vectors.cases import cases

pytestmark = pytest.mark.vector

STRING = "org.apache.kafka.connect.storage.StringConverter"
OURS = {"file.fsync"}
NOT_BUILT = "what is not built is refused: topic.creation.*, exactly-once"
#: Keys of cases that cannot come out as recorded as long as the data path lacks what they ask for.
NOT_BUILT_KEYS = ("topic.creation.", "exactly.once.support")
#: Other cases that do not come out as recorded, by what is in them, and why.
DIFFERENT = {
    "a\x85b\x01": "Java trims control characters, Python does not",
    "connector.plugin.version": "the file connectors have Millrace's version",
    "key.converter=": "an empty converter is the worker's, as in a worker's file",
    "key.converter=Nope": "the error goes on: which converters there are",
    "header.converter=Nope": "the error goes on: which converters there are",
    "key.converter=java.lang.String": "no class of Python's is found, which the error says",
    "key.converter=FileStreamSource": "a connector's name is no converter's",
    "key.converter.plugin.version=9": "names Millrace's version",
    "value.converter.converter.encoding=nope": "an encoding that does not exist is found before its converter is made",
    "batch.size": "has a lower bound",
    "transforms=a,": "an alias without a name is one error",
    "predicates=,": "an alias without a name is one error",
    "transforms.a.type=Nope": "the error goes on: which transforms there are",
    "predicates.p.type=Nope": "the error goes on: which predicates there are",
    "transforms.a.type=RegexRouter": "a missing pattern is one error, a missing constant another",
    "transforms.a.regex=(": "what is wrong with a pattern is told in other words",
    "transforms.a.predicate=zz": "a predicate that there is not is found before the task starts",
    "topics.regex=(": "what is wrong with a pattern is told in other words",
    "producer.override": "Java's definitions of client settings are not told",
    "consumer.override": "Java's definitions of client settings are not told",
}


def seen(value: dict[str, Any], part: str) -> dict[str, Any]:
    """What is compared of a definition or value."""
    told = dict(value)
    told.pop("documentation", None)
    is_version = value["name"].endswith("plugin.version")
    if part == "value":
        recommended = told.pop("recommended_values")
        told["has_recommended"] = bool(recommended) or value["name"].endswith(".type")
    if is_version:
        told = {key: "VERSION" if key in ("default_value", "value") and told[key] else told[key] for key in told}
    return told


def entries(configs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        one["value"]["name"]: {part: one[part] and seen(one[part], part) for part in ("definition", "value")}
        for one in configs
        if one["value"]["name"] not in OURS and (one["definition"] or {}).get("group") != "Millrace"
    }


def recorded() -> list[dict[str, Any]]:
    """The cases, each whole: after the first of a class the file has what is different of it."""
    whole: dict[str, list[dict[str, Any]]] = {}
    told = []
    for case in cases("connector_validation"):
        name = case["config"]["connector.class"].rpartition(".")[2].removesuffix("Connector")
        if "configs" in case:
            whole[name] = case["configs"]
        by_name = {one["value"]["name"]: one for one in (*whole[name], *case.get("changed", ()))}
        names = case.get("names") or [one["value"]["name"] for one in whole[name]]
        told.append({**case, "configs": [by_name[one] for one in names]})
    return told


def outcome(config: dict[str, str], folder: Path) -> dict[str, Any]:
    worker = {
        "bootstrap.servers": "localhost:9092",
        "key.converter": STRING,
        "value.converter": STRING,
        "offset.storage.file.filename": str(folder / "offsets"),
    }
    order = Plan(0, config.get("name", ""), config, wants_tasks=False)
    pipeline = Pipeline(worker=worker, worker_file="worker.properties", connectors=())
    planned = look_at(pipeline, PlanOptions(is_bulk=False), order, tells_keys=True)
    told: dict[str, Any] = msgspec.json.decode(planned.infos)
    if not planned.failure:
        assert list(planned.problems) == [error for one in told["configs"] for error in one["value"]["errors"]]
    return told


def is_as_recorded(case: dict[str, Any], told: dict[str, Any]) -> bool:
    groups = [group for group in told["groups"] if group != "Millrace"]
    return bool(
        told["error_count"] == case["error_count"]
        and set(groups) == set(case["groups"])
        and entries(told["configs"]) == entries(case["configs"])
    )


def reason(config: dict[str, str]) -> str:
    """Why a case may come out otherwise; empty: it may not."""
    for key, value in config.items():
        found = next((why for what, why in DIFFERENT.items() if what in (value, f"{key}={value}", key)), "")
        found = found or next((why for what, why in DIFFERENT.items() if key.startswith(what) and "=" not in what), "")
        if found or key.startswith(NOT_BUILT_KEYS):
            return found or NOT_BUILT
    return ""


@pytest.mark.slow
def test_every_recorded_validation_comes_out_as_recorded(tmp_path: Path) -> None:
    alike = 0
    for case in recorded():
        told = outcome(case["config"], tmp_path)
        if is_as_recorded(case, told):
            alike += 1
        else:
            assert reason(case["config"]), (case["id"], case["config"], told)
    assert alike > 75


def test_the_comparison_finds_what_is_different() -> None:
    case = recorded()[0]
    assert is_as_recorded(case, case)
    assert not is_as_recorded(case, {**case, "error_count": 1})
    (first, *others) = case["configs"]
    renamed = {**first, "definition": {**first["definition"], "display_name": "other"}}
    assert not is_as_recorded(case, {**case, "configs": [renamed, *others]})
