"""What Kafka Connect's StringConverter was seen to do, ours does; exceptions are listed one by one."""

from __future__ import annotations

from typing import Any

import pytest

from converters.string import StringConverter
from tests.vectors.cases import cases, configured, converted, is_converted_as_recorded

pytestmark = pytest.mark.vector

#: Cases that cannot come out as recorded, and why.
NOT_APPLICABLE: dict[str, str] = {}


def outcome(case: dict[str, Any], *, count: int) -> Any:
    """The bytes, the schema and value, or the error of one case, the last of `count` alike."""
    try:
        return converted(configured(StringConverter(), case["config"]["configs"]), case, count)
    except Exception as error:  # it is what is compared
        return error


@pytest.mark.parametrize("count", [1, 3], ids=["alone", "in_a_batch"])
def test_every_vector_of_the_string_converter_comes_out_as_recorded(count: int) -> None:
    outcomes = {case["id"]: (case, outcome(case, count=count)) for case in cases("string_converter")}
    unlike = {key: found for key, (case, found) in outcomes.items() if not is_converted_as_recorded(case, found)}
    assert unlike.keys() - NOT_APPLICABLE.keys() == set(), unlike
    assert NOT_APPLICABLE.keys() & outcomes.keys() <= unlike.keys(), "listed, but come out as recorded"
