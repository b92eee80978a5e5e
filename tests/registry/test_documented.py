"""Each example of a converter with a registry that the documentation gives works as it stands there."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from engine.api.schema import INT64, OPTIONAL_STRING, Schema
from engine.plugins.catalog import discover
from tests.harness.registry import SchemaRegistry

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "converters.md"
EXAMPLES = [one for one in re.findall(r"```properties\n(.*?)```", PAGE.read_text(), re.DOTALL) if "registry" in one]
PREFIX = "value.converter."
ORDER = Schema.struct({"id": INT64, "note": OPTIONAL_STRING}, name="Order")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.partition("\n")[0].rpartition(".")[2])
def test_the_example_of_a_converter_writes_and_reads(example: str, registry: SchemaRegistry) -> None:
    keys = dict(line.split("=", 1) for line in example.splitlines())
    keys[f"{PREFIX}schema.registry.url"] = registry.url
    converter = discover().find("converter", keys["value.converter"])()
    own = {key.removeprefix(PREFIX): value for key, value in keys.items() if key.startswith(PREFIX)}
    converter.configure(converter.config.parse(own), is_key=False)
    orders = [ORDER.struct_type(id=1, note="x"), ORDER.struct_type(id=2)]
    topic = f"documented-{uuid.uuid4().hex[:8]}"
    written = converter.from_connect(topic, orders, [ORDER, ORDER])
    assert not written.failures
    read = converter.to_connect(topic, written.payloads)
    assert not read.failures
    assert [(value.id, value.note) for value in read.values] == [(1, "x"), (2, None)]


def test_every_converter_with_a_registry_has_an_example() -> None:
    assert {"AvroConverter", "JsonSchemaConverter", "ProtobufConverter"} <= {
        example.partition("\n")[0].rpartition(".")[2] for example in EXAMPLES
    }
