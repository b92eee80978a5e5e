"""A schema of Connect to a JSON Schema, with properties of ours for what JSON has no word for.

    INT8              {"type": "integer", "connect.type": "int8"}
    optional STRING   {"oneOf": [{"type": "null"}, {"type": "string"}]}
    STRUCT            {"type": "object", "properties": {"id": {"connect.index": 0, ...}}}

Used by: converter.py.
Source: what Confluent's converter registers (its JsonSchemaData).
"""

from __future__ import annotations

from typing import Any

from converters.json_schema import names
from converters.json_schema.trees import Trees
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["DIALECT", "JsonSchemas"]

DIALECT = "http://json-schema.org/draft-07/schema#"
_NUMBERS = {"INT8": "integer", "INT16": "integer", "INT32": "integer", "INT64": "integer", "FLOAT32": "number"}
_NUMBERS["FLOAT64"] = "number"


class JsonSchemas:
    """Makes JSON Schemas by the rules of one configured converter."""

    def __init__(self, trees: Trees, *, is_closed: bool, tells_required: bool) -> None:
        """trees: makes the defaults. is_closed: objects have no other members than their properties.

        tells_required: which members must be there is written down.
        """
        self._trees = trees
        self._is_closed = is_closed
        self._tells_required = tells_required

    def of(self, schema: Schema | None) -> dict[str, Any]:
        """The JSON Schema for values of `schema`. Raises DataError for one that there is none for."""
        if schema is None:
            raise DataError("a value without a schema has none to register; expected a value with a schema")
        try:
            return {"$schema": DIALECT, **self._made(schema, None)}
        except RecursionError:
            raise DataError("a schema that is nested too deeply") from None

    def _made(self, schema: Schema | None, index: int | None) -> dict[str, Any]:
        if schema is None:
            raise DataError("elements without a schema have no place in a JSON Schema")
        if schema.type == "STRUCT" and schema.name == names.ONE_OF:
            branches = [self._bare(field.schema, field.index) for field in schema.fields]
            made: dict[str, Any] = {"oneOf": [{"type": "null"}, *branches] if schema.optional else branches}
        elif schema.optional:
            made = {"oneOf": [{"type": "null"}, self._bare(schema, None)]}
        else:
            return self._bare(schema, index)
        return made if index is None else {**made, names.INDEX: index}

    def _bare(self, schema: Schema, index: int | None) -> dict[str, Any]:
        made = self._base(schema)
        if schema.name is not None:
            made["title"] = schema.name
        if schema.doc is not None:
            made["description"] = schema.doc
        if schema.default is not None:
            made["default"] = self._trees.tree(schema.replaced(default=None), schema.default)
        if schema.version is not None:
            made[names.VERSION] = schema.version
        told = {key: one for key, one in (schema.parameters or {}).items() if not key.startswith(names.NAMESPACE)}
        if told:
            made[names.PARAMETERS] = told
        if index is not None:
            made[names.INDEX] = index
        return made

    def _base(self, schema: Schema) -> dict[str, Any]:
        if schema.type in _NUMBERS:
            return {"type": _NUMBERS[schema.type], names.TYPE: schema.type.lower()}
        if schema.type == "BYTES":
            return {"type": "number" if schema.logical == "Decimal" else "string", names.TYPE: "bytes"}
        if schema.type == "BOOLEAN":
            return {"type": "boolean"}
        if schema.type == "STRING":
            symbols = [one for key, one in (schema.parameters or {}).items() if key.startswith(f"{names.ENUM}.")]
            return {"enum": symbols} if symbols else {"type": "string"}
        if schema.type == "ARRAY":
            return {"type": "array", "items": self._made(schema.value_schema, None)}
        if schema.type == "MAP":
            return self._map(schema)
        made: dict[str, Any] = {
            "type": "object",
            "properties": {field.name: self._made(field.schema, field.index) for field in schema.fields},
        }
        required = [field.name for field in schema.fields if not field.schema.optional]
        if self._tells_required and required:
            made["required"] = required
        if self._is_closed:
            made["additionalProperties"] = False
        return made

    def _map(self, schema: Schema) -> dict[str, Any]:
        if names.is_text_keyed(schema):
            value = self._made(schema.value_schema, None)
            return {"type": "object", "additionalProperties": value, names.TYPE: "map"}
        entry = {"key": self._made(schema.key_schema, 0), "value": self._made(schema.value_schema, 1)}
        return {"type": "array", "items": {"type": "object", "properties": entry}, names.TYPE: "map"}
