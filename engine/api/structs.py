"""A STRUCT schema becomes a msgspec class, once; its values are instances.

    Schema.struct({"id": INT64, "a-b": OPTIONAL_STRING})
        class Struct(frozen):    id: int,    a_b: str | None = None      (encoded as "a-b")

A missing field takes the schema's default, or None if it is optional; a required one must be given. The types
of the annotations are those of the JSON form, because decoders read them there: a Date is an int, a Decimal its
bytes. Whoever decodes puts the date in afterwards (`converters.json.finish`); a constructor checks no types.

Used by: engine.api.schema.
"""

from __future__ import annotations

import copy
import keyword
import re
import unicodedata
from functools import partial
from typing import Annotated, Any
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta, Struct

from engine.api.schema import PRIMITIVES, Field, Schema

__all__ = ["INT_RANGES", "annotation", "compiled", "is_odd_name"]

INT_RANGES = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
_NOT_A_WORD = re.compile(r"\W")
_ODD_IN_NAME = re.compile(r'[\0-\x1f"\\\ud800-\udfff]')
_CLASH = frozenset(dir(Struct))

# Equal schemas share one class, so that a value fits either; a class nobody uses any more goes, and its entry.
_classes: WeakValueDictionary[Schema, type[Struct]] = WeakValueDictionary()


def compiled(schema: Schema) -> type[Struct]:
    """The class of `schema`'s values."""
    found = _classes.get(schema)
    if found is None:
        found = _classes[schema] = _define(schema)
    return found


def _define(schema: Schema) -> type[Struct]:
    assert schema.type == "STRUCT", schema
    names = attribute_names([field.name for field in schema.fields])
    fields = [
        (name, annotation(field.schema), *_default(field)) for name, field in zip(names, schema.fields, strict=True)
    ]
    return msgspec.defstruct(
        _class_name(schema),
        fields,
        namespace={"__connect_schema__": schema},
        rename={
            name: name if is_odd_name(field.name) else field.name
            for name, field in zip(names, schema.fields, strict=True)
        },
        frozen=True,
        kw_only=True,
        gc=_may_hold_containers(schema),  # a struct of scalars is in no cycle, so the collector need not look at it
    )


def is_odd_name(name: str) -> bool:
    """Whether msgspec cannot encode a member of this name; structs that have one are encoded as dicts."""
    return _ODD_IN_NAME.search(name) is not None


def attribute_names(names: list[str]) -> list[str]:
    """For each field name an attribute name: itself if Python allows, else the nearest; no two are the same."""
    kept = [name if _is_plain(name) else None for name in names]
    taken = {name for name in kept if name}
    result = []
    for name, plain in zip(names, kept, strict=True):
        if plain is None:
            plain = _NOT_A_WORD.sub("_", unicodedata.normalize("NFKC", name)).lstrip("_") or "field"
            if not plain.isidentifier():
                plain = f"field_{plain}"
            while plain in taken or not _is_plain(plain):
                plain += "_"
            taken.add(plain)
        result.append(plain)
    return result


def annotation(schema: Schema) -> Any:
    """The type of a value as JSON carries it; with None if the schema is optional or has a default."""
    kind = _kind(schema)
    return kind | None if schema.optional or schema.default is not None else kind


def _kind(schema: Schema) -> Any:
    if schema.type in INT_RANGES:
        low, high = INT_RANGES[schema.type]
        return Annotated[int, Meta(ge=low, le=high)]
    if schema.type == "STRUCT":
        return schema.struct_type
    if schema.type == "ARRAY":
        return list[_element(schema.value_schema)]  # type: ignore[misc]  # a type made at run time
    if schema.type == "MAP":
        return dict[_element(schema.key_schema), _element(schema.value_schema)]  # type: ignore[misc]  # as above
    simple = {"FLOAT32": float, "FLOAT64": float, "BOOLEAN": bool, "STRING": str, "BYTES": bytes}
    return simple[schema.type]


def _element(schema: Schema | None) -> Any:
    return Any if schema is None else annotation(schema)


def _default(field: Field) -> tuple[Any, ...]:
    default: Any = field.schema.default
    if isinstance(default, list | dict):
        return (msgspec.field(default_factory=partial(copy.deepcopy, default)),)
    if default is not None or field.schema.optional:
        return (default,)
    return ()


def _class_name(schema: Schema) -> str:
    last = (schema.name or "").rpartition(".")[2]
    return last if last.isidentifier() else "Struct"


def _is_plain(name: str) -> bool:
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and name not in _CLASH
        and unicodedata.normalize("NFKC", name) == name
    )


def _may_hold_containers(schema: Schema) -> bool:
    return any(
        _may_hold_containers(field.schema) if field.schema.type == "STRUCT" else field.schema.type not in PRIMITIVES
        for field in schema.fields
    )
