"""A value read under its own schema is what it was, and under another what the two have in common."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import SchemaProjectorError
from engine.api.schema import FLOAT64, INT8, INT32, INT64, OPTIONAL_STRING, STRING, Schema
from engine.api.schema_projector import project, projection
from tests.unit.converters.strategies import schemas, values_of
from tests.vectors.cases import same

V1 = Schema.struct({"id": INT32, "gone": STRING, "note": OPTIONAL_STRING}, name="Order")
V2 = Schema.struct(
    {"note": OPTIONAL_STRING, "id": INT64, "count": INT8.replaced(default=1), "more": OPTIONAL_STRING}, name="Order"
)


@given(data=st.data())
def test_under_its_own_schema_a_value_is_the_same(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    value = data.draw(values_of(schema))
    assert same(project(value, schema, schema), value)


def test_fields_are_left_out_added_and_widened() -> None:
    order = project(V1.struct_type(id=5, gone="x", note="n"), V1, V2)
    assert order == V2.struct_type(id=5, note="n", count=1, more=None)


def test_the_function_for_two_schemas_is_made_once() -> None:
    assert projection(V1, V2) is projection(V1, V2.replaced())


@pytest.mark.parametrize(
    ("source", "target", "value", "said"),
    [
        (INT64, INT32, 1, "Schema type mismatch. source type: INT64 and target type: INT32"),
        (STRING, FLOAT64, "1", "Schema type mismatch. source type: STRING and target type: FLOAT64"),
        (V2, V1, V2.struct_type(id=1), "Error projecting id"),
        (V1, V1.replaced(name="Other"), V1.struct_type(id=1, gone=""), "Schema name mismatch. source name: Order and"),
        (OPTIONAL_STRING, STRING, "x", "Writer schema is optional, however, target schema does not provide"),
    ],
)
def test_what_cannot_be_read_is_told(source: Schema, target: Schema, value: Any, said: str) -> None:
    with pytest.raises(SchemaProjectorError) as raised:
        project(value, source, target)
    assert str(raised.value).startswith(said)
