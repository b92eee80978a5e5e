"""How long a record takes through each transform, as a map and as a struct of seven fields; and through a chain."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.cases import CHAIN, ISO, KINDS, ONE, RECORDS, columns, made
from engine.api.java_date_patterns import DatePattern
from engine.api.transform import Predicate, Transform
from engine.stages.transform import Step, fused, transform
from engine.transforms.expression import ExpressionPredicate
from engine.transforms.filtering import Filter, HasHeaderKey, RecordIsTombstone, TopicNameMatches
from engine.transforms.set_schema_metadata import SetSchemaMetadataValue

PREDICATES: dict[str, tuple[type[Any], dict[str, str]]] = {
    "RecordIsTombstone": (RecordIsTombstone, {}),
    "TopicNameMatches": (TopicNameMatches, {"pattern": "o.*"}),
    "HasHeaderKey": (HasHeaderKey, {"name": "debug"}),
    "Expression": (ExpressionPredicate, {"expression": "value.price > 1"}),
}


def run(measure: Any, chain: list[Step], kind: str) -> None:
    batch = columns(kind)
    assert transform(chain, batch).failed is None
    measure(lambda: transform(chain, batch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONE)
def test_one(measure: Any, name: str, kind: str) -> None:
    run(measure, [Step(made(*ONE[name]))], kind)


def test_set_schema_metadata(measure: Any) -> None:
    run(measure, [Step(made(SetSchemaMetadataValue, {"schema.name": "shop.Sale"}))], "struct")


@pytest.mark.parametrize("end", ["", " "], ids=["as it is written", "and a blank, field by field"])
def test_date_pattern_parse(measure: Any, end: str) -> None:
    pattern = DatePattern(ISO)
    texts = [pattern.format(1_566_570_894_346 + 997 * number) + end for number in range(RECORDS)]
    measure(lambda: [*map(pattern.parse, texts)])


@pytest.mark.parametrize("name", PREDICATES)
def test_a_filter_by(measure: Any, name: str) -> None:
    predicate: Predicate = made(*PREDICATES[name])
    run(measure, [Step(made(Filter, {}), predicate, negate=True)], "map")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["fused", "apart", "by record"])
def test_insert_replace_mask(measure: Any, how: str, kind: str) -> None:
    steps = [made(*one) for one in CHAIN]
    if how == "by record":
        steps = [ByRecord(step) for step in steps]
    chain = [Step(step) for step in steps]
    run(measure, fused(chain) if how == "fused" else chain, kind)


class ByRecord(Transform):
    """A transform as it would be if it were written for records only."""

    def __init__(self, step: Transform) -> None:
        self._step = step

    def apply(self, record: Any) -> Any:
        return self._step.apply(record)
