"""The JSON converter's fast ways come out as its slow ones do, whatever the records and whatever stands beside them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converters.json import JsonConfig, JsonConverter
from converters.json.decode import ALIKE_MIN
from engine.api.column import DigitColumn, Repeat, StructColumn, Utf8Column
from engine.api.errors import DataError
from engine.api.schema import Schema
from tests.unit.converters.strategies import PLAIN, schemas, values_of
from tests.vectors.cases import same

# What differs between a strict decoder and Java's, and what is no JSON at all.
ODDITIES = [
    b"",
    b" ",
    b"1 2",
    b"1,2",
    b"007",
    b"-0.0",
    b"-0",
    b"-0e5",
    b"1E400",
    b"1e-400",
    b"NaN",
    b"1" * 25,
    b"9223372036854775808",
    b"[1] [2]",
    b"]\n[",
    b"1]\n[2",
    b'"]\n["',
    b'{"a":1,"a":2}',
    b'{"a":',
    b'{"a":1} x',
    b'"\\ud800"',
    b'"\xff"',
    b'{"\xff":1}',
    b"\xef\xbb\xbf1",
    b"1".decode().encode("utf-16"),
    b"[" * 1500,
    b"[" * 12 + b"]" * 12,
    b"true false",
    b"nul",
    b'"a\nb"',
]
BYTES = st.sampled_from(ODDITIES) | PLAIN.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=6)
ENVELOPES = [
    b'{"schema":{"type":"int32","optional":true},"payload":1}',
    b'{"schema":{"type":"int8"},"payload":300}',
    b'{"schema":{"type":"float"},"payload":-0.0}',
    b'{"schema":{"type":"string"},"payload":5}',
    b'{"schema":null,"payload":{"payload":1}}',
    b'{"payload":1,"schema":{"type":"int32"}}',
    b'{"schema":{"type":"int32"},"payload":1,"more":2}',
    b'{"schema":{"type":"int32"},"payload":null}',
    b'{"schema":{"type":"struct","fields":[{"type":"int32","field":"a"}]},"payload":{"a":1,"b":2}}',
    b'{"schema":{"type":"struct","fields":[{"type":"int32","field":"q\\""}]},"payload":{"q\\"":1}}',
    b'{"schema":{"type":"map","keys":{"type":"array","items":{"type":"int8"}},"values":{"type":"int8"}},"payload":[]}',
    b'{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":[[1,2]]}',
]

#: A struct with a text, and structs in a list: whatever may stand open where an object seems to end.
STRUCT = (
    b'{"schema":{"type":"struct","optional":false,"fields":[{"type":"int32","optional":true,"field":"a"},'
    b'{"type":"string","optional":true,"field":"s"},{"type":"array","optional":true,"field":"l","items":'
    b'{"type":"struct","optional":true,"fields":[{"type":"int32","optional":true,"field":"a"}]}}]},"payload":'
)
PIECES = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b" ", b"\n", b'"a"', b'"s":"', b'"l":[', b'"a":1', b"{}", b'{"a":1}',
    b'{"a":2}', b'{"l":[{"a":1}', b"]}", b'{"s":"}', b'{"}', b"null",
]  # fmt: skip
BODIES = st.sampled_from([b'{"a":1}', b'{"s":"x","l":[{}]}', b"{}"]) | st.lists(
    st.sampled_from(PIECES), min_size=1, max_size=6
).map(b"".join)

OBJECTS = st.sampled_from(
    [
        b'{"a":1,"b":2.5}',
        b'{"b":null,"a":{"c":[1]}}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":-0.0,"b":9223372036854775808}',
        b'{"a":"\\u00e4\xc3\xa4","b":" "}',
    ]
) | st.sampled_from([b'{"a":1}', b'{"a":1,"b":2,"c":3}', b"[1]", b'{"a":1,"b":"\xff"}', b"null", b'{"a":1,"b":'])


def converter(**keys: str) -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig.parse({name.replace("_", "."): text for name, text in keys.items()}))
    return made


def decoded(made: JsonConverter, payloads: list[bytes | None]) -> list[Any]:
    """Of each payload the schema and value, or the text of its error."""
    found = made.to_connect("topic", payloads)
    outcomes: list[Any] = [*zip(found.schemas, found.values, strict=True)]
    for failure in found.failures:
        assert isinstance(failure.error, DataError)
        assert outcomes[failure.index] == (None, None)
        outcomes[failure.index] = str(failure.error)
    return outcomes


def leniently(made: JsonConverter, payload: bytes) -> Any:
    try:
        value, schema = made._decoder._leniently(payload)
        return schema, value
    except DataError as error:
        return str(error)


def alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str) or isinstance(theirs, str):
        return bool(ours == theirs)
    return ours[0] == theirs[0] and same(ours[1], theirs[1])


@given(st.lists(st.none() | BYTES, max_size=8))
def test_a_batch_without_schemas_comes_out_like_its_records(payloads: list[bytes | None]) -> None:
    made = converter(schemas_enable="false")
    together, alone = decoded(made, payloads), [decoded(made, [payload])[0] for payload in payloads]
    assert all(map(alike, together, alone))


@given(st.lists(st.none() | OBJECTS | BYTES, max_size=4), st.lists(OBJECTS, min_size=ALIKE_MIN, max_size=ALIKE_MIN + 2))
def test_objects_after_some_that_were_alike_come_out_like_any_other(few: list[bytes | None], many: list[bytes]) -> None:
    made = converter(schemas_enable="false")
    decoded(made, [b'{"a":1,"b":[]}'] * ALIKE_MIN)
    together, alone = decoded(made, [*many, *few]), [decoded(made, [payload])[0] for payload in [*many, *few]]
    assert all(map(alike, together, alone))


@given(BYTES)
def test_the_strict_way_reads_plain_json_like_the_lenient_way(payload: bytes) -> None:
    made = converter(schemas_enable="false")
    assert alike(decoded(made, [payload])[0], leniently(made, payload))


@given(st.lists(st.none() | st.sampled_from(ENVELOPES) | BYTES, max_size=8))
def test_a_batch_of_envelopes_comes_out_like_its_records(payloads: list[bytes | None]) -> None:
    together = decoded(converter(), payloads)
    alone = [decoded(converter(), [payload])[0] for payload in payloads]
    assert all(map(alike, together, alone))


@given(st.lists(BODIES, min_size=1, max_size=6))
def test_no_object_borrows_from_its_neighbour(bodies: list[bytes]) -> None:
    payloads: list[bytes | None] = [STRUCT + body + b"}" for body in [b'{"a":0}', *bodies]]
    together = decoded(converter(), payloads)
    alone = [leniently(converter(), payload) for payload in payloads if payload is not None]
    assert all(map(alike, together, alone))


@given(st.data())
def test_what_is_written_in_envelopes_is_read_back_strictly_and_leniently(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    values = data.draw(st.lists(values_of(schema), min_size=1, max_size=4))
    made = converter()
    encoded = made.from_connect("topic", values, Repeat(schema, len(values)))
    assert not encoded.failures
    payloads = [*encoded.payloads]
    for value, payload, (read_schema, read) in zip(values, payloads, decoded(made, payloads), strict=True):
        assert payload is not None
        assert read_schema == schema
        assert same(read, value)
        assert alike((read_schema, read), leniently(made, payload))


@given(st.data())
def test_a_batch_is_written_like_its_records(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    values = data.draw(st.lists(values_of(schema) | PLAIN, max_size=5))
    made = converter()
    together = made.from_connect("topic", values, Repeat(schema, len(values)))
    alone = [made.from_connect("topic", [value], [schema]) for value in values]
    assert list(together.payloads) == [encoded.payloads[0] for encoded in alone]
    texts = {failure.index: str(failure.error) for failure in together.failures}
    assert texts == {index: str(one.failures[0].error) for index, one in enumerate(alone) if one.failures}


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_values_without_a_schema_are_read_back_as_they_were_written(values: list[Any]) -> None:
    made = converter(schemas_enable="false")
    encoded = made.from_connect("topic", values, Repeat(None, len(values)))
    assert not encoded.failures
    for value, (_, read) in zip(values, decoded(made, [*encoded.payloads]), strict=True):
        assert same(read, value)


@given(schemas, st.lists(BYTES, min_size=1, max_size=4))
def test_any_bytes_under_any_schema_come_out_strictly_as_they_do_leniently(
    schema: Schema, payloads: list[bytes]
) -> None:
    empty = converter()._encoder.encode_one(None, schema.replaced(optional=True))
    assert empty is not None
    prefix = empty.removesuffix(b"null}")
    made = converter()
    envelopes: list[bytes | None] = [prefix + payload + b"}" for payload in payloads]
    for envelope, found in zip(envelopes, decoded(made, envelopes), strict=True):
        assert envelope is not None
        assert alike(found, leniently(made, envelope)), envelope


@given(st.data())
def test_structs_that_are_stored_as_columns_are_written_like_their_rows(data: st.DataObject) -> None:
    inner = data.draw(schemas)
    fields = [("a", inner), ("t", Schema("STRING")), ("r", inner), ('"', Schema("INT32"))][
        : data.draw(st.integers(1, 4))
    ]
    schema = Schema.struct([*fields, ("s", Schema.struct({"b": inner}))], optional=data.draw(st.booleans()))
    column = data.draw(st.lists(values_of(inner), min_size=1, max_size=4))
    count = len(column)
    nested = StructColumn(schema.fields[-1].schema, [column[::-1]], count)
    columns = [column, Utf8Column([b"x"] * count), Repeat(column[0], count), range(count)]
    values = StructColumn(schema, [*columns[: len(fields)], nested], count)
    rows = [*StructColumn(schema, values.columns, count)]
    made = converter()
    assert made.from_connect("topic", values, Repeat(schema, count)) == made.from_connect(
        "topic", rows, Repeat(schema, count)
    )


#: Texts as a connector has them: some that JSON has as they are, and some that are escaped, mended, or no UTF-8.
TEXTS = st.binary(max_size=4) | st.sampled_from(
    [
        b"",
        b"plain",
        "ä€".encode(),
        b"a b/~\x7f",
        b'q"',
        b"b\\",
        b"\x1f",
        b"\n",
        "\U0001f600".encode(),
        b"\xff",
        b"\xed\xa0\x80",
    ]
)
DIGITS = {bits: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (16, 32, 64)}


@given(st.data(), st.booleans())
def test_text_and_numbers_that_are_still_bytes_are_written_like_the_values_they_are(
    data: st.DataObject, has_envelope: bool
) -> None:
    count, bits, kind = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([*DIGITS])), data.draw(st.booleans())
    texts = data.draw(st.lists(st.none() | TEXTS if kind else TEXTS, min_size=count, max_size=count))
    numbers = data.draw(st.lists(DIGITS[bits], min_size=count, max_size=count))
    schema = Schema.struct(
        {"a": Schema("STRING", optional=kind), "ä": Schema(data.draw(st.sampled_from(["INT16", "INT32", "INT64"])))}
    )
    columns = [Utf8Column(texts), DigitColumn([b"%d" % number for number in numbers], bits)]
    made = converter(schemas_enable=str(has_envelope).lower())
    rows = [*StructColumn(schema, [[*column] for column in columns], count)]
    together = made.from_connect("topic", StructColumn(schema, columns, count), Repeat(schema, count))
    alone = made.from_connect("topic", rows, Repeat(schema, count))
    assert together.payloads == alone.payloads
    assert [(one.index, str(one.error)) for one in together.failures] == [
        (one.index, str(one.error)) for one in alone.failures
    ]


FLOATS = (
    st.floats() | st.floats(1e-4, 1e8) | st.sampled_from([1e-3, 0.0009999999999999998, 1e7, 9999999.999999998, -1.5])
)


@given(
    floats=st.lists(FLOATS, min_size=1, max_size=5)
    | st.lists(FLOATS | st.integers(0, 9) | st.none(), min_size=1, max_size=5),
    truths=st.lists(st.booleans() | st.sampled_from([True, False, None, 1, "x"]), min_size=5, max_size=5),
    is_optional=st.booleans(),
)
def test_floats_and_truths_in_columns_are_written_as_in_structs(
    floats: list[Any], truths: list[Any], is_optional: bool
) -> None:
    schema = Schema.struct({"a": Schema("FLOAT64", optional=is_optional), "b": Schema("BOOLEAN", optional=is_optional)})
    columns, count = [floats, truths[: len(floats)]], len(floats)
    made = converter()
    rows = [*StructColumn(schema, columns, count)]
    together = made.from_connect("topic", StructColumn(schema, columns, count), Repeat(schema, count))
    alone = made.from_connect("topic", rows, Repeat(schema, count))
    assert together.payloads == alone.payloads
    assert [one.index for one in together.failures] == [one.index for one in alone.failures]
