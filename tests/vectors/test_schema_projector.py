"""What Kafka Connect's SchemaProjector was seen to make of a value, ours makes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.schema_projector import project
from tests.vectors.cases import cases, differences, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

#: Cases that cannot come out as recorded, and why.
NOT_APPLICABLE: dict[str, str] = {}


def outcome(case: dict[str, Any], count: int = 1) -> Any:
    """The value of one case, or the error."""
    given = case["input"]
    try:
        source, target = schema_of(given["source"]), schema_of(given["target"])
        assert source is not None
        assert target is not None
        return project(value_of(given["value"], source), source, target)
    except Exception as error:  # it is what is compared
        return error


def is_as_recorded(case: dict[str, Any], found: Any) -> bool:
    expected = case["expected"]
    if "error" in expected:
        return isinstance(found, Exception) and same_error(found, expected)
    if isinstance(found, Exception):
        return False
    return same(found, value_of(expected["value"], schema_of(case["input"]["target"])))


def test_every_vector_of_the_schema_projector_comes_out_as_recorded_but_for_the_listed() -> None:
    outcomes = {case["id"]: (case, outcome(case)) for case in cases("schema_projector")}
    assert len(outcomes) >= 200
    unlike = {key: found for key, found in outcomes.items() if not is_as_recorded(*found)}
    assert differences(unlike, outcomes, NOT_APPLICABLE) == {}
