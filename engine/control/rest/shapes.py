"""What bodies of the REST interface look like, as JSON Schema: for `/openapi.json`.

Used by: engine.control.rest.openapi.
Not here: which answer has which (openapi.py), what makes them (entities.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMAS", "refer"]

Schema = Mapping[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_ANYTHING: Schema = {}


def refer(name: str) -> Schema:
    """A schema of SCHEMAS by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object of these members; more may be added, as Kafka Connect and Millrace do from release to release."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


_STATE = {"state": _TEXT, "worker_id": _TEXT}
_ID = _object({"connector": _TEXT, "task": _NUMBER})
_TYPE: Schema = {"type": "string", "enum": ["source", "sink", "unknown"]}

SCHEMAS: Mapping[str, Schema] = {
    "Error": _object({"error_code": _NUMBER, "message": _MAYBE_TEXT}),
    "ServerInfo": _object({"version": _TEXT, "commit": _TEXT, "kafka_cluster_id": _TEXT}),
    "WorkerStatus": _object({"status": _TEXT, "message": _TEXT}),
    "Alive": _object({"status": _TEXT}),
    "Message": _object({"message": _TEXT}),
    "Names": _list(_TEXT),
    "Config": _map(_TEXT),
    "ConnectorInfo": _object({"name": _TEXT, "config": refer("Config"), "tasks": _list(_ID), "type": _TYPE}),
    "TaskState": _object({"id": _NUMBER, **_STATE}, {"trace": _TEXT, "version": _MAYBE_TEXT}),
    "ConnectorStateInfo": _object(
        {
            "name": _TEXT,
            "connector": _object(_STATE, {"trace": _TEXT, "version": _MAYBE_TEXT}),
            "tasks": _list(refer("TaskState")),
            "type": _TYPE,
        }
    ),
    "Listing": {
        "oneOf": [
            _list(_TEXT),
            _map(_object({}, {"status": refer("ConnectorStateInfo"), "info": refer("ConnectorInfo")})),
        ]
    },
    "TaskInfos": _list(_object({"id": _ID, "config": refer("Config")})),
    "ActiveTopics": _map(_object({"topics": _list(_TEXT)})),
    "ConnectorOffsets": _object(
        {"offsets": _list(_object({"partition": _map(_ANYTHING), "offset": {"type": ["object", "null"]}}))}
    ),
    "PluginInfos": _list(_object({"class": _TEXT, "type": _TEXT}, {"version": _MAYBE_TEXT})),
    "ConfigKeyInfo": _object(
        {
            "name": _TEXT,
            "type": _TEXT,
            "required": _FLAG,
            "default_value": _MAYBE_TEXT,
            "importance": {"type": "string", "enum": ["HIGH", "MEDIUM", "LOW"]},
            "documentation": _TEXT,
            "group": _MAYBE_TEXT,
            "order_in_group": _NUMBER,
            "width": {"type": "string", "enum": ["NONE", "SHORT", "MEDIUM", "LONG"]},
            "display_name": _TEXT,
            "dependents": _list(_TEXT),
        }
    ),
    "ConfigKeyInfos": _list(refer("ConfigKeyInfo")),
    "ConfigValueInfo": _object(
        {
            "name": _TEXT,
            "value": _MAYBE_TEXT,
            "recommended_values": _list(_TEXT),
            "errors": _list(_TEXT),
            "visible": _FLAG,
        }
    ),
    "ConfigInfo": _object(
        {"definition": {"anyOf": [refer("ConfigKeyInfo"), {"type": "null"}]}, "value": refer("ConfigValueInfo")}
    ),
    "ConfigInfos": _object(
        {"name": _TEXT, "error_count": _NUMBER, "groups": _list(_TEXT), "configs": _list(refer("ConfigInfo"))}
    ),
    "LoggerLevel": _object({"level": _TEXT, "last_modified": {"type": ["integer", "null"]}}),
    "LoggerLevels": _map(refer("LoggerLevel")),
    "OpenApi": _object({"openapi": _TEXT, "paths": {"type": "object"}}),
    # What is asked
    "GivenConfig": _map({"type": ["string", "number", "boolean"]}),
    "PatchedConfig": _map({"type": ["string", "number", "boolean", "null"]}),
    "CreateConnectorRequest": {
        **_object(
            {"name": _TEXT, "config": refer("GivenConfig")},
            {"initial_state": {"type": "string", "enum": ["RUNNING", "PAUSED", "STOPPED"]}},
        ),
        "additionalProperties": False,
    },
    "GivenLevel": _object(
        {"level": {"type": "string", "enum": ["OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE", "ALL"]}}
    ),
}
