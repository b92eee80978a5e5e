"""A value becomes the bytes that Cassandra's own driver reads as that value; what is none is refused, unseen."""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from decimal import Decimal
from typing import Any

import pytest
from cassandra import cqltypes
from hypothesis import given
from hypothesis import strategies as st

from connectors.cassandra.codecs import ENCODING_ERRORS, UnsupportedTypeError, UserType, codec_of, encode_one
from engine.api.schema import INT32, OPTIONAL_STRING, STRING, Schema

PROTOCOL = 5
ADDRESS = UserType(("street", "number"), ("text", "int"))
USER_TYPES = {"address": ADDRESS, "Person": UserType(("name", "home"), ("text", "frozen<address>"))}
UTC = datetime.UTC
V1 = uuid.UUID("8cbd3f2e-1dd2-11b2-8080-808080808080")
V4 = uuid.UUID("7f4a1a5e-5b7e-4b0e-9d3a-1f6f0f9d2c11")


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"{text}+00:00")


def read_by_driver(cql: str, encoded: bytes) -> Any:
    return cqltypes.lookup_casstype(java_type(cql)).deserialize(encoded, PROTOCOL)


def java_type(cql: str) -> str:
    """As the driver looks types up: by the names of Java's classes."""
    simple = {
        "tinyint": "ByteType", "smallint": "ShortType", "int": "Int32Type", "bigint": "LongType",
        "varint": "IntegerType", "float": "FloatType", "double": "DoubleType", "decimal": "DecimalType",
        "boolean": "BooleanType", "text": "UTF8Type", "ascii": "AsciiType", "blob": "BytesType",
        "timestamp": "DateType", "date": "SimpleDateType", "time": "TimeType", "uuid": "UUIDType",
        "timeuuid": "TimeUUIDType", "inet": "InetAddressType",
        "list<int>": "ListType(Int32Type)", "set<text>": "SetType(UTF8Type)",
        "map<text, int>": "MapType(UTF8Type, Int32Type)",
        "map<text, frozen<list<int>>>": "MapType(UTF8Type, ListType(Int32Type))",
        "tuple<int, text>": "TupleType(Int32Type, UTF8Type)",
    }  # fmt: skip
    return simple[cql]


@pytest.mark.parametrize(
    ("cql", "value", "expected"),
    [
        ("tinyint", -128, -128),
        ("smallint", 300, 300),
        ("int", 2**31 - 1, 2**31 - 1),
        ("int", "12", 12),
        ("int", 12.0, 12),
        ("int", Decimal("12.00"), 12),
        ("bigint", -(2**63), -(2**63)),
        ("varint", -(2**70), -(2**70)),
        ("double", 1.5, 1.5),
        ("double", 3, 3.0),
        ("double", Decimal("2.5"), 2.5),
        ("float", "0.5", 0.5),
        ("decimal", Decimal("-12.340"), Decimal("-12.340")),
        ("decimal", Decimal("1E+3"), Decimal("1E+3")),
        ("decimal", 0.1, Decimal("0.1")),
        ("decimal", 7, Decimal(7)),
        ("boolean", True, True),
        ("boolean", "FALSE", False),
        ("text", "é", "é"),
        ("text", 12, "12"),
        ("text", True, "true"),
        ("text", datetime.date(2024, 1, 31), "2024-01-31"),
        ("ascii", "a", "a"),
        ("blob", b"\0\1", b"\0\1"),
        ("blob", memoryview(b"ab"), b"ab"),
        ("blob", "YWI=", b"ab"),
        ("timestamp", utc("2024-01-31T12:00:00.005"), utc("2024-01-31T12:00:00.005")),
        ("timestamp", 1_000, utc("1970-01-01T00:00:01")),
        ("timestamp", "2024-01-31T12:00:00Z", utc("2024-01-31T12:00:00")),
        ("timestamp", "2024-01-31T12:00:00+01:00", utc("2024-01-31T11:00:00")),
        ("timestamp", datetime.date(2024, 1, 31), utc("2024-01-31T00:00:00")),
        ("uuid", V4, V4),
        ("uuid", str(V4), V4),
        ("uuid", V4.bytes, V4),
        ("timeuuid", str(V1), V1),
        ("inet", "127.0.0.1", "127.0.0.1"),
        ("inet", ipaddress.ip_address("::1"), "::1"),
        ("list<int>", [1, 2], [1, 2]),
        ("list<int>", ["1", 2.0], [1, 2]),
        ("map<text, int>", {"a": 1}, {"a": 1}),
        ("map<text, frozen<list<int>>>", {"a": [1], "b": []}, {"a": [1], "b": []}),
        ("tuple<int, text>", [1, None], (1, None)),
    ],
)  # fmt: skip
def test_the_driver_reads_what_was_written(cql: str, value: Any, expected: Any) -> None:
    found = read_by_driver(cql, encode_one(codec_of(cql, {}), value))
    if isinstance(found, datetime.datetime):
        found = found.replace(tzinfo=UTC)  # the driver's has none
    assert (dict(found) if isinstance(expected, dict) else found) == expected


