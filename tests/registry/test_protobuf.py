"""Protocol Buffers through a real registry, beside Confluent's own client: what one writes the other reads."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema as PeerSchema
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import message_factory

from converters.protobuf import ProtobufConverter
from converters.protobuf.files import proto_file
from engine.api.column import Repeat
from engine.api.schema import DATE, INT8, INT64, OPTIONAL_STRING, STRING, TIMESTAMP, Schema
from tests.harness.registry import SchemaRegistry, made_for

pytestmark = pytest.mark.slow

LINE = Schema.struct({"name": STRING, "level": INT8}, name="shop.Line")
PLAIN = Schema.struct(
    {"id": INT64, "note": OPTIONAL_STRING, "tags": Schema.map(STRING, INT64), "lines": Schema.array(STRING)},
    name="shop.Order",
)
RICH = Schema.struct(
    {"id": INT64, "price": Schema.decimal(2), "day": DATE, "at": TIMESTAMP, "lines": Schema.array(LINE)},
    name="shop.Order",
)
TEXT = """syntax = "proto3"; package lab;
message Reading { string name = 1; repeated double values = 2; map<string, int32> tags = 3; Inner inner = 4;
  message Inner { bool is = 1; } }"""


def converter(registry: SchemaRegistry, **keys: Any) -> ProtobufConverter:
    return made_for(ProtobufConverter, registry.url, **keys)


def value_of(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def test_values_come_back_and_confluents_client_reads_them(registry: SchemaRegistry, topic: str) -> None:
    orders: list[Any] = [
        PLAIN.struct_type(id=number, note=None if number % 2 else "x", tags={"a": number}, lines=["l"] * (number % 3))
        for number in range(20)
    ]
    made = converter(registry, optional_for_nullables="true")
    written = made.from_connect(topic, orders, Repeat(PLAIN, 20))
    assert not written.failures
    read = converter(registry, optional_for_nullables="true").to_connect(topic, written.payloads)
    assert not read.failures
    assert [(one.id, one.note, one.tags, one.lines) for one in read.values] == [
        (one.id, one.note, one.tags, one.lines) for one in orders
    ]
    kind = message_factory.GetMessageClass(proto_file(made._target(PLAIN).text.schema, {}).message((0,)))
    deserialize = ProtobufDeserializer(kind, {"use.deprecated.format": False})
    messages = [deserialize(payload, value_of(topic)) for payload in written.payloads]
    assert [(one.id, dict(one.tags), [*one.lines]) for one in messages] == [
        (one.id, one.tags, one.lines) for one in orders
    ]


def test_logical_types_and_messages_within_come_back(registry: SchemaRegistry, topic: str) -> None:
    value: Any = RICH.struct_type(
        id=1,
        price=Decimal("-1.50"),
        day=datetime.date(2024, 2, 29),
        at=datetime.datetime(2024, 2, 29, 1, 2, 3, 4000, tzinfo=datetime.UTC),
        lines=[LINE.struct_type(name="a", level=-3)],
    )
    written = converter(registry).from_connect(topic, [value], [RICH])
    assert not written.failures
    read = converter(registry).to_connect(topic, written.payloads)
    assert not read.failures
    (found,) = read.values
    assert (found.id, found.price, found.day, found.at) == (1, value.price, value.day, value.at)
    assert [(one.name, one.level) for one in found.lines] == [("a", -3)]


def test_what_confluents_client_writes_is_read(
    registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient
) -> None:
    file = proto_file(TEXT, {})
    outer, inner = (message_factory.GetMessageClass(file.message(indexes)) for indexes in ((0,), (0, 1)))
    serialize = ProtobufSerializer(outer, peer, {"use.deprecated.format": False})
    message = outer(name="n", values=[1.5], tags={"a": 1}, inner={"is": True})
    read = converter(registry).to_connect(topic, [serialize(message, value_of(topic))])
    assert not read.failures
    (found,) = read.values
    assert (found.name, found.values, found.tags) == ("n", [1.5], {"a": 1})
    assert getattr(found.inner, found.inner.__struct_fields__[0]) is True
    other = ProtobufSerializer(inner, peer, {"use.deprecated.format": False})
    read = converter(registry).to_connect(f"{topic}-2", [other(inner(**{"is": True}), value_of(f"{topic}-2"))])
    assert not read.failures


def test_files_may_import_others(registry: SchemaRegistry, topic: str, peer: SchemaRegistryClient) -> None:
    item = 'syntax = "proto3"; package shop; message Item { string name = 1; }'
    peer.register_schema(f"{topic}-item", PeerSchema(item, "PROTOBUF"))
    cart = 'syntax = "proto3"; package shop; import "item.proto"; message Cart { Item item = 1; }'
    reference = SchemaReference("item.proto", f"{topic}-item", 1)
    number = peer.register_schema(f"{topic}-value", PeerSchema(cart, "PROTOBUF", [reference]))
    payload = b"\0" + number.to_bytes(4, "big") + b"\0" + b"\x0a\x07\x0a\x05chair"
    read = converter(registry).to_connect(topic, [payload])
    assert not read.failures
    assert read.values[0].item.name == "chair"
