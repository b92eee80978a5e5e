"""`/openapi.json`: what the routes take and answer, in OpenAPI 3.1, every status that can come among it.

    routes ──► paths, methods, first lines of their docstrings
    TOLD ────► bodies, queries, answers              a test asks the served interface whether it is so

500 stands where Kafka Connect answers it to a client's mistake, such as a body that is no JSON, and where a request
may wait for so long that its time is over.

Used by: engine.control.rest.routes (serves).
Not here: shapes of bodies (shapes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from starlette.routing import Route

from engine import __version__
from engine.control.rest.shapes import SCHEMAS, refer

__all__ = ["TOLD", "Told", "openapi"]

_PARAMETER = re.compile(r"\{(\w+)\}")
_FLAG: Mapping[str, Any] = {"type": "boolean", "default": False}


class Told(Struct, frozen=True):
    """What one route takes and answers; names are those of SCHEMAS."""

    answers: Mapping[int, str | None]  # of success; None: no body
    errors: Sequence[int] = ()  # beside COMMON
    body: str | None = None
    query: Mapping[str, Mapping[str, Any]] = {}


#: Of every route: a path that is none, who is not let in, Accept, a crowd.
COMMON = (400, 401, 403, 406, 503)
#: Where a body may come, wanted or not: slow, large, of another type.
BODY = (408, 413, 415, 500)
#: Error bodies of these have no Content-Type, as Kafka Connect's (reference, R11); those of 401 and 503 are text.
_UNTYPED = frozenset({401, 405, 406, 415, 503})

_ONE = "/connectors/{name}"
_TASK = f"{_ONE}/tasks/{{task}}"
_PLUGIN = "/connector-plugins/{plugin}/config"
_INFO: Mapping[int, str | None] = {200: "ConnectorInfo", 201: "ConnectorInfo"}

TOLD: Mapping[tuple[str, str], Told] = {
    ("GET", "/"): Told({200: "ServerInfo"}),
    ("GET", "/health"): Told({200: "WorkerStatus"}, (500,)),
    ("GET", "/livez"): Told({200: "Alive"}),
    ("GET", "/readyz"): Told({200: "WorkerStatus"}, (500,)),
    ("GET", "/openapi.json"): Told({200: "OpenApi"}),
    ("GET", "/connector-plugins"): Told({200: "PluginInfos"}, query={"connectorsOnly": {**_FLAG, "default": True}}),
    ("GET", _PLUGIN): Told({200: "ConfigKeyInfos"}, (404, 500), query={"version": {"type": "string"}}),
    ("PUT", f"{_PLUGIN}/validate"): Told({200: "ConfigInfos"}, (404,), "GivenConfig"),
    ("GET", "/connectors"): Told(
        {200: "Listing"},
        query={"expand": {"type": "array", "items": {"type": "string", "enum": ["status", "info"]}}},
    ),
    ("POST", "/connectors"): Told({201: "ConnectorInfo"}, (409,), "CreateConnectorRequest"),
    ("GET", _ONE): Told({200: "ConnectorInfo"}, (404,)),
    ("DELETE", _ONE): Told({204: None}, (404, 409, 500)),
    ("GET", f"{_ONE}/config"): Told({200: "Config"}, (404,)),
    ("PUT", f"{_ONE}/config"): Told(_INFO, (409,), "GivenConfig"),
    ("PATCH", f"{_ONE}/config"): Told(_INFO, (404, 409), "PatchedConfig"),
    ("GET", f"{_ONE}/status"): Told({200: "ConnectorStateInfo"}, (404,)),
    ("POST", f"{_ONE}/restart"): Told(
        {202: "ConnectorStateInfo", 204: None}, (404, 409), query={"includeTasks": _FLAG, "onlyFailed": _FLAG}
    ),
    ("PUT", f"{_ONE}/pause"): Told({202: None}, (404, 409)),
    ("PUT", f"{_ONE}/resume"): Told({202: None}, (404, 409)),
    ("PUT", f"{_ONE}/stop"): Told({204: None}, (404, 409)),
    ("GET", f"{_ONE}/tasks"): Told({200: "TaskInfos"}, (404,)),
    ("GET", f"{_TASK}/status"): Told({200: "TaskState"}, (404,)),
    ("POST", f"{_TASK}/restart"): Told({204: None}, (404, 409)),
    ("GET", f"{_ONE}/topics"): Told({200: "ActiveTopics"}, (404, 500)),
    ("PUT", f"{_ONE}/topics/reset"): Told({202: None}, (404,)),
    ("GET", f"{_ONE}/offsets"): Told({200: "ConnectorOffsets"}, (404, 500)),
    ("PATCH", f"{_ONE}/offsets"): Told({200: "Message"}, (404, 409), "ConnectorOffsets"),
    ("DELETE", f"{_ONE}/offsets"): Told({200: "Message"}, (404, 409, 500)),
    ("GET", "/admin/loggers"): Told({200: "LoggerLevels"}),
    ("GET", "/admin/loggers/{logger}"): Told({200: "LoggerLevel"}, (404,)),
    ("PUT", "/admin/loggers/{logger}"): Told(
        {200: "Names", 204: None}, (404,), "GivenLevel", {"scope": {"type": "string", "enum": ["worker", "cluster"]}}
    ),
}


def openapi(routes: Sequence[Route]) -> Mapping[str, Any]:
    """The document of these routes, which have rows in TOLD."""
    paths: dict[str, dict[str, Any]] = {}
    for route, method in _operations(routes):
        paths.setdefault(route.path, {})[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace, by Kafka Connect's REST interface", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        # Where `rest.access.file` or the extension asks for somebody.
        "security": [{}, {"basic": []}],
    }


def _operations(routes: Sequence[Route]) -> Iterator[tuple[Route, str]]:
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield route, method


def _operation(route: Route, method: str) -> Mapping[str, Any]:
    told = TOLD[method, route.path]
    errors = {*COMMON, *told.errors, *(BODY if method in ("POST", "PUT", "PATCH") else ())}
    answers = {str(status): _answer(status, name) for status, name in told.answers.items()}
    answers |= {str(status): _answer(status, "Error") for status in sorted(errors)}
    made: dict[str, Any] = {
        "summary": (route.endpoint.__doc__ or "").partition("\n")[0],
        "operationId": f"{method.lower()}{re.sub(r'[^A-Za-z]+', '_', route.path).rstrip('_') or '_root'}",
        "parameters": [*_in_path(route.path), *_in_query(told.query)],
        "responses": answers,
    }
    if told.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": refer(told.body)}}}
    return made


def _answer(status: int, name: str | None) -> Mapping[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if name is not None and status not in _UNTYPED:
        answer["content"] = {"application/json": {"schema": refer(name)}}
    return answer


def _in_path(path: str) -> Iterator[Mapping[str, Any]]:
    for name in _PARAMETER.findall(path):
        schema = {"type": "integer", "minimum": 0} if name == "task" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(query: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for name, schema in query.items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}
