"""`/connectors` and everything below it but offsets.

Used by: engine.control.rest.routes.
Not here: what a command does (engine.herder), the shape of what is shown (entities.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest import entities
from engine.control.rest.answers import RestError, answer, body_of, nothing
from engine.control.rest.worker import worker_of
from engine.herder.model import (
    INITIAL_STATES,
    Command,
    Configure,
    Create,
    Delete,
    Info,
    Patch,
    Restart,
    Restarting,
    RestartTask,
    SetTarget,
    TargetState,
)

__all__ = ["ROUTES", "text_of"]

_CREATE_FIELDS = {"name", "config", "initial_state"}
#: Of a name, what a path may hold as it is; a semicolon would end it.
_PLAIN = "!$&'()*+,=:@~"
#: A task's number in a path, as Java reads an int.
_NUMBER = re.compile(r"[+-]?[0-9]+")


async def listing(request: Request) -> Response:
    """Names, or with `expand` what is asked for of each."""
    worker = worker_of(request)
    wanted = request.query_params.getlist("expand")
    if not wanted:
        return answer(worker.herding.names())
    told: dict[str, dict[str, Any]] = {}
    rows = worker.rows()
    for name in worker.herding.names():
        view = worker.herding.view(name)
        if view is None:
            continue
        told[name] = {}
        if "status" in wanted:
            told[name]["status"] = entities.status(view, rows, worker.worker_id, worker.now_ns())
        if "info" in wanted:
            told[name]["info"] = entities.info(view)
    return answer(told)


async def create(request: Request) -> Response:
    """Make one."""
    body = await body_of(request)
    if not isinstance(body, dict):
        raise RestError(500, "Cannot deserialize the body: a JSON object with name and config is expected")
    unknown = sorted(body.keys() - _CREATE_FIELDS)
    if unknown:
        known = ", ".join(sorted(_CREATE_FIELDS))
        raise RestError(500, f'Unrecognized field "{unknown[0]}", not marked as ignorable; known are {known}')
    name = body.get("name")
    if name is not None and not isinstance(name, str):
        name = text_of(name, "name")
    name = (name or "").strip()
    config = _config_of(body.get("config"))
    initial = body.get("initial_state")
    if initial is not None and (not isinstance(initial, str) or initial.upper() not in INITIAL_STATES):
        raise RestError(500, f"Cannot deserialize initial_state {initial!r}: expected RUNNING, PAUSED or STOPPED")
    config = _named(config, name)
    target = TargetState.STARTED if initial is None else INITIAL_STATES[initial.upper()]
    return _made(request, await worker_of(request).do(Create(name, config, target)))


async def read(request: Request) -> Response:
    """One."""
    name = request.path_params["name"]
    return answer(entities.info(worker_of(request).view(name, f"Connector {name} not found")))


async def read_config(request: Request) -> Response:
    """Its configuration, variables as they were given."""
    name = request.path_params["name"]
    return answer(dict(worker_of(request).view(name, f"Connector {name} not found").config))


async def write_config(request: Request) -> Response:
    """Give it a configuration; make it if it is not there."""
    name = request.path_params["name"]
    config = _named(_config_of(await body_of(request)), name)
    return _made(request, await worker_of(request).do(Configure(name, config)))


async def patch_config(request: Request) -> Response:
    """Change keys of its configuration; null takes one away."""
    name = request.path_params["name"]
    body = await body_of(request)
    if not isinstance(body, dict):
        raise RestError(500, "Cannot deserialize the body: a JSON object of configuration keys is expected")
    changes = {key: None if value is None else text_of(value, key) for key, value in body.items()}
    worker, limit = worker_of(request), request.app.state.body_bytes_max
    view = worker.herding.view(name)
    if view is not None and len(orjson.dumps({**view.config, **changes})) > limit:
        raise RestError(413, f"a configuration of more than {limit} bytes (rest.body.bytes.max) is not taken")
    return _made(request, await worker.do(Patch(name, changes)))


async def delete(request: Request) -> Response:
    """End and forget it."""
    await worker_of(request).do(Delete(request.path_params["name"]))
    return nothing(204)


async def status(request: Request) -> Response:
    """How it and its tasks are."""
    worker, name = worker_of(request), request.path_params["name"]
    view = worker.view(name, f"No status found for connector {name}")
    return answer(entities.status(view, worker.rows(), worker.worker_id, worker.now_ns()))


async def tasks(request: Request) -> Response:
    """Its tasks and their configurations."""
    name = request.path_params["name"]
    return answer(entities.task_infos(worker_of(request).view(name, f"Connector {name} not found")))


async def task_status(request: Request) -> Response:
    """How one task is."""
    worker, name, number = worker_of(request), request.path_params["name"], _number_of(request)
    missing = f"No status found for task {name}-{number}"
    view = worker.view(name, missing)
    told = entities.task_status(view, number, worker.rows(), worker.worker_id, worker.now_ns())
    if told is None:
        raise RestError(404, missing)
    return answer(told)


async def restart(request: Request) -> Response:
    """Start it again, with what is asked for of its tasks."""
    worker, name = worker_of(request), request.path_params["name"]
    with_tasks, only_failed = (_flag(request, key) for key in ("includeTasks", "onlyFailed"))
    view = worker.herding.view(name)
    failed = frozenset[int]() if view is None else entities.failed_tasks(view, worker.rows())
    done = await worker.do(Restart(name, with_tasks, only_failed, failed))
    if not isinstance(done, Restarting):
        return nothing(204)
    shown = worker.view(name, f"Unknown connector: {name}")
    return answer(entities.status(shown, worker.rows(), worker.worker_id, worker.now_ns(), done), 202)


async def restart_task(request: Request) -> Response:
    """Start one task again."""
    await worker_of(request).do(RestartTask(request.path_params["name"], _number_of(request)))
    return nothing(204)


async def pause(request: Request) -> Response:
    """Let it take nothing new."""
    return await _aim(request, TargetState.PAUSED, 202)


async def resume(request: Request) -> Response:
    """Let it go on."""
    return await _aim(request, TargetState.STARTED, 202)


async def stop(request: Request) -> Response:
    """End its tasks; it stays."""
    return await _aim(request, TargetState.STOPPED, 204)


async def _aim(request: Request, target: TargetState, status_code: int) -> Response:
    command: Command = SetTarget(request.path_params["name"], target)
    await worker_of(request).do(command)
    return nothing(status_code)


def _made(request: Request, done: object) -> Response:
    assert isinstance(done, Info)
    if not done.is_new:
        return answer(entities.info(done.view))
    place = f"{request.base_url}connectors/{quote(done.view.name, safe=_PLAIN)}"
    return answer(entities.info(done.view), 201, {"Location": place})


def _config_of(body: Any) -> dict[str, str]:
    """A flat object of text; numbers and booleans become their text. Raises RestError."""
    if not isinstance(body, dict):
        raise RestError(500, "Cannot deserialize the configuration: a JSON object of keys and text is expected")
    if any(value is None for value in body.values()):
        raise RestError(400, "Null value can not be supplied as the configuration value.")
    return {key: text_of(value, key) for key, value in body.items()}


def text_of(value: Any, key: str) -> str:
    """A value of a configuration: text, or what becomes text. Raises RestError."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise RestError(500, f"Cannot deserialize the value of {key}: text is expected, not an object or array")
    return orjson.dumps(value).decode()


