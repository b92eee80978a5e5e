"""The example of docs/schemas.md runs, and its records are written as it says."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from converters.json import JsonConverter
from engine.api.declared import with_schemas
from engine.api.schema import DATE, INT16, INT64, OPTIONAL_STRING, STRING, Schema

GUIDE = Path(__file__).parents[3] / "docs" / "schemas.md"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The block of code behind the mark, as a module."""
    marked = GUIDE.read_text().partition("<!-- tests/unit/api/test_guide.py runs this. -->")[2]
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    exec(marked.partition("```python\n")[2].partition("```")[0], module.__dict__)
    return module


def test_the_class_of_the_guide_yields_its_schema(example: types.ModuleType) -> None:
    assert (
        Schema.struct(
            {
                "id": INT64,
                "price": Schema.decimal(2),
                "day": DATE,
                "to": Schema.struct({"street": STRING, "city": OPTIONAL_STRING}, name="Address"),
                "count": INT16.replaced(default=1),
                "tags": Schema.array(STRING, default=[]),
            },
            name="Order",
        )
        == example.ORDER
    )


def test_what_its_source_returns_is_written(example: types.ModuleType) -> None:
    (record,) = example.poll()
    values, schemas = with_schemas([record.value], [record.value_schema])
    (payload,) = JsonConverter().from_connect("orders", values, schemas).payloads
    assert payload is not None
    assert payload.endswith(
        b'"payload":{"id":1,"price":"A7Y=","day":19753,"to":{"street":"High Street","city":null},"count":1,"tags":[]}}'
    )
