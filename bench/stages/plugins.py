"""What the lines of this benchmark are made of: a sink that looks at the order, a source, and transforms of a user's.

Used by: bench/stages names them in its lines, and writes the file of the source (`write_orders`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.api.batch import SinkBatch, SourceBatch
from engine.api.column import Repeat, StructColumn
from engine.api.record import SinkRecord, SourceRecord
from engine.api.schema import BOOLEAN, FLOAT64, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.api.task import SinkTask, SourceTask
from engine.api.transform import AnyRecord, Transform

__all__ = ["Enrich", "InOrder", "Orders", "ParseOrder", "write_orders"]

LENGTH_BYTES = 4

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


def write_orders(file: Path, orders: Iterable[Mapping[str, Any]], batch: int) -> None:
    """Make the file of `Orders`: batch after batch, each a column for each field, as a columnar file has them."""
    names = [field.name for field in ORDER.fields]
    with file.open("wb") as out:
        for some in batched(orders, batch):
            columns = msgspec.msgpack.encode([[order[name] for order in some] for name in names])
            out.write(len(columns).to_bytes(LENGTH_BYTES, "little") + columns)


class Orders(SourceTask):
    """Reads orders with their schema from the file that `write_orders` has made."""

    def start(self, config: Mapping[str, str]) -> None:
        self._file = Path(config["file"]).open("rb")  # noqa: SIM115  closed by `stop`
        self._read = 0

    def poll(self) -> SourceBatch | None:
        length = int.from_bytes(self._file.read(LENGTH_BYTES), "little")
        if not length:
            self.context.end()
            return None
        columns = msgspec.msgpack.decode(self._file.read(length))
        count = len(columns[0])
        self._read += count
        return SourceBatch(
            topic="orders",
            values=StructColumn(ORDER, columns, count),
            value_schema=ORDER,
            source_partition={"file": self._file.name},
            source_offsets=Repeat({"records": self._read}, count),
        )

    def stop(self) -> None:
        self._file.close()


def batched(items: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """So many of them at a time."""
    source = iter(items)
    while some := [*islice(source, count)]:
        yield some


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
