"""Connect's types and PostgreSQL's, both ways.

    INT16 ──► smallint ──► INT16        Timestamp ──► timestamp with time zone ──► Timestamp
    INT8  ──► smallint                  MAP, STRUCT ──► jsonb ──► STRING

A table that we make has the types of `sql_type`. For a table that is there `schema_of_type` tells what a column holds
in Connect's words, which errors name.

Used by: tables.py, texts.py, writing.py.
Not here: how a value is written (texts.py).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from connectors.postgres.config import literal
from engine.api.errors import ConfigError
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT16,
    INT32,
    INT64,
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
)

__all__ = ["Kind", "connect_words", "default_sql", "kind_of_type", "schema_of_type", "sql_type"]

#: How values of a column are written: as they are, as bytes, as JSON, as an array's elements.
Kind = Literal["plain", "bytes", "json", "array"]

_SQL: Mapping[str, str] = {
    "INT8": "smallint",
    "INT16": "smallint",
    "INT32": "integer",
    "INT64": "bigint",
    "FLOAT32": "real",
    "FLOAT64": "double precision",
    "BOOLEAN": "boolean",
    "STRING": "text",
    "BYTES": "bytea",
    "MAP": "jsonb",
    "STRUCT": "jsonb",
}
_LOGICAL: Mapping[str, str] = {
    "Decimal": "numeric",
    "Date": "date",
    "Time": "time without time zone",
    "Timestamp": "timestamp with time zone",
}
#: Types without what stands in brackets; others are read as text.
_SCHEMAS: Mapping[str, Schema] = {
    "smallint": INT16,
    "integer": INT32,
    "bigint": INT64,
    "real": FLOAT32,
    "double precision": FLOAT64,
    "boolean": BOOLEAN,
    "bytea": BYTES,
    "date": DATE,
    "time without time zone": TIME,
    "timestamp without time zone": TIMESTAMP,
    "timestamp with time zone": TIMESTAMP,
}
_BRACKETS = re.compile(r"\(([-\d,]+)\)")


def sql_type(schema: Schema) -> str:
    """The type of a column for values of this schema."""
    if schema.logical:
        return _LOGICAL[schema.logical]
    if schema.type != "ARRAY":
        return _SQL[schema.type]
    item = schema.value_schema
    # PostgreSQL's arrays have no arrays of different lengths in them, and no structs: those go as JSON.
    is_flat = item is not None and (item.logical is not None or item.type not in ("ARRAY", "MAP", "STRUCT"))
    return f"{sql_type(item)}[]" if item is not None and is_flat else "jsonb"


def schema_of_type(type_name: str) -> Schema:
    """The schema of what a column holds. type_name: as `format_type` writes it.

    A numeric without a scale, and what Connect has no type for (uuid, json, inet ...), is its text.
    """
    if type_name.endswith("[]"):
        return Schema.array(schema_of_type(type_name[:-2]).as_optional())
    brackets = _BRACKETS.search(type_name)
    plain = _BRACKETS.sub("", type_name)
    if plain == "numeric" and brackets is not None:
        return Schema.decimal(int(brackets[1].partition(",")[2] or 0))
    return _SCHEMAS.get(plain, STRING)


def kind_of_type(category: str, base: str) -> Kind:
    """How values of a column are written. category: pg_type.typcategory; base: pg_type.typname under any domain."""
    if category == "A":
        return "array"
    if base in ("json", "jsonb"):
        return "json"
    return "bytes" if base == "bytea" else "plain"


def connect_words(schema: Schema) -> str:
    """The name of a schema for people: "Timestamp", "ARRAY of INT32"."""
    if schema.type == "ARRAY" and schema.value_schema is not None:
        return f"ARRAY of {connect_words(schema.value_schema)}"
    return schema.logical or schema.type


def default_sql(schema: Schema) -> str:
    """A schema's default as SQL; empty where it has none, or none that a column could have."""
    value: Any = schema.default
    if value is None or schema.type in ("ARRAY", "MAP", "STRUCT"):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes | bytearray | memoryview):
        return literal("\\x" + bytes(value).hex())
    is_text = isinstance(value, str | Decimal | datetime.date | datetime.time)
    if not is_text and schema.logical:
        raise ConfigError(f"the default {value} of a {schema.logical} is beyond what Python's dates can hold")
    return literal(str(value))
