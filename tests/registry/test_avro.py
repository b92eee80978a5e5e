"""Avro through a real registry, beside Confluent's own client: what one writes the other reads, and errors say why.

The registry and the peer (confluent_kafka.schema_registry) are real; only the converter is called without a worker.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema as PeerSchema
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from converters.avro import AvroConfig, AvroConverter
from engine.api.column import Repeat
from engine.api.errors import ConfigError, DataError, RetriableError
from engine.api.schema import DATE, FLOAT64, INT8, INT32, INT64, OPTIONAL_STRING, STRING, TIMESTAMP, Schema
from tests.harness.registry import SchemaRegistry, made_for
from tests.harness.server import free_ports

pytestmark = pytest.mark.slow

Make = Callable[..., AvroConverter]
ORDER = Schema.struct(
    {
        "id": INT64,
        "customer": STRING,
        "price": Schema.decimal(2),
        "day": DATE,
        "at": TIMESTAMP,
        "level": INT8,
        "note": OPTIONAL_STRING,
        "items": Schema.array(Schema.struct({"name": STRING, "weight": FLOAT64}, name="shop.Item")),
        "tags": Schema.map(STRING, INT32),
    },
    name="shop.Order",
)


@pytest.fixture
def make(registry: SchemaRegistry) -> Make:
    return partial(made_for, AvroConverter, registry.url)


def order(number: int) -> Any:
    item = ORDER.fields[7].schema.value_schema
    assert item is not None
    return ORDER.struct_type(
        id=number,
        customer=f"c-{number}",
        price=Decimal(f"{number}.50"),
        day=datetime.date(2024, 2, 29),
        at=datetime.datetime(2024, 2, 29, 12, 30, 0, 123000, tzinfo=datetime.UTC),
        level=-7,
        note=None if number % 2 else "leave it",
        items=[item.struct_type(name="chair", weight=4.5)] * (number % 3),
        tags={"a": number},
    )


def value_of(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def plain(value: Any) -> Any:
    """As the peer gives it."""
    names = ("id", "customer", "price", "day", "at", "level", "note", "tags")
    return {
        **{name: getattr(value, name) for name in names},
        "items": [{"name": one.name, "weight": one.weight} for one in value.items],
    }


def test_values_come_back_and_the_schema_is_registered_once(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    orders = [order(number) for number in range(50)]
    written = make().from_connect(topic, orders, Repeat(ORDER, 50))
    assert not written.failures
    read = make().to_connect(topic, written.payloads)
    assert not read.failures
    assert [plain(value) for value in read.values] == [plain(value) for value in orders]
    assert read.schemas[0] == ORDER.replaced(version=1)
    assert peer.get_versions(f"{topic}-value") == [1]


def test_confluents_client_reads_what_is_written(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    orders = [order(number) for number in range(20)]
    written = make().from_connect(topic, orders, Repeat(ORDER, 20))
    deserialize = AvroDeserializer(peer)
    assert [deserialize(payload, value_of(topic)) for payload in written.payloads] == [*map(plain, orders)]


def test_what_confluents_client_writes_is_read(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    text = """{"type": "record", "name": "Reading", "namespace": "lab", "fields": [
        {"name": "sensor", "type": {"type": "enum", "name": "Sensor", "symbols": ["HEAT", "LIGHT"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "value", "type": ["null", "int", "string", {"type": "array", "items": "float"}]},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "old", "type": "string", "default": "none"}]}"""
    serialize = AvroSerializer(peer, text)
    now = datetime.datetime(2024, 1, 2, 3, 4, 5, 6000, tzinfo=datetime.UTC)
    values = [
        {"sensor": "LIGHT", "hash": b"abcd", "value": one, "when": now, "old": "x"}
        for one in (None, 7, "seven", [1.5, 2.5])
    ]
    read = make().to_connect(topic, [serialize(value, value_of(topic)) for value in values])
    assert not read.failures
    schema = read.schemas[0]
    assert schema is not None
    assert schema.name == "lab.Reading"
    assert schema.version == 1
    assert [value.sensor for value in read.values] == ["LIGHT"] * 4
    assert [value.hash for value in read.values] == [b"abcd"] * 4
    assert [value.when for value in read.values] == [now] * 4
    unions = [value.value for value in read.values]
    assert unions[0] is None
    assert unions[1].int == 7
    assert unions[2].string == "seven"
    assert unions[3].array == [1.5, 2.5]
    assert schema.fields[4].schema.default == "none"


def test_schemas_may_refer_to_others(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    inner = '{"type": "record", "name": "Item", "namespace": "shop", "fields": [{"name": "name", "type": "string"}]}'
    peer.register_schema(f"{topic}-item", PeerSchema(inner, "AVRO"))
    outer = '{"type": "record", "name": "Cart", "namespace": "shop", "fields": [{"name": "item", "type": "shop.Item"}]}'
    reference = SchemaReference("shop.Item", f"{topic}-item", 1)
    serialize = AvroSerializer(peer, PeerSchema(outer, "AVRO", [reference]))
    read = make().to_connect(topic, [serialize({"item": {"name": "chair"}}, value_of(topic))])
    assert not read.failures
    assert read.values[0].item.name == "chair"


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("io.confluent.kafka.serializers.subject.TopicNameStrategy", "{topic}-value"),
        ("io.confluent.kafka.serializers.subject.RecordNameStrategy", "{topic}.Order"),
        ("TopicRecord", "{topic}-{topic}.Order"),
    ],
)
def test_subjects_are_called_as_the_strategy_says(
    make: Make, topic: str, peer: SchemaRegistryClient, strategy: str, subject: str
) -> None:
    space = topic.replace("-", "_")
    schema = Schema.struct({"id": INT32}, name=f"{space}.Order")
    made = make(value_subject_name_strategy=strategy)
    assert not made.from_connect(topic, [schema.struct_type(id=1)], [schema]).failures
    told = subject.replace("{topic}.", f"{space}.").replace("{topic}", topic)
    assert told in peer.get_subjects()


def test_keys_have_subjects_of_their_own(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    assert not make(is_key=True).from_connect(topic, ["a"], [STRING]).failures
    assert f"{topic}-key" in peer.get_subjects()


def test_without_registration_an_unknown_schema_is_an_error_that_says_so(make: Make, topic: str) -> None:
    ((_, error),) = [
        (failure.index, failure.error)
        for failure in make(auto_register_schemas="false").from_connect(topic, [1], [INT32]).failures
    ]
    assert isinstance(error, DataError)
    assert "auto.register.schemas=false" in str(error)
    assert f"{topic}-value" in str(error)


def test_the_latest_version_is_written_under_when_asked(make: Make, topic: str, peer: SchemaRegistryClient) -> None:
    latest = """{"type": "record", "name": "Order", "fields": [
        {"name": "source", "type": "string", "default": "web"}, {"name": "id", "type": "long"}]}"""
    number = peer.register_schema(f"{topic}-value", PeerSchema(latest, "AVRO"))
    schema = Schema.struct({"id": INT32}, name="Order")
    value = schema.struct_type(id=5)
    for keys in ({"use_latest_version": "true"}, {"use_schema_id": number}):
        written = make(auto_register_schemas="false", **keys).from_connect(topic, [value], [schema])
        assert not written.failures
        assert AvroDeserializer(peer)(written.payloads[0], value_of(topic)) == {"source": "web", "id": 5}
    wide = Schema.struct({"id": INT32, "extra": STRING}, name="Order")
    more = wide.struct_type(id=5, extra="x")
    strict = make(auto_register_schemas="false", use_latest_version="true").from_connect(topic, [more], [wide])
    assert "extra" in str(strict.failures[0].error)
    lenient = make(
        auto_register_schemas="false", use_latest_version="true", latest_compatibility_strict="false"
    ).from_connect(topic, [more], [wide])
    assert AvroDeserializer(peer)(lenient.payloads[0], value_of(topic)) == {"source": "web", "id": 5}


def test_an_incompatible_schema_is_refused_with_the_registrys_words(
    make: Make, topic: str, registry: SchemaRegistry
) -> None:
    made = make()
    assert not made.from_connect(topic, [1], [INT32]).failures
    httpx.put(f"{registry.url}/config/{topic}-value", json={"compatibility": "BACKWARD"}).raise_for_status()
    (failure,) = made.from_connect(topic, ["text"], [STRING]).failures
    assert isinstance(failure.error, DataError)
    assert "409" in str(failure.error)
    assert f"{topic}-value" in str(failure.error)


def test_bad_bytes_cost_themselves_and_say_what_is_wrong(make: Make, topic: str) -> None:
    made = make()
    good = made.from_connect(topic, [order(1)], [ORDER]).payloads[0]
    assert good is not None
    cases = {
        b"\1" + good[1:]: "Unknown magic byte!",
        b"\0\0": "2 bytes",
        b"\0\x7f\xff\xff\xff" + good[5:]: "schema id 2147483647",
        good[:-1]: "$.tags",
        good + b"!": "1 bytes follow",
    }
    payloads = [None, *cases, good]
    read = made.to_connect(topic, payloads)
    assert sorted(failure.index for failure in read.failures) == [1, 2, 3, 4, 5]
    for failure in read.failures:
        assert isinstance(failure.error, DataError)
        assert cases[payloads[failure.index] or b""] in failure.error.whole()
    assert read.values[0] is None
    assert plain(read.values[6]) == plain(order(1))


def test_a_registry_that_is_away_is_no_fault_of_the_record(topic: str) -> None:
    (port,) = free_ports(1)
    made = made_for(AvroConverter, f"http://me:se%3Acret@127.0.0.1:{port}")
    written = made.from_connect(topic, [1, 2], Repeat(INT32, 2))
    read = made.to_connect(topic, [b"\0\0\0\0\1\2"])
    for failure in (*written.failures, *read.failures):
        assert isinstance(failure.error, RetriableError)
        assert "se%3Acret" not in str(failure.error)
        assert "se:cret" not in str(failure.error)
    assert len(written.failures) == 2


def test_the_next_address_is_asked_when_one_is_away(registry: SchemaRegistry, topic: str) -> None:
    (port,) = free_ports(1)
    made = made_for(AvroConverter, f"http://127.0.0.1:{port},{registry.url}")
    assert not made.from_connect(topic, [1], [INT32]).failures


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"schema.registry.url": "ftp://x"}, "expected http://HOST:PORT"),
        ({"basic.auth.credentials.source": "USER_INFO"}, "expected name:password"),
        ({"value.subject.name.strategy": "Mine"}, "expected Topic, Record or TopicRecord"),
        ({"use.latest.version": "true"}, "auto.register.schemas=false"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(keys: dict[str, str], told: str) -> None:
    made = AvroConverter()
    with pytest.raises(ConfigError, match=told):
        made.configure(AvroConfig.parse({"schema.registry.url": "http://x:1", **keys}), is_key=False)
