"""What the JSON converter's keys change, and what it says of bad records."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.json import JsonConfig, JsonConverter
from engine.api.column import Repeat
from engine.api.errors import ConfigError, DataError
from engine.api.map_keys import as_key
from engine.api.record import Header
from engine.api.schema import INT32, OPTIONAL_INT32, STRING, Schema, schema_of
from tests.unit.converters.strategies import schemas, values_of
from tests.unit.converters.test_json_properties import alike, converter, decoded, leniently

DAY = '{"type":"int32","name":"org.apache.kafka.connect.data.Date","version":1,"default":3,"field":"day"}'


def enveloped(schema: str, payload: str) -> bytes:
    return f'{{"schema":{schema},"payload":{payload}}}'.encode()


def reason(made: JsonConverter, payload: bytes) -> str:
    (failure,) = made.to_connect("topic", [payload]).failures
    assert isinstance(failure.error, DataError)
    return str(failure.error)


def test_one_bad_record_costs_itself_only() -> None:
    payloads = [b"%d" % number for number in range(500)]
    payloads[300] = b"{"
    found = converter(schemas_enable="false").to_connect("topic", payloads)
    assert [failure.index for failure in found.failures] == [300]
    assert [*found.values] == [None if number == 300 else number for number in range(500)]


def test_one_value_that_cannot_be_written_costs_itself_only() -> None:
    found = converter().from_connect("topic", [1, "x", 3], Repeat(INT32, 3))
    assert [failure.index for failure in found.failures] == [1]
    assert str(found.failures[0].error) == "Invalid type for INT32: class java.lang.String"
    assert found.payloads[2] == b'{"schema":{"type":"int32","optional":false},"payload":3}'


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "requires"),
        (b"1", "requires"),
        (b'{"schema":null}', "requires"),
        (b'{"schema":null,"payload":1,"more":1}', "requires"),
        (b"{", "serialization error"),
        (b'"\xff"', "serialization error"),
        (b'"\xed\xa0\x80"', "serialization error"),
        (b"[" * 5_000, "serialization error"),
        (enveloped("5", "1"), "Schema must contain 'type' field"),
        (enveloped('{"type":"int"}', "1"), "Unknown schema type: int"),
        (enveloped('{"type":"array"}', "[]"), "did not specify the element type"),
        (enveloped('{"type":"int32"}', "null"), "Invalid null value for required INT32 field"),
        (enveloped('{"type":"int32","default":null}', "1"), "Invalid null value for required INT32 field"),
        (enveloped('{"type":"struct","fields":[]}', "1"), "found NUMBER"),
        (enveloped('{"type":"map","keys":{"type":"string"},"values":{"type":"int8"}}', "[]"), "found ARRAY"),
        (enveloped('{"type":"bytes"}', '"*"'), "Invalid bytes field"),
        (
            enveloped('{"type":"struct","fields":[{"type":"string","field":"a"}]}', '{"a":1}'),
            'Invalid value: null used for required field: "a", schema type: STRING',
        ),
        (
            enveloped(
                '{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"1"}}', '""'
            ),
            "Invalid bytes for Decimal field",
        ),
        (
            enveloped(
                '{"type":"map","keys":{"type":"string"},"values":{"type":"int8"},'
                '"name":"org.apache.kafka.connect.data.Date","default":1}',
                "1",
            ),
            "Invalid default value",
        ),
    ],
)
def test_a_bad_envelope_is_refused_with_the_reason(payload: bytes, said: str) -> None:
    assert said in reason(converter(), payload)


def test_empty_bytes_without_schemas_and_missing_bytes_are_nulls() -> None:
    assert decoded(converter(schemas_enable="false"), [b"", b" ", None]) == [(None, None)] * 3
    assert decoded(converter(), [None]) == [(None, None)]


def test_huge_numbers_are_read_as_java_reads_them() -> None:
    made = converter(schemas_enable="false")
    values = made.to_connect("topic", [b"9223372036854775808", b"1E400", b"-0.0", b"1e-400"]).values
    assert list(values) == [-(2**63), float("inf"), 0.0, 0.0]


def test_of_equal_names_the_last_wins() -> None:
    assert decoded(converter(schemas_enable="false"), [b'{"a":1,"a":2}']) == [(None, {"a": 2})]


def test_a_byte_order_mark_is_skipped() -> None:
    assert decoded(converter(schemas_enable="false"), [b'\xef\xbb\xbf{"a":1}']) == [(None, {"a": 1})]


def test_a_null_becomes_its_schemas_default_unless_it_is_told_not_to() -> None:
    payload = enveloped('{"type":"int32","optional":true,"default":7}', "null")
    schema = OPTIONAL_INT32.replaced(default=7)
    assert decoded(converter(), [payload]) == [(schema, 7)]
    assert decoded(converter(replace_null_with_default="false"), [payload]) == [(schema, None)]
    written = converter(replace_null_with_default="false").from_connect("topic", [None], [schema]).payloads
    assert json.loads(written[0] or b"")["payload"] is None
    assert json.loads(converter().from_connect("topic", [None], [schema]).payloads[0] or b"")["payload"] == 7


def test_a_missing_member_takes_the_date_that_is_its_default() -> None:
    payloads = [
        enveloped(f'{{"type":"struct","fields":[{DAY}]}}', text) for text in ("{}", '{"day":4}', '{"day":null}')
    ]
    found = converter().to_connect("topic", payloads)
    days = [datetime.date(1970, 1, 4), datetime.date(1970, 1, 5), datetime.date(1970, 1, 4)]
    assert [value.day for value in found.values] == days


def test_decimals_are_written_as_digits_or_as_a_number() -> None:
    values, column = [Decimal("1.50")], [Schema.decimal(2)]
    digits, number = converter(schemas_enable="false"), converter(schemas_enable="false", decimal_format="numeric")
    assert digits.from_connect("topic", values, column).payloads[0] == b'"AJY="'
    assert number.from_connect("topic", values, column).payloads[0] == b"1.50"


def test_a_schema_in_the_configuration_reads_values_without_an_envelope() -> None:
    made = converter(schema_content='{"type":"int32"}')
    assert decoded(made, [b"5", b'"x"']) == [(INT32, 5), (INT32, 0)]
    written = made.from_connect("topic", [5], [INT32]).payloads[0]
    assert written == b'{"schema":{"type":"int32","optional":false},"payload":5}'


def test_a_schema_in_the_configuration_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="Unknown schema type: int"):
        converter(schema_content='{"type":"int"}')


def test_bad_keys_are_refused_together() -> None:
    with pytest.raises(ConfigError) as caught:
        JsonConfig.parse({"schemas.enable": "yes", "decimal.format": "HEX", "schemas.cache.size": "many"})
    assert [problem.key for problem in caught.value.problems] == [
        "schemas.enable",
        "schemas.cache.size",
        "decimal.format",
    ]


def test_no_more_schemas_are_kept_than_configured() -> None:
    made = converter(schemas_cache_size="3")
    for number in range(20):
        schema = Schema("INT32", name=f"n{number}")
        payload = made.from_connect("topic", [number], [schema]).payloads[0]
        assert decoded(made, [payload]) == [(schema, number)]
    assert len(made._decoder._plans) <= 3  # type: ignore[union-attr]  # an EnvelopeDecoder
    assert len(made._encoder._prefixes) <= 3


def test_schemas_may_change_from_record_to_record() -> None:
    made = converter()
    given = [(1, INT32), ("a", STRING), (2, INT32), (None, None)]
    encoded = made.from_connect("topic", [value for value, _ in given], [schema for _, schema in given])
    assert encoded.payloads[3] is None
    assert decoded(made, [*encoded.payloads]) == [(schema, value) for value, schema in given]


def test_members_may_have_any_name() -> None:
    names = ['q"', "b\\", "\n", "class", "é"]
    schema = Schema.struct([(name, INT32) for name in names])
    value = schema.struct_type(**dict(zip(schema.struct_type.__struct_fields__, range(5), strict=True)))
    made = converter()
    encoded = made.from_connect("topic", [value], [schema])
    ((read_schema, read),) = decoded(made, [*encoded.payloads])
    assert read_schema == schema
    assert read == value
    assert json.loads(encoded.payloads[0] or b"")["payload"] == dict(zip(names, range(5), strict=True))


def test_lists_and_maps_may_be_keys() -> None:
    schema = Schema.map(Schema.array(INT32), Schema("STRING"))
    made = converter(schemas_enable="true")
    encoded = made.from_connect("topic", [{as_key([1, 2]): "a"}], [schema])
    assert decoded(made, [*encoded.payloads]) == [(schema, {(1, 2): "a"})]


def test_a_struct_is_one_of_the_schema_it_was_read_with() -> None:
    payload = enveloped('{"type":"struct","fields":[{"type":"int32","field":"a"}],"name":"n"}', '{"a":1}')
    (found,) = converter().to_connect("topic", [payload]).values
    assert found.a == 1
    assert schema_of(found) == Schema.struct({"a": INT32}, name="n")


def test_half_a_surrogate_pair_is_written_escaped() -> None:
    schema = Schema("STRING", default="\ud83d")
    payload = converter().from_connect("topic", ["\ud83d"], [schema]).payloads[0]
    assert payload == b'{"schema":{"type":"string","optional":false,"default":"\\uD83D"},"payload":"\\uD83D"}'


def test_a_name_that_cannot_be_written_costs_its_record_only() -> None:
    found = converter().from_connect("topic", [1, 2], [Schema("INT32", name="\ud83d"), INT32])
    assert [failure.index for failure in found.failures] == [0]
    assert isinstance(found.failures[0].error, DataError)


def test_headers_are_converted_like_values() -> None:
    made = converter()
    payload = made.from_connect_header("topic", Header("key", 1, INT32))
    assert made.to_connect_header("topic", "key", payload) == Header("key", 1, INT32)


@given(st.data())
def test_missing_members_are_read_strictly_as_they_are_leniently(data: st.DataObject) -> None:
    fields = data.draw(st.lists(schemas, min_size=1, max_size=3))
    pairs = [(f"f{index}", _with_default(data, field)) for index, field in enumerate(fields)]
    schema = Schema.struct(pairs)
    members = {name: data.draw(values_of(field)) for name, field in pairs}
    made = converter()
    encoded = made.from_connect("topic", [schema.struct_type(**members)], [schema])
    if encoded.failures:
        return  # a null of a required field
    tree = json.loads(encoded.payloads[0] or b"")
    for name, _ in pairs:
        if data.draw(st.booleans()):
            tree["payload"].pop(name, None)
    payload = json.dumps(tree).encode()
    assert alike(decoded(made, [payload])[0], leniently(made, payload))


def _with_default(data: st.DataObject, schema: Schema) -> Any:
    value = data.draw(values_of(schema)) if schema.type != "STRUCT" else None
    return schema if value is None else schema.replaced(default=value)
