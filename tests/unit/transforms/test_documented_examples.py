"""Every example of docs/transforms.md comes out as it says."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest

from converters.json import JsonConfig, JsonConverter
from engine.api.record import Header, SourceRecord
from engine.api.schema import Schema
from engine.config.properties import parse_properties
from engine.plugins.catalog import Catalog, Kind, discover
from engine.stages.outgoing import columns_of
from engine.stages.transform import Step, fused, transform
from tests.shape.tree import ROOT

BLOCKS = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
KINDS: tuple[Kind, ...] = ("transform", "predicate")
SECTION = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)


class Example(NamedTuple):
    title: str
    properties: dict[str, str]
    before: list[Any]
    after: list[Any]


def examples() -> list[Example]:
    """Of each section: a configuration, records, and records again."""
    _, *rest = SECTION.split((ROOT / "docs" / "transforms.md").read_text())
    found = []
    for title, text in zip(rest[::2], rest[1::2], strict=True):
        blocks = [(block["language"], block["text"]) for block in BLOCKS.finditer(text)]
        for (first, config), (second, before), (third, after) in zip(blocks, blocks[1:], blocks[2:], strict=False):
            if (first, second, third) == ("properties", "json", "json"):
                found.append(Example(title, parse_properties(config), _lines(before), _lines(after)))
    return found


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return discover()


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_an_example_comes_out_as_documented(example: Example, catalog: Catalog) -> None:
    chain = [step(catalog, example.properties, alias) for alias in example.properties["transforms"].split(",")]
    done = transform(fused(chain), columns_of([record_of(line) for line in example.before]))
    assert done.failed is None
    assert [shown(record) for record in done.columns.records()] == [whole(line) for line in example.after]


def test_every_transform_and_predicate_has_an_example(catalog: Catalog) -> None:
    titles = {example.title for example in examples()}
    for kind in KINDS:
        for entry, aliases in catalog.entries(kind):
            if entry.path.startswith("engine.transforms."):
                assert titles & {name.partition("$")[0] for name in (entry.simple_name, *aliases)}, entry.path


def step(catalog: Catalog, properties: dict[str, str], alias: str) -> Step:
    prefix = f"transforms.{alias}."
    predicate = properties.get(f"{prefix}predicate")
    return Step(
        made(catalog, "transform", properties, prefix),
        None if predicate is None else made(catalog, "predicate", properties, f"predicates.{predicate}."),
        properties.get(f"{prefix}negate") == "true",
    )


def made(catalog: Catalog, kind: Kind, properties: dict[str, str], prefix: str) -> Any:
    keys = {key.removeprefix(prefix): value for key, value in properties.items() if key.startswith(prefix)}
    plugin = catalog.find(kind, keys["type"])()
    plugin.configure(plugin.config.parse(keys))
    return plugin


def record_of(line: dict[str, Any]) -> SourceRecord:
    assert line.keys() <= NAMES, line
    found = whole(line)
    key_schema, key = decoded(found["key_schema"], found["key"])
    value_schema, value = decoded(found["value_schema"], found["value"])
    return SourceRecord(
        topic=found["topic"],
        partition=found["partition"],
        timestamp=found["timestamp"],
        key=key,
        key_schema=key_schema,
        value=value,
        value_schema=value_schema,
        headers=[Header(name, text) for name, text in found["headers"]],
    )


NAMES = {"topic", "partition", "timestamp", "key_schema", "key", "value_schema", "value", "headers"}


def whole(line: dict[str, Any]) -> dict[str, Any]:
    """The line with all that it leaves out."""
    found = {**dict.fromkeys(NAMES), "headers": [], **line}
    for name in ("key_schema", "value_schema"):
        if found[name] is not None:
            found[name] = encoded(*decoded(found[name], None, is_schema=True))["schema"]
    return found


def shown(record: SourceRecord) -> dict[str, Any]:
    key, value = encoded(record.key_schema, record.key), encoded(record.value_schema, record.value)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "timestamp": record.timestamp,
        "key_schema": key["schema"],
        "key": key["payload"],
        "value_schema": value["schema"],
        "value": value["payload"],
        "headers": [[header.key, header.value] for header in record.headers],
    }


def converter(*, has_schemas: bool) -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig(schemas_enable=has_schemas))
    return made


def decoded(schema: Any, value: Any, *, is_schema: bool = False) -> tuple[Schema | None, Any]:
    if is_schema:
        schema, value = {**schema, "optional": schema.get("optional", False)}, {"id": 0}
    tree = value if schema is None else {"schema": schema, "payload": value}
    found = converter(has_schemas=schema is not None).to_connect("topic", [json.dumps(tree).encode()])
    assert not found.failures, found.failures
    return found.schemas[0], found.values[0]


def encoded(schema: Schema | None, value: Any) -> dict[str, Any]:
    found = converter(has_schemas=True).from_connect("topic", [value], [schema])
    assert not found.failures, found.failures
    payload = found.payloads[0]
    return {"schema": None, "payload": None} if payload is None else json.loads(payload)
