"""Every transform that names fields reaches nested ones under the second syntax, in maps and in structs alike."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import ConfigError, DataError
from engine.api.record import SourceRecord
from engine.api.schema import INT32, OPTIONAL_STRING, STRING, TIMESTAMP, Schema, schema_of
from engine.stages.outgoing import columns_of
from engine.stages.transform import Step, fused, transform
from engine.transforms.headers import HeaderFromValue
from engine.transforms.insert_field import InsertFieldValue
from engine.transforms.mask_field import MaskFieldValue
from engine.transforms.replace_field import ReplaceFieldValue
from engine.transforms.value_to_key import ValueToKey

ADDRESS = Schema.struct({"street": STRING, "zip": INT32}, name="Address")
HOME = ADDRESS.replaced(optional=True)
ORDER = Schema.struct({"id": INT32, "at": ADDRESS, "home": HOME, "a.b": STRING}, name="Order", optional=True)
MAP: dict[str, Any] = {"id": 1, "at": {"street": "Main", "zip": 7}, "home": None, "a.b": "x"}
STRUCT: Any = ORDER.struct_type(id=1, at=ADDRESS.struct_type(street="Main", zip=7), home=None, a_b="x")


def made(kind: Any, **keys: str) -> Any:
    plugin = kind()
    given = {key.replace("_", "."): value for key, value in keys.items()}
    plugin.configure(plugin.config.parse({"field.syntax.version": "V2", **given}))
    return plugin


def applied(plugin: Any, value: Any) -> SourceRecord:
    """Whole, and in a batch alike."""
    record = SourceRecord(topic="t", value=value, value_schema=schema_of(value), timestamp=5)
    found = plugin.apply(record)
    done = transform([Step(plugin)], columns_of([record] * 2))
    assert done.failed is None
    assert [*done.columns.records()] == [found] * 2
    return found  # type: ignore[no-any-return]


def tree(value: Any) -> Any:
    """A struct as a map."""
    schema = schema_of(value)
    if schema is None:
        return {key: tree(inner) for key, inner in value.items()} if isinstance(value, dict) else value
    return {field.name: tree(schema.get(value, field.name)) for field in schema.fields}


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        (MaskFieldValue, {"fields": "id,at.street"}, {**MAP, "id": 0, "at": {"street": "", "zip": 7}}),
        (MaskFieldValue, {"fields": "at.zip", "replacement": "9"}, {**MAP, "at": {"street": "Main", "zip": 9}}),
        (MaskFieldValue, {"fields": "`a.b`"}, {**MAP, "a.b": ""}),
        (MaskFieldValue, {"fields": "home.zip"}, MAP),
        (ReplaceFieldValue, {"exclude": "id,at.zip"}, {"at": {"street": "Main"}, "home": None, "a.b": "x"}),
        (ReplaceFieldValue, {"include": "at.zip,id"}, {"id": 1, "at": {"zip": 7}}),
        (ReplaceFieldValue, {"renames": "at.zip:code,at:there"}, {**MAP, "there": {"street": "Main", "code": 7}}),
        (
            InsertFieldValue,
            {"topic_field": "at.topic", "static_field": "at.s", "static_value": "v"},
            {**MAP, "at": {"street": "Main", "zip": 7, "topic": "t", "s": "v"}},
        ),
        (
            InsertFieldValue,
            {"topic_field": "at.topic!", "partition_field": "p", "static_field": "s", "static_value": "v"},
            {**MAP, "at": {"street": "Main", "zip": 7, "topic": "t"}, "s": "v"},
        ),
        (InsertFieldValue, {"topic_field": "home.topic"}, MAP),
    ],
)
def test_nested_fields_are_changed_where_they_lie(kind: Any, keys: dict[str, str], expected: dict[str, Any]) -> None:
    expected = {name: value for name, value in expected.items() if not (name == "at" and "there" in expected)}
    assert applied(made(kind, **keys), MAP).value == expected
    found = tree(applied(made(kind, **keys), STRUCT).value)
    # A record without a partition leaves the map without the field; a struct has it all the same. So has a null parent.
    assert {key: value for key, value in found.items() if key != "p"} == expected
    assert MAP["at"] == {"street": "Main", "zip": 7}


def test_a_nested_struct_may_still_be_null_where_it_could_be() -> None:
    found = applied(made(ReplaceFieldValue, exclude="home.zip,at.zip"), STRUCT)
    assert found.value_schema == Schema.struct(
        {
            "id": INT32,
            "at": Schema.struct({"street": STRING}, name="Address"),
            "home": Schema.struct({"street": STRING}, name="Address", optional=True),
            "a.b": STRING,
        },
        name="Order",
    )
    home = HOME.struct_type(street="Side", zip=1)
    value = ORDER.struct_type(id=1, at=STRUCT.at, home=home, a_b="x")
    assert tree(applied(made(ReplaceFieldValue, exclude="home.zip"), value).value)["home"] == {"street": "Side"}


def test_inserted_fields_take_what_is_theirs_whatever_the_order_of_the_groups() -> None:
    plugin = made(InsertFieldValue, topic_field="topic", timestamp_field="at.when")
    found = applied(plugin, STRUCT)
    assert found.value_schema is not None
    assert found.value.topic == "t"
    assert found.value.at.when.timestamp() == 0.005
    at = found.value_schema.field("at")
    assert at is not None
    assert at.schema == Schema.struct(
        {"street": STRING, "zip": INT32, "when": TIMESTAMP.replaced(optional=True)}, name="Address"
    )
    topic = found.value_schema.field("topic")
    assert topic is not None
    assert topic.schema == OPTIONAL_STRING


def test_neighbours_that_reach_inside_are_fused_and_give_the_same() -> None:
    steps = [
        made(InsertFieldValue, topic_field="at.topic"),
        made(MaskFieldValue, fields="at.street"),
        made(ReplaceFieldValue, renames="at.zip:code"),
    ]
    for value in (MAP, STRUCT):
        record = SourceRecord(topic="t", value=value, value_schema=schema_of(value))
        apart = transform([Step(step) for step in steps], columns_of([record]))
        together = transform(fused(Step(step) for step in steps), columns_of([record]))
        assert [*together.columns.records()] == [*apart.columns.records()]
        (found,) = together.columns.records()
        assert tree(found.value)["at"] == {"street": "", "topic": "t", "code": 7}


@pytest.mark.parametrize("value", [MAP, STRUCT], ids=["map", "struct"])
def test_keys_and_headers_are_made_of_nested_fields(value: Any) -> None:
    assert tree(applied(made(ValueToKey, fields="at.zip,id"), value).key) == {"zip": 7, "id": 1}
    found = applied(made(HeaderFromValue, fields="at.zip,id", headers="zip,id", operation="move"), value)
    assert [(header.key, header.value) for header in found.headers] == [("zip", 7), ("id", 1)]
    assert tree(found.value) == {"at": {"street": "Main"}, "home": None, "a.b": "x"}
    copied = applied(made(HeaderFromValue, fields="home.zip", headers="zip", operation="copy"), value)
    assert [(header.key, header.value) for header in copied.headers] == [("zip", None)]
    assert copied.value == value


def test_a_way_through_what_is_no_struct_is_an_error() -> None:
    for value in (MAP, STRUCT):
        with pytest.raises(DataError, match=r"Only Map objects|Cannot look up fields on non-struct type"):
            applied(made(MaskFieldValue, fields="id.x"), value)
    with pytest.raises(DataError, match="Field does not exist: at.no"):
        applied(made(ValueToKey, fields="at.no"), STRUCT)
    with pytest.raises(ConfigError, match="Incomplete backtick pair"):
        made(MaskFieldValue, fields="`at")


def test_without_the_key_a_name_is_all_of_the_text() -> None:
    plugin = MaskFieldValue()
    plugin.configure(plugin.config.parse({"fields": "a.b,at.zip"}))
    assert applied(plugin, STRUCT).value.a_b == ""
    assert applied(plugin, MAP).value == {**MAP, "a.b": "", "at.zip": None}
