"""The keys of each table say which part of a record goes into which column, and bad ones are told in full."""

from __future__ import annotations

import pytest

from connectors.cassandra.mapping import Entry, Path, PrimaryKey, TableMapping, read_mappings
from engine.api.errors import ConfigError


def read(**settings: str) -> TableMapping:
    (mapping,) = read_mappings({f"topic.sales.shop.orders.{name}": text for name, text in settings.items()})
    return mapping


def told(**settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**settings)
    (problem,) = caught.value.problems
    assert problem.key.startswith("topic.sales.shop.orders.")
    return problem.message


def test_parts_of_all_kinds_go_into_columns() -> None:
    text = 'id=key, name=value.customer.name, t=timestamp, at=offset, trace=header.trace.id, "Odd, one"=value."a.b"'
    mapping = read(mapping=text)
    assert mapping.name == "shop.orders"
    assert mapping.entries == (
        Entry("id", Path("key")),
        Entry("name", Path("value", ("customer", "name"))),
        Entry("t", Path("timestamp")),
        Entry("at", Path("offset")),
        Entry("trace", Path("header", ("trace.id",))),
        Entry("Odd, one", Path("value", ("a.b",))),
    )


def test_all_fields_are_one_entry() -> None:
    mapping = read(mapping="value.*, key.*,id=offset")
    assert (mapping.stars, mapping.entries) == (("value", "key"), (Entry("id", Path("offset")),))


def test_a_topic_may_have_dots_and_several_tables() -> None:
    keys = {f"topic.shop.eu.sales.{place}.mapping": "id=key" for place in ("a.b", "a.c")}
    assert [(one.topic, one.name) for one in read_mappings(keys)] == [
        ("shop.eu.sales", "a.b"),
        ("shop.eu.sales", "a.c"),
    ]


@pytest.mark.parametrize(
    ("ttl", "unit", "expected"),
    [
        ("60", "SECONDS", 60),
        ("2", "days", 172_800),
        ("1500", "MILLISECONDS", 2),
        ("value.ttl", "SECONDS", Path("value", ("ttl",))),
    ],
)
def test_a_time_to_live_is_a_number_or_a_part(ttl: str, unit: str, expected: int | Path) -> None:
    assert read(mapping="id=key", ttl=ttl, ttlTimeUnit=unit).ttl == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id", PrimaryKey(("id",))),
        ("a, b", PrimaryKey(("a",), ("b",))),
        ("(a, b), c, d", PrimaryKey(("a", "b"), ("c", "d"))),
        ("(a,b)", PrimaryKey(("a", "b"))),
    ],
)
def test_a_primary_key_is_written_as_in_cql(text: str, expected: PrimaryKey) -> None:
    assert read(mapping="id=key", primaryKey=text).primary_key == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mapping": "id=key, id=value.id"}, "column id is there twice"),
        ({"mapping": "id"}, "expected column=id, or value.* or key.*"),
        ({"mapping": "id=valeu.id"}, "'valeu.id' is no part of a record; expected value, key"),
        ({"mapping": "id=timestamp.ms"}, "is no part of a record"),
        ({"mapping": "id=key name=value"}, "expected column=part at 'id=key name=value'"),
        ({"mapping": "all=value.*"}, "expected it without a column"),
        ({"mapping": "id=key", "ttl": "-1"}, "or a number"),
        ({"mapping": "id=key", "ttl": "21", "ttlTimeUnit": "PARSECS"}, "must be one of (case insensitive)"),
        ({"mapping": "id=key", "ttl": "8000", "ttlTimeUnit": "DAYS"}, "at most 20 years"),
        ({"mapping": "id=key", "consistencyLevel": "MOST"}, "topic.sales.shop.orders.consistencyLevel"),
        ({"mapping": "id=key", "primaryKey": "(a, b"}, "expected columns"),
        ({"mapping": "id=key", "primaryKey": "a, a"}, "each once"),
        ({"ttl": "60"}, 'Missing required configuration "topic.sales.shop.orders.mapping"'),
        ({"mapping": "id=key", "deletesEnabled": "perhaps"}, "Expected value to be either true or false"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(settings: dict[str, str], words: str) -> None:
    assert words in told(**settings)


def test_every_problem_is_told_at_once() -> None:
    keys = {"topic.a.k.t.mapping": "x", "topic.b.k.t.mapping": "y=z", "topic.c.k.t.ttk": "1"}
    with pytest.raises(ConfigError) as caught:
        read_mappings(keys)
    assert sorted(problem.key for problem in caught.value.problems) == sorted(keys)


def test_no_table_at_all_is_told_with_an_example() -> None:
    with pytest.raises(ConfigError, match=r"topic\.orders\.shop\.orders\.mapping=id=key\.id"):
        read_mappings({"topics": "orders"})
