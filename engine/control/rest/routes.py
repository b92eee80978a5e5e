"""Every route of the REST interface: what is served, and what docs/rest.md and `/openapi.json` are made of.

A path's parameter is matched as the client has written it and decoded afterwards, so that a name with `%2F` in it is
one name.

Used by: engine.control.app, engine.control.rest.document.
Not here: what is answered (the modules that are named here).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.config.listeners import Part
from engine.control.rest import connectors, root
from engine.control.rest.answers import error_answer

__all__ = ["ADMIN", "PUBLIC", "RawPath", "routes_of", "served"]

PUBLIC: Sequence[Route] = (*root.ROUTES, *connectors.ROUTES)
ADMIN: Sequence[Route] = ()
_PARAMETER = re.compile(r"\{(\w+)\}")


def routes_of(part: Part) -> list[Route]:
    """What is served in a part of the interface."""
    return [*(PUBLIC if part != "admin" else ()), *(ADMIN if part != "public" else ())]


def served(routes: Sequence[Route]) -> list[Route]:
    """The routes as an application behind `RawPath` serves them; each path answers OPTIONS as well."""
    methods: dict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    made = []
    for route in routes:
        path = _PARAMETER.sub(r"{\1:segment}", route.path)
        methods[path] |= route.methods or set()
        made.append(Route(path, route.endpoint, methods=route.methods))
    return [*made, *(Route(path, _options(allowed), methods=["OPTIONS"]) for path, allowed in methods.items())]


class RawPath:
    """Routes by the path as it was written, percent signs and all; a path with an empty segment is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
            if "//" in path:
                await error_answer(400, "Ambiguous URI empty segment")(scope, receive, send)
                return
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


class _Segment(Convertor[str]):
    """One segment of a path, decoded."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("segment", _Segment())


def _options(allowed: set[str]) -> Callable[[Request], Awaitable[Response]]:
    async def options(_: Request) -> Response:
        return Response(headers={"Allow": ",".join(sorted(allowed))})

    return options
