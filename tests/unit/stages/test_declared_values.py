"""What a source returns may hold instances of classes that yield their schema; their records go on as values of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from engine.api.batch import SourceBatch
from engine.api.declared import schema_for
from engine.api.record import SourceRecord
from engine.api.schema import STRING, schema_of
from engine.stages.outgoing import with_declared


class Order(msgspec.Struct):
    id: int


@dataclasses.dataclass(frozen=True)
class Line:
    name: str


def shown(polled: Any) -> list[tuple[Any, Any, Any, Any]]:
    records = polled.records() if isinstance(polled, SourceBatch) else polled
    return [(record.key, record.key_schema, record.value, record.value_schema) for record in records]


def test_records_without_such_values_are_left_alone() -> None:
    records = [SourceRecord(topic="t", value={"a": 1}), SourceRecord(topic="t", value="x", value_schema=STRING)]
    assert with_declared(records) is records
    batch = SourceBatch(topic="t", values=["a"], value_schema=STRING, keys=["k"], key_schema=STRING)
    assert shown(with_declared(batch)) == shown(batch)
    assert len(with_declared(SourceBatch(topic="t", values=[]))) == 0


def test_records_get_values_and_schemas() -> None:
    polled = with_declared(
        [
            SourceRecord(topic="t", value=Order(1), key="k"),
            SourceRecord(topic="t", value=Line("a"), key=Line("b")),
            SourceRecord(topic="t", value=None, source_offset={"at": 3}),
        ]
    )
    assert not isinstance(polled, SourceBatch)
    first, second, third = polled
    assert (first.value, first.value_schema, first.key, first.key_schema) == (Order(1), schema_for(Order), "k", None)
    assert schema_of(second.value) == second.value_schema == second.key_schema == schema_for(Line)
    assert (third.value, third.value_schema, third.source_offset) == (None, None, {"at": 3})


def test_a_batch_stays_one_where_it_has_one_schema() -> None:
    batch = with_declared(SourceBatch(topic="t", values=[Line("a"), Line("b")], keys=[Order(1), Order(2)]))
    assert isinstance(batch, SourceBatch)
    assert (batch.value_schema, batch.key_schema) == (schema_for(Line), schema_for(Order))
    assert [value.name for value in batch.values] == ["a", "b"]


def test_a_batch_of_several_schemas_becomes_records() -> None:
    mixed = with_declared(SourceBatch(topic="t", values=[Line("a"), Order(1)], source_offsets=[{"at": 1}, {"at": 2}]))
    assert not isinstance(mixed, SourceBatch)
    assert [record.value_schema for record in mixed] == [schema_for(Line), schema_for(Order)]
    assert [record.source_offset for record in mixed] == [{"at": 1}, {"at": 2}]
