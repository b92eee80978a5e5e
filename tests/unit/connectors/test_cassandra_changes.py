"""Tables and columns are made by one task at a time: two nodes that make one at a time make two of one name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.cassandra.changes import Changes
from connectors.cassandra.columns import Shaped, shapes_of
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.mapping import TableMapping, read_mappings
from engine.api.errors import ConnectError, RetriableError
from engine.api.record import TopicPartition
from engine.api.schema import INT32, STRING, Schema
from engine.api.testing import sink_batch

ROW = Schema.struct({"id": INT32, "name": STRING})
WHOLE = [("id", "partition_key", 0, "int"), ("name", "regular", -1, "text")]


class FakeSchema:
    """The part of a `LinkPort` that looks at tables and changes them."""

    def __init__(self, columns: Sequence[tuple[Any, ...]]) -> None:
        self.columns = columns
        self.changes: list[str] = []
        self.refusal: Exception | None = None
        self.now_s = 100.0
        self.partitions: list[TopicPartition] = []

    def rows(self, cql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self.columns) if "system_schema.columns" in cql else []

    def change(self, cql: str) -> None:
        self.changes.append(cql)
        self.columns = WHOLE
        if self.refusal is not None:
            raise self.refusal

    def of(self, *partitions: int, topic: str = "topic") -> Changes:
        self.partitions = [TopicPartition(topic, partition) for partition in partitions]
        settings = CassandraSinkConfig.parse({"contact.points": "here", "create.tables": "true", "add.columns": "true"})
        link: Any = self
        return Changes(link, settings, lambda: self.partitions, lambda: self.now_s)


def mapped() -> tuple[TableMapping, Shaped]:
    (mapping,) = read_mappings({"topic.topic.k.t.mapping": "value.*", "topic.topic.k.t.primaryKey": "id"})
    (records,) = shapes_of(sink_batch([ROW.struct_type(id=1, name="x")], value_schema=ROW))
    return mapping, records


@pytest.mark.parametrize("topic", ["topic", "renamed by a transform"])
def test_who_has_the_first_partition_makes_a_table_at_once(topic: str) -> None:
    schema = FakeSchema([])
    assert schema.of(3, 0, topic=topic).create(*mapped()).columns == {"id": "int", "name": "text"}
    assert len(schema.changes) == 1


def test_others_wait_for_their_turn() -> None:
    schema = FakeSchema([])
    changes = schema.of(5, 2)
    for waited_s in (0.0, 3.9):
        schema.now_s = 100.0 + waited_s
        with pytest.raises(RetriableError, match=r"k\.t: waiting for another task to make its table"):
            changes.create(*mapped())
    assert schema.changes == []
    schema.now_s = 104.0
    changes.create(*mapped())
    assert len(schema.changes) == 1


def test_a_column_that_is_there_by_now_is_not_added() -> None:
    mapping, records = mapped()
    schema = FakeSchema(WHOLE[:1])
    changes = schema.of(1)
    with pytest.raises(RetriableError, match="its column name"):
        changes.add_columns(mapping, ["name"], records)
    schema.columns = WHOLE
    assert "name" in changes.add_columns(mapping, ["name"], records).columns
    assert schema.changes == []


def test_a_refusal_counts_only_while_the_column_is_missing() -> None:
    mapping, records = mapped()
    schema = FakeSchema(WHOLE[:1])
    schema.refusal = ConnectError("Column with name 'name' already exists")
    assert "name" in schema.of(0).add_columns(mapping, ["name"], records).columns
    other = FakeSchema(WHOLE[:1])
    other.change = lambda cql: (_ for _ in ()).throw(ConnectError("no right"))  # type: ignore[method-assign]
    with pytest.raises(ConnectError, match="no right"):
        other.of(0).add_columns(mapping, ["name"], records)
