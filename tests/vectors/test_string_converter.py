"""What Kafka Connect's StringConverter was seen to do, ours does; exceptions are listed one by one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from converters.string import StringConverter
from engine.api.record import Header
from tests.vectors.cases import cases, configured, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

#: Cases that cannot come out as recorded, and why.
NOT_APPLICABLE: dict[str, str] = {}


def outcome(case: dict[str, Any], *, count: int) -> Any:
    """The bytes, the schema and value, or the error of one case, the last of `count` alike."""
    config, given = case["config"], case["input"]
    try:
        converter = configured(StringConverter(), config["configs"])
        if config["direction"] == "to":
            payload = None if given["bytes"] is None else base64.b64decode(given["bytes"])
            if config["type"] == "header":
                header = converter.to_connect_header("topic", "key", payload)
                return header.schema, header.value
            decoded = converter.to_connect("topic", [payload] * count)
            return decoded.schemas[-1], decoded.values[-1]
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
def test_every_vector_of_the_string_converter_comes_out_as_recorded(count: int) -> None:
    outcomes = {case["id"]: (case, outcome(case, count=count)) for case in cases("string_converter")}
    unlike = {key: found for key, (case, found) in outcomes.items() if not is_as_recorded(case, found)}
    assert unlike.keys() - NOT_APPLICABLE.keys() == set(), unlike
    assert NOT_APPLICABLE.keys() & outcomes.keys() <= unlike.keys(), "listed, but come out as recorded"
