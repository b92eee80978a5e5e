"""The properties and names by which Connect's schemas survive in JSON Schemas.

Source: what Confluent's converter registers.
"""

from __future__ import annotations

from engine.api.schema import Schema

__all__ = ["ENUM", "INDEX", "NAMESPACE", "ONE_OF", "PARAMETERS", "TYPE", "VERSION", "is_text_keyed"]

NAMESPACE = "io.confluent.connect.json"
ONE_OF = f"{NAMESPACE}.OneOf"
ENUM = f"{NAMESPACE}.Enum"
TYPE, INDEX = "connect.type", "connect.index"
VERSION, PARAMETERS = "connect.version", "connect.parameters"


def is_text_keyed(schema: Schema) -> bool:
    """Whether a MAP is an object, and not an array of pairs."""
    key = schema.key_schema
    return key is not None and key.type == "STRING" and not key.optional and key.logical is None
