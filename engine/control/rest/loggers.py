"""`/admin/loggers`: the levels of all processes' loggers, as Kafka Connect shows and sets them.

Used by: engine.control.rest.routes.
Not here: how they reach the processes, what Java's names mean here (engine.shm.levels).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest.answers import RestError, answer, body_of, nothing
from engine.control.rest.worker import Worker, worker_of
from engine.shm.levels import ROOT, Follower, LoggerLevel, level_name, level_number, python_name

__all__ = ["ROUTES"]

logger = logging.getLogger("millrace.control.rest")

_OURS = "millrace"
_SCOPES = ("worker", "cluster")


async def listing(request: Request) -> Response:
    """Levels that were set, and the root's."""
    told = _set(worker_of(request))
    told.setdefault(ROOT, _now(ROOT))
    return answer({name: _shown(one) for name, one in sorted(told.items()) if one.level != "OFF"})


async def read(request: Request) -> Response:
    """The level of one logger, in effect if none was set."""
    name = request.path_params["logger"]
    found = _set(worker_of(request)).get(_spelt(name))
    if found is None and (_spelt(name) == ROOT or name in _known()):
        found = _now(_spelt(name))
    if found is None:
        raise RestError(404, f"Logger {name} not found.")
    return answer(_shown(found))


async def write(request: Request) -> Response:
    """Set the level of a logger and of all whose names begin so, in every process; answers whose has changed."""
    worker, name = worker_of(request), _spelt(request.path_params["logger"])
    scope = request.query_params.get("scope", _SCOPES[0])
    level = _level_of(await body_of(request))
    if scope.lower() not in _SCOPES:
        logger.warning("Received invalid scope %r in request to adjust logging level; will default to worker", scope)
    changed = _change(worker, name, level)
    # A standalone worker is the whole cluster.
    return nothing(204) if scope.lower() == "cluster" else answer(changed)


def _level_of(body: Any) -> str:
    if not isinstance(body, dict):
        raise RestError(500, 'Cannot deserialize the body: a JSON object such as {"level": "DEBUG"} is expected')
    given = body.get("level")
    if given is None:
        raise RestError(400, "Desired 'level' parameter was not specified in request.")
    if isinstance(given, dict | list):
        raise RestError(500, "Cannot deserialize the value of level: text is expected, not an object or array")
    if given == "":
        raise RestError(500, "Illegal null or empty Level name.")
    if level_number(str(given)) is None:
        raise RestError(404, f"invalid log level '{given}'.")
    return str(given).upper()


def _change(worker: Worker, name: str, level: str) -> list[str]:
    """Set it; returns the loggers whose level is another now. Raises RestError."""
    entries = _set(worker)
    below = {known for known in (*entries, *_known()) if name == ROOT or known.startswith(name)}
    changed = []
    for one in sorted({*below, name}):
        before = entries.pop(one, None) or _now(one)
        modified_ms = before.modified_ms
        if before.level != level:
            modified_ms = time.time_ns() // 1_000_000
            changed.append(one)
        entries[one] = LoggerLevel(one, level, modified_ms)
    if not worker.board.levels.write(list(entries.values())):
        raise RestError(500, f"{len(entries)} loggers with a level of their own are more than there is room for")
    Follower(worker.board.levels).look()
    logger.info("level of %s and what begins so is %s in all processes", name, level)
    return changed


def _set(worker: Worker) -> dict[str, LoggerLevel]:
    """What was set, in the order in which it was."""
    return {one.name: one for one in worker.board.levels.read() or []}


def _known() -> list[str]:
    """Loggers of the engine that are in use."""
    found = logging.root.manager.loggerDict.items()
    return [name for name, one in found if name.startswith(_OURS) and isinstance(one, logging.Logger)]


def _now(name: str) -> LoggerLevel:
    """A logger's level in this process, nobody having set it."""
    number = logging.getLogger(python_name(name) or None).getEffectiveLevel()
    return LoggerLevel(name, level_name(number), None)


def _spelt(name: str) -> str:
    return ROOT if name.lower() == ROOT else name


def _shown(one: LoggerLevel) -> Mapping[str, Any]:
    return {"level": one.level, "last_modified": one.modified_ms}


ROUTES = (
    Route("/admin/loggers", listing, methods=["GET"]),
    Route("/admin/loggers/{logger}", read, methods=["GET"]),
    Route("/admin/loggers/{logger}", write, methods=["PUT"]),
)
