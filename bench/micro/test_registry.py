"""How long a record of seven fields takes through each converter with a schema registry, beside a plain loop.

The registry is asked once, before anything is measured: here it is a stand-in that knows one schema.
"""

from __future__ import annotations

import io
from typing import Any

import fastavro
import msgspec
import pytest

from converters.avro import AvroConfig, AvroConverter
from converters.json_schema import JsonSchemaConfig, JsonSchemaConverter
from converters.protobuf import ProtobufConfig, ProtobufConverter
from converters.registry.client import Registered, Registry, Text
from converters.registry.config import RegistryConfig
from converters.registry.converter import RegistryConverter
from engine.api.column import Repeat
from engine.api.schema import BOOLEAN, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema

ORDER = Schema.struct(
    {
        "id": INT64,
        "customer": STRING,
        "item": STRING,
        "quantity": INT32,
        "price": FLOAT64,
        "express": BOOLEAN,
        "note": OPTIONAL_STRING,
    },
    name="order",
)


class OneSchema(Registry):
    """Has what was registered last."""

    def __init__(self) -> None:
        self._text = Text("AVRO", "")

    def register(self, subject: str, text: Text) -> int:
        self._text = text
        return 7

    def schema(self, number: int) -> Registered:
        return Registered(number, self._text)

    def version_of(self, number: int, subject: str) -> int | None:
        return None


def ready(converter: RegistryConverter, config: type[RegistryConfig]) -> RegistryConverter:
    converter.configure(config.parse({"schema.registry.url": "http://localhost:1"}), is_key=False)
    converter._registry = OneSchema()  # noqa: SLF001  what would be asked over HTTP
    return converter


def avro() -> RegistryConverter:
    return ready(AvroConverter(), AvroConfig)


def protobuf() -> RegistryConverter:
    return ready(ProtobufConverter(), ProtobufConfig)


def json_schema() -> RegistryConverter:
    return ready(JsonSchemaConverter(), JsonSchemaConfig)


@pytest.fixture(scope="session")
def values(orders: list[bytes]) -> list[Any]:
    """The benchmark's orders as structs."""
    decode = msgspec.json.Decoder(ORDER.struct_type).decode
    return [*map(decode, orders)]


@pytest.mark.parametrize("make", [avro, json_schema, protobuf])
def test_registry_out(measure: Any, values: list[Any], make: Any) -> None:
    converter = make()
    schemas = Repeat(ORDER, len(values))
    assert not converter.from_connect("orders", values, schemas).failures
    measure(lambda: converter.from_connect("orders", values, schemas))


@pytest.mark.parametrize("make", [avro, json_schema, protobuf])
def test_registry_in(measure: Any, values: list[Any], make: Any) -> None:
    converter = make()
    payloads = converter.from_connect("orders", values, Repeat(ORDER, len(values))).payloads
    assert [value.id for value in converter.to_connect("orders", payloads).values] == [value.id for value in values]
    measure(lambda: converter.to_connect("orders", payloads))


def test_plain_fastavro_loop_out(measure: Any, values: list[Any]) -> None:
    parsed, rows = fastavro.parse_schema(avro_schema()), [*map(msgspec.structs.asdict, values)]

    def one(row: dict[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, row)
        return stream.getvalue()

    measure(lambda: [one(row) for row in rows])


def test_plain_fastavro_loop_in(measure: Any, values: list[Any]) -> None:
    payloads = avro().from_connect("orders", values, Repeat(ORDER, len(values))).payloads
    parsed, bodies = fastavro.parse_schema(avro_schema()), [(payload or b"")[5:] for payload in payloads]
    measure(lambda: [fastavro.schemaless_reader(io.BytesIO(body), parsed, None) for body in bodies])


def avro_schema() -> Any:
    converter = avro()
    converter.from_connect("orders", [], Repeat(ORDER, 0))
    return msgspec.json.decode(converter._target(ORDER).text.schema)  # noqa: SLF001  as it would be registered
