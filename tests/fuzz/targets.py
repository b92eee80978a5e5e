"""What is fuzzed: every converter, in the configurations that read differently, with bytes that it can read.

A converter that is added gets its row here; `test_some.py` misses it otherwise.
"""

from __future__ import annotations

import base64
import datetime
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from converters import numbers
from converters.avro import AvroConfig, AvroConverter
from converters.byte_array import ByteArrayConverter
from converters.json import JsonConfig, JsonConverter
from converters.json_schema import JsonSchemaConfig, JsonSchemaConverter
from converters.message_pack import MessagePackConverter
from converters.protobuf import ProtobufConfig, ProtobufConverter
from converters.registry.client import Registered, Registry, Text
from converters.registry.config import RegistryConfig
from converters.registry.converter import RegistryConverter
from converters.simple_header import SimpleHeaderConverter
from converters.string import StringConfig, StringConverter
from engine.api.column import Repeat
from engine.api.converter import Decoded, Encoded, Failure
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import BYTES, DATE, FLOAT64, INT8, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from tests.vectors.cases import cases

__all__ = ["TARGETS", "KnownRegistry", "Target"]

Outcome = tuple[Any, Schema | None]


class Target(NamedTuple):
    """One configured converter."""

    converter: Any  # with `to_connect` and `from_connect`
    seeds: Sequence[bytes]
    #: The slow and sure way to read one payload, which the fast one must agree with; None: there is one way.
    reference: Callable[[bytes], Outcome] | None = None
    #: Whether what was read can be written and is then read as the same.
    comes_back: bool = True


class HeadersAsColumns:
    """A header converter, called as one of values is."""

    def __init__(self, converter: Any) -> None:
        self._converter = converter

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        values: list[Any] = []
        schemas: list[Schema | None] = []
        failures = []
        for index, payload in enumerate(payloads):
            try:
                header = self._converter.to_connect_header(topic, "key", payload)
            except DataError as error:
                failures.append(Failure(index, error))
                header = Header("key", None)
            values.append(header.value)
            schemas.append(header.schema)
        return Decoded(values, schemas, failures)

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        payloads: list[bytes | None] = []
        failures = []
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            try:
                payloads.append(self._converter.from_connect_header(topic, Header("key", value, schema)))
            except DataError as error:
                payloads.append(None)
                failures.append(Failure(index, error))
        return Encoded(payloads, failures)


def _json(**config: Any) -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig(**config))
    return made


def _recorded(kind: str, **wanted: str) -> list[bytes]:
    """Payloads of recorded cases that could be read, with these members in their configuration."""
    found = []
    for case in cases(kind):
        config = {"schemas.enable": "true", **case["config"].get("configs", {})}
        encoded = case["input"].get("bytes") or case["expected"].get("bytes")
        if encoded and "error" not in case["expected"] and wanted.items() <= config.items():
            found.append(base64.b64decode(encoded))
    return sorted({one for one in found if len(one) < 2000})


def _json_target(**config: Any) -> Target:
    converter = _json(**config)
    enabled = "false" if config.get("schemas_enable") is False else "true"
    seeds = _recorded("json_converter_from", **{"schemas.enable": enabled})
    seeds += _recorded("json_converter_to", **{"schemas.enable": enabled})
    return Target(converter, [*dict.fromkeys(seeds)], converter._decoder._leniently)


_ORDER = """{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},
 {"type":"double","optional":true,"field":"price"},{"type":"array","items":{"type":"string","optional":false},
 "optional":true,"field":"tags"},{"type":"int64","optional":true,"name":"org.apache.kafka.connect.data.Timestamp",
 "version":1,"field":"at"}],"optional":false}"""
_ORDERS = [
    b'{"id":1,"price":9.5,"tags":["a","b"],"at":1700000000000}',
    b'{"id":2}',
    b'{"id":-3,"tags":[],"price":null}',
]
_TEXTS = ["a", "", "naïve 水 😀", "12", "1.5", "[1, 300]", '{"a": 1}', "2024-01-31", "12:34:56.789Z", "true", "null"]


