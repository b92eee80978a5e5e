"""What Kafka Connect's converters of numbers, booleans and bytes were seen to do, ours do; exceptions are listed."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from converters.byte_array import ByteArrayConverter
from converters.numbers import (
    BooleanConverter,
    DoubleConverter,
    FloatConverter,
    IntegerConverter,
    LongConverter,
    ShortConverter,
)
from engine.api.record import Header
from tests.vectors.cases import cases, configured, differences, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

CONVERTERS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        BooleanConverter,
        ByteArrayConverter,
        DoubleConverter,
        FloatConverter,
        IntegerConverter,
        LongConverter,
        ShortConverter,
    )
}
NO_WIDTH = "an int has no width in Python: what fits is written"
NAMED = "an int has no width in Python: the message names Integer, as of any int that fits it"
OTHER_SCHEMA = "a value that is none of its schema: an int is as wide as its schema says, and refused for that"
#: Cases that cannot come out as recorded, and why.
NOT_APPLICABLE: dict[str, str] = {
    "9c3641f1cd5b": NO_WIDTH,
    "4c3c1f00dbce": NO_WIDTH,
    "e0e83b4f2a9b": NAMED,
    "36074358759d": NAMED,
    "6d3bae72322f": NAMED,
    "9a80fd1730da": NAMED,
    "33666ba1c3b2": NAMED,
    "3f4f363a0fa2": NAMED,
    "cc9e541097ba": OTHER_SCHEMA,
    "0d2422a5ff9b": OTHER_SCHEMA,
    "7b66f41e79bf": OTHER_SCHEMA,
}


def outcome(case: dict[str, Any], count: int) -> Any:
    """The bytes, the schema and value, or the error of one case, the last of `count` alike."""
    config, given = case["config"], case["input"]
    try:
        converter = configured(CONVERTERS[config["class"].rpartition(".")[2]](), config["configs"])
        if config["direction"] == "to":
            payload = None if given["bytes"] is None else base64.b64decode(given["bytes"])
            if config["type"] == "header":
                header = converter.to_connect_header("topic", "key", payload)
                return header.schema, header.value
            decoded = converter.to_connect("topic", [payload] * count)
            return decoded.failures[-1].error if decoded.failures else (decoded.schemas[-1], decoded.values[-1])
        schema = schema_of(given["schema"])
        value = value_of(given["value"], schema)
        if config["type"] == "header":
            return converter.from_connect_header("topic", Header("key", value, schema))
        encoded = converter.from_connect("topic", [value] * count, [schema] * count)
        return encoded.failures[-1].error if encoded.failures else encoded.payloads[-1]
    except Exception as error:  # it is what is compared
        return error


def is_as_recorded(case: dict[str, Any], found: Any) -> bool:
    expected = case["expected"]
    if "error" in expected:
        return isinstance(found, Exception) and same_error(found, expected)
    if isinstance(found, Exception):
        return False
    if "bytes" in expected:
        return bool(found == (None if expected["bytes"] is None else base64.b64decode(expected["bytes"])))
    schema = schema_of(expected["schema"])
    return found[0] == schema and same(found[1], value_of(expected["value"], schema))


@pytest.mark.parametrize("count", [1, 3], ids=["alone", "in_a_batch"])
def test_every_vector_of_the_plain_converters_comes_out_as_recorded_but_for_the_listed(count: int) -> None:
    outcomes = {case["id"]: (case, outcome(case, count)) for case in cases("number_converters")}
    assert len(outcomes) >= 246
    unlike = {key: found for key, found in outcomes.items() if not is_as_recorded(*found)}
    assert differences(unlike, outcomes, NOT_APPLICABLE) == {}
