"""A Python class yields its schema, and its instances are values of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from msgspec import Meta

from converters.json import JsonConfig, JsonConverter
from engine.api import java_text
from engine.api.column import Repeat, Utf8Column
from engine.api.declared import as_struct, schema_for, with_schemas
from engine.api.errors import DataError, SchemaBuilderError
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT16,
    INT64,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
    schema_of,
)


class Address(msgspec.Struct):
    street: str
    zip: str | None = None


class Order(msgspec.Struct, frozen=True):
    connect_name: ClassVar[str] = "shop.Order"
    connect_version: ClassVar[int] = 2
    id: int
    count: Annotated[int, INT16]
    price: Annotated[Decimal, Schema.decimal(2)]
    weight: float
    rough: Annotated[float, FLOAT32]
    is_paid: bool
    raw: bytes
    day: datetime.date
    at: datetime.time
    made: datetime.datetime
    to: Address
    state: Literal["new", "done"] = "new"
    note: Annotated[str | None, Meta(description="what the buyer says")] = None
    tags: list[str] = []
    others: dict[str, Address] = {}


ORDER = Schema.struct(
    {
        "id": INT64,
        "count": INT16,
        "price": Schema.decimal(2),
        "weight": FLOAT64,
        "rough": FLOAT32,
        "is_paid": BOOLEAN,
        "raw": BYTES,
        "day": DATE,
        "at": TIME,
        "made": TIMESTAMP,
        "to": Schema.struct({"street": STRING, "zip": OPTIONAL_STRING}, name="Address"),
        "state": STRING.replaced(default="new"),
        "note": OPTIONAL_STRING.replaced(doc="what the buyer says"),
        "tags": Schema.array(STRING, default=[]),
        "others": Schema.map(
            STRING, Schema.struct({"street": STRING, "zip": OPTIONAL_STRING}, name="Address"), default={}
        ),
    },
    name="shop.Order",
    version=2,
)
MOMENT = datetime.datetime(2024, 1, 31, 12, 30, tzinfo=datetime.UTC)


def order(**changes: Any) -> Order:
    given: dict[str, Any] = {
        "id": 1,
        "count": 2,
        "price": Decimal("9.50"),
        "weight": 0.5,
        "rough": 1.5,
        "is_paid": True,
        "raw": b"r",
        "day": MOMENT.date(),
        "at": MOMENT.time(),
        "made": MOMENT,
        "to": Address("High St"),
        "tags": ["a"],
        "others": {"x": Address("Low St", "1")},
    }
    return Order(**{**given, **changes})


@dataclasses.dataclass
class Line:
    name: str
    to: Address | None = None
    parts: Sequence[Address] = ()
    by_name: Mapping[str, Address] = dataclasses.field(default_factory=dict)


class Renamed(msgspec.Struct, rename="camel"):
    order_id: int


class Terse(msgspec.Struct, omit_defaults=True):
    a: int = 0
    b: int = 0


class Holding(msgspec.Struct):
    line: Line
    terse: list[Terse]


class Extended(Address):
    city: str = ""


def written(value: Any, schema: Schema | None) -> bytes:
    encoded = JsonConverter().from_connect("topic", [value], Repeat(schema, 1))
    assert not encoded.failures, encoded.failures
    assert encoded.payloads[0] is not None
    return encoded.payloads[0]


def test_annotations_say_the_schema() -> None:
    assert schema_for(Order) == ORDER
    assert schema_for(Order) is schema_for(Order)


def test_an_instance_of_a_plain_struct_is_a_value_as_it_is() -> None:
    schema, value = schema_for(Order), order()
    assert as_struct(value) is value
    assert schema_of(value) is schema
    schema.validate(value)
    assert schema.get(value, "note") is None


def test_it_is_written_as_the_values_that_the_schema_makes_are() -> None:
    schema, value = schema_for(Order), order()
    given = {name: getattr(value, name) for name in value.__struct_fields__}
    address = schema.fields[10].schema.struct_type
    made = schema.struct_type(
        **{**given, "to": address(street="High St"), "others": {"x": address(street="Low St", zip="1")}}
    )
    assert written(value, schema) == written(made, schema)
    assert java_text.text(value, schema) == java_text.text(made, schema)
    decoded = JsonConverter().to_connect("topic", [written(value, schema)])
    assert (decoded.values[0], decoded.schemas[0]) == (made, schema)
    assert msgspec.convert(decoded.values[0], Order, from_attributes=True) == value


def test_a_value_that_is_none_of_its_annotation_is_refused_with_its_place() -> None:
    encoded = JsonConverter().from_connect("topic", [order(count="x"), order()], Repeat(schema_for(Order), 2))
    (failure,) = encoded.failures
    assert isinstance(failure.error, DataError)
    assert failure.error.whole() == "Invalid type for INT16: class java.lang.String at $.count"


def test_a_dataclass_and_what_is_encoded_otherwise_become_values() -> None:
    line = Line("a", Address("b"), (Address("c"),), {"d": Address("e")})
    schema = schema_for(Line)
    assert [field.name for field in schema.fields] == ["name", "to", "parts", "by_name"]
    made = as_struct(line)
    assert schema_of(made) == schema
    schema.validate(line)
    assert written(line, schema) == written(made, schema)

    assert [field.name for field in schema_for(Renamed).fields] == ["orderId"]
    assert as_struct(Renamed(order_id=5)).orderId == 5
    holding = as_struct(Holding(line, [Terse(), Terse(1)]))
    assert holding.line == made
    assert b'"terse":[{"a":0,"b":0},{"a":1,"b":0}]' in written(holding, schema_for(Holding))


def test_a_class_that_extends_another_has_its_own_schema() -> None:
    schema_for(Address)
    extended = Extended("a", "b", "c")
    assert schema_of(extended) is None
    assert [field.name for field in schema_for(Extended).fields] == ["street", "zip", "city"]
    assert schema_of(extended) == schema_for(Extended)


def test_columns_get_values_and_schemas() -> None:
    values, schemas = with_schemas([Address("a"), Address("b")], Repeat(None, 2))
    assert isinstance(schemas, Repeat)
    assert schemas.value == schema_for(Address)
    assert values == [Address("a"), Address("b")]
    lines, schemas = with_schemas([Line("a"), 5, None], [None, None, None])
    assert [schema_of(lines[0]), *schemas] == [schema_for(Line), schema_for(Line), None, None]
    for column in ([1, "a"], Utf8Column([b"a"]), Repeat(None, 3)):
        given = Repeat(None, len(column))
        assert with_schemas(column, given) == (column, given)


def test_a_schema_that_was_given_stays() -> None:
    _, schemas = with_schemas([Line("a")], Repeat(schema_for(Address), 1))
    assert schemas[0] == schema_for(Address)


class NoScale(msgspec.Struct):
    price: Decimal


class Either(msgspec.Struct):
    x: int | str


class Bare(msgspec.Struct):
    x: list  # type: ignore[type-arg]


class Tree(msgspec.Struct):
    below: list[Tree]


class Foreign(msgspec.Struct):
    where: complex


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (NoScale, r"NoScale\.price: a Decimal needs its scale"),
        (Either, r"Either\.x: no schema says .*int.*str"),
        (Bare, r"Bare\.x: list does not say what is in it"),
        (Tree, "Tree holds itself"),
        (Foreign, r"Foreign\.where: no schema says complex"),
        (int, "int is neither a msgspec Struct nor a dataclass"),
    ],
)
def test_what_no_schema_says_is_told_with_its_field(kind: type, said: str) -> None:
    with pytest.raises(SchemaBuilderError, match=said):
        schema_for(kind)


def test_without_an_envelope_it_is_written_too() -> None:
    converter = JsonConverter()
    converter.configure(JsonConfig(schemas_enable=False))
    encoded = converter.from_connect("topic", [Address("a")], [schema_for(Address)])
    assert encoded.payloads == [b'{"street":"a","zip":null}']
