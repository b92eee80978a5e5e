"""The names and parameters by which Connect's schemas survive in Protocol Buffers.

Source: what Confluent's converter registers.
"""

from __future__ import annotations

import re

from engine.api.schema import Schema

__all__ = ["entry_name", "is_union", "map_name", "symbols", "union_name"]

NAMESPACE = "io.confluent.connect.protobuf"
UNION = f"{NAMESPACE}.Union"
ENUM = f"{NAMESPACE}.Enum"
TAG = f"{NAMESPACE}.Tag"
#: Of each logical type the message, and its file.
LOGICAL = {
    "Decimal": ("confluent.type.Decimal", "confluent/type/decimal.proto"),
    "Date": ("google.type.Date", "google/type/date.proto"),
    "Time": ("google.type.TimeOfDay", "google/type/timeofday.proto"),
    "Timestamp": ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
}


def is_union(schema: Schema) -> bool:
    """Whether a STRUCT stands for a oneof."""
    return schema.type == "STRUCT" and (schema.name or "").startswith(f"{UNION}.")


def union_name(schema: Schema) -> str:
    """The name of the oneof that a STRUCT stands for."""
    return (schema.name or "").removeprefix(f"{UNION}.").rpartition(".")[2]


def symbols(schema: Schema) -> dict[str, int]:
    """The values of the enum that a STRING stands for; none: it stands for none."""
    parameters = schema.parameters or {}
    if schema.type != "STRING" or ENUM not in parameters:
        return {}
    return {
        key.removeprefix(f"{ENUM}."): int(value)
        for key, value in parameters.items()
        if key.startswith(f"{ENUM}.") and value.lstrip("-").isdigit()
    }


def entry_name(field: str) -> str:
    """The message of a map's entries: `SeatsEntry` of `seats`."""
    return "".join(part[:1].upper() + part[1:] for part in field.split("_")) + "Entry"


def map_name(entry: str) -> str:
    """The other way round."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", entry.removesuffix("Entry")).lower()
