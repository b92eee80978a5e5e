"""How long a record takes through each transform, as a map and as a struct of seven fields; and through a chain."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.batch import Columns, Repeat
from engine.api.java_date_patterns import DatePattern
from engine.api.record import Header
from engine.api.schema import BOOLEAN, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.api.transform import Predicate, Transform
from engine.stages.transform import Step, fused, transform
from engine.transforms.cast import CastValue
from engine.transforms.expression import Expression, ExpressionPredicate
from engine.transforms.extract_field import ExtractFieldValue
from engine.transforms.filtering import Filter, HasHeaderKey, RecordIsTombstone, TopicNameMatches
from engine.transforms.flatten import FlattenValue
from engine.transforms.headers import DropHeaders, HeaderFromValue, InsertHeader
from engine.transforms.hoist_field import HoistFieldValue
from engine.transforms.insert_field import InsertFieldValue
from engine.transforms.mask_field import MaskFieldValue
from engine.transforms.replace_field import ReplaceFieldValue
from engine.transforms.routers import RegexRouter, TimestampRouter
from engine.transforms.set_schema_metadata import SetSchemaMetadataValue
from engine.transforms.timestamp_converter import TimestampConverterValue
from engine.transforms.value_to_key import ValueToKey

RECORDS = 2_000
ORDER = Schema.struct(
    {
        "id": INT64,
        "customer": STRING,
        "price": FLOAT64,
        "count": INT32,
        "paid": BOOLEAN,
        "note": OPTIONAL_STRING,
        "at": INT64,
    },
    name="shop.Order",
)
KINDS = ("map", "struct")
ISO = "yyyy-MM-dd'T'HH:mm:ss.SSSX"
INSERT = (InsertFieldValue, {"static.field": "shop", "static.value": "north"})
REPLACE = (ReplaceFieldValue, {"exclude": "note", "renames": "id:number"})
MASK = (MaskFieldValue, {"fields": "customer"})
ONE: dict[str, tuple[type[Any], dict[str, str]]] = {
    "InsertField": INSERT,
    "InsertField, topic and timestamp": (InsertFieldValue, {"topic.field": "from", "timestamp.field": "when"}),
    "ReplaceField": REPLACE,
    "MaskField": MASK,
    "ValueToKey": (ValueToKey, {"fields": "id,customer"}),
    "HeaderFrom": (HeaderFromValue, {"fields": "note", "headers": "note", "operation": "move"}),
    "InsertHeader": (InsertHeader, {"header": "h", "value.literal": "1"}),
    "DropHeaders": (DropHeaders, {"headers": "debug"}),
    "Filter": (Filter, {}),
    "Expression": (Expression, {"expression": "value.price * 2", "field": "price"}),
    "Cast": (CastValue, {"spec": "id:string,price:float32"}),
    "ExtractField": (ExtractFieldValue, {"field": "id"}),
    "Flatten": (FlattenValue, {}),
    "HoistField": (HoistFieldValue, {"field": "order"}),
    "TimestampConverter, to text": (TimestampConverterValue, {"field": "at", "target.type": "string", "format": ISO}),
    "TimestampConverter, to Timestamp": (TimestampConverterValue, {"field": "at", "target.type": "Timestamp"}),
    "TimestampRouter": (TimestampRouter, {}),
    "RegexRouter": (RegexRouter, {"regex": "(.*)s", "replacement": "$1"}),
}
PREDICATES: dict[str, tuple[type[Any], dict[str, str]]] = {
    "RecordIsTombstone": (RecordIsTombstone, {}),
    "TopicNameMatches": (TopicNameMatches, {"pattern": "o.*"}),
    "HasHeaderKey": (HasHeaderKey, {"name": "debug"}),
    "Expression": (ExpressionPredicate, {"expression": "value.price > 1"}),
}


def made(kind: type[Any], config: dict[str, str]) -> Any:
    plugin = kind()
    plugin.configure(plugin.config.parse(config))
    return plugin


def columns(kind: str) -> Columns:
    """A batch out of one partition."""
    values: list[Any] = [
        {"id": n, "customer": "Ann", "price": 9.5, "count": 3, "paid": True, "note": "x", "at": n}
        for n in range(RECORDS)
    ]
    if kind == "struct":
        values = [ORDER.struct_type(**value) for value in values]
    nothing = Repeat(None, RECORDS)
    return Columns(
        topics=Repeat("orders", RECORDS),
        partitions=Repeat(0, RECORDS),
        timestamps=range(RECORDS),
        keys=nothing,
        key_schemas=nothing,
        values=values,
        value_schemas=Repeat(ORDER if kind == "struct" else None, RECORDS),
        headers=[[Header("debug", "on")] for _ in range(RECORDS)],
        origins=range(RECORDS),
        offsets=range(RECORDS),
        original_topics=Repeat("orders", RECORDS),
        original_partitions=Repeat(0, RECORDS),
        is_sink=True,
    )


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
    steps = [made(*one) for one in (INSERT, REPLACE, MASK)]
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
