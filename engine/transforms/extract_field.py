"""ExtractField: one field takes the place of the key or value it is in.

Used by: the catalog.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from engine.api.schema import Schema
from engine.transforms.fields import reader
from engine.transforms.paths import SYNTAX, FieldPath, FieldSyntax
from engine.transforms.planned import Plan, Planned
from engine.transforms.requirements import require_map, require_struct

__all__ = ["ExtractFieldConfig", "ExtractFieldKey", "ExtractFieldValue"]

_PURPOSE = "field extraction"


class ExtractFieldConfig(FieldSyntax, frozen=True, kw_only=True):
    """Which field."""

    path: Annotated[str, Meta(description="The field to take out.", extra={"importance": "MEDIUM"})] = field(
        name="field"
    )
    field_syntax_version: Annotated[Literal["V1", "V2"], Meta(description=SYNTAX, extra={"importance": "HIGH"})] = (
        field(name="field.syntax.version", default="V1")
    )
    replaces_null: Annotated[
        bool,
        Meta(description="Whether a field's default stands in the place of its null.", extra={"importance": "MEDIUM"}),
    ] = field(name="replace.null.with.default", default=True)


class _ExtractField(Planned):
    config = ExtractFieldConfig

    def configure(self, config: ExtractFieldConfig) -> None:
        self._path = FieldPath.parse(config.path, config.field_syntax_version, "field")
        self._replaces_null = config.replaces_null

    def plan(self, schema: Schema | None) -> Plan:
        path = self._path
        if schema is None:
            name = path.text
            if path.steps == (name,):
                return Plan(None, lambda value: None if value is None else require_map(value, _PURPOSE).get(name))
            return Plan(None, lambda value: None if value is None else path.value_of(require_map(value, _PURPOSE)))
        if schema.type != "STRUCT":
            return Plan(None, lambda value: _refuse(value, schema, path))
        found = path.field_of(schema)
        if found is None:
            raise LookupError(f"Unknown field: {path.text}")
        return Plan(found.schema, self._getter(schema))

    def _getter(self, schema: Schema) -> Any:
        """Takes the field out of a struct."""
        read = reader(schema, self._path, replaces_null=self._replaces_null)
        kind = schema.struct_type

        def get(value: Any) -> Any:
            if value is not None and type(value) is not kind:
                require_struct(value, schema, _PURPOSE)
            return read(value)

        return get


class ExtractFieldKey(_ExtractField):
    """Replaces the key by one of its fields."""

    side = "key"


class ExtractFieldValue(_ExtractField):
    """Replaces the value by one of its fields."""

    side = "value"


def _refuse(value: Any, schema: Schema, path: FieldPath) -> None:
    if value is not None:
        require_struct(value, schema, _PURPOSE)
    path.field_of(schema)
