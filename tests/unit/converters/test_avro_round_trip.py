"""Every value of every schema comes back from Avro as it was, and fastavro reads the same bytes."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.avro.binding import Binder
from converters.avro.definitions import Definitions, definitions_of
from converters.avro.from_connect import AvroSchemas
from converters.avro.reader import AvroReader
from converters.avro.to_connect import Planner
from converters.avro.writer import AvroWriter
from engine.api.errors import DataError
from engine.api.schema import OPTIONAL_STRING, STRING, Schema
from tests.unit.converters.schema_strategies import schemas_with_values, with_defaults

HEADER = b"\0\0\0\0\7"
RULES = AvroSchemas(has_metadata=True, is_enhanced=True, scrubs=False)


def made(schema: Schema | None, rules: AvroSchemas = RULES) -> Definitions:
    return definitions_of(msgspec.json.encode(rules.of(schema)).decode(), {})


def reader_of(definitions: Definitions, *, is_enhanced: bool = True) -> AvroReader:
    node = Planner(definitions, has_metadata=True, is_enhanced=is_enhanced).plan()
    return AvroReader(node, node.schema)


def writer_of(definitions: Definitions, schema: Schema | None, *, is_strict: bool = True) -> AvroWriter:
    return AvroWriter(Binder(definitions, RULES, is_strict=is_strict).bind(schema))


@given(schemas_with_values())
def test_schemas_and_values_come_back_as_they_were(case: tuple[Schema, list[Any]]) -> None:
    schema, values = case
    definitions = made(schema)
    reader = reader_of(definitions)
    assert reader.schema == schema
    written = writer_of(definitions, schema).write(values, HEADER)
    assert written.failures == []
    read = reader.read(written.slots)
    assert read.failures == []
    assert read.slots == [with_defaults(schema, value) for value in values]


@given(schemas_with_values())
def test_fastavro_reads_what_is_written_and_writes_it_again(case: tuple[Schema, list[Any]]) -> None:
    schema, values = case
    raw = RULES.of(schema)
    parsed = fastavro.parse_schema(_plain(raw))
    written = writer_of(made(schema), schema).write(values, HEADER)
    for payload in written.slots:
        stream = io.BytesIO(payload[len(HEADER) :])
        tree = fastavro.schemaless_reader(stream, parsed)
        assert stream.read() == b""
        again = io.BytesIO()
        fastavro.schemaless_writer(again, parsed, tree)
        assert again.getvalue() == payload[len(HEADER) :]


def _plain(raw: Any) -> Any:
    """Without logical types, so that fastavro leaves numbers and bytes as they are."""
    if isinstance(raw, dict):
        return {key: _plain(value) for key, value in raw.items() if key != "logicalType"}
    return [*map(_plain, raw)] if isinstance(raw, list) else raw


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(PLAIN.filter(lambda value: value is not None))
def test_values_without_a_schema_come_back_as_they_were(value: Any) -> None:
    definitions = made(None)
    written = writer_of(definitions, None).write([value], HEADER)
    assert written.failures == []
    reader = reader_of(definitions)
    assert reader.schema is None
    assert reader.read(written.slots).slots == [value]


@given(schemas_with_values(), st.data())
def test_mutated_bytes_are_refused_with_a_place_or_read_as_some_value(
    case: tuple[Schema, list[Any]], data: st.DataObject
) -> None:
    schema, values = case
    definitions = made(schema)
    writer, reader = writer_of(definitions, schema), reader_of(definitions)
    for payload in writer.write(values, HEADER).slots:
        changed = bytearray(payload)
        for _ in range(data.draw(st.integers(1, 3))):
            act = data.draw(st.sampled_from(["flip", "cut", "add"]))
            at = data.draw(st.integers(len(HEADER), max(len(changed), len(HEADER))))
            if act == "flip" and at < len(changed):
                changed[at] ^= data.draw(st.integers(1, 255))
            elif act == "cut":
                del changed[at:]
            else:
                changed[at:at] = data.draw(st.binary(max_size=3))
        read = reader.read([bytes(changed)])
        for _, error in read.failures:
            assert isinstance(error, DataError)
        if not read.failures and read.slots[0] is not None:
            schema.validate(read.slots[0])


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_payload_that_is_cut_short_fails_alone_with_the_place(cut: int) -> None:
    schema = Schema.struct({"id": STRING, "items": Schema.array(Schema.struct({"name": OPTIONAL_STRING}))}, name="Cart")
    item = schema.fields[1].schema.value_schema
    assert item is not None
    definitions = made(schema)
    values = [schema.struct_type(id=f"c-{n}", items=[item.struct_type(name="abc")] * 2) for n in range(3)]
    payloads = writer_of(definitions, schema).write(values, HEADER).slots
    payloads[1] = payloads[1][:-cut]
    read = reader_of(definitions).read(payloads)
    assert read.slots == [values[0], None, values[2]]
    ((index, error),) = read.failures
    assert index == 1
    assert isinstance(error, DataError)
    assert " at $.items" in error.whole()
    assert "the payload ends" in error.whole()


def test_bytes_that_follow_the_value_are_refused() -> None:
    definitions = made(STRING)
    ((index, error),) = reader_of(definitions).read([HEADER + b"\x02a", HEADER + b"\x02ab"]).failures
    assert index == 1
    assert "1 bytes follow" in str(error)


def test_a_count_of_elements_without_bytes_has_a_limit() -> None:
    schema = Schema.array(Schema.struct({}, name="Nothing"))
    huge = HEADER + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    ((_, error),) = reader_of(made(schema)).read([huge]).failures
    assert "elements in a value of" in str(error)
