"""Values come back from Protocol Buffers as they were, where they have a place in them, and bad bytes are refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import message_factory
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from converters.protobuf import ProtobufConfig, ProtobufConverter
from converters.protobuf.files import proto_file
from converters.protobuf.reader import ProtobufReader
from converters.protobuf.writer import ProtobufWriter
from converters.registry.client import Registered, Text
from engine.api.errors import DataError
from engine.api.schema import DATE, INT8, INT32, OPTIONAL_INT64, OPTIONAL_STRING, STRING, TIMESTAMP, Schema, schema_of
from tests.unit.converters.schema_strategies import schemas_with_values

HEADER = b"\0\0\0\0\7"


def converter(**keys: str) -> ProtobufConverter:
    made = ProtobufConverter()
    properties = {
        "schema.registry.url": "http://localhost:1",
        **{key.replace("_", "."): one for key, one in keys.items()},
    }
    made.configure(ProtobufConfig.parse(properties), is_key=False)
    return made


def both(made: ProtobufConverter, schema: Schema, text: str = "") -> tuple[ProtobufWriter, ProtobufReader]:
    found = Registered(7, Text("PROTOBUF", text or made._target(schema).text.schema))
    writer, reader = made._writer(schema, found, is_strict=True), made._reader(found, None)
    assert isinstance(writer, ProtobufWriter)
    assert isinstance(reader, ProtobufReader)
    return writer, reader


def plain(value: Any) -> Any:
    """A value without its classes. What Protocol Buffers cannot tell apart is the same: no list, and an empty one."""
    schema = schema_of(value) if hasattr(value, "__struct_fields__") else None
    if schema is not None:
        members = zip(schema.fields, value.__struct_fields__, strict=True)
        return {field.name: plain(_held(field.schema, getattr(value, name))) for field, name in members}
    if isinstance(value, list):
        return [*map(plain, value)]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def _held(schema: Schema, value: Any) -> Any:
    if value is None:
        value = schema.default
    return {"ARRAY": [], "MAP": {}}.get(schema.type) if value is None else value


def has_a_place(schema: Schema, *, in_field: bool = False) -> bool:
    """Whether it can be told in Protocol Buffers without a loss: no list in a list, no null in one."""
    if schema.type == "ARRAY":
        element = schema.value_schema
        return (
            in_field
            and element is not None
            and not element.optional
            and element.type not in ("ARRAY", "MAP")
            and has_a_place(element)
        )
    if schema.type == "MAP":
        parts = (schema.key_schema, schema.value_schema)
        return in_field and all(
            part is not None and not part.optional and part.type not in ("MAP", "ARRAY") and has_a_place(part)
            for part in parts
        )
    return all(has_a_place(field.schema, in_field=True) for field in schema.fields)


#: Protocol buffers have no place for many of the schemas that are drawn: how many, is no fault of a test's.
FEW = settings(suppress_health_check=[HealthCheck.filter_too_much])


@FEW
@given(schemas_with_values(has_odd_keys=True), st.sampled_from(["optional.for.nullables", "wrapper.for.nullables"]))
def test_values_come_back_as_they_were(case: tuple[Schema, list[Any]], nullables: str) -> None:
    schema, values = case
    assume(schema.type == "STRUCT" and has_a_place(schema))
    writer, reader = both(converter(**{nullables: "true"}), schema)
    written = writer.write(values, HEADER)
    assert written.failures == []
    read = reader.read(written.slots)
    assert read.failures == []
    assert [*map(plain, read.slots)] == [*map(plain, values)]
    for one in read.schemas or ():
        assert one is not None
        assert [field.name for field in one.fields] == [field.name for field in schema.fields]
        assert [field.schema.type for field in one.fields] == [field.schema.type for field in schema.fields]


@FEW
@given(schemas_with_values(), st.data())
def test_mutated_bytes_are_refused_or_read_as_some_value(case: tuple[Schema, list[Any]], data: st.DataObject) -> None:
    schema, values = case
    assume(schema.type == "STRUCT" and has_a_place(schema))
    writer, reader = both(converter(), schema)
    for payload in writer.write(values, HEADER).slots:
        changed = bytearray(payload)
        at = data.draw(st.integers(len(HEADER), len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        read = reader.read([bytes(changed)])
        for _, error in read.failures:
            assert isinstance(error, DataError)
        if not read.failures:
            assert read.schemas is not None
            (found,) = read.schemas
            assert found is not None
            found.validate(read.slots[0])


def test_the_text_that_is_registered_is_what_a_person_would_write() -> None:
    line = Schema.struct({"name": STRING, "level": INT8}, name="shop.Line")
    union = Schema.struct(
        {"card": OPTIONAL_STRING, "cash": OPTIONAL_INT64},
        name="io.confluent.connect.protobuf.Union.payment",
        optional=True,
    )
    schema = Schema.struct(
        {"id": INT32, "day": DATE, "price": Schema.decimal(2), "lines": Schema.array(line), "payment_0": union,
         "tags": Schema.map(STRING, INT32)},
        name="shop.Order",
    )  # fmt: skip
    text = converter()._target(schema).text.schema
    assert " ".join(text.split()) == (
        'syntax = "proto3"; package shop; '
        'import "confluent/meta.proto"; import "confluent/type/decimal.proto"; import "google/type/date.proto"; '
        "message Order { int32 id = 1; google.type.Date day = 2; "
        'confluent.type.Decimal price = 3 [(confluent.field_meta) = { params: [{ key: "scale", value: "2" }] }]; '
        "repeated Line lines = 4; oneof payment { string card = 5; int64 cash = 6; } map<string, int32> tags = 7; "
        'message Line { string name = 1; int32 level = 2 [(confluent.field_meta) = { params: [{ key: "connect.type", '
        'value: "int8" }] }]; } }'
    )
    writer, reader = both(converter(), schema)
    value: Any = schema.struct_type(
        id=1, day=datetime.date(2024, 2, 29), price=Decimal("1.50"), lines=[line.struct_type(name="a", level=-3)],
        payment_0=union.struct_type(cash=5), tags={"x": 1},
    )  # fmt: skip
    read = reader.read(writer.write([value], HEADER).slots)
    assert read.failures == []
    (found,) = read.slots
    assert (found.day, found.price, found.payment_0.cash, found.payment_0.card) == (value.day, value.price, 5, None)
    assert found.lines[0].level == -3


FOREIGN = """
// A file as people write it.
syntax = "proto3";
package lab;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
option java_package = "lab";
message Outer {
  reserved 8, 9 to 11; reserved "old";
  enum Kind { UNKNOWN = 0; HEAT = 1; LIGHT = 2 [deprecated = true]; }
  message Reading { string name = 1; repeated double values = 2 [packed = true]; }
  Kind kind = 1; google.protobuf.Timestamp at = 2; map<string, Reading> readings = 3;
  oneof where { string room = 4; uint64 place = 5; }
  optional int32 level = 6; google.protobuf.StringValue note = 7;
}
message Second { bool is = 1; }
"""


def test_a_file_that_people_have_written_is_read() -> None:
    made = converter(**{"wrapper.for.nullables": "true"})
    reader = made._reader(Registered(7, Text("PROTOBUF", FOREIGN)), 4)
    file = proto_file(FOREIGN, {})
    kind = message_factory.GetMessageClass(file.message((0,)))
    message = kind(kind=2, room="attic", level=0, note={"value": "n"}, at={"seconds": 5, "nanos": 6_000_000})
    message.readings["a"].values.extend([1.5, 2.5])
    second = message_factory.GetMessageClass(file.message((1,)))(**{"is": True})
    read = reader.read([HEADER + b"\0" + message.SerializeToString(), HEADER + b"\2\2" + second.SerializeToString()])
    assert read.failures == []
    first, other = read.slots
    assert (first.kind, first.level, first.note) == ("LIGHT", 0, "n")
    assert first.at == datetime.datetime(1970, 1, 1, 0, 0, 5, 6000, tzinfo=datetime.UTC)
    assert first.readings["a"].values == [1.5, 2.5]
    assert (first.where_0.room, first.where_0.place) == ("attic", None)
    assert getattr(other, other.__struct_fields__[0]) is True
    assert read.schemas is not None
    assert [(one.name, one.version) for one in read.schemas if one] == [("Outer", 4), ("Second", 4)]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (HEADER, "the message indexes behind the schema id are not whole"),
        (HEADER + b"\2\x10", "leads to none of the schema's messages"),
        (HEADER + b"\xfe\xff\xff\x07", "message indexes"),
        (HEADER + b"\0\x0a\xff", "no message of its schema"),
        (HEADER + b"\0\x08\x09", "9 is no value of the enum lab.Outer.Kind at $.kind"),
    ],
)
def test_what_is_wrong_costs_itself_and_is_told(payload: bytes, told: str) -> None:
    reader = converter()._reader(Registered(7, Text("PROTOBUF", FOREIGN)), None)
    read = reader.read([HEADER + b"\0", payload, HEADER + b"\0"])
    ((index, error),) = read.failures
    assert index == 1
    assert isinstance(error, DataError)
    assert told in error.whole()


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        (Schema.struct({"a": INT8}), {"a": 128}, "128 is out of range at $.a: expected INT8: -128 to 127"),
        (Schema.struct({"a": INT32}), {"a": True}, "Invalid type for INT32: class java.lang.Boolean at $.a"),
        (Schema.struct({"a": Schema.array(STRING)}), {"a": ["x", 1]}, "class java.lang.Integer at $.a[1]"),
        (Schema.struct({"a": TIMESTAMP}), {"a": "x"}, "at $.a"),
    ],
)
def test_a_value_that_has_no_place_is_refused_with_its_place(schema: Schema, value: Any, told: str) -> None:
    writer, _ = both(converter(), schema)
    ((_, error),) = writer.write([schema.struct_type(**value)], HEADER).failures
    assert isinstance(error, DataError)
    assert told in error.whole()
