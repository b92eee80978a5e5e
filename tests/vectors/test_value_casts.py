"""What Kafka Connect's Values was seen to convert, ours converts; exceptions are listed one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.api import value_casts
from engine.api.schema import DATE, TIME, TIMESTAMP, Schema
from engine.api.value_text import to_text
from tests.vectors.cases import cases, differences, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

OURS: dict[str, Callable[..., Any]] = {
    "convertToBoolean": value_casts.as_boolean,
    "convertToByte": value_casts.as_int8,
    "convertToShort": value_casts.as_int16,
    "convertToInteger": value_casts.as_int32,
    "convertToLong": value_casts.as_int64,
    "convertToFloat": value_casts.as_float32,
    "convertToDouble": value_casts.as_float64,
    "convertToList": value_casts.as_list,
    "convertToMap": value_casts.as_map,
    "convertToStruct": value_casts.as_struct,
    "convertToDate": value_casts.as_date,
    "convertToTime": value_casts.as_time,
    "convertToTimestamp": value_casts.as_timestamp,
    "convertToDecimal": value_casts.as_decimal,
    "convertToString": to_text,
}
#: The schema under which a result stands, where its tag alone does not tell.
RESULTS = {"convertToDate": DATE, "convertToTime": TIME, "convertToTimestamp": TIMESTAMP}
#: Cases that cannot come out as recorded, and why.
NAMED = "an int has no width in Python: the message names Integer, as of any int that fits it"
INFERRED = "an int has no width in Python: INT64 is inferred, as JSON without schemas is read"
NOT_APPLICABLE: dict[str, str] = {
    "a15b7f074b32": NAMED,
    "3912bcb43021": NAMED,
    "bf5eb041661b": NAMED,
    "e72db73a56e3": NAMED,
    "f3b1ffbf1b81": NAMED,
    "28ae90d0a9d3": NAMED,
    "7f758bd9c0dd": NAMED,
    "738123963f68": NAMED,
    "0a916a24f776": INFERRED,
    "436a308c7bff": INFERRED,
    "0ebe396b6cb6": INFERRED,
    "b327b8c0207d": INFERRED,
    "efc2848cc1b2": INFERRED,
    "f5e8ac9812d9": INFERRED,
    "d5acc133b9b7": INFERRED,
    "8af692f2eeed": INFERRED,
}


def outcome(case: dict[str, Any], count: int = 1) -> Any:
    """What ours make of one case, or the error."""
    config, given = case["config"], case["input"]
    try:
        schema = schema_of(given["schema"])
        value = value_of(given["value"], schema)
        if config["op"] == "inferSchema":
            return value_casts.infer_schema(value)
        extras = {"scale": config["scale"]} if "scale" in config else {}
        return OURS[config["op"]](value, schema, **extras)
    except Exception as error:  # it is what is compared
        return error


def is_as_recorded(case: dict[str, Any], found: Any) -> bool:
    expected = case["expected"]
    if "error" in expected:
        return isinstance(found, Exception) and same_error(found, expected)
    if isinstance(found, Exception):
        return False
    if "schema" in expected:
        return bool(found == schema_of(expected["schema"]))
    schema: Schema | None = RESULTS.get(case["config"]["op"]) or schema_of(case["input"]["schema"])
    wanted = value_of(expected["value"], schema)
    return same(float(found) if isinstance(found, float) else found, wanted)


def test_every_vector_of_conversions_comes_out_as_recorded_but_for_the_listed() -> None:
    outcomes = {case["id"]: (case, outcome(case)) for case in cases("values_convert")}
    assert len(outcomes) >= 827
    unlike = {key: found for key, found in outcomes.items() if not is_as_recorded(*found)}
    assert differences(unlike, outcomes, NOT_APPLICABLE) == {}
