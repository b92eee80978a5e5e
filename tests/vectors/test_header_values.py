"""What Kafka Connect's SimpleHeaderConverter and Values.parseString were seen to do, ours do, without an exception."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from converters.simple_header import SimpleHeaderConverter
from engine.api.record import Header
from engine.api.values import parse
from tests.vectors.cases import cases, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector


def is_value(expected: dict[str, Any], value: Any, schema: Any) -> bool:
    """Whether a value and its schema are those expected; no pair at all is a null without a schema here."""
    wanted = schema_of(expected["schema"])
    return schema == wanted and same(value, value_of(expected["value"], wanted))


def unlike_of_header(case: dict[str, Any]) -> Any:
    """What came out of one case of the header converter, if it is not as recorded."""
    given, expected = case["input"], case["expected"]
    try:
        converter = SimpleHeaderConverter()
        if case["config"]["direction"] == "to":
            payload = None if given["bytes"] is None else base64.b64decode(given["bytes"])
            header = converter.to_connect_header("topic", "key", payload)
            return None if "error" not in expected and is_value(expected, header.value, header.schema) else header
        schema = schema_of(given["schema"])
        header = Header("key", value_of(given["value"], schema), schema)
        found = converter.from_connect_header("topic", header)
    except Exception as error:  # it is what is compared
        return None if "error" in expected and same_error(error, expected) else repr(error)
    if "error" in expected:
        return found
    wanted = None if expected["bytes"] is None else base64.b64decode(expected["bytes"])
    return None if found == wanted else [found]


def unlike_of_text(case: dict[str, Any]) -> Any:
    """What came out of one text, if it is not as recorded."""
    found = parse(case["input"]["text"])
    return None if is_value(case["expected"], *found) else found


def test_every_vector_of_the_simple_header_converter_comes_out_as_recorded() -> None:
    outcomes = {case["id"]: unlike_of_header(case) for case in cases("simple_header_converter")}
    assert {key: found for key, found in outcomes.items() if found is not None} == {}


def test_every_vector_of_parsed_text_comes_out_as_recorded() -> None:
    outcomes = {case["id"]: unlike_of_text(case) for case in cases("values_parse")}
    assert {key: found for key, found in outcomes.items() if found is not None} == {}
