"""Every value of every schema comes back from JSON with a JSON Schema as it was, and is valid under that schema."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.json_schema import JsonSchemaConfig, JsonSchemaConverter
from converters.json_schema.converter import JsonReader, JsonWriter
from converters.registry.client import Registered, Text
from engine.api.errors import DataError
from engine.api.schema import FLOAT32, INT32, STRING, Schema
from tests.unit.converters.schema_strategies import schemas_with_values, with_defaults

HEADER = b"\0\0\0\0\7"


def converter(**keys: str) -> JsonSchemaConverter:
    made = JsonSchemaConverter()
    properties = {
        "schema.registry.url": "http://localhost:1",
        **{key.replace("_", "."): one for key, one in keys.items()},
    }
    made.configure(JsonSchemaConfig.parse(properties), is_key=False)
    return made


def both(made: JsonSchemaConverter, schema: Schema, text: str = "") -> tuple[JsonWriter, JsonReader]:
    found = Registered(7, Text("JSON", text or made._target(schema).text.schema))
    writer, reader = made._writer(schema, found, is_strict=True), made._reader(found, None)
    assert isinstance(writer, JsonWriter)
    assert isinstance(reader, JsonReader)
    return writer, reader


@given(schemas_with_values(), st.sampled_from(["BASE64", "NUMERIC"]))
def test_schemas_and_values_come_back_as_they_were(case: tuple[Schema, list[Any]], decimals: str) -> None:
    schema, values = case
    writer, reader = both(converter(decimal_format=decimals), schema)
    assert reader.schema == schema
    written = writer.write(values, HEADER)
    assert written.failures == []
    read = reader.read(written.slots)
    assert read.failures == []
    assert read.slots == [with_defaults(schema, value) for value in values]


@given(schemas_with_values())
def test_what_is_written_is_valid_under_what_is_registered(case: tuple[Schema, list[Any]]) -> None:
    schema, values = case
    made = converter(decimal_format="NUMERIC")
    text = made._target(schema).text.schema
    validator = jsonschema_rs.validator_for(msgspec.json.decode(text))
    for payload in both(made, schema)[0].write(values, HEADER).slots:
        tree = msgspec.json.decode(payload[len(HEADER) :])
        assert not [error.message for error in validator.iter_errors(tree)]


@given(schemas_with_values(), st.data())
def test_mutated_bytes_are_refused_with_a_place_or_read_as_some_value(
    case: tuple[Schema, list[Any]], data: st.DataObject
) -> None:
    schema, values = case
    writer, reader = both(converter(), schema)
    for payload in writer.write(values, HEADER).slots:
        changed = bytearray(payload)
        at = data.draw(st.integers(len(HEADER), len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"null", b"9"])
        )
        read = reader.read([bytes(changed)])
        for _, error in read.failures:
            assert isinstance(error, DataError)
        if not read.failures and read.slots[0] is not None:
            schema.validate(read.slots[0])


ITEMS = Schema.struct(
    {"items": Schema.array(Schema.struct({"price": FLOAT32, "count": INT32}, name="Item"))}, name="Cart"
)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"items": [{"price": 1, "count": "2"}]}', "$.items[0].count"),
        (b'{"items": [{"price": 1e300, "count": 2}]}', "$.items[0].price"),
        (b'{"items": [{"price": 1, "count": 2147483648}]}', "$.items[0].count"),
        (b'{"items": [{"price": 1}]}', "$.items[0].count"),
        (b'{"items": 1}', "$.items"),
        (b'{"items"', "$"),
    ],
)
def test_what_is_wrong_costs_itself_and_has_a_place(body: bytes, place: str) -> None:
    good = b'{"items": [{"price": 1.5, "count": 2}]}'
    _, reader = both(converter(), ITEMS)
    read = reader.read([HEADER + good, HEADER + body, HEADER + good])
    ((index, error),) = read.failures
    assert index == 1
    assert isinstance(error, DataError)
    assert error.whole().endswith(f" at {place}" if place != "$" else "")
    assert read.slots[0] == read.slots[2] != None  # noqa: E711  a value, and no failure's place


def test_values_are_validated_where_that_is_asked_for() -> None:
    text = '{"type": "object", "properties": {"n": {"type": "integer", "maximum": 5, "connect.type": "int32"}}}'
    schema = Schema.struct({"n": INT32})
    writer, reader = both(converter(json_fail_invalid_schema="true"), schema, text)
    written = writer.write([schema.struct_type(n=5), schema.struct_type(n=6)], HEADER)
    assert [index for index, _ in written.failures] == [1]
    assert str(written.failures[0][1]).startswith("6 is greater")
    assert " at $.n" in written.failures[0][1].whole()  # type: ignore[attr-defined]  # a DataError
    assert [index for index, _ in reader.read([HEADER + b'{"n": 6}', HEADER + b'{"n": 5}']).failures] == [0]


def test_foreign_schemas_are_read_as_kafka_connects_users_know_them() -> None:
    text = """{"definitions": {"id": {"type": "integer"}}, "title": "Person", "type": "object", "required": ["id"],
        "properties": {"id": {"$ref": "#/definitions/id"}, "name": {"type": ["string", "null"]},
        "kind": {"type": "string", "enum": ["a", "b"]}, "any": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "tags": {"type": "object", "additionalProperties": {"type": "number"}}}}"""
    made = converter(use_optional_for_nonrequired="true")
    reader = made._reader(Registered(7, Text("JSON", text)), 3)
    assert isinstance(reader, JsonReader)
    schema = reader.schema
    assert schema is not None
    assert (schema.name, schema.version) == ("Person", 3)
    assert [(field.name, field.schema.type, field.schema.optional) for field in schema.fields] == [
        ("id", "INT64", False),
        ("name", "STRING", True),
        ("kind", "STRING", True),
        ("any", "STRUCT", True),
        ("tags", "MAP", True),
    ]
    read = reader.read([HEADER + b'{"id": 1, "any": 7, "tags": {"x": 1.5}}', HEADER + b'{"id": 2, "any": "seven"}'])
    assert not read.failures
    first, second = read.slots
    assert (first.id, first.name, first.tags) == (1, None, {"x": 1.5})
    names = first.any.__struct_fields__
    assert [getattr(first.any, name) for name in names] == [None, 7]
    assert [getattr(second.any, name) for name in names] == ["seven", None]


def test_a_map_with_other_keys_than_text_is_an_array_of_pairs() -> None:
    schema = Schema.map(INT32, STRING)
    writer, _ = both(converter(), schema)
    assert writer.write([{1: "a"}], HEADER).slots == [HEADER + b'[{"key":1,"value":"a"}]']
