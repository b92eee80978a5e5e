"""How long a record takes through each converter, in (from Kafka) and out (to Kafka)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from converters.byte_array import ByteArrayConverter
from converters.json import JsonConfig, JsonConverter
from converters.simple_header import SimpleHeaderConverter
from converters.string import StringConverter
from engine.api.column import Repeat, StructColumn, fields_of
from engine.api.declared import with_schemas
from engine.api.record import Header
from engine.api.schema import INT32


def schemaless() -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig(schemas_enable=False))
    return made


def test_string_in(measure: Any, orders: list[bytes]) -> None:
    converter = StringConverter()
    measure(lambda: converter.to_connect("orders", orders))


def test_string_out(measure: Any, orders: list[bytes]) -> None:
    converter, texts = StringConverter(), [order.decode() for order in orders]
    measure(lambda: converter.from_connect("orders", texts, Repeat(None, len(texts))))


def test_byte_array_in(measure: Any, orders: list[bytes]) -> None:
    converter = ByteArrayConverter()
    measure(lambda: converter.to_connect("orders", orders))


def test_byte_array_out(measure: Any, orders: list[bytes]) -> None:
    converter = ByteArrayConverter()
    measure(lambda: converter.from_connect("orders", orders, Repeat(None, len(orders))))


def test_schemaless_in(measure: Any, orders: list[bytes]) -> None:
    converter = schemaless()
    measure(lambda: converter.to_connect("orders", orders))


def test_schemaless_out(measure: Any, orders: list[bytes]) -> None:
    converter = schemaless()
    decoded = converter.to_connect("orders", orders)
    measure(lambda: converter.from_connect("orders", decoded.values, decoded.schemas))


def test_structs_out(measure: Any, envelopes: list[bytes]) -> None:
    converter = schemaless()
    read = JsonConverter().to_connect("orders", envelopes)
    schema = read.schemas[0]
    assert schema is not None
    columns = fields_of(schema.struct_type)(read.values)
    schemas = Repeat(schema, len(read.values))
    measure(lambda: converter.from_connect("orders", StructColumn(schema, columns, len(schemas)), schemas))


def test_envelope_in(measure: Any, envelopes: list[bytes]) -> None:
    converter = JsonConverter()
    measure(lambda: converter.to_connect("orders", envelopes))


def test_envelope_out(measure: Any, envelopes: list[bytes]) -> None:
    converter = JsonConverter()
    decoded = converter.to_connect("orders", envelopes)
    measure(lambda: converter.from_connect("orders", decoded.values, decoded.schemas))


def test_text_header_in(measure: Any, orders: list[bytes]) -> None:
    """One header a record."""
    converter = SimpleHeaderConverter()
    measure(lambda: [converter.to_connect_header("orders", "trace", b"shop-eu-1") for _ in orders])


def test_number_header_in(measure: Any, orders: list[bytes]) -> None:
    converter = SimpleHeaderConverter()
    measure(lambda: [converter.to_connect_header("orders", "attempt", b"12") for _ in orders])


def test_text_header_out(measure: Any, orders: list[bytes]) -> None:
    converter, header = SimpleHeaderConverter(), Header("trace", "shop-eu-1")
    measure(lambda: [converter.from_connect_header("orders", header) for _ in orders])


class Order(msgspec.Struct):
    """The same order as a connector's author writes it."""

    id: int
    customer: str
    item: str
    quantity: Annotated[int, INT32]
    price: float
    express: bool
    note: str | None = None


def test_envelope_out_of_a_declared_class(measure: Any, envelopes: list[bytes]) -> None:
    converter = JsonConverter()
    decoded = converter.to_connect("orders", envelopes).values
    values = [Order(*msgspec.structs.astuple(value)) for value in decoded]
    measure(lambda: converter.from_connect("orders", *with_schemas(values, Repeat(None, len(values)))))
