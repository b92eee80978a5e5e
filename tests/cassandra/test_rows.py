"""On a real Cassandra: records are rows, repeats change nothing, and bad records cost themselves."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest

from engine.api.column import MapColumn
from engine.api.errors import ConfigError, DataError
from engine.api.record import Header
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
)
from engine.api.testing import FakeReporter, sink_batch
from tests.cassandra.conftest import Start

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]

KEY = Schema.struct({"id": INT64})
ADDRESS = Schema.struct({"street": STRING, "number": INT32})
EVERYTHING = Schema.struct(
    {
        "i8": INT8,
        "i16": INT16,
        "i32": INT32,
        "i64": INT64,
        "f32": FLOAT32,
        "f64": FLOAT64,
        "flag": BOOLEAN,
        "words": STRING,
        "raw": BYTES,
        "price": Schema.decimal(2),
        "day": DATE,
        "time": TIME,
        "moment": TIMESTAMP,
        "tags": Schema.array(STRING),
        "counts": Schema.map(STRING, INT32),
        "nested": Schema.map(STRING, Schema.array(INT64)),
        "note": OPTIONAL_STRING,
    }
)
VALUES = {
    "i8": -128,
    "i16": 300,
    "i32": 2**31 - 1,
    "i64": -(2**63),
    "f32": 0.5,
    "f64": 0.1,
    "flag": True,
    "words": "é",
    "raw": b"\0\xff",
    "price": Decimal("-12.34"),
    "day": datetime.date(2024, 1, 31),
    "time": datetime.time(12, 30, 0, 5000),
    "moment": datetime.datetime(2024, 1, 31, 12, 0, 0, 5000, datetime.UTC),
    "tags": ["b", "a", "b"],
    "counts": {"a": 1, "b": 2},
    "nested": {"x": [1, 2], "y": []},
    "note": None,
}


def keys(*ids: int) -> list[Any]:
    return [KEY.struct_type(id=one) for one in ids]


def test_every_type_of_schema_goes_into_a_table_made_of_it_and_comes_back(
    session: Any, keyspace: str, start: Start
) -> None:
    task = start({"create.tables": "true"}, mapping="key.*, value.*")
    record = EVERYTHING.struct_type(**VALUES)
    task.put(sink_batch([record], value_schema=EVERYTHING, keys=keys(1), key_schema=KEY, timestamps=[1000]))
    task.flush({})
    row = session.execute(f"SELECT * FROM {keyspace}.t").one()._asdict()
    assert row.pop("id") == 1
    found = {**row, "day": row["day"].date(), "time": row["time"].time()}
    found["moment"] = row["moment"].replace(tzinfo=datetime.UTC)  # the driver's has none
    found |= {name: dict(row[name]) for name in ("counts", "nested")}
    assert found == VALUES


def test_a_field_that_comes_later_is_a_column_that_is_added(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id bigint PRIMARY KEY, a text)")
    task = start({"add.columns": "true"}, mapping="key.*, value.*")
    first = Schema.struct({"a": STRING})
    later = first.with_fields({"b": Schema.decimal(1, optional=True)})
    task.put(sink_batch([first.struct_type(a="x")], value_schema=first, keys=keys(1), key_schema=KEY))
    later_value = later.struct_type(a="y", b=Decimal("0.5"))
    task.put(sink_batch([later_value], value_schema=later, keys=keys(2), key_schema=KEY, first_offset=1))
    task.flush({})
    assert sorted(session.execute(f"SELECT id, a, b FROM {keyspace}.t")) == [(1, "x", None), (2, "y", Decimal("0.5"))]


def test_collections_user_types_headers_and_times_to_live(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TYPE {keyspace}.address (street text, number int, zip text)")
    session.execute(
        f"CREATE TABLE {keyspace}.t (id uuid, seen timestamp, home frozen<address>, away address, tags set<text>, "
        f"all_of map<text, frozen<list<int>>>, pair frozen<tuple<int, text>>, trace text, place text static, "
        f'"Odd Name" inet, near vector<float, 2>, PRIMARY KEY (id, seen))'
    )
    task = start(
        mapping='id=key, seen=timestamp, home=value.home, away=value.home, tags=value.tags, all_of=value.m, '
        'pair=value.pair, trace=header.trace, place=topic, "Odd Name"=value."ip.v4", near=value.near',
        ttl="1", ttlTimeUnit="HOURS",
    )  # fmt: skip
    one = uuid.uuid4()
    values = {"home": {"street": "High", "number": 7}, "tags": ["b", "a", "a"], "m": {"x": [1]}, "pair": [1, None]}
    task.put(
        sink_batch(
            [{**values, "ip.v4": "10.0.0.1", "near": [1.0, 0.5]}],
            keys=[str(one)],
            timestamps=[5],
            headers=[[Header("trace", "abc")]],
        )
    )
    task.flush({})
    row = session.execute(
        f'SELECT id, seen, home, away, tags, all_of, pair, trace, place, "Odd Name", near, ttl(trace) FROM {keyspace}.t'
    ).one()
    assert row[0] == one
    assert row[1].replace(tzinfo=datetime.UTC) == datetime.datetime(1970, 1, 1, 0, 0, 0, 5000, tzinfo=datetime.UTC)
    assert tuple(row[2]) == tuple(row[3]) == ("High", 7, None)
    assert set(row[4]) == {"a", "b"}
    assert {name: list(found) for name, found in row[5].items()} == {"x": [1]}
    assert tuple(row[6]) == (1, None)
    assert row[7:10] == ("abc", "topic", "10.0.0.1")
    assert list(row[10]) == [1.0, 0.5]
    assert 3_500 < row[11] <= 3_600


def test_records_that_come_again_or_late_change_nothing(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text, tags set<int>, m map<text, int>)")
    task = start(mapping="id=key, v=value.v, tags=value.tags, m=value.m")
    values: list[Any] = [{"v": "a", "tags": [1], "m": {"x": 1}}, None, {"v": "b", "tags": [2], "m": {"y": 2}}]
    whole = sink_batch(values, keys=[1, 1, 1], timestamps=[1000] * 3, first_offset=10)
    for _ in range(2):
        task.put(whole)
        task.flush({})
    task.put(sink_batch(values[:1], keys=[1], timestamps=[1000], first_offset=10))
    task.flush({})
    row = session.execute(f"SELECT v, tags, m, writetime(v) FROM {keyspace}.t").one()
    assert (row[0], set(row[1]), dict(row[2]), row[3]) == ("b", {2}, {"y": 2}, 1_000_012)
    task.put(sink_batch([None], keys=[1], timestamps=[1000], first_offset=13))
    task.put(sink_batch(values, keys=[1, 1, 1], timestamps=[1000] * 3, first_offset=10))
    task.flush({})
    assert session.execute(f"SELECT * FROM {keyspace}.t").all() == []


def test_a_list_that_is_not_frozen_would_double_which_is_why_it_is_refused(
    session: Any, keyspace: str, start: Start
) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, l list<int>)")
    for _ in range(2):
        session.execute(f"INSERT INTO {keyspace}.t (id, l) VALUES (1, [1, 2]) USING TIMESTAMP 1000")
    assert sorted(session.execute(f"SELECT l FROM {keyspace}.t").one()[0]) == [1, 1, 2, 2]
    with pytest.raises(ConfigError, match="column l cannot be written: it is a list<int>.*make it a frozen<list<int>>"):
        start(mapping="id=key, l=value.l")


def test_counters_are_refused_with_the_reason(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, n counter)")
    with pytest.raises(ConfigError, match="it is a counter, which adds: a record that comes twice would count twice"):
        start(mapping="id=key, n=value.n")


def test_bad_records_are_told_and_the_others_written(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (p text, id int, v int, PRIMARY KEY (p, id))")
    reporter = FakeReporter()
    task = start(reporter=reporter, mapping="p=value.p, id=value.id, v=value.v")
    good: list[Any] = [{"p": f"p{at % 3}", "id": at, "v": at} for at in range(20)]
    # One that no int is, one without a key, and one that only Cassandra refuses: its partition key is empty.
    values = list(good)
    values[5], values[9], values[15] = {"p": "p1", "id": 5, "v": "x"}, {"p": "p1", "v": 9}, {"p": "", "id": 15}
    task.put(sink_batch(values))
    task.flush({})
    assert [record.original_offset for record, _ in reporter.reports] == [5, 9, 15]
    assert len(session.execute(f"SELECT * FROM {keyspace}.t").all()) == 17
    words = [str(error) for _, error in reporter.reports]
    place = f"{keyspace}.t"
    assert words[0] == (
        f"orders: record topic-0@5: {place}: column v gets a str that is no int: expected a whole number from "
        "-2147483648 to 2147483647"
    )
    assert f"orders: record topic-0@9: {place}: column id of the primary key is null" in words[1]
    assert f"orders: record topic-0@15: {place}: Cassandra does not take this row: " in words[2]
    assert [error.code for _, error in reporter.reports if isinstance(error, DataError)] == ["", "", "InvalidRequest"]


def test_a_record_that_both_its_tables_refuse_is_told_once(session: Any, keyspace: str, start: Start) -> None:
    for name in "tu":
        session.execute(f"CREATE TABLE {keyspace}.{name} (p text, id int, PRIMARY KEY (p, id))")
    reporter = FakeReporter()
    mapping = "p=value.p, id=value.id"
    task = start({f"topic.topic.{keyspace}.u.mapping": mapping}, reporter=reporter, mapping=mapping)
    task.put(sink_batch([{"p": "a", "id": 0}, {"p": "", "id": 1}, {"id": 2}, {"p": "a", "id": 3}]))
    task.flush({})
    assert [record.original_offset for record, _ in reporter.reports] == [2, 1]
    for _, error in reporter.reports:
        assert all(f"{keyspace}.{name}: " in str(error) for name in "tu")
    for name in "tu":
        assert sorted(row[0] for row in session.execute(f"SELECT id FROM {keyspace}.{name}")) == [0, 3]


def test_without_a_reporter_a_bad_record_is_the_tasks_end(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (p text PRIMARY KEY)")
    task = start(mapping="p=value")
    task.put(sink_batch([""]))
    with pytest.raises(DataError, match="orders: record topic-0@0: "):
        task.flush({})


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("id=key, stray=value", "has no column stray; expected one of id, v, or add.columns=true"),
        ("v=value", r"nothing goes into column id of the primary key \(id\)"),
    ],
)
def test_a_table_that_does_not_fit_is_told_before_a_record_comes(
    session: Any, keyspace: str, start: Start, mapping: str, words: str
) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text)")
    with pytest.raises(ConfigError, match=words) as caught:
        start(mapping=mapping)
    assert caught.value.problems[0].key == f"topic.topic.{keyspace}.t.mapping"


def test_a_missing_table_is_told_with_those_there_are(session: Any, keyspace: str, start: Start) -> None:
    session.execute(f"CREATE TABLE {keyspace}.orders (id int PRIMARY KEY)")
    with pytest.raises(ConfigError, match=f"keyspace {keyspace} has no table t; create it, .* there are: orders"):
        start(mapping="id=key")


@pytest.mark.parametrize("by", ["partition", "replicas"])
def test_many_rows_arrive_by_batches_of_either_kind(session: Any, keyspace: str, start: Start, by: str) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (p int, id int, v text, PRIMARY KEY (p, id))")
    task = start({"batch.by": by, "requests.max": "4"}, mapping="value.*", consistencyLevel="one")
    for begin in range(0, 3000, 500):
        ids = range(begin, begin + 500)
        values = MapColumn({"p": [at % 7 for at in ids], "id": list(ids), "v": ["x" * 20] * 500}, 500)
        task.put(sink_batch(values, first_offset=begin))
    task.flush({})
    assert session.execute(f"SELECT count(*) FROM {keyspace}.t").one()[0] == 3000
