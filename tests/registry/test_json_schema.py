"""JSON Schemas through a real registry, beside Confluent's own client: what one writes the other reads."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema as PeerSchema
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from converters.json_schema import JsonSchemaConverter
from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.schema import FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from tests.harness.registry import SchemaRegistry, made_for

pytestmark = pytest.mark.slow

ORDER = Schema.struct(
    {"id": INT64, "note": OPTIONAL_STRING, "price": FLOAT64, "items": Schema.array(STRING)}, name="Order"
)
TEXT = """{"$schema": "http://json-schema.org/draft-07/schema#", "title": "Order", "type": "object",
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}, "required": ["id"]}"""


def converter(registry: SchemaRegistry, **keys: Any) -> JsonSchemaConverter:
    return made_for(JsonSchemaConverter, registry.url, **keys)


def value_of(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def orders(count: int) -> list[Any]:
    return [
        ORDER.struct_type(id=number, note=None if number % 2 else "x", price=number / 4, items=["a"] * (number % 3))
        for number in range(count)
    ]


def test_values_come_back_and_confluents_client_reads_them(
    registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient
) -> None:
    written = converter(registry).from_connect(topic, orders(20), Repeat(ORDER, 20))
    assert not written.failures
    read = converter(registry).to_connect(topic, written.payloads)
    assert not read.failures
    assert read.schemas[0] == ORDER.replaced(version=1)
    assert [value.note for value in read.values] == [value.note for value in orders(20)]
    deserialize = JSONDeserializer(None, schema_registry_client=peer)
    assert [deserialize(payload, value_of(topic)) for payload in written.payloads] == [
        {"id": value.id, "note": value.note, "price": value.price, "items": value.items} for value in orders(20)
    ]


def test_what_confluents_client_writes_is_read(
    registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient
) -> None:
    serialize = JSONSerializer(TEXT, peer)
    payloads = [serialize({"id": number, "name": f"n-{number}"}, value_of(topic)) for number in range(3)]
    read = converter(registry).to_connect(topic, payloads)
    assert not read.failures
    assert [(value.id, value.name) for value in read.values] == [(number, f"n-{number}") for number in range(3)]


def test_schemas_may_refer_to_others(registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient) -> None:
    inner = '{"$schema": "http://json-schema.org/draft-07/schema#", "$id": "item.json", "type": "object", "properties": {"name": {"type": "string"}}}'  # noqa: E501
    peer.register_schema(f"{topic}-item", PeerSchema(inner, "JSON"))
    outer = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"item": {"$ref": "item.json"}}}'  # noqa: E501
    reference = SchemaReference("item.json", f"{topic}-item", 1)
    serialize = JSONSerializer(PeerSchema(outer, "JSON", [reference]), peer)
    payload = serialize({"item": {"name": "chair"}}, value_of(topic))
    for keys in ({}, {"json_fail_invalid_schema": "true"}):
        read = converter(registry, **keys).to_connect(topic, [payload])
        assert not read.failures
        assert read.values[0].item.name == "chair"


def test_a_schema_of_another_format_is_an_error_that_names_both(
    registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient
) -> None:
    number = peer.register_schema(f"{topic}-value", PeerSchema('"string"', "AVRO"))
    read = converter(registry).to_connect(topic, [b"\0" + number.to_bytes(4, "big") + b'"a"'])
    ((error),) = [failure.error for failure in read.failures]
    assert isinstance(error, DataError)
    assert f"schema id {number} is one of AVRO, expected JSON" in str(error)


def test_a_value_without_a_schema_is_refused(registry: SchemaRegistry, topic: str) -> None:
    written = converter(registry).from_connect(topic, [{"a": 1}, 1], [None, INT32])
    assert [failure.index for failure in written.failures] == [0]
    assert "expected a value with a schema" in str(written.failures[0].error)
