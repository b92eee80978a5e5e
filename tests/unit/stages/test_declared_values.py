"""What a source returns may hold instances of classes that yield their schema; their records go on as values of it."""

from __future__ import annotations

import dataclasses

import msgspec

from engine.api.batch import SourceBatch
from engine.api.column import Repeat
from engine.api.declared import schema_for
from engine.api.record import SourceRecord
from engine.api.schema import STRING, schema_of
from engine.stages.outgoing import columns_of


class Order(msgspec.Struct):
    id: int


@dataclasses.dataclass(frozen=True)
class Line:
    name: str


def test_columns_without_such_values_are_left_alone() -> None:
    values, schemas = ["a"], STRING
    batch = SourceBatch(topic="t", values=values, value_schema=schemas, keys=["k"], key_schema=schemas)
    columns = columns_of(batch)
    assert columns.values is values
    assert ([*columns.value_schemas], [*columns.key_schemas]) == ([STRING], [STRING])
    assert len(columns_of(SourceBatch(topic="t", values=[]))) == 0


def test_records_get_values_and_schemas() -> None:
    columns = columns_of(
        [
            SourceRecord(topic="t", value=Order(1), key="k"),
            SourceRecord(topic="t", value=Line("a"), key=Line("b")),
            SourceRecord(topic="t", value=None, source_offset={"at": 3}),
        ]
    )
    first, second, third = columns.records()
    assert (first.value, first.value_schema, first.key, first.key_schema) == (Order(1), schema_for(Order), "k", None)
    assert schema_of(second.value) == second.value_schema == second.key_schema == schema_for(Line)
    assert (third.value, third.value_schema, third.source_offset) == (None, None, {"at": 3})


def test_a_batch_of_one_class_has_one_schema() -> None:
    columns = columns_of(SourceBatch(topic="t", values=[Line("a"), Line("b")], keys=[Order(1), Order(2)]))
    assert isinstance(columns.value_schemas, Repeat)
    assert isinstance(columns.key_schemas, Repeat)
    assert (columns.value_schemas.value, columns.key_schemas.value) == (schema_for(Line), schema_for(Order))
    assert [value.name for value in columns.values] == ["a", "b"]


def test_a_batch_of_several_classes_has_a_schema_for_each_record() -> None:
    mixed = SourceBatch(topic="t", values=[Line("a"), Order(1)], source_offsets=[{"at": 1}, {"at": 2}])
    columns = columns_of(mixed)
    assert [*columns.value_schemas] == [schema_for(Line), schema_for(Order)]
    assert [*columns.source_offsets] == [{"at": 1}, {"at": 2}]
