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
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.config.listeners import Part
from engine.control.rest import connectors, loggers, offsets, plugins, root, topics
from engine.control.rest.answers import JSON, answer, error_answer
from engine.control.rest.openapi import openapi

__all__ = ["ADMIN", "PUBLIC", "RawPath", "routes_of", "served"]

Endpoint = Callable[[Request], Awaitable[Response]]


async def _document(_: Request) -> Response:
    """What is served, in OpenAPI 3.1."""
    return answer(openapi((*PUBLIC, *ADMIN)))


PUBLIC: Sequence[Route] = (
    *root.ROUTES,
    Route("/openapi.json", _document, methods=["GET"]),
    *connectors.ROUTES,
    *topics.ROUTES,
    *offsets.ROUTES,
    *plugins.ROUTES,
)
ADMIN: Sequence[Route] = loggers.ROUTES
#: An escape that is none; what nobody types into a name.
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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
        made.append(Route(path, _in_json(route.endpoint), methods=route.methods))
    return [*made, *(Route(path, _options(allowed), methods=["OPTIONS"]) for path, allowed in methods.items())]


class RawPath:
    """Routes by the path as it was written, percent signs and all.

    A slash at its end and parameters of a segment (`;x`) say nothing; what nobody can be sure of is refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["raw_path"].decode("latin-1")
            segments = [segment.partition(";")[0] for segment in path.removesuffix("/").split("/")[1:]]
            refusal = next(filter(None, map(_doubt, segments)), "")
            if refusal:
                await error_answer(400, refusal)(scope, receive, send)
                return
            scope = {**scope, "path": "/" + "/".join(segments)}
        await self._app(scope, receive, send)


class _Segment(Convertor[str]):
    """One segment of a path, decoded."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("segment", _Segment())


def _doubt(segment: str) -> str:
    """Why a segment of a path is refused, in the words of the server that Kafka Connect uses; empty: it is not."""
    if not segment:
        return "Ambiguous URI empty segment"
    if _BAD_ESCAPE.search(segment):
        return "Bad Request"
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return "Bad UTF-8 encoding"
    return "Suspicious Path Character" if _CONTROL.search(decoded) else ""


def _in_json(endpoint: Endpoint) -> Endpoint:
    """An endpoint for those who speak JSON: 406 for who takes none, 415 for who sends something else."""

    async def speaking(request: Request) -> Response:
        if not _takes_json(request.headers.get("accept", "")):
            raise HTTPException(406, "Not Acceptable")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, ""):
            raise HTTPException(415, "Unsupported Media Type")
        return await endpoint(request)

    return speaking


def _takes_json(accept: str) -> bool:
    offers = [offer.split(";") for offer in accept.lower().split(",") if offer.strip()]
    takes = (kind.strip() in ("*/*", "application/*", JSON) and not _is_zero(rest) for kind, *rest in offers)
    return not offers or any(takes)


def _is_zero(parameters: Sequence[str]) -> bool:
    return any(re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter) for parameter in parameters)


def _options(allowed: set[str]) -> Endpoint:
    async def options(_: Request) -> Response:
        names = sorted(allowed)
        return Response(", ".join(names), headers={"Allow": ",".join(names), "Content-Type": "text/plain"})

    return options
