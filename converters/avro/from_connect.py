"""A schema of Connect to one of Avro, with everything in properties that Avro has no word for.

    INT8               {"type": "int", "connect.type": "int8"}
    optional STRING    ["null", "string"]; with a default ["string", "null"]
    Date               {"type": "int", "connect.version": 1, "connect.name": "...Date", "logicalType": "date"}

Used by: converter.py.
Source: what Confluent's converter registers (its AvroData): the same properties in the same order, so that a registry
takes both for one schema.
"""

from __future__ import annotations

from typing import Any

from converters.avro import anything, names
from converters.avro.defaults import default_tree
from converters.avro.definitions import Raw
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["AvroSchemas", "is_text_keyed"]

_SIMPLE = {
    "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "long", "FLOAT32": "float", "FLOAT64": "double",
    "BOOLEAN": "boolean", "STRING": "string", "BYTES": "bytes",
}  # fmt: skip
_NARROW = {"INT8": "int8", "INT16": "int16"}
_LOGICAL = {"Time": "time-millis", "Timestamp": "timestamp-millis", "Date": "date"}


def is_text_keyed(schema: Schema) -> bool:
    """Whether a MAP is a map of Avro."""
    key = schema.key_schema
    return key is not None and key.type == "STRING" and not key.optional and key.logical is None


class AvroSchemas:
    """Makes schemas of Avro by the rules of one configured converter."""

    def __init__(self, *, has_metadata: bool, is_enhanced: bool, scrubs: bool, has_optional_keys: bool = False) -> None:
        """has_optional_keys: a map whose keys are optional text is a map of Avro all the same."""
        self._has_metadata = has_metadata
        self._is_enhanced = is_enhanced
        self._scrubs = scrubs
        self._has_optional_keys = has_optional_keys

    def of(self, schema: Schema | None) -> Raw:
        """The schema of Avro for values of `schema`. Raises DataError for one that there is none for."""
        if schema is None:
            return anything.SCHEMA
        return _Making(self, schema).made

    def name(self, name: str, what: str) -> str:
        """A name that Avro takes."""
        return names.scrubbed(name) if self._scrubs else names.check_name(name, what)

    def is_map(self, schema: Schema) -> bool:
        """Whether a MAP is a map of Avro, and not an array of pairs."""
        key = schema.key_schema
        if self._has_optional_keys and key is not None and key.type == "STRING" and key.logical is None:
            return True
        return is_text_keyed(schema)

    @property
    def has_metadata(self) -> bool:
        return self._has_metadata

    @property
    def is_enhanced(self) -> bool:
        return self._is_enhanced


