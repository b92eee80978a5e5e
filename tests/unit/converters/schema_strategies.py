"""Schemas of every type with all attributes that Kafka Connect has, under names that every format takes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engine.api.schema import DATE, TIME, TIMESTAMP, Schema
from tests.unit.converters.strategies import values_of

__all__ = ["described_schemas", "schemas_with_values", "with_defaults"]

FIELD_NAMES = st.sampled_from(["a", "b", "id", "item_2", "klass", "_x", "Price"])
DOCS = st.none() | st.sampled_from(["what it is", 'with "quotes"', "é 水"])
VERSIONS = st.none() | st.integers(1, 9)
PARAMETERS = st.none() | st.dictionaries(
    st.sampled_from(["p", "q.r", "unit"]), st.text("abc é", max_size=5), min_size=1
)
SCALARS = ["INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64", "BOOLEAN", "STRING", "BYTES"]
LOGICAL = [DATE, TIME, TIMESTAMP, Schema.decimal(2), Schema.decimal(-1), Schema.decimal(70)]


@st.composite
def _scalar(draw: st.DrawFn, *, has_defaults: bool) -> Schema:
    if draw(st.booleans()):
        schema = draw(st.sampled_from(LOGICAL)).replaced(optional=draw(st.booleans()))
    else:
        schema = Schema(
            draw(st.sampled_from(SCALARS)),
            optional=draw(st.booleans()),
            name=draw(st.none() | st.sampled_from(["shop.Id", "Name"])),
            doc=draw(DOCS),
            version=draw(VERSIONS),
            parameters=draw(PARAMETERS),
        )
    if has_defaults and draw(st.integers(0, 3)) == 0:
        return schema.replaced(default=draw(values_of(schema.replaced(optional=False))))
    return schema


@st.composite
def described_schemas(
    draw: st.DrawFn, depth: int = 3, *, has_defaults: bool = True, has_odd_keys: bool = True
) -> Schema:
    """A schema. has_defaults: fields may have one. has_odd_keys: maps may have keys that are no text."""
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "map", "struct", "struct"])) if depth else "scalar"
    if kind == "scalar":
        return draw(_scalar(has_defaults=False))
    inner = described_schemas(depth - 1, has_defaults=has_defaults, has_odd_keys=has_odd_keys)
    attributes: dict[str, Any] = {"optional": draw(st.booleans()), "doc": draw(DOCS), "version": draw(VERSIONS)}
    if kind == "array":
        return Schema.array(draw(inner), **attributes)
    if kind == "map":
        odd = [Schema("STRING", optional=True), Schema("INT32"), Schema("BOOLEAN"), Schema("INT64")]
        key = draw(st.sampled_from([Schema("STRING"), *(odd if has_odd_keys else [])]))
        return Schema.map(key, draw(inner), **attributes)
    fields = st.lists(
        st.tuples(FIELD_NAMES, _scalar(has_defaults=has_defaults) | inner), max_size=4, unique_by=lambda pair: pair[0]
    )
    return Schema.struct(draw(fields), parameters=draw(PARAMETERS), **attributes)


@st.composite
def schemas_with_values(draw: st.DrawFn, /, **options: Any) -> tuple[Schema, list[Any]]:
    """A schema and values of it; None is in them only where the schema has no other value for it."""
    schema = draw(described_schemas(**options))
    values = draw(st.lists(values_of(schema).filter(lambda value: value is not None), max_size=4))
    return schema, values


def with_defaults(schema: Schema, value: Any) -> Any:
    """The value as it is read again: a null field with a default is written as that, as in Kafka Connect."""
    if value is None:
        return None
    if schema.type == "STRUCT":
        members = {
            attribute: with_defaults(field.schema, schema.get(value, field.name))
            for attribute, field in zip(value.__struct_fields__, schema.fields, strict=True)
        }
        return schema.struct_type(**members)
    if schema.type == "ARRAY" and schema.value_schema is not None:
        return [with_defaults(schema.value_schema, one) for one in value]
    if schema.type == "MAP" and schema.value_schema is not None:
        return {key: with_defaults(schema.value_schema, one) for key, one in value.items()}
    return value
