"""A Python class yields its schema: a msgspec Struct or a dataclass, by its annotations.

    class Order(msgspec.Struct):                       STRUCT "Order"
        id: int                                          id      INT64
        count: Annotated[int, INT16]                     count   INT16
        price: Annotated[Decimal, Schema.decimal(2)]     price   Decimal, scale 2
        day: datetime.date                               day     Date
        note: str | None = None                          note    optional STRING
        tags: list[str] = []                             tags    ARRAY of STRING, default []

    schema_for(Order)                              the schema
    SourceRecord(topic="orders", value=Order(...))  is written under it

A Schema in `Annotated` is the field's own; `msgspec.Meta(description=...)` is its doc. `connect_name: ClassVar[str]`
names the schema otherwise than the class, `connect_version: ClassVar[int]` gives it a version.

An instance of a Struct class is a value of the schema as it is: nothing is converted. That is so where attributes are
called as fields are, neither a tag, `array_like` nor `omit_defaults` changes how it is encoded, and no field holds what
is no value itself, or may hold another class or None: a struct of an optional schema is of another class. Of any other,
and of dataclasses, `as_struct` makes a value, as the engine does of what a source returns.

Used by: engine.stages.outgoing, engine.api.validation, converters.json.
Not here: the class that a schema compiles to (structs.py).
"""

from __future__ import annotations

import dataclasses
import datetime
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from engine.api.column import MapColumn, Repeat, StructColumn, Utf8Column
from engine.api.errors import SchemaBuilderError
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT64,
    INT64,
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
    schema_of,
)
from engine.api.structs import attribute_names

__all__ = ["as_struct", "is_declared", "schema_for", "with_schemas"]

_SIMPLE: dict[Any, Schema] = {
    bool: BOOLEAN,
    int: INT64,
    float: FLOAT64,
    str: STRING,
    bytes: BYTES,
    datetime.datetime: TIMESTAMP,
    datetime.date: DATE,
    datetime.time: TIME,
}
_LISTS = (list, tuple, Sequence)
_MAPS = (dict, Mapping)
#: Classes of values that need no look: what most columns hold.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict})


class _Member(NamedTuple):
    """A field as its class declares it."""

    attribute: str
    name: str  # in the schema
    annotation: Any
    default: Any  # None: there is none


Change = Callable[[Any], Any]


class _Declared(NamedTuple):
    """What a class declares."""

    schema: Schema
    members: Callable[[Any], dict[str, Any]]  # of an instance, by the attributes of the schema's own class
    is_value: bool  # an instance is a value of the schema as it is

    def change(self, schema: Schema) -> Change | None:
        """What makes a value of an instance; None: it is one. schema: the class's, or the optional one like it."""
        if self.is_value and schema == self.schema:
            return None
        kind, members = schema.struct_type, self.members
        return lambda instance: kind(**members(instance))


def is_declared(kind: type) -> bool:
    """Whether a class is one that may yield a schema: a Struct that is no schema's own, or a dataclass."""
    return (issubclass(kind, Struct) and "__connect_schema__" not in kind.__dict__) or dataclasses.is_dataclass(kind)


def schema_for(kind: type) -> Schema:
    """The schema of a class. Raises SchemaBuilderError, with the field, for what no schema can say."""
    return _declared(kind).schema


def as_struct(value: Any) -> Any:
    """The value that an instance of a declared class stands for; what needs no change is returned as it is."""
    kind = type(value)
    if kind in _PLAIN or not (is_declared(kind) or "__connect_declared__" in kind.__dict__):
        return value
    declared = _declared(kind)
    change = declared.change(declared.schema)
    return value if change is None else change(value)


