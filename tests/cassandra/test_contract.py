"""The Cassandra sink, on a real server, keeps what all keep: tests/conformance/test_sink_connectors.py."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.cassandra.sink import CassandraSinkConnector
from engine.api.column import Utf8Column
from engine.api.config import keys_of
from engine.api.errors import ConfigError
from engine.api.record import TopicPartition
from tests.cassandra.conftest import Start
from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.contexts import FakeReporter, sink_batch

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]

PLACE = TopicPartition("topic", 0)


@pytest.fixture
def table(session: Any, keyspace: str) -> str:
    session.execute(f"CREATE TABLE {keyspace}.t (id bigint PRIMARY KEY, v text)")
    return f"{keyspace}.t"


def test_k1_task_configs_are_text_and_as_many_as_allowed() -> None:
    connector = CassandraSinkConnector()
    connector.start({"contact.points": "here", "topic.a.k.t.mapping": "id=key"})
    for tasks_max in (1, 2, 5):
        configs = connector.task_configs(tasks_max)
        assert len(configs) == tasks_max
        assert all(isinstance(text, str) for config in configs for pair in config.items() for text in pair)
        assert list(connector.task_configs(tasks_max)) == list(configs)
    connector.stop()


def test_k2_to_k4_a_task_lives_through_its_calls_and_goes_on(session: Any, table: str, start: Start) -> None:
    for number in range(3):
        task = start(mapping="id=offset, v=value")
        task.open([PLACE])
        task.put(sink_batch([f"value {number}"], first_offset=number))
        task.put(sink_batch([]))
        task.put(sink_batch(Utf8Column([b"more"]), first_offset=number + 10))
        assert task.pre_commit({PLACE: number + 11}) == {PLACE: number + 11}
        task.close([PLACE])
        task.stop()
        task.stop()
    found = dict(session.execute(f"SELECT id, v FROM {table}").all())
    assert found == {**{at: f"value {at}" for at in range(3)}, **{at + 10: "more" for at in range(3)}}


def test_k5_a_task_can_be_stopped_before_anything_is_put(table: str, start: Start) -> None:
    task = start(mapping="id=offset, v=value")
    task.flush({})
    task.stop()


def test_k6_values_of_all_kinds_are_taken_or_told(session: Any, table: str, start: Start) -> None:
    values = [None, "text", b"bytes", 1, 2.5, True, {"a": [1, None]}, ["x"]]
    reporter = FakeReporter()
    task = start(mapping="id=offset, v=value", reporter=reporter)
    task.put(sink_batch(values))
    task.flush({})
    found = dict(session.execute(f"SELECT id, v FROM {table}").all())
    assert found == {1: "text", 3: "1", 4: "2.5", 5: "true"}
    assert [record.original_offset for record, _ in reporter.reports] == [2, 6, 7]


def test_k7_the_configuration_is_declared(cassandra: CassandraServer | UserCassandra, table: str) -> None:
    keys = keys_of(CassandraSinkConnector.config)
    assert len({key.name for key in keys}) == len(keys)
    assert all(key.description for key in keys)
    properties = {
        **cassandra.keys(),
        "topics": "a",
        f"topic.a.{table}.mapping": "id=offset, v=value",
    }
    assert CassandraSinkConnector().validate(properties) == []
    (problem,) = CassandraSinkConnector().validate({**properties, f"topic.a.{table}.mapping": "id=offset, w=value"})
    assert "has no column w; expected one of id, v" in problem.message
    with pytest.raises(ConfigError, match=r"batch\.rows"):
        CassandraSinkConnector.config.parse({**properties, "batch.rows": "0"})
