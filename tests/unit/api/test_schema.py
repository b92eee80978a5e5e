"""Schemas are built from others, and say what is wrong in the words of Kafka Connect."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import DataError, SchemaBuilderError
from engine.api.schema import INT32, INT64, STRING, Schema

ORDER = Schema.struct({"id": INT64, "note": STRING}, name="Order", version=1, doc="d", parameters={"p": "1"})


def test_fields_are_added_replaced_and_left_out() -> None:
    wider = ORDER.with_fields({"price": INT32, "note": STRING.as_optional()})
    assert [(field.name, field.index, field.schema.optional) for field in wider.fields] == [
        ("id", 0, False),
        ("note", 1, True),
        ("price", 2, False),
    ]
    assert (wider.name, wider.version, wider.doc, wider.parameters) == ("Order", 1, "d", {"p": "1"})
    assert wider.without_fields("price").with_fields({"note": STRING}) == ORDER


def test_a_schema_becomes_optional_once() -> None:
    assert INT32.as_optional().optional
    assert INT32.as_optional().as_optional() == INT32.as_optional()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: INT32.with_fields({"a": INT32}), "Cannot create fields on type INT32"),
        (lambda: Schema("INT128"), "Unknown schema type: INT128"),
        (lambda: Schema.struct({"": INT32}), "fieldName cannot be null."),
        (lambda: Schema.struct({"a": None}), "fieldSchema for field a cannot be null."),  # type: ignore[arg-type]
        (
            lambda: Schema.struct([("a", INT32), ("a", INT64)]),
            "Cannot create field because of field name duplication a",
        ),
        (lambda: Schema.array(None), "valueSchema cannot be null."),  # type: ignore[arg-type]
        (lambda: Schema.map(None, INT32), "keySchema cannot be null."),  # type: ignore[arg-type]
        (lambda: Schema("INT8", default=300), "Invalid default value"),
        (lambda: Schema("INT8", default="x"), "Invalid default value"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SchemaBuilderError) as raised:
        make()
    assert str(raised.value) == said


def test_a_field_that_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match="x is not a valid field name"):
        ORDER.without_fields("x")


def test_an_error_tells_its_place_and_what_was_expected() -> None:
    error = DataError("Invalid type: ", expected="an int").within(".price").within("[3]")
    assert (str(error), error.whole()) == ("Invalid type: ", "Invalid type at $[3].price: expected an int")
    assert DataError("Bad").whole() == "Bad"