def with_schemas(
    values: Sequence[Any], schemas: Sequence[Schema | None]
) -> tuple[Sequence[Any], Sequence[Schema | None]]:
    """The same columns, with values for instances of declared classes, and their schemas where none were given.

    n slots in, n out. Columns without such instances come back as they are. Raises SchemaBuilderError for a class
    that yields no schema.
    """
    # Structs that are stored by field are those of a schema already; to look at one would make them all.
    if isinstance(values, Utf8Column | MapColumn | StructColumn) or (
        isinstance(values, Repeat) and type(values.value) in _PLAIN
    ):
        return values, schemas
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return values, schemas
    declared = {kind: _declared(kind) for kind in kinds if kind not in _PLAIN and _is_or_was_declared(kind)}
    if not declared:
        return values, schemas
    changes = {kind: one.change(one.schema) for kind, one in declared.items()}
    if any(changes.values()):
        values = [value if (change := changes.get(type(value))) is None else change(value) for value in values]
    if isinstance(schemas, Repeat) and schemas and schemas.value is not None:
        return values, schemas
    own = {one.schema for one in declared.values()}
    if len(own) == 1 and len(kinds) == 1 and isinstance(schemas, Repeat):
        return values, Repeat(own.pop(), len(values))
    pairs = zip(values, schemas, strict=True)
    return values, [schema_of(value) if schema is None else schema for value, schema in pairs]


def _is_or_was_declared(kind: type) -> bool:
    return "__connect_declared__" in kind.__dict__ or is_declared(kind)


def _declared(kind: type, around: tuple[type, ...] = ()) -> _Declared:
    """What a class declares, kept with the class. around: classes whose fields lead here."""
    found: _Declared | None = kind.__dict__.get("__connect_declared__")
    if found is not None:
        return found
    if not is_declared(kind):
        raise SchemaBuilderError(f"{_shown(kind)} is neither a msgspec Struct nor a dataclass")
    if kind in around:
        raise SchemaBuilderError(f"{_shown(kind)} holds itself, which no schema of Kafka Connect can say")
    members = [*_members(kind)]
    fields: dict[str, Schema] = {}
    changes: dict[str, Change] = {}
    for member in members:
        try:
            schema, change = _field(member, (*around, kind))
        except SchemaBuilderError as error:
            raise SchemaBuilderError(f"{_shown(kind)}.{member.attribute}: {error}") from error
        fields[member.name] = schema
        if change is not None:
            changes[member.attribute] = change
    schema = Schema.struct(
        fields,
        name=getattr(kind, "connect_name", kind.__name__),
        version=getattr(kind, "connect_version", None),
    )
    names = attribute_names([*fields])
    is_plain = names == [member.attribute for member in members] and issubclass(kind, Struct) and _encodes_plainly(kind)
    made = _Declared(schema, _members_getter(members, names, changes), is_plain and not changes)
    kind.__connect_declared__ = made  # type: ignore[attr-defined]  # kept where it is found at once
    if made.is_value:
        kind.__connect_schema__ = schema  # type: ignore[attr-defined]  # from now on `schema_of` knows its instances
    return made


