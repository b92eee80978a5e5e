"""What Kafka Connect's JsonConverter was seen to do, ours does; exceptions are listed one by one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from converters.json import JsonConverter
from engine.api.record import Header
from tests.vectors.cases import cases, configured, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

#: Cases that cannot come out as recorded, and why.
NO_WIDTH = "an int has no width in Python: what fits the schema's range is a value of it"
NO_PRECISION = "a float has no width in Python: the schema tells it"
NO_BIG_INTEGER = "there is one int in Python; only one beyond 64 bits is refused as a BigInteger"
NOT_APPLICABLE: dict[str, str] = {
    "75cf1b573131": NO_WIDTH,
    "b47e6db69794": NO_WIDTH,
    "c6878af1c2f7": NO_WIDTH,
    "cff7ba1ac3dd": NO_WIDTH,
    "b3dd800eea6c": "an int has no width in Python: the message says Integer where Java's says Long",
    "23725cdc2373": NO_PRECISION,
    "2d64e0a44812": NO_PRECISION,
    "e5284f5d15b8": NO_BIG_INTEGER,
    "434d20196481": NO_BIG_INTEGER,
    "801bdb42232b": NO_BIG_INTEGER,
}


def outcome_from(case: dict[str, Any], *, is_batch: bool) -> Any:
    """The bytes, or the error, of one `from` case."""
    config, given = case["config"], case["input"]
    try:
        converter = configured(JsonConverter(), config["configs"])
        schema = schema_of(given["schema"])
        value = value_of(given["value"], schema)
        if config["type"] == "header":
            return converter.from_connect_header("topic", Header("key", value, schema))
        encoded = converter.from_connect("topic", [value] * (3 if is_batch else 1), [schema] * (3 if is_batch else 1))
        return encoded.failures[-1].error if encoded.failures else encoded.payloads[-1]
    except Exception as error:  # it is what is compared
        return error


def outcome_to(case: dict[str, Any], *, is_batch: bool) -> Any:
    """The schema and value, or the error, of one `to` case."""
    config, given = case["config"], case["input"]
    payload = None if given["bytes"] is None else base64.b64decode(given["bytes"])
    try:
        converter = configured(JsonConverter(), config["configs"])
        if config["type"] == "header":
            header = converter.to_connect_header("topic", "key", payload)
            return header.schema, header.value
        decoded = converter.to_connect("topic", [payload] * (3 if is_batch else 1))
        return decoded.failures[-1].error if decoded.failures else (decoded.schemas[-1], decoded.values[-1])
    except Exception as error:  # as above
        return error


def is_as_recorded(case: dict[str, Any], outcome: Any) -> bool:
    expected = case["expected"]
    if "error" in expected:
        return isinstance(outcome, Exception) and same_error(outcome, expected)
    if isinstance(outcome, Exception):
        return False
    if "bytes" in expected:
        wanted = None if expected["bytes"] is None else base64.b64decode(expected["bytes"])
        return bool(outcome == wanted)
    schema = schema_of(expected["schema"])
    return outcome[0] == schema and same(outcome[1], value_of(expected["value"], schema))


def unlike(kind: str, *, is_batch: bool) -> dict[str, Any]:
    outcome_of = outcome_from if kind == "json_converter_from" else outcome_to
    outcomes = [(case, outcome_of(case, is_batch=is_batch)) for case in cases(kind)]
    return {case["id"]: (case["input"], outcome) for case, outcome in outcomes if not is_as_recorded(case, outcome)}


@pytest.mark.parametrize("is_batch", [False, True], ids=["alone", "in_a_batch"])
@pytest.mark.parametrize("kind", ["json_converter_from", "json_converter_to"])
def test_every_vector_comes_out_as_recorded_but_for_the_listed(kind: str, is_batch: bool) -> None:
    found = unlike(kind, is_batch=is_batch)
    listed = {case["id"] for case in cases(kind)} & NOT_APPLICABLE.keys()
    assert {key: found[key] for key in found.keys() - listed} == {}
    assert listed - found.keys() == set(), "listed, but come out as recorded"
