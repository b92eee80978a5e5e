"""Flatten: fields of nested structs or maps become fields of the outermost, their names joined.

    {"a": {"b": 1, "c": {}}, "d": [2]}  ──►  {"a.b": 1, "d": [2]}

Used by: the catalog.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from engine.api.config import Config
from engine.api.errors import DataError
from engine.api.schema import Field, Schema, schema_of
from engine.api.structs import INT_RANGES
from engine.transforms.building import Building, Expression, Inside, Otherwise, renewed, taken
from engine.transforms.planned import Plan, Planned
from engine.transforms.requirements import class_of, require_map, require_struct_schema

__all__ = ["FlattenConfig", "FlattenKey", "FlattenValue"]

_PURPOSE = "flattening"
_LONG = INT_RANGES["INT64"]
#: Classes of values that stay as they are; an int does when it is a long.
_PLAIN = frozenset({type(None), str, bool, float, bytes, list, tuple})


class FlattenConfig(Config, frozen=True, kw_only=True):
    """How names are joined."""

    delimiter: Annotated[
        str, Meta(description="What stands between the names of the fields.", extra={"importance": "MEDIUM"})
    ] = "."


class _Flatten(Planned):
    config = FlattenConfig
    passes_null = True

    def configure(self, config: FlattenConfig) -> None:
        self._delimiter = config.delimiter

    def plan(self, schema: Schema | None) -> Plan:
        if schema is None:
            return Plan(None, self._flatten_map)
        flat = _Flat(self._delimiter)
        for field in require_struct_schema(schema).fields:
            flat.add(field, "", taken(schema, field.index, replaces_null=True), is_optional=schema.optional)
        return Plan.of_struct(Building(schema, renewed(schema, flat.fields), flat.expressions, _PURPOSE))

    def _flatten_map(self, value: Any) -> dict[Any, Any]:
        flat: dict[Any, Any] = {}
        self._flatten_into(flat, require_map(value, _PURPOSE), "")
        return flat

    def _flatten_into(self, flat: dict[Any, Any], value: dict[Any, Any], prefix: str) -> None:
        for key, found in value.items():
            name = _joined(prefix, key, self._delimiter)
            if type(found) in _PLAIN or (type(found) is int and _LONG[0] <= found <= _LONG[1]):
                flat[name] = found
            elif isinstance(found, dict):
                self._flatten_into(flat, found, name)
            else:
                flat[name] = _checked(found, name)


class FlattenKey(_Flatten):
    """Joins the fields of nested structs of the key into one."""

    side = "key"


class FlattenValue(_Flatten):
    """Joins the fields of nested structs of the value into one."""

    side = "value"


class _Flat:
    """The fields of a flat struct, as they are found in a nested one."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self.fields: list[tuple[str, Schema]] = []
        self.expressions: list[Expression] = []

    def add(self, field: Field, prefix: str, found: Expression, *, is_optional: bool) -> None:
        """Take up a field, or those within it. found: its value; is_optional: what it is in may be null."""
        name = _joined(prefix, field.name, self._delimiter)
        schema = field.schema
        may_be_null = is_optional or schema.optional
        if schema.type == "MAP":
            raise DataError(f"Flatten transformation does not support MAP for record with schemas (for field {name}).")
        if schema.type != "STRUCT":
            self.fields.append((name, schema.replaced(optional=True) if may_be_null else schema))
            self.expressions.append(found)
            return
        for inner, attribute in zip(schema.fields, schema.struct_type.__struct_fields__, strict=True):
            within: Expression = Inside(attribute, found)
            if inner.schema.default is not None:
                within = Otherwise(within, inner.schema.default)
            self.add(inner, name, within, is_optional=may_be_null)


def _joined(prefix: str, name: str, delimiter: str) -> str:
    return f"{prefix}{delimiter}{name}" if prefix else name


def _checked(value: Any, name: str) -> Any:
    if schema_of(value) is not None:
        raise DataError(
            f"Flatten transformation does not support class {class_of(value)} for record without schemas (for field "
            f"{name})."
        )
    is_long = isinstance(value, int) and _LONG[0] <= value <= _LONG[1]
    if is_long or isinstance(value, float | str | bytes | bytearray | memoryview | list | tuple):
        return value
    raise DataError(
        f"Flatten transformation was passed a value of type class {class_of(value)} which is not supported by "
        "Connect's data API"
    )
