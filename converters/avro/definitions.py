"""A registered schema of Avro: its text, checked, and every named type in it by its full name.

Used by: to_connect.py, binding.py, converter.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from converters.avro.names import PRIMITIVES, full_name
from engine.api.errors import DataError

__all__ = ["Definitions", "Raw", "definitions_of"]

Raw = Any
_NAMED = ("record", "error", "enum", "fixed")


class Definitions(NamedTuple):
    """A schema, and what its names stand for, each with the namespace around it."""

    root: Raw
    named: Mapping[str, tuple[Raw, str]]

    def resolved(self, raw: Raw, space: str) -> tuple[Raw, str]:
        """A schema, or what its name stands for, and the namespace around that. Raises DataError."""
        if not isinstance(raw, str) or raw in PRIMITIVES:
            return raw, space
        found = self.named.get(full_name(raw, space)) or self.named.get(raw)
        if found is None:
            raise DataError(f"the schema uses the name {full_name(raw, space)}, which nothing defines")
        return found


def definitions_of(text: str, referred: Mapping[str, str]) -> Definitions:
    """The schema of a text. referred: texts of the schemas it refers to. Raises DataError for what is no schema."""
    named: dict[str, tuple[Raw, str]] = {}
    known: dict[str, Any] = {}
    for one in (*referred.values(), text):
        root = _parsed(one)
        try:
            fastavro.parse_schema(_plain(root), named_schemas=known, _write_hint=False)
        except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"no schema of Avro: {error}: {one[:200]}") from error
        except RecursionError:
            raise DataError("a schema of Avro that is nested too deeply") from None
        _collect(root, "", named)
    return Definitions(root, named)


def _parsed(text: str) -> Raw:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text  # a primitive's name may stand without quotes


def _plain(raw: Raw) -> Raw:
    """Without logical types: what is wrong with one, makes it none."""
    if isinstance(raw, dict):
        return {key: value if key == "default" else _plain(value) for key, value in raw.items() if key != "logicalType"}
    return [*map(_plain, raw)] if isinstance(raw, list) else raw


def _collect(raw: Raw, space: str, named: dict[str, tuple[Raw, str]]) -> None:
    if isinstance(raw, list):
        for one in raw:
            _collect(one, space, named)
        return
    if not isinstance(raw, dict):
        return
    kind = raw.get("type")
    if isinstance(kind, dict | list):
        _collect(kind, space, named)
    elif kind in _NAMED:
        own_space = space_of(raw, space)
        named[full_name(raw["name"], own_space)] = (raw, space)
        for field in raw.get("fields", ()):
            _collect(field["type"], own_space, named)
    for part in ("items", "values"):
        if part in raw:
            _collect(raw[part], space, named)


def space_of(raw: Raw, space: str) -> str:
    """The namespace within a named type that stands in another."""
    name = raw["name"]
    if "." in name:
        return str(name.rpartition(".")[0])
    return str(raw.get("namespace", space) or "")
