"""HoistField: the key or value becomes the one field of a struct or map.

Used by: the catalog.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from engine.api.config import Config
from engine.api.schema import Schema
from engine.api.validation import validate
from engine.transforms.planned import Plan, Planned

__all__ = ["HoistFieldConfig", "HoistFieldKey", "HoistFieldValue"]


class HoistFieldConfig(Config, frozen=True, kw_only=True):
    """What the field is called."""

    field: Annotated[str, Meta(description="The name of the one field.", extra={"importance": "MEDIUM"})]


class _HoistField(Planned):
    config = HoistFieldConfig

    def configure(self, config: HoistFieldConfig) -> None:
        self._field = config.field

    def plan(self, schema: Schema | None) -> Plan:
        name = self._field
        if schema is None:
            return Plan(None, lambda value: {name: value})
        hoisted = Schema.struct({name: schema})
        kind = hoisted.struct_type
        attribute = hoisted.attribute(name)

        def change(value: Any) -> Any:
            if value is None:
                validate(schema, None, f'field: "{name}"')
            return kind(**{attribute: value})

        return Plan(hoisted, change)


class HoistFieldKey(_HoistField):
    """Puts the key into a field of its own."""

    side = "key"


class HoistFieldValue(_HoistField):
    """Puts the value into a field of its own."""

    side = "value"
