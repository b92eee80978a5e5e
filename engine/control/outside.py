"""What surrounds every answer: headers that the configuration asks for, and those that pages of other origins need.

    request ──► Cors ──► Headers ──► application

CORS is answered as the handler that Kafka Connect 4.3 uses does it (Jetty 12's CrossOriginHandler): `Vary: Origin` on
every answer; an origin that is not allowed is served without a header that would let its page read the answer; the
request by which a browser asks beforehand is passed on, too.

Used by: engine.control.app.
Not here: who may ask (access), what is answered (engine.control.rest).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.utils import formatdate

from starlette.datastructures import Headers as Given
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.config.rest import Header

__all__ = ["Cors", "Headers"]

#: A browser may remember for so long what it was allowed.
MAX_AGE_SECONDS = 60


class Cors:
    """Lets pages of other origins ask."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], methods: Sequence[str]) -> None:
        """origins: regular expressions, or `*`; empty: no header of CORS at all."""
        self._app = app
        self._origins = [re.compile(".*" if origin == "*" else origin) for origin in origins]
        self._methods = ",".join(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._origins or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Given(scope=scope)
        origin = given.get("origin", "")
        asks_beforehand = scope["method"] == "OPTIONS" and "access-control-request-method" in given
        added = {"Vary": "Origin", **(self._granted(origin, asks_beforehand=asks_beforehand))}

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(added)
            await send(message)

        await self._app(scope, receive, send_with)

    def _granted(self, origins: str, *, asks_beforehand: bool) -> dict[str, str]:
        if not any(pattern.fullmatch(origin) for origin in origins.split() for pattern in self._origins):
            return {}
        granted = {"Access-Control-Allow-Origin": origins}
        if asks_beforehand:
            granted["Access-Control-Allow-Headers"] = "Content-Type"
            granted["Access-Control-Allow-Methods"] = self._methods
            granted["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
        return granted


class Headers:
    """Adds `response.http.headers.config` to every answer; what the answer says itself, it keeps."""

    def __init__(self, app: ASGIApp, headers: Sequence[Header]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for header in self._headers:
                    value = header.value
                    if header.is_date:
                        value = formatdate(time.time() + int(value) / 1000, usegmt=True)
                    if header.is_added:
                        answer.append(header.name, value)
                    else:
                        answer[header.name] = value
            await send(message)

        await self._app(scope, receive, send_with)