def test_dates_and_times_are_days_and_nanoseconds() -> None:
    for day in (datetime.date(1, 1, 1), datetime.date(1970, 1, 1), datetime.date(9999, 12, 31)):
        assert read_by_driver("date", encode_one(codec_of("date", {}), day)).date() == day
        days = day.toordinal() - datetime.date(1970, 1, 1).toordinal()
        assert encode_one(codec_of("date", {}), days) == encode_one(codec_of("date", {}), day.isoformat())
    noon = datetime.time(12, 0, 0, 5000)
    assert read_by_driver("time", encode_one(codec_of("time", {}), noon)).time() == noon
    assert encode_one(codec_of("time", {}), "12:00:00.005") == encode_one(codec_of("time", {}), noon)


def test_a_set_is_sorted_and_each_element_is_there_once() -> None:
    found = read_by_driver("set<text>", encode_one(codec_of("set<text>", {}), ["b", "a", "b"]))
    assert list(found) == ["a", "b"]


@given(st.integers(-(2**200), 2**200))
def test_whole_numbers_are_as_short_as_java_writes_them(number: int) -> None:
    encoded = encode_one(codec_of("varint", {}), number)
    assert int.from_bytes(encoded, "big", signed=True) == number
    if len(encoded) > 1:
        assert int.from_bytes(encoded[1:], "big", signed=True) != number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=5))
def test_decimals_keep_their_scale(number: Decimal) -> None:
    found = read_by_driver("decimal", encode_one(codec_of("decimal", {}), number))
    assert found.as_tuple() == number.as_tuple() or number == found == 0


def test_user_types_are_made_of_structs_and_maps() -> None:
    address = Schema.struct({"number": INT32, "street": OPTIONAL_STRING})
    person = Schema.struct({"name": STRING, "home": address})
    codec = codec_of('frozen<"Person">', USER_TYPES)
    value = person.struct_type(name="Ann", home=address.struct_type(number=7))
    as_map = {"home": {"street": None, "number": 7}, "name": "Ann"}
    assert encode_one(codec, value) == encode_one(codec, as_map)
    street, number = (-1).to_bytes(4, "big", signed=True), b"\0\0\0\4\0\0\0\7"
    home = street + number
    assert encode_one(codec, value) == b"\0\0\0\3Ann" + len(home).to_bytes(4, "big") + home


def test_a_vector_has_its_elements_side_by_side() -> None:
    assert encode_one(codec_of("vector<float, 2>", {}), [1.0, 2]) == b"\x3f\x80\0\0\x40\0\0\0"


@pytest.mark.parametrize(
    ("cql", "value"),
    [
        ("int", 2**31),
        ("int", 1.5),
        ("int", "secret"),
        ("int", {"a": 1}),
        ("tinyint", 128),
        ("float", 1e300),
        ("double", "secret"),
        ("decimal", Decimal("NaN")),
        ("decimal", "1E+99999999"),
        ("boolean", 1),
        ("text", b"secret"),
        ("text", ["secret"]),
        ("text", "\ud800"),
        ("ascii", "é"),
        ("blob", 5),
        ("blob", "no base64!"),
        ("timestamp", "yesterday"),
        ("timestamp", True),
        ("date", 2**31),
        ("time", 86_400_000),
        ("uuid", "secret"),
        ("timeuuid", V4),
        ("inet", "secret"),
        ("inet", 5),
        ("list<int>", [None]),
        ("list<int>", "12"),
        ("set<text>", {"a": 1}),
        ("map<text, int>", {"a": None}),
        ("map<text, int>", [1]),
        ("tuple<int, text>", [1]),
        ("address", {"town": "secret"}),
        ("address", {"number": "secret"}),
        ("address", 5),
        ("vector<float, 2>", [1.0]),
    ],
)
def test_what_is_no_value_of_a_type_is_refused(cql: str, value: Any) -> None:
    codec = codec_of(cql, USER_TYPES)
    assert codec.expected
    with pytest.raises(ENCODING_ERRORS):
        encode_one(codec, value)


@pytest.mark.parametrize(
    ("cql", "words"),
    [
        ("counter", "it is a counter, which adds"),
        ("duration", "durations are not written"),
        ("list<counter>", "it is a counter"),
        ("frozen<town>", "its type town is not known here"),
        ("vector<text, 2>", "vectors of text are not written"),
        ("'org.example.Type'", "is not known here"),
    ],
)
def test_a_type_that_cannot_be_written_says_why(cql: str, words: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=words):
        codec_of(cql, USER_TYPES)