def _number_target(converter: Any, code: str) -> Target:
    found = [0, 1, -1, 100] if code in "hiq" else [0.0, -1.5, 1e30, float("inf")]
    return Target(converter, [struct.pack(f">{code}", number) for number in found])


TARGETS: dict[str, Target] = {
    "Json, envelope": _json_target(),
    "Json, envelope, nulls kept": _json_target(replace_null_with_default=False),
    "Json, schemaless": _json_target(schemas_enable=False),
    "Json, schema.content": Target(
        _json(schema_content=_ORDER), _ORDERS, _json(schema_content=_ORDER)._decoder._leniently, comes_back=False
    ),
    "String": Target(StringConverter(), [text.encode() for text in _TEXTS]),
    "ByteArray": Target(ByteArrayConverter(), [b"a", b"", bytes(range(256))]),
    "Boolean": Target(numbers.BooleanConverter(), [b"\0", b"\1"]),
    "Short": _number_target(numbers.ShortConverter(), "h"),
    "Integer": _number_target(numbers.IntegerConverter(), "i"),
    "Long": _number_target(numbers.LongConverter(), "q"),
    "Float": _number_target(numbers.FloatConverter(), "f"),
    "Double": _number_target(numbers.DoubleConverter(), "d"),
    "MessagePack": Target(
        MessagePackConverter(), [*map(msgspec.msgpack.encode, [1, "a", None, {"a": [1.5, None, True]}, [b"x", {1: 2}]])]
    ),
    "Simple, headers": Target(
        HeadersAsColumns(SimpleHeaderConverter()),
        [*_recorded("simple_header_converter"), *(text.encode() for text in _TEXTS)],
        comes_back=False,  # 007 is 7
    ),
}


class KnownRegistry(Registry):
    """A registry that has what was registered with it, and is asked nothing."""

    def __init__(self) -> None:
        self.texts: list[Text] = []

    def register(self, subject: str, text: Text) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def schema(self, number: int) -> Registered:
        if number >= len(self.texts):
            raise DataError(f"no schema id {number}")
        return Registered(number, self.texts[number])

    def version_of(self, number: int, subject: str) -> int | None:
        return None


_CART = Schema.struct(
    {
        "id": INT64,
        "level": INT8,
        "price": Schema.decimal(2),
        "day": DATE,
        "items": Schema.array(Schema.struct({"name": OPTIONAL_STRING, "weight": FLOAT64}, name="shop.Item")),
        "tags": Schema.map(STRING, INT32),
        "seats": Schema.map(INT32, STRING),
        "raw": BYTES,
    },
    name="shop.Cart",
)


def _carts() -> list[Any]:
    item = _CART.fields[4].schema.value_schema
    assert item is not None
    fixed = {"price": Decimal("1.50"), "day": datetime.date(2024, 2, 29), "raw": b"\0x", "level": -7}
    return [
        _CART.struct_type(
            id=number, items=[item.struct_type(weight=0.5)] * number, tags={"a": number}, seats={number: "b"}, **fixed
        )
        for number in range(3)
    ]


def _registry_target(made: RegistryConverter, config: type[RegistryConfig]) -> Target:
    made.configure(config.parse({"schema.registry.url": "http://localhost:1"}), is_key=False)
    made._registry = KnownRegistry()
    encoded = made.from_connect("topic", _carts(), Repeat(_CART, 3))
    assert not encoded.failures
    return Target(made, [one for one in encoded.payloads if one is not None])


TARGETS["Avro"] = _registry_target(AvroConverter(), AvroConfig)
TARGETS["JsonSchema"] = _registry_target(JsonSchemaConverter(), JsonSchemaConfig)
TARGETS["Protobuf"] = _registry_target(ProtobufConverter(), ProtobufConfig)


def _utf16() -> Target:
    converter = StringConverter()
    converter.configure(StringConfig(encoding="UTF-16"))
    return Target(converter, [text.encode("utf-16") for text in _TEXTS], comes_back=False)


TARGETS["String, UTF-16"] = _utf16()
