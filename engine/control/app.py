"""What control answers over HTTP: GET and HEAD of /metrics, and 404 for everything else.

Used by: engine.control.serving.
Not here: what is measured (engine.metrics), sockets and signals (serving.py).
"""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["make_app"]


def make_app(collector: Collector) -> Starlette:
    """The application over one collector; a scrape collects once."""

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(collector), headers={"content-type": content_type})

    return Starlette(routes=[Route("/metrics", metrics)])
