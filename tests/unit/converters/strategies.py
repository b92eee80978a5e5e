"""Schemas of every type with values of them, and values without a schema."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from engine.api.java_scalars import round_to_float32
from engine.api.schema import DATE, TIME, TIMESTAMP, Schema
from engine.api.structs import INT_RANGES

__all__ = ["PLAIN", "schemas", "values_of"]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# Without the negative zero, which Kafka Connect reads as the other.
FLOATS = (st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, 1e-3, 9999999.0, 1e7])).map(
    lambda number: number + 0.0
)
FLOATS32 = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
INT64 = st.integers(*INT_RANGES["INT64"])
FIELD_NAMES = st.sampled_from(["a", "b", "id", "a-b", "class", "é 水", "__init__", "none", 'q"'])

#: What JSON without a schema holds.
PLAIN = st.recursive(
    st.none() | st.booleans() | INT64 | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)

_SCALARS = st.builds(
    Schema,
    st.sampled_from(["INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64", "BOOLEAN", "STRING", "BYTES"]),
    optional=st.booleans(),
)
_LOGICAL = st.builds(
    lambda schema, optional: schema.replaced(optional=optional),
    st.sampled_from([DATE, TIME, TIMESTAMP, Schema.decimal(2), Schema.decimal(-1)]),
    st.booleans(),
)


def _around(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    keys = st.sampled_from([Schema("STRING"), Schema("STRING", optional=True), Schema("INT32"), Schema("BOOLEAN")])
    return (
        st.builds(Schema.array, inner, optional=st.booleans())
        | st.builds(Schema.map, keys, inner, optional=st.booleans())
        | st.builds(
            Schema.struct,
            st.lists(st.tuples(FIELD_NAMES, inner), max_size=4, unique_by=lambda pair: pair[0]),
            optional=st.booleans(),
        )
    )


#: Schemas of all types, nested.
schemas: st.SearchStrategy[Schema] = st.recursive(_SCALARS | _LOGICAL, _around, max_leaves=6)


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of a schema, with None where it is optional."""
    values = _LOGICAL_VALUES[schema.logical](schema) if schema.logical else _present(schema)
    return st.none() | values if schema.optional else values


def _present(schema: Schema) -> st.SearchStrategy[Any]:
    if schema.type in INT_RANGES:
        return st.integers(*INT_RANGES[schema.type])
    if schema.type == "ARRAY":
        assert schema.value_schema is not None
        return st.lists(values_of(schema.value_schema), max_size=3)
    if schema.type == "MAP":
        assert schema.value_schema is not None
        assert schema.key_schema is not None
        return st.dictionaries(
            values_of(schema.key_schema).filter(lambda key: key is not None), values_of(schema.value_schema), max_size=3
        )
    if schema.type == "STRUCT":
        kind = schema.struct_type
        members = zip(kind.__struct_fields__, schema.fields, strict=True)
        return st.builds(kind, **{name: values_of(field.schema) for name, field in members})
    simple: dict[str, st.SearchStrategy[Any]] = {
        "FLOAT32": FLOATS32.map(round_to_float32),
        "FLOAT64": FLOATS,
        "BOOLEAN": st.booleans(),
        "STRING": TEXTS,
        "BYTES": st.binary(max_size=8),
    }
    return simple[schema.type]


def _whole_milliseconds(moment: Any) -> Any:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_LOGICAL_VALUES: dict[str, Any] = {
    "Date": lambda schema: st.dates(),
    "Time": lambda schema: st.times().map(_whole_milliseconds),
    "Timestamp": lambda schema: st.datetimes(timezones=st.just(datetime.UTC)).map(_whole_milliseconds),
    "Decimal": lambda schema: st.integers(-(10**20), 10**20).map(
        lambda unscaled: Decimal(f"{unscaled}E{-schema.scale}")
    ),
}
