"""What a worker says of itself.

Used by: engine.control.rest.routes.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest.answers import answer
from engine.control.rest.worker import STOPPING, worker_of

__all__ = ["ROUTES"]

HEALTHY = "Worker has completed startup and is ready to handle requests."


async def root(request: Request) -> Response:
    """Version, commit and cluster."""
    worker = worker_of(request)
    return answer({"version": worker.version, "commit": worker.commit, "kafka_cluster_id": worker.cluster_id})


async def health(_: Request) -> Response:
    """Whether requests are answered: this one is."""
    return answer({"status": "healthy", "message": HEALTHY})


async def ready(request: Request) -> Response:
    """Whether requests are taken: 503 once the worker is stopping."""
    if worker_of(request).is_stopping:
        return answer({"status": "stopping", "message": STOPPING.message}, 503)
    return await health(request)


async def alive(_: Request) -> Response:
    """For a liveness probe: this process answers."""
    return answer({"status": "alive"})


ROUTES = (
    Route("/", root, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Route("/livez", alive, methods=["GET"]),
    Route("/readyz", ready, methods=["GET"]),
)
