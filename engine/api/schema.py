"""A Connect schema: what a value is, beyond what Python's own type says.

    ORDER = Schema.struct({"id": INT64, "price": FLOAT64, "note": OPTIONAL_STRING}, name="shop.Order")
    order = ORDER.struct_type(id=1, price=9.5)          a value: attributes, equality, fast to encode and decode
    schema_of(order) is ORDER

Schemas are immutable, hashable and equal when all of their attributes are, as in Kafka Connect. Which Python
value stands for which type:

    INT8 .. INT64      int                      ARRAY    list
    FLOAT32, FLOAT64   float                    MAP      dict
    BOOLEAN            bool                     STRUCT   an instance of `schema.struct_type`
    STRING             str                      null     None
    BYTES              bytes
    by name:           Decimal  decimal.Decimal with exactly the schema's scale
                       Date     datetime.date                  Time  datetime.time, whole milliseconds
                       Timestamp  datetime.datetime in UTC, whole milliseconds

What these classes cannot hold is carried as the plain int of Kafka Connect's own encoding: a Date or Timestamp
outside the years 1 to 9999 as days or milliseconds since the epoch, the Time 24:00 as 86,400,000. An int that a
class could hold is no valid value. A float without a schema that came from a 32-bit one is a `Float32`, which
prints as such; an int without a schema has no width.

Source: Kafka Connect's data model (its reference, sections 6.1 to 6.5).
Not here: how a struct schema becomes a class (structs.py), which value is valid (validation.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from engine.api.errors import DataError, SchemaBuilderError

__all__ = [
    "BOOLEAN",
    "BYTES",
    "DATE",
    "FLOAT32",
    "FLOAT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "LOGICAL_BASES",
    "OPTIONAL_BOOLEAN",
    "OPTIONAL_BYTES",
    "OPTIONAL_FLOAT32",
    "OPTIONAL_FLOAT64",
    "OPTIONAL_INT8",
    "OPTIONAL_INT16",
    "OPTIONAL_INT32",
    "OPTIONAL_INT64",
    "OPTIONAL_STRING",
    "SCHEMA_DEPTH_MAX",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "Field",
    "Float32",
    "Schema",
    "schema_of",
]

LOGICAL_PREFIX = "org.apache.kafka.connect.data."
LOGICAL_NAMES = {LOGICAL_PREFIX + name: name for name in ("Decimal", "Date", "Time", "Timestamp")}
LOGICAL_BASES = {"Decimal": "BYTES", "Date": "INT32", "Time": "INT32", "Timestamp": "INT64"}
SCHEMA_DEPTH_MAX = 100  # what compares or compiles a schema goes down a level at a time, on Python's stack
PRIMITIVES = frozenset({"INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64", "BOOLEAN", "STRING", "BYTES"})
TYPES = PRIMITIVES | {"ARRAY", "MAP", "STRUCT"}

StructType = type[Struct]
FieldsLike = Mapping[str, "Schema"] | Iterable[tuple[str, "Schema"]]


class Float32(float):
    """A 32-bit float that travels without a schema; its value is rounded to 32 bits already."""

    __slots__ = ()


class Field(Struct, frozen=True):
    """One field of a struct schema."""

    name: str
    index: int
    schema: Schema


class Schema(Struct, frozen=True, eq=False, dict=True, repr_omit_defaults=True):
    """The schema of a value. Made by its constructor for primitive types, else by `struct`, `array`, `map`, `decimal`.

    Raises SchemaBuilderError when it contradicts itself, and for a default that is no value of it.
    """

    type: str  # one of TYPES
    optional: bool = False
    name: str | None = None
    version: int | None = None
    doc: str | None = None
    parameters: Mapping[str, str] | None = None  # never empty; not to be changed
    default: Any = None  # None: no default
    fields: tuple[Field, ...] = ()
    key_schema: Schema | None = None
    value_schema: Schema | None = None  # of a MAP or an ARRAY; None: of any kind, which only parsed text has

    @classmethod
    def struct(cls, fields: FieldsLike, **attributes: Any) -> Schema:
        """A STRUCT of these names and schemas, in this order."""
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        return cls("STRUCT", fields=_numbered(pairs), **attributes)

    @classmethod
    def array(cls, items: Schema, **attributes: Any) -> Schema:
        """An ARRAY of `items`."""
        if not isinstance(items, Schema):
            raise SchemaBuilderError("valueSchema cannot be null.")
        return cls("ARRAY", value_schema=items, **attributes)

    @classmethod
    def map(cls, keys: Schema, values: Schema, **attributes: Any) -> Schema:
        """A MAP from `keys` to `values`."""
        if not isinstance(keys, Schema):
            raise SchemaBuilderError("keySchema cannot be null.")
        if not isinstance(values, Schema):
            raise SchemaBuilderError("valueSchema cannot be null.")
        return cls("MAP", key_schema=keys, value_schema=values, **attributes)

    @classmethod
    def decimal(cls, scale: int, **attributes: Any) -> Schema:
        """A Decimal with `scale` digits after the point (negative: zeros before it)."""
        parameters = {**(attributes.pop("parameters", None) or {}), "scale": str(scale)}
        return cls("BYTES", name=LOGICAL_PREFIX + "Decimal", version=1, parameters=parameters, **attributes)

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise SchemaBuilderError(f"Unknown schema type: {self.type}")
        if self.parameters is not None and not self.parameters:
            msgspec.structs.force_setattr(self, "parameters", None)
        if self.fields:
            self._check_fields()
        if self.depth > SCHEMA_DEPTH_MAX:
            raise SchemaBuilderError(f"A schema is nested deeper than {SCHEMA_DEPTH_MAX} levels")
        if self.default is not None:
            from engine.api import validation  # noqa: PLC0415  it knows schemas; few have a default

            try:
                validation.validate(self, self.default)
            except DataError as error:
                raise SchemaBuilderError("Invalid default value") from error

    def _check_fields(self) -> None:
        if self.type != "STRUCT":
            raise SchemaBuilderError(f"Cannot create fields on type {self.type}")
        seen = set()
        for field in self.fields:
            if not field.name:
                raise SchemaBuilderError("fieldName cannot be null.")
            if not isinstance(field.schema, Schema):
                raise SchemaBuilderError(f"fieldSchema for field {field.name} cannot be null.")
            if field.name in seen:
                raise SchemaBuilderError(f"Cannot create field because of field name duplication {field.name}")
            seen.add(field.name)

    def replaced(self, **changes: Any) -> Schema:
        """The same schema with some attributes changed, e.g. `replaced(optional=True)`."""
        return msgspec.structs.replace(self, **changes)

    def as_optional(self) -> Schema:
        """The same schema, where a value may also be None."""
        return self if self.optional else self.replaced(optional=True)

    def with_fields(self, fields: FieldsLike) -> Schema:
        """The same STRUCT with these as well; one that is there already is replaced where it stands."""
        if self.type != "STRUCT":
            raise SchemaBuilderError(f"Cannot create fields on type {self.type}")
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        found = {field.name: field.schema for field in self.fields} | dict(pairs)
        return self.replaced(fields=_numbered(found.items()))

    def without_fields(self, *names: str) -> Schema:
        """The same STRUCT without these. Raises DataError for one that it does not have."""
        for name in names:
            if self.field(name) is None:
                raise DataError(f"{name} is not a valid field name", expected=f"one of {[*self._by_name]}")
        return self.replaced(fields=_numbered((one.name, one.schema) for one in self.fields if one.name not in names))

    def field(self, name: str) -> Field | None:
        """The field of this name, or None. Raises DataError when this is no STRUCT."""
        if self.type != "STRUCT":
            raise DataError(f"Cannot look up fields on non-struct type {self.type}")
        return self._by_name.get(name)

    def attribute(self, name: str) -> str:
        """The attribute of `struct_type` that holds the field `name`: the name itself where Python allows it."""
        field = self.field(name)
        if field is None:
            raise DataError(f"{name} is not a valid field name")
        names: tuple[str, ...] = self.struct_type.__struct_fields__
        return names[field.index]

    def get(self, value: Struct, name: str) -> Any:
        """The field `name` of a struct value; a None becomes the field's default, if it has one."""
        found = getattr(value, self.attribute(name))
        return self._by_name[name].schema.default if found is None else found

    def validate(self, value: Any) -> None:
        """Raises DataError when `value` is no value of this schema."""
        from engine.api import validation  # noqa: PLC0415  see above

        validation.validate(self, value)

    @cached_property
    def logical(self) -> str | None:
        """'Decimal', 'Date', 'Time' or 'Timestamp' when the name says so, whatever the type."""
        return LOGICAL_NAMES.get(self.name) if self.name else None

    @cached_property
    def scale(self) -> int:
        """The scale of a Decimal schema. Raises DataError when it has none, or a bad one."""
        text = (self.parameters or {}).get("scale")
        if text is None:
            raise DataError("Invalid Decimal schema: scale parameter not found.")
        try:
            return int(text)
        except ValueError as error:
            raise DataError("Invalid scale parameter found in Decimal schema: ") from error

    @cached_property
    def struct_type(self) -> StructType:
        """The class of this STRUCT schema's values; the same for all schemas that are equal."""
        from engine.api import structs  # noqa: PLC0415  it knows schemas

        return structs.compiled(self)

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def depth(self) -> int:
        """Of schemas within each other; known of those within, so this looks one level deep."""
        inner = [self.key_schema, self.value_schema, *(field.schema for field in self.fields)]
        return 1 + max((schema.depth for schema in inner if schema is not None), default=0)

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        parameters = None if self.parameters is None else frozenset(self.parameters.items())
        kind = (self.type, self.optional, self.name, self.version, self.doc, parameters)
        return (*kind, self.fields, self.key_schema, self.value_schema)

    @cached_property
    def _hash(self) -> int:
        return hash(self._identity)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Schema):
            return NotImplemented
        # The default stays out of the hash, because a list has none. A NaN equals itself, as in Java.
        return self._hash == other._hash and (*self._identity, self.default) == (*other._identity, other.default)

    def __ne__(self, other: object) -> bool:
        return not self == other  # msgspec's own would not ask `__eq__`