class _Making:
    """One schema, and the names it has defined so far."""

    def __init__(self, rules: AvroSchemas, schema: Schema) -> None:
        self._rules = rules
        self._defined: dict[str, Schema] = {}
        self._unnamed = {names.DEFAULT_NAME: 0, names.ENTRY_NAME: 0}
        self._nameless: dict[tuple[str, Schema], str] = {}
        try:
            self.made = self._made(schema, "")
        except RecursionError:
            raise DataError("a schema that is nested too deeply for Avro") from None

    def _made(self, schema: Schema, space: str) -> Raw:
        """A schema, in a union with null if it is optional."""
        if _is_union(schema):
            branches = [self._bare(field.schema.replaced(optional=False), space) for field in schema.fields]
            return ["null", *branches] if schema.optional else branches
        made = self._bare(schema, space)
        if not schema.optional:
            return made
        return ["null", made] if schema.default is None else [made, "null"]

    def _bare(self, schema: Schema, space: str) -> Raw:
        if _is_union(schema):
            raise DataError("a union stands directly in a union, which Avro does not take")
        base = self._base(schema, space)
        if isinstance(base, str):  # a name that is defined
            return base
        described = self._described(schema, base)
        return described["type"] if len(described) == 1 and isinstance(described["type"], str) else described

    def _base(self, schema: Schema, space: str) -> Any:
        if schema.type == "STRUCT":
            return self._record(schema, space)
        if schema.type == "ARRAY":
            return {"type": "array", "items": self._part(schema.value_schema, space)}
        if schema.type == "MAP":
            return self._map(schema, space)
        parameters = schema.parameters or {}
        if schema.type == "STRING" and self._rules.is_enhanced and names.ENUM in parameters:
            return self._enum(schema, space)
        base: dict[str, Any] = {"type": _SIMPLE[schema.type]}
        if schema.type == "BYTES":
            if names.FIXED_SIZE in parameters:
                name = schema.name or names.full_name(names.DEFAULT_NAME, names.NAMESPACE)
                base = self._named(schema, name, space, "fixed")
                if isinstance(base, dict):
                    base["size"] = _number(parameters[names.FIXED_SIZE], names.FIXED_SIZE)
            if schema.logical == "Decimal" and isinstance(base, dict):
                base |= {"scale": schema.scale, "precision": _precision(schema)}
        return base

    def _part(self, schema: Schema | None, space: str) -> Raw:
        if schema is None:
            raise DataError("elements without a schema have no place in a schema of Avro")
        return self._made(schema, space)

    def _map(self, schema: Schema, space: str) -> Any:
        if self._rules.is_map(schema):
            return {"type": "map", "values": self._part(schema.value_schema, space)}
        name = schema.name or self._nameless_name(names.ENTRY_NAME, schema)
        entry = self._named(schema, name, space, "record")
        if isinstance(entry, dict):
            inner = names.split(self._rules.name(name, "a map"))[0]
            entry["fields"] = [
                self._field("key", schema.key_schema, None, inner),
                self._field("value", schema.value_schema, None, inner),
            ]
            if schema.name is not None or not name.endswith(names.ENTRY_NAME):
                entry[names.INTERNAL_TYPE] = names.ENTRY_NAME
        return {"type": "array", "items": entry}

    def _record(self, schema: Schema, space: str) -> Any:
        name = schema.name or self._nameless_name(names.DEFAULT_NAME, schema)
        record = self._named(schema, name, space, "record")
        if isinstance(record, str):
            return record
        parameters = schema.parameters or {}
        if names.RECORD_DOC in parameters:
            record["doc"] = parameters[names.RECORD_DOC]
        inner = names.split(self._rules.name(name, "a struct"))[0]
        record["fields"] = [
            self._field(field.name, field.schema, parameters.get(names.FIELD_DOC + field.name), inner)
            for field in schema.fields
        ]
        found = [field["name"] for field in record["fields"]]
        if len(set(found)) < len(found):
            raise DataError(f"two fields of {name} have one name in Avro: {', '.join(found)}")
        return record

    def _enum(self, schema: Schema, space: str) -> Any:
        parameters = schema.parameters or {}
        name = parameters[names.ENUM]
        enum = self._named(schema, name, space, "enum")
        if isinstance(enum, dict):
            last = names.split(schema.name or names.DEFAULT_NAME)[1]
            if names.ENUM_DOC + last in parameters:
                enum["doc"] = parameters[names.ENUM_DOC + last]
            enum["symbols"] = [value for key, value in parameters.items() if key.startswith(f"{names.ENUM}.")]
            if names.ENUM_DEFAULT + last in parameters:
                enum["default"] = parameters[names.ENUM_DEFAULT + last]
        return enum

    def _nameless_name(self, base: str, schema: Schema) -> str:
        """A name for what has none: each of several schemas has its own number."""
        bare = _bare(schema)
        found = self._nameless.get((base, bare))
        if found is None:
            self._unnamed[base] += 1
            count = self._unnamed[base]
            found = names.full_name(base if count == 1 else f"{base}{count}", names.NAMESPACE)
            self._nameless[base, bare] = found
        return found

    def _named(self, schema: Schema, name: str, space: str, kind: str) -> Any:
        """The beginning of a named type; its name alone where it is defined already. Raises DataError."""
        scrubbed = self._rules.name(name, f"the schema {name}")
        own, last = names.split(scrubbed)
        bare = _bare(schema)
        before = self._defined.get(scrubbed)
        if before is not None:
            if before != bare:
                raise DataError(f"two schemas that differ have the name {name}, and Avro takes one of a name")
            return last if own == space else scrubbed
        self._defined[scrubbed] = bare
        return {"type": kind, "name": last, **({} if own == space else {"namespace": own})}

    def _field(self, name: str, schema: Schema | None, doc: str | None, space: str) -> dict[str, Any]:
        assert schema is not None
        field: dict[str, Any] = {"name": self._rules.name(name, "a field"), "type": self._part(schema, space)}
        if doc is not None:
            field["doc"] = doc
        if schema.default is not None:
            field["default"] = default_tree(schema, schema.default)
        elif schema.optional:
            field["default"] = None
        return field

    def _described(self, schema: Schema, base: dict[str, Any]) -> dict[str, Any]:
        if self._rules.has_metadata:
            if schema.doc is not None:
                base[names.DOC] = schema.doc
            if schema.version is not None:
                base[names.VERSION] = schema.version
            told = {key: one for key, one in (schema.parameters or {}).items() if key != names.FIELD_DEFAULT}
            if told:
                base[names.PARAMETERS] = told
            if schema.default is not None and names.FIELD_DEFAULT not in (schema.parameters or {}):
                base[names.DEFAULT] = default_tree(schema, schema.default)
            if schema.name is not None:
                base[names.NAME] = schema.name
            if schema.type in _NARROW:
                base[names.TYPE] = _NARROW[schema.type]
        if schema.logical is not None:
            base["logicalType"] = _LOGICAL.get(schema.logical, "decimal")
        passed = {key: one for key, one in (schema.parameters or {}).items() if key.startswith(names.PASSED)}
        return base | passed


def _bare(schema: Schema) -> Schema:
    return schema.replaced(optional=False) if schema.optional else schema


def _is_union(schema: Schema) -> bool:
    return schema.type == "STRUCT" and schema.name == names.UNION


def _precision(schema: Schema) -> int:
    return _number((schema.parameters or {}).get(names.PRECISION, str(names.PRECISION_DEFAULT)), names.PRECISION)


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"the parameter {name} is {text}, expected a number") from error
