"""The transforms that are measured, with a configuration each, and the records they get.

Used by: bench.micro, bench/micro/test_transforms.py.
"""

from __future__ import annotations

import gc
from typing import Any

from engine import malloc
from engine.api.batch import Columns
from engine.api.column import MapColumn, Repeat
from engine.api.record import Header
from engine.api.schema import BOOLEAN, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.supervisor import fork
from engine.transforms.cast import CastValue
from engine.transforms.expression import Expression
from engine.transforms.extract_field import ExtractFieldValue
from engine.transforms.filtering import Filter
from engine.transforms.flatten import FlattenValue
from engine.transforms.headers import DropHeaders, HeaderFromValue, InsertHeader
from engine.transforms.hoist_field import HoistFieldValue
from engine.transforms.insert_field import InsertFieldValue
from engine.transforms.mask_field import MaskFieldValue
from engine.transforms.replace_field import ReplaceFieldValue
from engine.transforms.routers import RegexRouter, TimestampRouter
from engine.transforms.timestamp_converter import TimestampConverterValue
from engine.transforms.value_to_key import ValueToKey

__all__ = ["CHAIN", "ISO", "KINDS", "ONE", "RECORDS", "be_as_a_task", "columns", "made"]

RECORDS = 2_000  # a batch
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
KINDS = ("map", "map by key", "struct")  # the second as JSON without a schema is read
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
CHAIN = (INSERT, REPLACE, MASK)


def be_as_a_task() -> None:
    """Results of a batch are large: malloc keeps their memory, and collections are rare."""
    malloc.keep()
    gc.set_threshold(*fork.GC_THRESHOLDS)


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
    column = (
        MapColumn({name: [one[name] for one in values] for name in values[0]}, RECORDS) if "key" in kind else values
    )
    nothing = Repeat(None, RECORDS)
    return Columns(
        topics=Repeat("orders", RECORDS),
        partitions=Repeat(0, RECORDS),
        timestamps=range(RECORDS),
        keys=nothing,
        key_schemas=nothing,
        values=column,
        value_schemas=Repeat(ORDER if kind == "struct" else None, RECORDS),
        headers=[[Header("debug", "on")] for _ in range(RECORDS)],
        origins=range(RECORDS),
        offsets=range(RECORDS),
        original_topics=Repeat("orders", RECORDS),
        original_partitions=Repeat(0, RECORDS),
        is_sink=True,
    )
