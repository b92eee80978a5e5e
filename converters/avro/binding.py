"""Values of a schema of Connect under a schema of Avro: which goes where, decided once.

    STRUCT(id INT64, note optional STRING)
    record(id long, note ["null", "string"], tag string = "new")   ──►   id, note, and the bytes of "new"

The schema of Avro is the one made of Connect's, or the one that the registry has (use.latest.version,
use.schema.id). Fields meet by name; an int may be written as a long and a float as a double, which is the same value.

Used by: converter.py.
"""

from __future__ import annotations

from typing import Any

from converters.avro import names
from converters.avro.defaults import default_bytes
from converters.avro.definitions import Definitions, Raw, space_of
from converters.avro.from_connect import AvroSchemas
from converters.avro.nodes import Node
from converters.avro.to_connect import Planner, union_field
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["Binder"]

_TAKES = {
    "INT8": ("int", "long"), "INT16": ("int", "long"), "INT32": ("int", "long"), "INT64": ("long",),
    "FLOAT32": ("float", "double"), "FLOAT64": ("double",), "BOOLEAN": ("boolean",), "STRING": ("string", "enum"),
    "BYTES": ("bytes", "fixed"), "ARRAY": ("array",), "STRUCT": ("record",),
}  # fmt: skip


class Binder:
    """Binds schemas of Connect to one schema of Avro."""

    def __init__(self, definitions: Definitions, rules: AvroSchemas, *, is_strict: bool) -> None:
        """is_strict: a field that the schema of Avro lacks is an error, else it is left out."""
        self._definitions = definitions
        self._rules = rules
        self._is_strict = is_strict

    def bind(self, schema: Schema | None) -> Node:
        """The tree that a writer is compiled of. Raises DataError where the two do not meet."""
        if schema is None:
            return Node("anything")
        try:
            return self._bind(schema, self._definitions.root, "", "$")
        except RecursionError:
            raise DataError("a schema that is nested too deeply for Avro") from None

    def _bind(self, schema: Schema, raw: Raw, space: str, path: str) -> Node:
        raw, space = self._definitions.resolved(raw, space)
        while isinstance(raw, dict) and isinstance(raw.get("type"), dict | list):
            raw, space = self._definitions.resolved(raw["type"], space)
        if isinstance(raw, list):
            return self._to_union(schema, raw, space, path)
        if isinstance(raw, str):
            raw = {"type": raw}
        kind = raw["type"]
        if schema.type == "MAP":
            return self._map(schema, raw, space, path)
        if kind not in _TAKES[schema.type] or (schema.logical and kind in ("enum", "long") and schema.type != "INT64"):
            raise DataError(f"{path}: {_shown(schema)} cannot be written as {_shown_raw(raw)} of the registered schema")
        if kind == "record":
            return self._record(schema, raw, space, path)
        if kind == "array":
            assert schema.value_schema is not None
            part = self._bind(schema.value_schema, raw["items"], space, f"{path}[]")
            return Node("array", schema, (part,))
        node = Node(kind, schema)
        if kind == "enum":
            node.symbols = tuple(raw["symbols"])
        elif kind == "fixed":
            node.size = raw["size"]
        self._check_decimal(schema, raw, path)
        return node

    def _check_decimal(self, schema: Schema, raw: dict[str, Any], path: str) -> None:
        if schema.logical == "Decimal" and raw.get("logicalType") == "decimal":
            scale = raw.get("scale", 0)
            if scale != schema.scale:
                raise DataError(f"{path}: a decimal of scale {schema.scale}, the registered schema has scale {scale}")

    def _record(self, schema: Schema, raw: dict[str, Any], space: str, path: str) -> Node:
        inner = space_of(raw, space)
        ours = {self._rules.name(field.name, "a field"): field for field in schema.fields}
        kept = schema.struct_type.__struct_fields__
        parts = []
        attributes: list[str | None] = []
        for told in raw["fields"]:
            name = told["name"]
            field = ours.pop(name, None)
            if field is None:
                parts.append(self._constant(told, inner, f"{path}.{name}"))
                attributes.append(None)
                continue
            part = self._bind(field.schema, told["type"], inner, f"{path}.{name}")
            part.default = field.schema.default
            parts.append(part)
            attributes.append(kept[field.index])
        if ours and self._is_strict:
            raise DataError(
                f"{path}: the registered schema has no field {', '.join(ours)}; "
                "latest.compatibility.strict=false (id.compatibility.strict=false) leaves such fields out"
            )
        return Node(
            "record", schema, tuple(parts), tuple(attributes), tuple(str(told["name"]) for told in raw["fields"])
        )

    def _constant(self, told: dict[str, Any], space: str, path: str) -> Node:
        if "default" not in told:
            raise DataError(f"{path}: the registered schema wants this field, and the value's schema has none of it")
        within = Definitions(told["type"], self._definitions.named)
        planner = Planner(within, has_metadata=False, is_enhanced=self._rules.is_enhanced)
        return Node("constant", constant=default_bytes(planner.plan_in(space), told["default"]))

    def _map(self, schema: Schema, raw: dict[str, Any], space: str, path: str) -> Node:
        assert schema.key_schema is not None
        assert schema.value_schema is not None
        if raw["type"] == "map" and schema.key_schema.type == "STRING":
            return Node("map", schema, (self._bind(schema.value_schema, raw["values"], space, f"{path}{{}}"),))
        if raw["type"] != "array":
            raise DataError(f"{path}: {_shown(schema)} cannot be written as {_shown_raw(raw)} of the registered schema")
        item, item_space = self._definitions.resolved(raw["items"], space)
        inner = space_of(item, item_space)
        fields = {field["name"]: field["type"] for field in item.get("fields", ())} if isinstance(item, dict) else {}
        if [*fields] != ["key", "value"]:
            raise DataError(f"{path}: a map is written as an array of records of key and value")
        key = self._bind(schema.key_schema, fields["key"], inner, f"{path}{{key}}")
        value = self._bind(schema.value_schema, fields["value"], inner, f"{path}{{}}")
        return Node("entries", schema, (key, value), names=("key", "value"))

    def _to_union(self, schema: Schema, branches: list[Raw], space: str, path: str) -> Node:
        null_index = next((index for index, one in enumerate(branches) if one in ("null", {"type": "null"})), None)
        if schema.type == "STRUCT" and schema.name == names.UNION:
            return self._union(schema, branches, space, path)
        refused = []
        for index, branch in enumerate(branches):
            if index == null_index:
                continue
            try:
                part = self._bind(schema, branch, space, path)
            except DataError as error:
                refused.append(str(error))
                continue
            return Node("nullable", schema, (part,), null_index=null_index, value_index=index)
        raise DataError(refused[0] if refused else f"{path}: a union of the registered schema has no branch")

    def _union(self, schema: Schema, branches: list[Raw], space: str, path: str) -> Node:
        kept = schema.struct_type.__struct_fields__
        parts: list[Node | None] = []
        attributes: list[str | None] = []
        found: list[str] = []
        for branch in branches:
            if branch in ("null", {"type": "null"}):
                parts.append(None)
                attributes.append(None)
                found.append("null")
                continue
            resolved = self._definitions.resolved(branch, space)
            name = union_field(*resolved, is_enhanced=self._rules.is_enhanced)
            field = schema.field(name) or schema.field(union_field(*resolved, is_enhanced=not self._rules.is_enhanced))
            found.append(name)
            attributes.append(None if field is None else kept[field.index])
            parts.append(
                Node("constant") if field is None else self._bind(field.schema, branch, space, f"{path}.{name}")
            )
        lost = {field.name for field in schema.fields} - set(found)
        if lost and len([one for one in attributes if one]) < len(schema.fields):
            raise DataError(f"{path}: the registered union has no branch for {', '.join(sorted(lost))}")
        return Node("union", schema, tuple(parts), tuple(attributes), tuple(found))


def _shown(schema: Schema) -> str:
    return f"{schema.type} {schema.name}" if schema.name else schema.type


def _shown_raw(raw: dict[str, Any]) -> str:
    return f"{raw['type']} {raw['name']}" if "name" in raw else str(raw["type"])
