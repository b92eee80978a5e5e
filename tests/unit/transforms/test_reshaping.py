"""ExtractField, Flatten, HoistField, SetSchemaMetadata: what the recorded answers of Kafka Connect leave open."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.batch import Columns
from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.record import SourceRecord
from engine.api.schema import INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.api.transform import Transform
from engine.transforms.extract_field import ExtractFieldKey, ExtractFieldValue
from engine.transforms.flatten import FlattenValue
from engine.transforms.hoist_field import HoistFieldValue
from engine.transforms.set_schema_metadata import SetSchemaMetadataValue

LONGS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | LONGS | st.text() | st.lists(st.integers())
TREES = st.recursive(SCALARS, lambda inner: st.dictionaries(st.text("ab", min_size=1), inner, min_size=1), max_leaves=8)
MAPS = st.dictionaries(st.text("ab", min_size=1), TREES)


def made(kind: type[Transform], **keys: str) -> Transform:
    transform = kind()
    transform.configure(kind.config.parse({key.replace("_", "."): value for key, value in keys.items()}))
    return transform


def applied(transform: Transform, value: Any, schema: Schema | None = None) -> tuple[Any, Schema | None]:
    record = transform.apply(SourceRecord(topic="t", value=value, value_schema=schema))
    assert record is not None
    return record.value, record.value_schema


def columns(values: list[Any], schemas: Any) -> Columns:
    count = len(values)
    none = Repeat(None, count)
    return Columns(
        topics=Repeat("t", count),
        partitions=none,
        timestamps=none,
        keys=none,
        key_schemas=none,
        values=values,
        value_schemas=schemas,
        headers=Repeat((), count),
        origins=range(count),
        source_partitions=none,
        source_offsets=none,
    )


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@given(MAPS)
def test_a_flattened_map_holds_each_leaf_under_its_path(tree: dict[str, Any]) -> None:
    assert applied(made(FlattenValue), tree) == (leaves(tree), None)


@given(MAPS)
def test_flattening_twice_is_flattening_once(tree: dict[str, Any]) -> None:
    flatten = made(FlattenValue, delimiter="/")
    once, _ = applied(flatten, tree)
    assert applied(flatten, once)[0] == once


def schema_of_tree(tree: Any, *, is_optional: bool) -> Schema:
    if not isinstance(tree, dict):
        return OPTIONAL_STRING if is_optional else STRING
    fields = {key: schema_of_tree(value, is_optional=is_optional) for key, value in tree.items()}
    return Schema.struct(fields, optional=is_optional)


def struct_of(tree: Any, schema: Schema) -> Any:
    if schema.type != "STRUCT":
        return str(tree)
    kind = schema.struct_type
    pairs = zip(kind.__struct_fields__, schema.fields, strict=True)
    return kind(**{attribute: struct_of(tree[field.name], field.schema) for attribute, field in pairs})


@given(MAPS, st.booleans())
def test_a_flattened_struct_holds_each_leaf_under_its_path(tree: dict[str, Any], is_optional: bool) -> None:
    schema = schema_of_tree(tree, is_optional=is_optional)
    value, flat = applied(made(FlattenValue), struct_of(tree, schema), schema)
    assert flat is not None
    assert not flat.optional
    assert {field.name: flat.get(value, field.name) for field in flat.fields} == {
        key: str(leaf) for key, leaf in leaves(tree).items()
    }
    assert all(field.schema.optional == is_optional for field in flat.fields)


def test_a_field_within_what_may_be_null_may_be_null() -> None:
    inner = Schema.struct({"a": INT32, "b": Schema("INT32", default=7)}, optional=True)
    schema = Schema.struct({"x": inner, "y": INT32})
    value, flat = applied(made(FlattenValue), schema.struct_type(x=None, y=1), schema)
    assert flat is not None
    assert [(field.name, field.schema.optional) for field in flat.fields] == [
        ("x.a", True),
        ("x.b", True),
        ("y", False),
    ]
    assert (value.x_a, value.x_b, value.y) == (None, 7, 1)


def test_what_cannot_be_flattened_is_named() -> None:
    flatten = made(FlattenValue)
    schema = Schema.struct({"a": Schema.struct({"m": Schema.map(STRING, INT32)})})
    inner = schema.fields[0].schema.struct_type(m={})
    with pytest.raises(DataError, match=r"does not support MAP for record with schemas \(for field a.m\)"):
        applied(flatten, schema.struct_type(a=inner), schema)
    with pytest.raises(DataError, match=r"class org.apache.kafka.connect.data.Struct for .* \(for field a.b\)"):
        applied(flatten, {"a": {"b": inner}})
    with pytest.raises(DataError, match="class java.math.BigInteger which is not supported"):
        applied(flatten, {"a": 2**64})


def test_an_extracted_field_of_a_nested_null_is_null_or_its_default() -> None:
    inner = Schema.struct({"b": Schema("INT32", optional=True, default=7)}, optional=True)
    schema = Schema.struct({"a": inner})
    extract = made(ExtractFieldValue, field="a.b", **{"field.syntax.version": "V2"})
    assert applied(extract, schema.struct_type(a=None), schema) == (None, inner.fields[0].schema)
    value = schema.struct_type(a=inner.struct_type(b=None))
    assert applied(extract, value, schema)[0] == 7
    without = made(
        ExtractFieldValue, field="a.b", **{"field.syntax.version": "V2", "replace.null.with.default": "false"}
    )
    assert applied(without, value, schema)[0] is None


def test_the_key_alone_is_changed_by_what_changes_keys() -> None:
    record = SourceRecord(topic="t", key={"id": 1}, value={"id": 2})
    changed = made(ExtractFieldKey, field="id").apply(record)
    assert changed is not None
    assert (changed.key, changed.value) == (1, {"id": 2})


def test_a_null_cannot_be_hoisted_where_a_value_is_required() -> None:
    hoist = made(HoistFieldValue, field="w")
    assert applied(hoist, None, OPTIONAL_STRING)[0].w is None
    with pytest.raises(DataError, match='null used for required field: "w", schema type: INT64'):
        applied(hoist, None, INT64)


def test_hoisting_and_extracting_undo_each_other() -> None:
    hoist, extract = made(HoistFieldValue, field="a-b"), made(ExtractFieldValue, field="a-b")
    assert applied(extract, *applied(hoist, 1, INT32)) == (1, INT32)
    assert applied(extract, *applied(hoist, "x")) == ("x", None)


def test_a_schemas_metadata_are_set_and_the_rest_of_it_stays() -> None:
    schema = Schema.struct({"a": INT32}, name="old", version=1, doc="d", parameters={"p": "q"}, optional=True)
    rename = made(SetSchemaMetadataValue, schema_version="9")
    expected = schema.replaced(version=9)
    assert applied(rename, schema.struct_type(a=1), schema) == (expected.struct_type(a=1), expected)
    assert applied(rename, None, schema) == (None, expected)


@pytest.mark.parametrize(
    ("kind", "keys", "good", "bad"),
    [
        (FlattenValue, {}, {"a": {"b": 1}}, "text"),
        (ExtractFieldValue, {"field": "a"}, {"a": 1}, "text"),
        (SetSchemaMetadataValue, {"schema_name": "x"}, None, "text"),
    ],
)
def test_a_bad_record_costs_itself_and_not_its_batch(kind: Any, keys: dict[str, str], good: Any, bad: Any) -> None:
    transform = made(kind, **keys)
    batch = columns([good, bad, good], Repeat(None, 3))
    failures = transform.apply_batch(batch)
    assert [failure.index for failure in failures] == [1]
    expected, _ = applied(transform, good)
    assert (batch.values[0], batch.values[2]) == (expected, expected)


def test_schemas_that_take_turns_in_a_batch_are_each_planned() -> None:
    first, second = (Schema.struct({"a": schema}) for schema in (INT32, STRING))
    batch = columns([first.struct_type(a=1), second.struct_type(a="x")], [first, second])
    assert not made(ExtractFieldValue, field="a").apply_batch(batch)
    assert [*batch.values] == [1, "x"]
    assert [*batch.value_schemas] == [INT32, STRING]
