"""`/connectors/{name}/topics`: the topics that a connector has used since it was made, or since that was forgotten.

Used by: engine.control.rest.routes.
Not here: noticing that one is used (engine.pump.used), keeping it (engine.control.kept).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest.answers import RestError, answer, nothing
from engine.control.rest.worker import Worker, worker_of
from engine.shm.board import HeaderWord

__all__ = ["ROUTES"]


async def topics(request: Request) -> Response:
    """The topics that it has used; of a connector that is not there, none."""
    name = request.path_params["name"]
    return answer({name: {"topics": _tracking(request).kept.topics(name)}})


async def reset(request: Request) -> Response:
    """Forget them; those that are used again are told again."""
    worker = _tracking(request)
    if not worker.forgets_topics:
        raise RestError(403, "Topic tracking reset is disabled.")
    worker.kept.forget_topics(request.path_params["name"])
    # In this order: what a pump tells in between was used after all.
    worker.board.header[HeaderWord.TOPICS_FORGOTTEN] += 1
    return nothing(202)


def _tracking(request: Request) -> Worker:
    worker = worker_of(request)
    if not worker.tracks_topics:
        raise RestError(403, "Topic tracking is disabled.")
    return worker


ROUTES = (
    Route("/connectors/{name}/topics", topics, methods=["GET"]),
    Route("/connectors/{name}/topics/reset", reset, methods=["PUT"]),
)
