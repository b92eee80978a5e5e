"""Schemas as JSON, in both directions.

    INT32, optional, named "n"   ◄──►   {"type":"int32","optional":true,"name":"n"}

Source: Kafka Connect's JsonConverter (its reference, section 7.1).
"""

from __future__ import annotations

from typing import Any

from converters.json.lenient import to_value
from converters.json.wire import Wire
from engine.api.errors import DataError, SchemaBuilderError
from engine.api.schema import Field, Schema

__all__ = ["schema_from_tree", "tree_of"]

# Java's names of types and JSON's differ in more than case.
_NAMES = {"FLOAT32": "float", "FLOAT64": "double"} | {
    name: name.lower()
    for name in ("BOOLEAN", "INT8", "INT16", "INT32", "INT64", "BYTES", "STRING", "ARRAY", "MAP", "STRUCT")
}
_TYPES = {name: kind for kind, name in _NAMES.items()}


def tree_of(schema: Schema, wire: Wire) -> dict[str, Any]:
    """What to encode for a schema, its members in Kafka Connect's order. wire: for its defaults."""
    tree: dict[str, Any] = {"type": _NAMES[schema.type]}
    if schema.type == "ARRAY":
        tree["items"] = _tree_or_null(schema.value_schema, wire)
    elif schema.type == "MAP":
        tree["keys"] = _tree_or_null(schema.key_schema, wire)
        tree["values"] = _tree_or_null(schema.value_schema, wire)
    elif schema.type == "STRUCT":
        tree["fields"] = [{**tree_of(field.schema, wire), "field": field.name} for field in schema.fields]
    tree["optional"] = schema.optional
    for member in ("name", "version", "doc", "parameters"):
        value = getattr(schema, member)
        if value is not None:
            tree[member] = value
    if schema.default is not None:
        tree["default"] = wire.column(schema, [schema.default])[0]
    return tree


def _tree_or_null(schema: Schema | None, wire: Wire) -> dict[str, Any] | None:
    return None if schema is None else tree_of(schema, wire)


def schema_from_tree(tree: Any, *, replace_null: bool) -> Schema | None:
    """The schema that a tree describes; None of null. replace_null: for its default. Raises DataError."""
    if tree is None:
        return None
    members: dict[str, Any] = tree if isinstance(tree, dict) else {}
    name = members.get("type")
    if not isinstance(name, str):
        raise DataError("Schema must contain 'type' field")
    kind = _TYPES.get(name)
    if kind is None:
        raise DataError(f"Unknown schema type: {name}")
    schema = Schema(
        kind,
        optional=members.get("optional") is True,
        **_parts(kind, members, replace_null=replace_null),
        **_attributes(members),
    )
    if "default" not in members:
        return schema
    value = to_value(schema, members["default"], replace_null=replace_null)
    if value is None and schema.optional:
        return schema
    if value is None or kind == "STRUCT":  # Kafka Connect cannot read the default of a struct either
        raise SchemaBuilderError("Invalid default value")
    return schema.replaced(default=value)


def _parts(kind: str, members: dict[str, Any], *, replace_null: bool) -> dict[str, Any]:
    def part(member: str, missing: str) -> Schema | None:
        if members.get(member) is None:
            raise DataError(missing)
        return schema_from_tree(members[member], replace_null=replace_null)

    if kind == "ARRAY":
        return {"value_schema": part("items", "Array schema did not specify the element type")}
    if kind == "MAP":
        keys = part("keys", "Map schema did not specify the key type")
        return {"key_schema": keys, "value_schema": part("values", "Map schema did not specify the value type")}
    if kind != "STRUCT":
        return {}
    fields = members.get("fields")
    if not isinstance(fields, list):
        raise DataError('Struct schema\'s "fields" argument is not an array.')
    found = []
    for index, tree in enumerate(fields):
        name = tree.get("field") if isinstance(tree, dict) else None
        if not isinstance(name, str):
            raise DataError("Struct schema's field name not specified properly")
        schema = schema_from_tree(tree, replace_null=replace_null)
        assert schema is not None
        found.append(Field(name, index, schema))
    return {"fields": tuple(found)}


def _attributes(members: dict[str, Any]) -> dict[str, Any]:
    """Name, version, doc and parameters; one of a wrong type counts as missing."""
    found: dict[str, Any] = {}
    for member in ("name", "doc"):
        if isinstance(members.get(member), str):
            found[member] = members[member]
    version = members.get("version")
    if isinstance(version, int) and not isinstance(version, bool):
        found["version"] = (version + 2**31) % 2**32 - 2**31  # a cast to 32 bits, as in Java
    parameters = members.get("parameters")
    if isinstance(parameters, dict):
        if not all(isinstance(text, str) for text in parameters.values()):
            raise DataError("Schema parameters must have string values.")
        found["parameters"] = parameters
    return found
