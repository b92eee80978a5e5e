"""A value written under one schema, read under another: the newer or older version of the same thing.

    project(Order(id=1, note="x"), v1, v2)     ──►  the same as v2 has it: fields left out, added, or made wider

    projection(v1, v2)                         ──►  the function that does it, made once for the two schemas

A number may become wider (INT8, INT16, INT32, INT64, FLOAT32, FLOAT64 in this order); a field that v1 lacks has its
default or is null; one that v2 lacks is left out. Names and parameters have to be equal. What cannot be is told of the
value that shows it: an empty list has no element that could be of the wrong type.

Source: the behaviour of Kafka Connect's SchemaProjector (its reference, section 6.6).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from msgspec.structs import astuple

from engine.api.errors import SchemaProjectorError
from engine.api.java_scalars import round_to_float32
from engine.api.map_keys import as_key
from engine.api.schema import Field, Schema
from engine.api.validation import validate

__all__ = ["Projection", "project", "projection"]

Projection = Callable[[Any], Any]

_WIDTHS = {kind: width for width, kind in enumerate(("INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64"))}
_PAIRS_MAX = 1000  # of schemas whose function is kept


def project(value: Any, source: Schema, target: Schema) -> Any:
    """The value under `target`. Raises SchemaProjectorError when it cannot be read so."""
    return projection(source, target)(value)


@lru_cache(_PAIRS_MAX)
def projection(source: Schema, target: Schema) -> Projection:
    """What makes of a value of `source` one of `target`; it raises SchemaProjectorError for what cannot be."""
    refusal = _refusal(source, target)
    if refusal is not None:
        return _refusing(refusal)
    rule = _RULES.get(target.type, _scalar)(source, target)
    default = target.default
    if not source.optional or target.optional:
        return lambda value: None if value is None else rule(value)
    if default is None:
        return _refusing("Writer schema is optional, however, target schema does not provide a default value.")
    return lambda value: default if value is None else rule(value)


def _refusal(source: Schema, target: Schema) -> str | None:
    """Why no value can be read so; None: it can."""
    is_wider = source.type in _WIDTHS and target.type in _WIDTHS and _WIDTHS[source.type] <= _WIDTHS[target.type]
    if source.type != target.type and not is_wider:
        return f"Schema type mismatch. source type: {source.type} and target type: {target.type}"
    if source.name != target.name:
        return f"Schema name mismatch. source name: {_shown(source.name)} and target name: {_shown(target.name)}"
    if source.parameters != target.parameters:
        found, wanted = map(_shown_parameters, (source, target))
        return f"Schema parameters not equal. source parameters: {found} and target parameters: {wanted}"
    return None


def _refusing(why: str) -> Projection:
    def refuse(value: Any) -> NoReturn:
        raise SchemaProjectorError(why)

    return refuse


def _scalar(source: Schema, target: Schema) -> Projection:
    is_number = source.type != target.type and not target.logical
    if is_number and target.type == "FLOAT32":
        return lambda value: round_to_float32(float(value))
    if is_number and target.type == "FLOAT64":
        return float
    return lambda value: value


def _array(source: Schema, target: Schema) -> Projection:
    element = _of_elements(source.value_schema, target.value_schema)
    return lambda value: [element(one) for one in value]


def _map(source: Schema, target: Schema) -> Projection:
    key, element = (
        _of_elements(source.key_schema, target.key_schema),
        _of_elements(source.value_schema, target.value_schema),
    )
    return lambda value: {as_key(key(one)): element(other) for one, other in value.items()}


def _of_elements(source: Schema | None, target: Schema | None) -> Projection:
    if source is None or target is None:
        return _refusing("The schema of the elements is not known")
    return projection(source, target)


def _struct(source: Schema, target: Schema) -> Projection:
    attributes = target.struct_type.__struct_fields__
    steps: list[tuple[str, Field, int, Any, Projection]] = []
    added: dict[str, Any] = {}
    missing: Field | None = None
    for attribute, field in zip(attributes, target.fields, strict=True):
        found = source.field(field.name)
        if found is not None:
            rule = projection(found.schema, field.schema)
            steps.append((attribute, field, found.index, found.schema.default, rule))
        elif field.schema.optional:
            added[attribute] = None
        elif field.schema.default is not None:
            added[attribute] = field.schema.default
        else:
            missing = field
            break  # those before it are looked at first
    kind = target.struct_type

    def change(value: Any) -> Any:
        members = astuple(value)
        found = {**added}
        for attribute, field, index, default, rule in steps:
            member = members[index]
            try:
                found[attribute] = rule(default if member is None else member)
            except SchemaProjectorError as error:
                problem = SchemaProjectorError(f"Error projecting {field.name}", expected=str(error))
                raise problem from error
            validate(field.schema, found[attribute], f'field: "{field.name}"')
        if missing is not None:
            raise SchemaProjectorError(
                f"Required field `{missing.name}` is missing from source schema: {_shown_schema(source)}"
            )
        return kind(**found)

    return change


def _shown(name: str | None) -> str:
    return "null" if name is None else name


def _shown_parameters(schema: Schema) -> str:
    if schema.parameters is None:
        return "null"
    return "{" + ", ".join(f"{key}={text}" for key, text in schema.parameters.items()) + "}"


def _shown_schema(schema: Schema) -> str:
    return f"Schema{{{schema.name}:{schema.type}}}" if schema.name else f"Schema{{{schema.type}}}"


_RULES: dict[str, Callable[[Schema, Schema], Projection]] = {"ARRAY": _array, "MAP": _map, "STRUCT": _struct}
