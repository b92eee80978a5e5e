"""Recorded cases of Kafka Connect: read, and turned into our values. The format is described in data/README.md."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from converters.json.reading import parse
from converters.json.schemas import schema_from_tree
from engine.api.config import Config
from engine.api.errors import ConfigError
from engine.api.java_scalars import date_of_ms, datetime_of_ms, round_to_float32, time_of_ms
from engine.api.map_keys import as_key
from engine.api.record import Header
from engine.api.schema import Float32, Schema
from engine.api.validation import DAY_MS, TIMESTAMP_MS

FOLDER = Path(os.environ.get("MILLRACE_VECTORS") or Path(__file__).parent / "data")


def cases(kind: str) -> list[dict[str, Any]]:
    """All cases of one kind, in the order of the file."""
    return [json.loads(line) for line in (FOLDER / f"{kind}.jsonl").read_text().splitlines()]


def schema_of(tree: Any) -> Schema | None:
    """A schema as a case writes it; `"items": null` and its like are element-less."""
    if isinstance(tree, dict) and tree.get("type") == "array" and tree["items"] is None:
        return Schema("ARRAY", optional=tree["optional"])
    if isinstance(tree, dict) and tree.get("type") == "map" and None in (tree["keys"], tree["values"]):
        keys, values = schema_of(tree["keys"]), schema_of(tree["values"])
        return Schema("MAP", optional=tree["optional"], key_schema=keys, value_schema=values)
    if isinstance(tree, dict) and tree.get("type") in ("array", "map"):
        # Built here, because an element may be element-less in turn.
        parts: dict[str, Any] = {"value_schema": schema_of(tree["items" if tree["type"] == "array" else "values"])}
        if tree["type"] == "map":
            parts["key_schema"] = schema_of(tree["keys"])
        plain = {name: member for name, member in tree.items() if name not in ("items", "keys", "values")}
        if plain.keys() == {"type", "optional"}:
            return Schema(tree["type"].upper(), optional=tree["optional"], **parts)
    return schema_from_tree(parse(json.dumps(tree).encode()), replace_null=True)


def value_of(tagged: Any, schema: Schema | None) -> Any:
    """A tagged value as ours."""
    if tagged is None or isinstance(tagged, bool | str):
        return tagged
    ((tag, raw),) = [(tag, raw) for tag, raw in tagged.items() if tag != "schema"]
    if tag in ("int8", "int16", "int32", "int64"):
        return raw
    if tag == "bigint":
        return int(raw)
    if tag in ("float32", "float64"):
        number = float(raw)
        if tag == "float64":
            return number
        return Float32(round_to_float32(number)) if schema is None else round_to_float32(number)
    if tag == "bytes":
        return base64.b64decode(raw)
    if tag == "decimal":
        return Decimal(raw)
    if tag.endswith("_ms"):
        return temporal_of(raw, (schema and schema.logical) or "Timestamp")
    if tag == "array":
        return [value_of(element, schema and schema.value_schema) for element in raw]
    if tag == "map":
        keys, values = schema and schema.key_schema, schema and schema.value_schema
        return {as_key(value_of(key, keys)): value_of(element, values) for key, element in raw}
    assert tag == "struct", tag
    own = schema_of(tagged["schema"]) if "schema" in tagged else schema
    assert own is not None
    kind = own.struct_type
    return kind(
        **{
            attribute: value_of(raw.get(field.name), field.schema)
            for attribute, field in zip(kind.__struct_fields__, own.fields, strict=True)
        }
    )


def temporal_of(milliseconds: int, logical: str) -> Any:
    """A java.util.Date under a logical type, in the class that stands for it; one with a time of day is a datetime."""
    if logical == "Time":
        return time_of_ms(milliseconds) if 0 <= milliseconds < DAY_MS else milliseconds
    if not TIMESTAMP_MS[0] <= milliseconds <= TIMESTAMP_MS[1]:
        return milliseconds // DAY_MS if logical == "Date" else milliseconds
    if logical == "Date" and milliseconds % DAY_MS == 0:
        return date_of_ms(milliseconds)
    return datetime_of_ms(milliseconds)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are equal and of one class; a NaN is equal to itself, a zero's sign counts."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return repr(float(ours)) == repr(float(theirs))
    if isinstance(ours, Decimal) and isinstance(theirs, Decimal):
        return ours.as_tuple() == theirs.as_tuple()
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if hasattr(ours, "__struct_fields__"):
        return all(same(getattr(ours, name), getattr(theirs, name)) for name in ours.__struct_fields__)
    return bool(ours == theirs)


OUR_NAMES = {
    "DataException": "DataError",
    "SchemaBuilderException": "SchemaBuilderError",
    "SchemaProjectorException": "SchemaProjectorError",
    "ConfigException": "ConfigError",
    "ConnectException": "ConnectError",
}


def same_error(ours: Exception | None, expected: dict[str, Any]) -> bool:
    """Whether an error is the one expected: class and message, or only that it fails where the JVM speaks.

    Of a configuration's error it counts that the key and the value are named: the words are our own.
    """
    name = OUR_NAMES.get(expected["error"])
    if ours is None or name is None:
        return ours is not None
    if name == "ConfigError":
        return isinstance(ours, ConfigError) and str(ours).startswith(expected["message"].partition(":")[0])
    return type(ours).__name__ == name and str(ours) == expected["message"]


def configured(converter: Any, configs: dict[str, str]) -> Any:
    """A converter with its configuration."""
    config: type[Config] = converter.config
    converter.configure(config.parse(configs), is_key=False)
    return converter


def converted(converter: Any, case: dict[str, Any], count: int) -> Any:
    """The bytes, or the schema and value, of a converter's case, the last of `count` alike. Raises as it does."""
    config, given = case["config"], case["input"]
    if config["direction"] == "to":
        payload = None if given["bytes"] is None else base64.b64decode(given["bytes"])
        if config["type"] == "header":
            header = converter.to_connect_header("topic", "key", payload)
            return header.schema, header.value
        decoded = converter.to_connect("topic", [payload] * count)
        return decoded.failures[-1].error if decoded.failures else (decoded.schemas[-1], decoded.values[-1])
    schema = schema_of(given["schema"])
    value = value_of(given["value"], schema)
    if config["type"] == "header":
        return converter.from_connect_header("topic", Header("key", value, schema))
    encoded = converter.from_connect("topic", [value] * count, [schema] * count)
    return encoded.failures[-1].error if encoded.failures else encoded.payloads[-1]


def is_converted_as_recorded(case: dict[str, Any], found: Any) -> bool:
    """Whether what `converted` gave, or the error it raised, is what Kafka Connect's converter was seen to give."""
    expected = case["expected"]
    if "error" in expected:
        return isinstance(found, Exception) and same_error(found, expected)
    if isinstance(found, Exception):
        return False
    if "bytes" in expected:
        return bool(found == (None if expected["bytes"] is None else base64.b64decode(expected["bytes"])))
    schema = schema_of(expected["schema"])
    return found[0] == schema and same(found[1], value_of(expected["value"], schema))


def differences(unlike: dict[str, Any], all_cases: Iterable[str], listed: Mapping[str, str]) -> dict[str, Any]:
    """What is wrong: cases that are not as recorded and not listed, and listed ones that are as recorded."""
    found = {key: what for key, what in unlike.items() if key not in listed}
    stale = (listed.keys() & {*all_cases}) - unlike.keys()
    return found | dict.fromkeys(stale, "listed, but comes out as recorded")


__all__ = [
    "OUR_NAMES",
    "cases",
    "configured",
    "converted",
    "differences",
    "is_converted_as_recorded",
    "same",
    "same_error",
    "schema_of",
    "value_of",
]
