"""A schema of Avro to one of Connect, with the tree that readers are compiled of.

    {"type": "int", "connect.type": "int8"}      INT8              ["null", "string"]      optional STRING
    {"type": "int", "logicalType": "date"}       Date              ["int", "string"]       a STRUCT with a field each

Used by: converter.py.
Source: what Confluent's converter makes of each (its AvroData), and Avro's specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.avro import anything, names
from converters.avro.defaults import default_of
from converters.avro.definitions import Definitions, Raw, space_of
from converters.avro.nodes import Node
from engine.api.errors import DataError
from engine.api.schema import DATE, STRING, TIME, TIMESTAMP, Schema

__all__ = ["Planner", "union_field"]

_MISSING = object()
_SIMPLE = {
    "boolean": "BOOLEAN", "int": "INT32", "long": "INT64", "float": "FLOAT32", "double": "FLOAT64",
    "bytes": "BYTES", "string": "STRING", "fixed": "BYTES", "enum": "STRING",
}  # fmt: skip
_CONNECT_TYPES = {"int8": "INT8", "int16": "INT16"}
_LOGICAL = {("int", "date"): DATE, ("int", "time-millis"): TIME, ("long", "timestamp-millis"): TIMESTAMP}


class _Draft:
    """A Connect schema while its attributes are put together."""

    def __init__(self, base: Schema) -> None:
        self.base = base
        self.parameters = dict(base.parameters or {})
        self.attributes: dict[str, Any] = {}


class Planner:
    """Plans one registered schema."""

    def __init__(
        self, definitions: Definitions, *, has_metadata: bool, is_enhanced: bool, has_type_docs: bool = True
    ) -> None:
        """has_metadata: properties of Connect count. is_enhanced: names of records keep their namespace."""
        self._definitions = definitions
        self._has_metadata = has_metadata
        self._is_enhanced = is_enhanced
        self._has_type_docs = has_type_docs
        self._within: list[int] = []  # definitions around the one at hand

    def plan(self, version: int | None = None) -> Node:
        """The tree. version: the registry's, for a schema that says none. Raises DataError."""
        root, space = self._definitions.resolved(self._definitions.root, "")
        if isinstance(root, dict) and _is_anything(root, space):
            return Node("anything")
        try:
            return self._plan(root, space, version=version)
        except RecursionError:
            raise DataError("a schema of Avro that is nested too deeply") from None

    def plan_in(self, space: str) -> Node:
        """The tree of a part that stands in a namespace. Raises DataError."""
        return self._plan(self._definitions.root, space)

    def _plan(
        self, raw: Raw, space: str, *, optional: bool = False, default: Any = _MISSING, version: int | None = None
    ) -> Node:
        raw, space = self._definitions.resolved(raw, space)
        if isinstance(raw, list):
            return self._union(raw, space, optional=optional)
        if isinstance(raw, str):
            raw = {"type": raw}
        kind = raw.get("type")
        if isinstance(kind, dict | list):  # a type within a type
            return self._plan(kind, space, optional=optional, default=default, version=version)
        if id(raw) in self._within:
            raise DataError(
                f"the schema {names.full_name(raw.get('name', '?'), space)} holds itself, which no schema here can"
            )
        self._within.append(id(raw))
        try:
            return self._typed(raw, kind, space, optional=optional, default=default, version=version)
        finally:
            self._within.pop()

    def _typed(self, raw: Raw, kind: Any, space: str, *, optional: bool, default: Any, version: int | None) -> Node:
        if kind == "null":
            raise DataError("Standalone null schemas are not supported by this converter")
        if kind == "record" and _is_anything(raw, space):
            return Node("anything")
        if kind in ("record", "error"):
            node, draft = self._record(raw, space)
        elif kind == "array":
            node, draft = self._array(raw, space)
        elif kind == "map":
            value = self._plan(raw["values"], space)
            node, draft = Node("map", parts=(value,)), _Draft(Schema.map(STRING, _schema(value)))
        elif kind in _SIMPLE:
            node, draft = self._scalar(raw, kind, space)
        else:
            raise DataError(f"Couldn't translate unsupported schema type {kind}.")
        self._describe(raw, kind, space, draft, version)
        return self._finished(node, raw, draft, optional=optional, default=default)

    def _finished(self, node: Node, raw: Raw, draft: _Draft, *, optional: bool, default: Any) -> Node:
        told = raw.get(names.DEFAULT, _MISSING)
        if default is _MISSING or default is None:
            default = told
        elif told is _MISSING:
            draft.parameters[names.FIELD_DEFAULT] = "true"
        bare = draft.base.replaced(**draft.attributes, parameters=draft.parameters or None)
        node.schema = bare
        # The default of a struct would be an instance of its own schema, which holds the default: there is none.
        if default is not _MISSING and default is not None and node.kind != "record":
            bare = bare.replaced(default=default_of(node, default))
        node.schema = bare.replaced(optional=True) if optional else bare
        return node

    def _describe(self, raw: Raw, kind: str, space: str, draft: _Draft, version: int | None) -> None:
        if self._has_metadata and isinstance(raw.get(names.DOC), str):
            draft.attributes["doc"] = raw[names.DOC]
        number = raw.get(names.VERSION, version)
        if number is not None:
            if not isinstance(number, int) or isinstance(number, bool):
                raise DataError(f"Invalid Connect version found: {number}")
            if draft.base.version is None:
                draft.attributes["version"] = number
            elif raw.get(names.VERSION) is not None and number != draft.base.version:
                raise DataError(
                    "Mismatched versions: version already added to SchemaBuilder "
                    f"({draft.base.version}) differs from version in source schema ({number})"
                )
        parameters = raw.get(names.PARAMETERS)
        if self._has_metadata and parameters is not None:
            if not isinstance(parameters, dict) or not all(isinstance(one, str) for one in parameters.values()):
                raise DataError(f"Expected schema parameter values to be strings but found: {parameters}")
            draft.parameters.update(parameters)
        for key, value in raw.items():
            if key.startswith(names.PASSED):
                draft.parameters[key] = value if isinstance(value, str) else str(value)
        self._name(raw, kind, space, draft)

    def _name(self, raw: Raw, kind: str, space: str, draft: _Draft) -> None:
        name = raw.get(names.NAME)
        if name is not None and not isinstance(name, str):
            raise DataError(f"Invalid schema name: {name}")
        is_decimal = draft.base.logical == "Decimal"
        if name is None and (kind in ("record", "error", "enum") or (kind == "fixed" and not is_decimal)):
            name = names.full_name(raw["name"], space_of(raw, space))
        if name is None or names.is_default(name):
            return
        if draft.base.name is not None and draft.base.name != name:
            raise DataError(
                f"Mismatched names: name already added to SchemaBuilder ({draft.base.name}) differs from name in "
                f"source schema ({name})"
            )
        draft.attributes["name"] = name

    def _scalar(self, raw: Raw, kind: Any, space: str) -> tuple[Node, _Draft]:
        logical = raw.get("logicalType")
        node = Node(kind, size=raw.get("size", 0) if kind == "fixed" else 0)
        if logical == "decimal" and kind in ("bytes", "fixed"):
            draft = _Draft(_decimal(raw))
        elif (kind, logical) in _LOGICAL:
            draft = _Draft(_LOGICAL[kind, logical])
        else:
            name = _SIMPLE[kind]
            told = raw.get(names.TYPE)
            if kind == "int" and logical is None and told is not None:
                if told not in _CONNECT_TYPES:
                    raise DataError("Connect type annotation for Avro int field is null")
                name = _CONNECT_TYPES[told]
            draft = _Draft(Schema(name))
        if kind == "fixed":
            draft.parameters[names.FIXED_SIZE] = str(node.size)
        if kind == "enum":
            node.symbols = tuple(raw["symbols"])
            self._enum(raw, space, draft)
        return node, draft

    def _enum(self, raw: Raw, space: str, draft: _Draft) -> None:
        name = raw["name"].rpartition(".")[2]
        if self._has_metadata and self._has_type_docs:
            if raw.get("doc") is not None:
                draft.parameters[names.ENUM_DOC + name] = raw["doc"]
            if raw.get("default") is not None:
                draft.parameters[names.ENUM_DEFAULT + name] = raw["default"]
        draft.parameters[names.ENUM] = names.full_name(raw["name"], space_of(raw, space))
        draft.parameters.update({f"{names.ENUM}.{symbol}": symbol for symbol in raw["symbols"]})

    def _array(self, raw: Raw, space: str) -> tuple[Node, _Draft]:
        item, item_space = self._definitions.resolved(raw["items"], space)
        if not _is_entry(item, item_space):
            part = self._plan(raw["items"], space)
            return Node("array", parts=(part,)), _Draft(Schema.array(_schema(part)))
        fields = {field["name"]: field["type"] for field in item["fields"]}
        if [*fields] != ["key", "value"]:
            raise DataError(
                "Found map encoded as array of key-value pairs, but array elements do not match the expected format."
            )
        inner = space_of(item, item_space)
        key, value = self._plan(fields["key"], inner), self._plan(fields["value"], inner)
        draft = _Draft(Schema.map(_schema(key), _schema(value)))
        return Node("entries", parts=(key, value), names=("key", "value")), draft

    def _record(self, raw: Raw, space: str) -> tuple[Node, _Draft]:
        inner = space_of(raw, space)
        fields = []
        parts = []
        parameters = {}
        has_docs = self._has_metadata and self._has_type_docs
        if has_docs and raw.get("doc") is not None:
            parameters[names.RECORD_DOC] = raw["doc"]
        for field in raw["fields"]:
            if has_docs and field.get("doc") is not None:
                parameters[names.FIELD_DOC + field["name"]] = field["doc"]
            try:
                part = self._plan(field["type"], inner, default=field.get("default", _MISSING))
            except DataError as error:
                raise DataError(f"field {field['name']}: {error}") from error
            parts.append(part)
            fields.append((field["name"], _schema(part)))
        draft = _Draft(Schema.struct(fields))
        draft.parameters.update(parameters)
        attributes = draft.base.struct_type.__struct_fields__
        return Node("record", parts=tuple(parts), attributes=attributes, names=tuple(name for name, _ in fields)), draft

    def _union(self, branches: list[Raw], space: str, *, optional: bool) -> Node:
        if len(branches) == 2 and "null" in (kinds := [_kind(one) for one in branches]):
            null_index = kinds.index("null")
            value_index = 1 - null_index
            part = self._plan(branches[value_index], space, optional=True)
            if part.kind == "anything":
                raise DataError("a value without a schema is null by itself, and in no union")
            return Node("nullable", part.schema, parts=(part,), null_index=null_index, value_index=value_index)
        parts: list[Node | None] = []
        fields: dict[str, Schema] = {}
        for branch in branches:
            if _kind(branch) == "null":
                parts.append(None)
                optional = True
                continue
            name = union_field(*self._definitions.resolved(branch, space), is_enhanced=self._is_enhanced)
            if name in fields:
                raise DataError("Multiple union schemas map to the Connect union field name")
            part = self._plan(branch, space, optional=True)
            parts.append(part)
            fields[name] = _schema(part)
        schema = Schema.struct(fields, name=names.UNION)
        attributes = iter(schema.struct_type.__struct_fields__)
        found = iter(fields)
        node = Node(
            "union",
            schema,
            tuple(parts),
            tuple(None if part is None else next(attributes) for part in parts),
            tuple("null" if part is None else next(found) for part in parts),
        )
        if optional:
            node.schema = schema.replaced(optional=True)
        return node


