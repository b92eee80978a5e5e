"""`/connectors/{name}/offsets`: how far a connector is, and setting it while it is stopped.

Used by: engine.control.rest.routes.
Not here: who may be altered when (engine.herder), doing it (engine.altering, in a child).
"""

from __future__ import annotations

import logging
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.api.errors import ConnectError
from engine.control.rest.answers import RestError, answer, body_of
from engine.control.rest.worker import worker_of
from engine.herder.model import AlterOffsets, Message, PartitionOffset
from engine.herder.questions import ReadOffsets

__all__ = ["ROUTES"]

logger = logging.getLogger("millrace.control.rest")

_FIELDS = {"partition", "offset"}


async def read(request: Request) -> Response:
    """How far it is: what a source has stored, or the group of a sink committed."""
    worker, name = worker_of(request), request.path_params["name"]
    view = worker.view(name, f"Connector {name} not found")
    if view.type != "source":
        return Response(await worker.ask(ReadOffsets(name, view.config)), media_type="application/json")
    # In the store that this process has open: a child would take a hundred times as long.
    try:
        stored = worker.kept.source_offsets(name)
    except ConnectError as error:
        text = f"Failed to retrieve offsets for source connector {name}"
        logger.error("%s: %s", text, error)  # noqa: TRY400  its words say it all
        raise RestError(500, text) from error
    listed = [{"partition": orjson.Fragment(part), "offset": orjson.Fragment(offset)} for part, offset in stored]
    return answer({"offsets": listed})


async def alter(request: Request) -> Response:
    """Set offsets of a stopped connector; null forgets one."""
    offsets = _offsets_of(await body_of(request))
    return _done(await worker_of(request).do(AlterOffsets(request.path_params["name"], offsets)))


async def reset(request: Request) -> Response:
    """Forget all offsets of a stopped connector."""
    return _done(await worker_of(request).do(AlterOffsets(request.path_params["name"])))


def _done(done: object) -> Response:
    assert isinstance(done, Message)
    return answer({"message": done.text})


def _offsets_of(body: Any) -> tuple[PartitionOffset, ...]:
    """What is to be set. Raises RestError."""
    if not isinstance(body, dict) or body.keys() - {"offsets"}:
        raise RestError(
            500, 'Cannot deserialize the body: expected {"offsets": [{"partition": {}, "offset": {}}, ...]}'
        )
    listed = body.get("offsets")
    if listed is not None and not isinstance(listed, list):
        raise RestError(500, "Cannot deserialize offsets: expected an array")
    if not listed:
        raise RestError(400, "Partitions / offsets need to be provided for an alter offsets request")
    return tuple(_one(one) for one in listed)


def _one(one: Any) -> PartitionOffset:
    if not isinstance(one, dict) or one.keys() - _FIELDS:
        raise RestError(500, "Cannot deserialize an element of offsets: expected an object of partition and offset")
    for field in _FIELDS:
        if not isinstance(one.get(field), dict | None):
            raise RestError(500, f"Cannot deserialize {field} of an element of offsets: expected an object, or null")
    return PartitionOffset(one.get("partition"), one.get("offset"))


ROUTES = (
    Route("/connectors/{name}/offsets", read, methods=["GET"]),
    Route("/connectors/{name}/offsets", alter, methods=["PATCH"]),
    Route("/connectors/{name}/offsets", reset, methods=["DELETE"]),
)