def _named(config: Mapping[str, str], name: str) -> dict[str, str]:
    """The configuration with its name in it. Raises RestError when it says another."""
    given = config.get("name")
    if given is not None and given != name:
        raise RestError(
            400,
            f"Connector name configuration ({given}) doesn't match connector name in the URL ({name})",
        )
    return {**config, "name": name}


def _number_of(request: Request) -> int:
    text = request.path_params["task"]
    if not _NUMBER.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        raise RestError(404, "HTTP 404 Not Found")  # as JAX-RS has it: there is no such path
    return int(text)


def _flag(request: Request, key: str) -> bool:
    return request.query_params.get(key, "").strip().lower() == "true"


_ONE = "/connectors/{name}"

ROUTES = (
    Route("/connectors", listing, methods=["GET"]),
    Route("/connectors", create, methods=["POST"]),
    Route(_ONE, read, methods=["GET"]),
    Route(_ONE, delete, methods=["DELETE"]),
    Route(f"{_ONE}/config", read_config, methods=["GET"]),
    Route(f"{_ONE}/config", write_config, methods=["PUT"]),
    Route(f"{_ONE}/config", patch_config, methods=["PATCH"]),
    Route(f"{_ONE}/status", status, methods=["GET"]),
    Route(f"{_ONE}/restart", restart, methods=["POST"]),
    Route(f"{_ONE}/pause", pause, methods=["PUT"]),
    Route(f"{_ONE}/resume", resume, methods=["PUT"]),
    Route(f"{_ONE}/stop", stop, methods=["PUT"]),
    Route(f"{_ONE}/tasks", tasks, methods=["GET"]),
    Route(f"{_ONE}/tasks/{{task}}/status", task_status, methods=["GET"]),
    Route(f"{_ONE}/tasks/{{task}}/restart", restart_task, methods=["POST"]),
)
