"""What control answers over HTTP: GET and HEAD of /metrics, and with a worker Kafka Connect's REST interface.

Used by: engine.control.serving.
Not here: what is measured (engine.metrics), sockets and signals (serving.py).
"""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest import connectors, root
from engine.control.rest.answers import RestError, on_http_error, on_other_error, on_rest_error
from engine.control.rest.worker import Worker

__all__ = ["make_app"]


def make_app(collector: Collector, worker: Worker | None = None) -> Starlette:
    """The application over one collector; a scrape collects once. worker: None: there is no REST."""

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(collector), headers={"content-type": content_type})

    routes = [Route("/metrics", metrics)]
    if worker is None:
        return Starlette(routes=routes)
    app = Starlette(
        routes=[*routes, *root.ROUTES, *connectors.ROUTES],
        exception_handlers={RestError: on_rest_error, HTTPException: on_http_error, Exception: on_other_error},
    )
    app.router.redirect_slashes = False
    app.state.worker = worker
    return app
