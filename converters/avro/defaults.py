"""Defaults between values of Connect and the JSON in which a schema of Avro holds them.

    Date        date(2024, 1, 1)   ◄──►  19723            BYTES    b"\\xff"   ◄──►  "\\u00ff"
    STRUCT      Order(id=1)        ◄──►  {"id": 1}        FLOAT64  NaN       ◄──►  "NaN"

Used by: to_connect.py, from_connect.py, binding.py.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from converters.avro.nodes import Node
from converters.json import logical
from converters.registry import zigzag
from engine.api.errors import DataError
from engine.api.java_scalars import round_to_float32
from engine.api.map_keys import as_key
from engine.api.schema import Schema

__all__ = ["default_bytes", "default_of", "default_tree"]

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def default_of(node: Node, tree: Any) -> Any:
    """The value that JSON stands for under a schema. Raises DataError for one that is none of it."""
    if tree is None:
        return None
    try:
        return _value(node, tree)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise DataError(f"the default {str(tree)[:200]} is no {node.kind}") from error


def _value(node: Node, tree: Any) -> Any:
    schema = node.schema
    if node.kind in ("nullable", "union"):
        return _of_union(node, tree)
    assert schema is not None
    if node.kind == "record":
        members = {
            attribute: default_of(part, tree[name])
            for attribute, name, part in zip(node.attributes, node.names, node.parts, strict=True)
            if attribute is not None and part is not None and name in tree
        }
        return schema.struct_type(**members)
    if node.kind == "array":
        return [default_of(node.inner, one) for one in tree]
    if node.kind == "map":
        return {key: default_of(node.inner, one) for key, one in tree.items()}
    if node.kind == "entries":
        key, value = node.parts
        assert key is not None
        assert value is not None
        pairs = [(one["key"], one["value"]) if isinstance(one, dict) else one for one in tree]
        return {as_key(default_of(key, one)): default_of(value, other) for one, other in pairs}
    return _scalar(schema, node.kind, tree)


def _of_union(node: Node, tree: Any) -> Any:
    if node.kind == "nullable":
        return default_of(node.inner, tree)
    first, attribute = node.parts[0], node.attributes[0]
    if first is None or attribute is None or node.schema is None:
        return None
    return node.schema.struct_type(**{attribute: default_of(first, tree)})


def _scalar(schema: Schema, kind: str, tree: Any) -> Any:
    if kind in ("bytes", "fixed"):
        encoded = tree.encode("latin-1")
        return logical.decimal_of(encoded, schema.scale) if schema.logical == "Decimal" else encoded
    if kind in ("float", "double"):
        number = _FLOATS[tree] if isinstance(tree, str) else float(tree)
        return round_to_float32(number) if kind == "float" else number
    rules = {"Date": logical.date_of, "Time": logical.time_of, "Timestamp": logical.timestamp_of}
    if schema.logical in rules:
        return rules[schema.logical](int(tree))
    if kind in ("int", "long") and (not isinstance(tree, int) or isinstance(tree, bool)):
        raise TypeError
    return tree


def default_tree(schema: Schema | None, value: Any) -> Any:
    """The JSON of a default. Raises DataError."""
    if value is None or schema is None:
        return None
    if schema.logical == "Decimal":
        return logical.decimal_from(schema, value).decode("latin-1")
    if schema.logical == "Date":
        return logical.days_from(value)
    if schema.logical is not None:
        return logical.milliseconds_from(schema, value)
    if schema.type == "BYTES":
        return bytes(value).decode("latin-1")
    if schema.type in ("FLOAT32", "FLOAT64") and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if schema.type == "ARRAY":
        return [default_tree(schema.value_schema, one) for one in value]
    if schema.type == "MAP":
        if schema.key_schema is not None and schema.key_schema.type == "STRING" and not schema.key_schema.optional:
            return {key: default_tree(schema.value_schema, one) for key, one in value.items()}
        return [
            [default_tree(schema.key_schema, key), default_tree(schema.value_schema, one)] for key, one in value.items()
        ]
    if schema.type == "STRUCT":
        return {field.name: default_tree(field.schema, schema.get(value, field.name)) for field in schema.fields}
    return value


def default_bytes(node: Node, tree: Any) -> bytes:
    """The encoding of a default of a field that a value does not have, as Avro's specification has it."""
    if node.kind in ("nullable", "union"):
        part = node.parts[0]
        if node.kind == "nullable":
            is_null = node.null_index == 0
            return zigzag.written(0) if is_null else zigzag.written(node.value_index) + default_bytes(node.inner, tree)
        return zigzag.written(0) + (b"" if part is None else default_bytes(part, tree))
    if node.kind == "record":
        parts = zip(node.names, node.parts, strict=True)
        return b"".join(default_bytes(part, tree[name]) for name, part in parts if part is not None)
    if node.kind == "array":
        items = [default_bytes(node.inner, one) for one in tree]
        return (zigzag.written(len(items)) + b"".join(items) if items else b"") + b"\0"
    if node.kind == "map":
        pairs = [_text(key) + default_bytes(node.inner, one) for key, one in tree.items()]
        return (zigzag.written(len(pairs)) + b"".join(pairs) if pairs else b"") + b"\0"
    return _scalar_bytes(node, tree)


def _scalar_bytes(node: Node, tree: Any) -> bytes:
    if node.kind in ("int", "long"):
        return zigzag.written(tree)
    if node.kind == "boolean":
        return b"\1" if tree else b"\0"
    if node.kind in ("float", "double"):
        number = _FLOATS[tree] if isinstance(tree, str) else float(tree)
        return struct.pack("<f" if node.kind == "float" else "<d", number)
    if node.kind == "enum":
        return zigzag.written(node.symbols.index(tree))
    if node.kind == "fixed":
        return str(tree).encode("latin-1")
    if node.kind == "bytes":
        encoded = str(tree).encode("latin-1")
        return zigzag.written(len(encoded)) + encoded
    if node.kind == "string":
        return _text(tree)
    raise DataError(f"no default of {node.kind} can be written")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return zigzag.written(len(encoded)) + encoded
