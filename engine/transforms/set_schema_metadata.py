"""SetSchemaMetadata: the name and version of the schema of a key or value.

Used by: the catalog.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from engine.api.config import Config
from engine.api.errors import ConfigError, DataError
from engine.api.schema import Schema
from engine.transforms.building import Building, taken
from engine.transforms.planned import Passed, Plan, Planned
from engine.transforms.requirements import require_struct_schema

__all__ = ["SetSchemaMetadataConfig", "SetSchemaMetadataKey", "SetSchemaMetadataValue"]

_PURPOSE = "updating schema metadata"


class SetSchemaMetadataConfig(Config, frozen=True, kw_only=True):
    """What the schema says of itself."""

    schema_name: Annotated[
        str | None, Meta(description="The schema's name; none: it stays.", extra={"importance": "HIGH"})
    ] = field(name="schema.name", default=None)
    schema_version: Annotated[
        int | None,
        Meta(le=2**31 - 1, description="The schema's version; none: it stays.", extra={"importance": "HIGH"}),
    ] = field(name="schema.version", default=None)
    replaces_null: Annotated[
        bool,
        Meta(description="Whether a field's default stands in the place of its null.", extra={"importance": "MEDIUM"}),
    ] = field(name="replace.null.with.default", default=True)


class _SetSchemaMetadata(Planned):
    config = SetSchemaMetadataConfig
    passes_null = True

    def configure(self, config: SetSchemaMetadataConfig) -> None:
        self._name = config.schema_name
        self._version = config.schema_version
        self._replaces_null = config.replaces_null
        if self._name is None and self._version is None:
            raise ConfigError("Neither schema name nor version configured")

    def plan(self, schema: Schema | None) -> Plan:
        if schema is None:
            return Plan(None, _refuse)
        require_struct_schema(schema)
        renamed = schema.replaced(
            name=schema.name if self._name is None else self._name,
            version=schema.version if self._version is None else self._version,
        )
        expressions = [taken(schema, field.index, replaces_null=self._replaces_null) for field in schema.fields]
        return Plan.of_struct(Building(schema, renamed, expressions, _PURPOSE))

    def null(self, schema: Schema | None, *_: Any) -> Passed:
        return None, schema and self._plans.of(schema).schema


class SetSchemaMetadataKey(_SetSchemaMetadata):
    """Sets the name and version of the key's schema."""

    side = "key"


class SetSchemaMetadataValue(_SetSchemaMetadata):
    """Sets the name and version of the value's schema."""

    side = "value"


def _refuse(_: object) -> None:
    raise DataError(f"Schema required for [{_PURPOSE}]")