def schema_of(value: Any) -> Schema | None:
    """The schema whose `struct_type` made this value, or whose class is a declared one; None for anything else."""
    return type(value).__dict__.get("__connect_schema__")  # its own: a class that extends one has other fields


def _numbered(pairs: Iterable[tuple[str, Schema]]) -> tuple[Field, ...]:
    return tuple(Field(name, index, schema) for index, (name, schema) in enumerate(pairs))


INT8 = Schema("INT8")
INT16 = Schema("INT16")
INT32 = Schema("INT32")
INT64 = Schema("INT64")
FLOAT32 = Schema("FLOAT32")
FLOAT64 = Schema("FLOAT64")
BOOLEAN = Schema("BOOLEAN")
STRING = Schema("STRING")
BYTES = Schema("BYTES")
OPTIONAL_INT8 = Schema("INT8", optional=True)
OPTIONAL_INT16 = Schema("INT16", optional=True)
OPTIONAL_INT32 = Schema("INT32", optional=True)
OPTIONAL_INT64 = Schema("INT64", optional=True)
OPTIONAL_FLOAT32 = Schema("FLOAT32", optional=True)
OPTIONAL_FLOAT64 = Schema("FLOAT64", optional=True)
OPTIONAL_BOOLEAN = Schema("BOOLEAN", optional=True)
OPTIONAL_STRING = Schema("STRING", optional=True)
OPTIONAL_BYTES = Schema("BYTES", optional=True)
DATE = Schema("INT32", name=LOGICAL_PREFIX + "Date", version=1)
TIME = Schema("INT32", name=LOGICAL_PREFIX + "Time", version=1)
TIMESTAMP = Schema("INT64", name=LOGICAL_PREFIX + "Timestamp", version=1)
