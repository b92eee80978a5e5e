"""A JSON Schema to one of Connect.

    {"type": "integer"}  INT64, or what `connect.type` says      {"oneOf": [{"type": "null"}, X]}   an optional X
    {"type": "object"}   a STRUCT of its properties              {"oneOf": [X, Y]}                  a STRUCT of both

Used by: converter.py.
Source: what Confluent's converter makes of each (its JsonSchemaData).
Not here: whether a value is valid under the schema (converter.py, by jsonschema-rs).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urljoin

import msgspec

from converters.json_schema import names
from converters.json_schema.trees import Trees
from engine.api.errors import DataError
from engine.api.schema import STRING, Schema

__all__ = ["connect_schema"]

_CONNECT_TYPES = {
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float32": "FLOAT32", "float64": "FLOAT64", "bytes": "BYTES",
}  # fmt: skip
_PLAIN = {"integer": "INT64", "number": "FLOAT64", "boolean": "BOOLEAN", "string": "STRING"}
Raw = Any
#: Numbers with a point are Decimals, of which a default may have more digits than a float.
_PARSE = msgspec.json.Decoder(float_hook=Decimal).decode


def connect_schema(
    text: str, referred: Mapping[str, str], trees: Trees, *, version: int | None, may_miss: bool = False
) -> Schema:
    """The Connect schema of a text. trees: reads the defaults. may_miss: members that are not required are optional.

    referred: texts of the schemas it refers to, by their names. Raises DataError.
    """
    reader = _Reader(
        {"": _parsed(text), **{name: _parsed(one) for name, one in referred.items()}}, trees, may_miss=may_miss
    )
    try:
        return reader.made(reader.documents[""], "", version=version)
    except RecursionError:
        raise DataError("a JSON Schema that is nested too deeply") from None


def _parsed(text: str) -> Raw:
    try:
        return _PARSE(text)
    except (msgspec.DecodeError, ArithmeticError) as error:  # 1e99999999999999999999 is no Decimal
        raise DataError(f"no JSON Schema: {error}: {text[:200]}") from error


class _Reader:
    def __init__(self, documents: dict[str, Raw], trees: Trees, *, may_miss: bool) -> None:
        self._may_miss = may_miss
        self.documents = documents
        for document in [*documents.values()]:
            if isinstance(document, dict) and isinstance(document.get("$id"), str):
                self.documents.setdefault(document["$id"], document)
        self._trees = trees
        self._within: list[int] = []

    def made(self, raw: Raw, base: str, *, version: int | None = None, optional: bool = False) -> Schema:
        """The schema of a part of the document that stands under `base`."""
        if not isinstance(raw, dict):
            raise DataError(f"{str(raw)[:100]} in a JSON Schema says of no type what it is")
        if "$ref" in raw:
            target, base = self._resolved(raw["$ref"], base)
            return self._once(target, base, version=version, optional=optional)
        for word in ("oneOf", "anyOf"):
            if word in raw:
                return self._one_of(raw, raw[word], base, version=version, optional=optional)
        kind = raw.get("type")
        if isinstance(kind, list):
            others = [one for one in kind if one != "null"]
            is_null = len(others) < len(kind)
            if len(others) != 1:
                branches = [{**raw, "type": one} for one in others]
                return self._one_of(raw, branches, base, version=version, optional=optional or is_null)
            return self.made({**raw, "type": others[0]}, base, version=version, optional=optional or is_null)
        if "allOf" in raw:
            return self._all_of(raw, base, version=version, optional=optional)
        return self._described(raw, self._base(raw, kind, base), version=version, optional=optional)

    def _once(self, raw: Raw, base: str, *, version: int | None, optional: bool) -> Schema:
        if id(raw) in self._within:
            raise DataError(
                "a JSON Schema that refers to itself is a schema without an end, which there is none for here"
            )
        self._within.append(id(raw))
        try:
            return self.made(raw, base, version=version, optional=optional)
        finally:
            self._within.pop()

    def _resolved(self, reference: Any, base: str) -> tuple[Raw, str]:
        place, _, pointer = str(reference).partition("#")
        if place:
            base = place if place in self.documents else urljoin(base, place)
        if base not in self.documents:
            raise DataError(f"the JSON Schema refers to {reference}, which is neither in it nor among its references")
        found = self.documents[base]
        for part in [one for one in pointer.split("/") if one]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, ValueError, IndexError, TypeError):
                raise DataError(f"the JSON Schema refers to {reference}, which is not there") from None
        return found, base

    def _all_of(self, raw: Raw, base: str, *, version: int | None, optional: bool) -> Schema:
        merged: dict[str, Any] = {key: one for key, one in raw.items() if key != "allOf"}
        for part in raw["allOf"]:
            one = part
            while isinstance(one, dict) and "$ref" in one:
                one, base = self._resolved(one["$ref"], base)
            if not isinstance(one, dict):
                continue
            for key, found in one.items():
                if key == "properties" and "properties" in merged:
                    merged[key] = {**merged[key], **found}
                else:
                    merged.setdefault(key, found)
        return self.made(merged, base, version=version, optional=optional)

    def _one_of(self, raw: Raw, branches: list[Raw], base: str, *, version: int | None, optional: bool) -> Schema:
        others = [one for one in branches if not _is_null(one)]
        optional = optional or len(others) < len(branches)
        if len(others) == 1 and len(branches) == 2:
            return self.made(others[0], base, version=version, optional=True)
        fields = {
            f"{names.ONE_OF}.field.{number}": self.made(one, base, optional=True) for number, one in enumerate(others)
        }
        return Schema.struct(fields, name=names.ONE_OF, optional=optional)

    def _base(self, raw: Raw, kind: Any, base: str) -> Schema:
        told = raw.get(names.TYPE)
        if kind is None:
            kind = "object" if "properties" in raw else "string" if "enum" in raw or "const" in raw else None
        if kind in ("integer", "number", "string") and told is not None:
            if told not in _CONNECT_TYPES:
                raise DataError(f"Unsupported type {told}")
            return Schema(_CONNECT_TYPES[told])
        if kind == "string" and "enum" in raw:
            # They have no name in JSON.
            symbols = {f"{names.ENUM}.{symbol}": str(symbol) for symbol in raw["enum"]}
            return Schema("STRING", parameters={names.ENUM: "", **symbols})
        if kind in _PLAIN:
            return Schema(_PLAIN[kind])
        if kind == "array":
            return self._array(raw, told, base)
        if kind == "object":
            return self._object(raw, told, base)
        raise DataError(f"Unsupported schema type {kind}: {str(raw)[:200]}")

    def _array(self, raw: Raw, told: Any, base: str) -> Schema:
        items = raw.get("items")
        if not isinstance(items, dict):
            raise DataError("Array schema did not specify the items type")
        properties = items.get("properties")
        if told == "map" and isinstance(properties, dict) and {"key", "value"} <= set(properties):
            return Schema.map(self.made(properties["key"], base), self.made(properties["value"], base))
        return Schema.array(self.made(items, base))

    def _object(self, raw: Raw, told: Any, base: str) -> Schema:
        rest = raw.get("additionalProperties")
        if told == "map" or (isinstance(rest, dict) and not raw.get("properties")):
            if not isinstance(rest, dict):
                raise DataError("a map whose values have no schema (additionalProperties) is none of Connect's")
            return Schema.map(STRING, self.made(rest, base))
        required = set(raw.get("required", ()))
        ordered = sorted(enumerate(raw.get("properties", {}).items()), key=_index)
        fields = []
        for _, (name, part) in ordered:
            try:
                field = self.made(part, base, optional=self._may_miss and name not in required)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
            fields.append((name, field))
        return Schema.struct(fields)

    def _described(self, raw: Raw, schema: Schema, *, version: int | None, optional: bool) -> Schema:
        attributes: dict[str, Any] = {}
        if isinstance(raw.get("title"), str):
            attributes["name"] = raw["title"]
        if isinstance(raw.get("description"), str):
            attributes["doc"] = raw["description"]
        number = raw.get(names.VERSION, version)
        if isinstance(number, int):
            attributes["version"] = number
        parameters = raw.get(names.PARAMETERS)
        if isinstance(parameters, dict):
            attributes["parameters"] = {
                **(schema.parameters or {}),
                **{key: str(one) for key, one in parameters.items()},
            }
        made = schema.replaced(**attributes)
        default = raw.get("default")
        if default is not None and made.type != "STRUCT":
            made = made.replaced(default=self._trees.value(made, default))
        return made.replaced(optional=True) if optional else made


def _is_null(raw: Raw) -> bool:
    return isinstance(raw, dict) and raw.get("type") == "null"


def _index(numbered: tuple[int, tuple[str, Any]]) -> tuple[int, int]:
    number, (_, part) = numbered
    told = part.get(names.INDEX) if isinstance(part, dict) else None
    return (told if isinstance(told, int) else number, number)
