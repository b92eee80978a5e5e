"""JSON with a schema registry that holds JSON Schemas.

converter.py      configuration, and who does what
to_connect.py     JSON Schemas to Connect's     from_connect.py   and back
trees.py          JSON to values, and back, by a Connect schema
"""

from converters.json_schema.converter import JsonSchemaConfig, JsonSchemaConverter

__all__ = ["JsonSchemaConfig", "JsonSchemaConverter"]
