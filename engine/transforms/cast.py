"""Cast: fields, or a whole key or value, to another type.

Used by: the catalog.
Not here: one value to another type (casting.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, field

from engine.api.errors import ConfigError, Problem
from engine.api.schema import Schema
from engine.transforms.casting import OUTPUTS, caster
from engine.transforms.fields import FieldPlan, plan_fields
from engine.transforms.paths import FieldPath, FieldSyntax, map_editor
from engine.transforms.planned import Plan, Planned
from engine.transforms.requirements import require_struct_schema

__all__ = ["CastConfig", "CastKey", "CastValue"]

_PURPOSE = "cast types"
_TYPES = (*OUTPUTS, "BYTES", "ARRAY", "MAP", "STRUCT")  # of Kafka Connect
_PARTS_MAX = 2


class CastConfig(FieldSyntax, frozen=True, kw_only=True):
    """What is cast to what."""

    spec: Annotated[
        list[str],
        Meta(
            description="Fields and their types, `field:type,field:type`; or one type alone, for the whole. Types: "
            "int8, int16, int32, int64, float32, float64, boolean, string.",
            extra={"importance": "HIGH"},
        ),
    ]
    replaces_null: Annotated[
        bool,
        Meta(description="Whether a field's default stands in the place of its null.", extra={"importance": "MEDIUM"}),
    ] = field(name="replace.null.with.default", default=True)


class _Cast(Planned):
    config = CastConfig
    passes_null = True

    def configure(self, config: CastConfig) -> None:
        self._replaces_null = config.replaces_null
        self._whole: str | None = None
        self._casts: dict[FieldPath, str] = {}
        if not config.spec:
            raise _problem("Must specify at least one field to cast.")
        for entry in config.spec:
            # A colon without anything after it is no part, as Java splits.
            parts = [part.strip() for part in entry.rstrip(":").split(":")]
            if len(parts) > _PARTS_MAX:
                shown = ", ".join(config.spec)
                raise _problem(f"Invalid value [{shown}] for configuration spec: Invalid rename mapping: {entry}")
            kind = _type(parts[-1])
            if len(parts) == 1:
                self._whole = kind
            else:
                path = FieldPath.parse(parts[0], config.field_syntax_version, "spec")
                self._casts[path] = kind
        self._casts = {path: self._casts[path] for path in sorted(self._casts, key=_java_bucket(len(self._casts)))}
        if self._whole is not None and len(config.spec) > 1:
            raise _problem(
                "Cast transformations that specify a type to cast the entire value to may only specify a single cast "
                "in their spec"
            )

    def plan(self, schema: Schema | None) -> Plan:
        if self._whole is not None:
            return Plan(schema and _cast_schema(schema, self._whole, keeps_name=True), caster(schema, self._whole))
        if schema is None:
            changes = {path: _unless_null(caster(None, kind)) for path, kind in self._casts.items()}
            return Plan.of_map(map_editor(changes), _PURPOSE)
        require_struct_schema(schema)
        leaves = {path.steps: partial(_plan_field, kind=kind) for path, kind in self._casts.items()}
        return Plan.of_struct(plan_fields(schema, leaves, replaces_null=self._replaces_null, purpose=_PURPOSE))


class CastKey(_Cast):
    """Casts fields of the key, or the whole key, to other types."""

    side = "key"


class CastValue(_Cast):
    """Casts fields of the value, or the whole value, to other types."""

    side = "value"


def _plan_field(schema: Schema, kind: str) -> FieldPlan:
    return _cast_schema(schema, kind, keeps_name=False), caster(schema, kind)


def _cast_schema(schema: Schema, kind: str, *, keeps_name: bool) -> Schema:
    default = None if schema.default is None else caster(schema, kind)(schema.default)
    if not keeps_name:
        return Schema(kind, optional=schema.optional, default=default)
    return Schema(
        kind,
        optional=schema.optional,
        default=default,
        name=schema.name,
        version=schema.version,
        doc=schema.doc,
        parameters=schema.parameters,
    )


def _type(text: str) -> str:
    kind = text.strip().upper()
    if kind not in _TYPES:
        raise _problem(
            f"Invalid value java.lang.IllegalArgumentException: No enum constant "
            f"org.apache.kafka.connect.data.Schema.Type.{kind} for configuration Invalid type found in casting spec: "
            f"{text.strip()}"
        )
    if kind not in OUTPUTS:
        raise _problem(
            f"Cast transformation does not support casting to {kind}; supported types are [{', '.join(OUTPUTS)}]"
        )
    return kind


def _java_bucket(count: int) -> Callable[[FieldPath], int]:
    """Where Java's hash map of so many entries has one: of several bad fields the error is of the first."""
    size = 16
    while count > size * 3 // 4:
        size *= 2

    def bucket(path: FieldPath) -> int:
        units = path.text.encode("utf-16-be", "surrogatepass")
        code = 0
        for unit in struct.unpack(f">{len(units) // 2}H", units):
            code = (31 * code + unit) % 2**32
        return (code ^ code >> 16) % size

    return bucket


def _unless_null(change: Any) -> Any:
    return lambda value: None if value is None else change(value)


def _problem(message: str) -> ConfigError:
    return ConfigError([Problem("spec", message)])