def union_field(raw: Raw, space: str, *, is_enhanced: bool) -> str:
    """The name of the field for a branch of a union."""
    if isinstance(raw, dict) and raw.get("type") in ("record", "error", "enum", "fixed"):
        name = names.full_name(raw["name"], space_of(raw, space))
        return name if is_enhanced else names.split(name)[1]
    return str(_kind(raw))


def _kind(raw: Raw) -> Any:
    while isinstance(raw, Mapping):
        raw = raw["type"]
    return raw if isinstance(raw, str) else "union"


def _schema(node: Node) -> Schema:
    if node.schema is None:
        raise DataError("a value without a schema stands alone, and in no other")
    return node.schema


def _is_anything(raw: Raw, space: str) -> bool:
    return names.full_name(raw.get("name", ""), space_of(raw, space)) == anything.NAME if raw.get("name") else False


def _is_entry(raw: Raw, space: str) -> bool:
    if not isinstance(raw, dict) or raw.get("type") != "record":
        return False
    is_ours = space_of(raw, space) == names.NAMESPACE and raw["name"].rpartition(".")[2] == names.ENTRY_NAME
    return is_ours or raw.get(names.INTERNAL_TYPE) == names.ENTRY_NAME


def _decimal(raw: Raw) -> Schema:
    scale = raw.get("scale", 0)
    precision = raw.get("precision")
    for number, word in ((scale, "scale"), (precision, "precision")):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise DataError(f"{word} must be specified and must be a number.")
    is_told = precision is not None and precision != names.PRECISION_DEFAULT
    return Schema.decimal(scale, parameters={names.PRECISION: str(precision)} if is_told else None)
