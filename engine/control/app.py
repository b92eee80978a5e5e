"""What control answers over HTTP: GET and HEAD of /metrics, and with a worker Kafka Connect's REST interface.

    Cors ──► Headers ──► RawPath ──► Access ──► routes ──► answers, errors among them

Used by: engine.control.serving.
Not here: what is measured (engine.metrics), sockets and signals (serving.py, http.py).
"""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from engine.config.listeners import Part
from engine.config.rest import RestSettings
from engine.control.access import Access, Gate
from engine.control.outside import Cors, Headers
from engine.control.rendering import rendered
from engine.control.rest.answers import (
    RestError,
    on_client_gone,
    on_http_error,
    on_other_error,
    on_rest_error,
)
from engine.control.rest.routes import RawPath, routes_of, served
from engine.control.rest.worker import Worker
from engine.metrics.collector import BoardCollector

__all__ = ["make_app", "make_metrics_app"]


def make_metrics_app(collector: BoardCollector) -> ASGIApp:
    """The application over one collector, for a listener of its own; a scrape collects once."""
    return Starlette(routes=[_metrics(collector)])


def make_app(
    collector: BoardCollector, worker: Worker, settings: RestSettings, part: Part = "all", gate: Gate | None = None
) -> ASGIApp:
    """The application of a part of the REST interface. gate: None: everybody may do everything."""
    routes = served(routes_of(part))
    app = Starlette(
        routes=routes if part == "admin" else [_metrics(collector), *routes],
        exception_handlers={
            RestError: on_rest_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_client_gone,
            Exception: on_other_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.worker = worker
    app.state.body_bytes_max = settings.body_bytes_max
    guarded: ASGIApp = app if gate is None else Access(app, gate)
    return Cors(Headers(RawPath(guarded), settings.headers), settings.origins, settings.methods)


def _metrics(collector: BoardCollector) -> Route:
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(await rendered(collector, encode), headers={"content-type": content_type})

    return Route("/metrics", metrics)