def _members_getter(
    members: Sequence[_Member], names: Sequence[str], changes: Mapping[str, Change]
) -> Callable[[Any], dict[str, Any]]:
    rules = [
        (name, attrgetter(member.attribute), changes.get(member.attribute))
        for name, member in zip(names, members, strict=True)
    ]

    def members_of(instance: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, get, rule in rules:
            value = get(instance)
            found[name] = value if rule is None or value is None else rule(value)
        return found

    return members_of


def _members(kind: type) -> Iterator[_Member]:
    try:
        if issubclass(kind, Struct):
            for info in msgspec.structs.fields(kind):
                yield _Member(info.name, info.encode_name, info.type, _default(info.default, info.default_factory))
            return
        hints = typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise SchemaBuilderError(f"{_shown(kind)}: an annotation cannot be read: {error}") from error
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # it is a dataclass, as `is_declared` has seen
        default = None if one.default is dataclasses.MISSING else one.default
        factory = NODEFAULT if one.default_factory is dataclasses.MISSING else one.default_factory
        yield _Member(one.name, one.name, hints[one.name], _default(default, factory))


def _default(default: Any, factory: Any) -> Any:
    if factory is not NODEFAULT:
        return factory()
    return None if default is NODEFAULT else default


def _field(member: _Member, around: tuple[type, ...]) -> tuple[Schema, Change | None]:
    schema, change = _typed(member.annotation, around)
    # Kafka Connect cannot read the default of a struct; there an instance simply has it.
    if member.default is not None and schema.type != "STRUCT":
        schema = schema.replaced(default=member.default)
    return schema, change


def _typed(annotation: Any, around: tuple[type, ...]) -> tuple[Schema, Change | None]:
    """The schema of an annotation, and what makes a value of what is so annotated; None: it is one."""
    attributes: dict[str, Any] = {}
    given: Schema | None = None
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            given = next((extra for extra in extras if isinstance(extra, Schema)), given)
            docs = [extra.description for extra in extras if isinstance(extra, Meta) and extra.description]
            if docs:
                attributes["doc"] = docs[0]
            continue
        members = [one for one in get_args(annotation) if one is not type(None)]
        if len(members) != 1:
            raise SchemaBuilderError(f"no schema says {annotation}: a field has one type, and None perhaps")
        annotation = members[0]
        attributes["optional"] = True
    if given is not None:
        return given.replaced(**attributes), None
    if isinstance(annotation, type) and _is_or_was_declared(annotation):
        declared = _declared(annotation, around)
        schema = declared.schema.replaced(**attributes)
        return schema, declared.change(schema)
    schema, change = _plain(annotation, around)
    return schema.replaced(**attributes), change


def _plain(annotation: Any, around: tuple[type, ...]) -> tuple[Schema, Change | None]:
    """As `_typed`, of what is neither a class that declares a schema nor wrapped in anything."""
    origin = get_origin(annotation) or annotation
    if origin in _SIMPLE:
        return _SIMPLE[origin], None
    if origin is Decimal:
        raise SchemaBuilderError("a Decimal needs its scale: Annotated[Decimal, Schema.decimal(2)]")
    if origin is Literal:
        kinds = {type(choice) for choice in get_args(annotation)}
        if len(kinds) == 1 and (kind := kinds.pop()) in (str, int):
            return _SIMPLE[kind], None
    if origin in _LISTS:
        return _list(annotation, around)
    if origin in _MAPS:
        return _map(annotation, around)
    raise SchemaBuilderError(f"no schema says {_shown(annotation)}: give one by Annotated[..., SCHEMA]")


def _list(annotation: Any, around: tuple[type, ...]) -> tuple[Schema, Change | None]:
    arguments = [one for one in get_args(annotation) if one is not ...]
    if len(arguments) != 1:
        raise SchemaBuilderError(f"{_shown(annotation)} does not say what is in it: list[str]")
    schema, change = _typed(arguments[0], around)
    made = None if change is None else partial(_change_list, _around_null(change))
    return Schema.array(schema), made


def _map(annotation: Any, around: tuple[type, ...]) -> tuple[Schema, Change | None]:
    arguments = get_args(annotation)
    if len(arguments) != 2:
        raise SchemaBuilderError(f"{_shown(annotation)} does not say what is in it: dict[str, int]")
    (keys, key_change), (values, change) = (_typed(one, around) for one in arguments)
    if key_change is not None:
        raise SchemaBuilderError(f"{_shown(arguments[0])} cannot be the key of a map")
    made = None if change is None else partial(_change_map, _around_null(change))
    return Schema.map(keys, values), made


def _change_list(change: Change, elements: Sequence[Any]) -> list[Any]:
    return [*map(change, elements)]


def _change_map(change: Change, members: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: change(value) for key, value in members.items()}


def _around_null(change: Change) -> Change:
    return lambda value: None if value is None else change(value)


def _encodes_plainly(kind: type[Struct]) -> bool:
    config = kind.__struct_config__
    return not (config.array_like or config.omit_defaults or config.tag)


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
