"""How long a value takes to be printed as Java prints it, and whole sinks: converter and print."""

from __future__ import annotations

from typing import Any

from connectors.file.sink import block_of
from converters.json import JsonConfig, JsonConverter
from converters.string import StringConverter
from engine.api import java_text
from engine.api.column import Repeat


def schemaless() -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig(schemas_enable=False))
    return made


def test_floats(measure: Any, orders: list[bytes]) -> None:
    values = [10 + number % 90 + 0.25 for number in range(len(orders))]
    measure(lambda: java_text.block(values, Repeat(None, len(values))))


def test_maps(measure: Any, orders: list[bytes]) -> None:
    decoded = schemaless().to_connect("orders", orders)
    measure(lambda: java_text.block(decoded.values, decoded.schemas))


def test_structs(measure: Any, envelopes: list[bytes]) -> None:
    decoded = JsonConverter().to_connect("orders", envelopes)
    measure(lambda: java_text.block(decoded.values, decoded.schemas))


def test_string_to_lines(measure: Any, orders: list[bytes]) -> None:
    _sink(measure, StringConverter(), orders)


def test_schemaless_to_lines(measure: Any, orders: list[bytes]) -> None:
    _sink(measure, schemaless(), orders)


def test_envelope_to_lines(measure: Any, envelopes: list[bytes]) -> None:
    _sink(measure, JsonConverter(), envelopes)


def _sink(measure: Any, converter: Any, payloads: list[bytes]) -> None:
    def batch() -> bytes:
        decoded = converter.to_connect("orders", payloads)
        return block_of(decoded.values, decoded.schemas)

    measure(batch)
