"""What Kafka Connect's converters of numbers, booleans and bytes were seen to do, ours do; exceptions are listed."""

from __future__ import annotations

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
from tests.vectors.cases import cases, configured, converted, differences, is_converted_as_recorded

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
    try:
        return converted(
            configured(CONVERTERS[case["config"]["class"].rpartition(".")[2]](), case["config"]["configs"]), case, count
        )
    except Exception as error:  # it is what is compared
        return error


@pytest.mark.parametrize("count", [1, 3], ids=["alone", "in_a_batch"])
def test_every_vector_of_the_plain_converters_comes_out_as_recorded_but_for_the_listed(count: int) -> None:
    outcomes = {case["id"]: (case, outcome(case, count)) for case in cases("number_converters")}
    assert len(outcomes) >= 246
    unlike = {key: found for key, found in outcomes.items() if not is_converted_as_recorded(*found)}
    assert differences(unlike, outcomes, NOT_APPLICABLE) == {}
