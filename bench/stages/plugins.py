"""What the lines of this benchmark are made of: a sink that looks at the order, and transforms that a user might write.

Used by: nobody imports them; bench/stages names them in its lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.api.batch import SinkBatch
from engine.api.record import SinkRecord, SourceRecord
from engine.api.schema import BOOLEAN, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.api.task import SinkTask
from engine.api.transform import AnyRecord, Transform

__all__ = ["Enrich", "InOrder", "ParseOrder"]

ORDER = Schema.struct(
    {
        "id": INT64,
        "customer": STRING,
        "item": STRING,
        "quantity": INT32,
        "price": FLOAT64,
        "express": BOOLEAN,
        "note": OPTIONAL_STRING,
    },
    name="order",
)
ENRICHED = Schema.struct({**{field.name: field.schema for field in ORDER.fields}, "total": FLOAT64}, name="enriched")


class InOrder(SinkTask):
    """Takes records, and fails where one is not the one after the last."""

    def start(self, config: Mapping[str, str]) -> None:
        self._next = 0

    def put(self, batch: SinkBatch) -> None:
        offsets = batch.offsets
        if offsets[0] != self._next or offsets[-1] != self._next + len(batch) - 1:
            raise AssertionError(f"offsets {offsets[0]} to {offsets[-1]}, {self._next} was next")
        self._next += len(batch)


class ParseOrder(Transform):
    """Makes an order of a line of JSON."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(ORDER.struct_type).decode

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return replace(record, value=self._decode(record.value), value_schema=ORDER)


class Enrich(Transform):
    """Adds up an order, and hides whose it is: two steps of the kind that users write themselves."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return replace(record, value=enriched(record), value_schema=ENRICHED)


def enriched(record: SinkRecord | SourceRecord) -> Any:
    """The order of a record with its sum, its customer hidden."""
    order: Any = record.value
    return ENRICHED.struct_type(
        id=order.id,
        customer=hashlib.sha256(order.customer.encode()).hexdigest(),
        item=order.item,
        quantity=order.quantity,
        price=order.price,
        express=order.express,
        note=order.note,
        total=order.quantity * order.price,
    )
