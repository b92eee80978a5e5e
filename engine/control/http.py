"""HTTP on one listener: uvicorn, with bounds on what a client may take.

    connections       rest.connections.max: 503; twice as many: closed without a word
    a request         rest.request.timeout.ms for its head and body: 408
    a bad head        400, or 431 for one of more than HEAD_BYTES_MAX

Every request knows the certificate that its client has shown: `request.state.certificate`.

Used by: engine.control.serving.
Not here: what is answered (app.py), TLS (engine.config.tls).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import orjson
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.api.errors import ConfigError
from engine.config.rest import RestSettings
from engine.config.tls import Tls, make_context, renew
from engine.control.watch import Watch

__all__ = ["serve_at"]

logger = logging.getLogger("millrace.control")

#: Longer than the usual interval of scrapes, so that a scraper keeps its connection.
KEEP_ALIVE_SECONDS = 75
HEAD_BYTES_MAX = 64 * 1024
#: Whoever renews a certificate does so days before the old one is over.
RENEWAL_SECONDS = 60.0


async def serve_at(
    listener: socket.socket,
    app: ASGIApp,
    settings: RestSettings,
    tls: Tls | None = None,
    look_seconds: float = RENEWAL_SECONDS,
) -> None:
    """Serve, without end. look_seconds: between two looks whether the files of TLS have changed."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws="none",
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
    )
    config.load()
    connection = partial(_Connection, settings.request_seconds, settings.connections_max)
    config.http_protocol_class = connection  # type: ignore[assignment]
    if tls is None:
        await _Server(config).serve(sockets=[listener])
        return
    config.ssl = await _context(tls, look_seconds)
    renewing = asyncio.create_task(_keep_fresh(config.ssl, tls, look_seconds))
    try:
        await _Server(config).serve(sockets=[listener])
    finally:
        renewing.cancel()


async def _context(tls: Tls, look_seconds: float) -> ssl.SSLContext:
    """A context, as soon as its files are good: they were when the worker started."""
    while True:
        try:
            return make_context(tls)
        except ConfigError as error:
            logger.warning("%s; clients wait until it can be read", error.problems[0].message)
            await asyncio.sleep(look_seconds)


async def _keep_fresh(context: ssl.SSLContext, tls: Tls, look_seconds: float) -> None:
    """Certificates are renewed while a worker runs."""
    watch = Watch(tls.files)
    while True:
        await asyncio.sleep(look_seconds)
        if watch.has_changed():
            try:
                renew(context, tls)
            except ConfigError as error:
                logger.warning("%s; the certificate stays as it was", error.problems[0].message)
            else:
                logger.info("the certificate of the REST interface was read anew")


class _Server(uvicorn.Server):
    """uvicorn without rules of its own for signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave INT ignored and TERM to `engine.control.serving`."""
        yield


class _Connection(H11Protocol):
    """One client's."""

    def __init__(self, request_seconds: float, connections_max: int, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._request_seconds = request_seconds
        self._connections_max = connections_max
        self._deadline: asyncio.TimerHandle | None = None  # of the request that is arriving
        self._has_spoken = False
        self._app = self.app
        self.app = self._serve

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, unless too many want something."""
        if max(len(self.connections), len(self.tasks)) <= self._connections_max:
            await self._app(scope, receive, send)
            return
        told = f"More than {self._connections_max} connections (rest.connections.max): come back later."
        logger.warning("%s:%d: %s", *(self.client or ("?", 0)), told)
        head = {"content-type": "application/json", "connection": "close"}
        answer = Response(orjson.dumps({"error_code": 503, "message": told}), 503, head)
        await answer(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self._connections_max:
            transport.abort()
            return
        self.app_state = {**self.app_state, "certificate": _certificate(transport)}
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._has_spoken = True
        if self._deadline is None:
            self._await_request()
        super().data_received(data)
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            self._has_arrived()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What came together with the request before it is seen by nobody else.
        has_begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if has_begun and self._deadline is None:
            self._await_request()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called where the error is handled."""
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)
        self._refuse(status, msg)

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(self._request_seconds, self._too_late)

    def _has_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        is_answered = self.cycle is not None and self.cycle.response_started and self.conn.their_state is not h11.IDLE
        if not self._has_spoken or is_answered or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
        else:
            self._refuse(408, f"The request has not arrived within {self._request_seconds:g} s.")

    def _refuse(self, status: int, message: str) -> None:
        """Say why, past whatever state the conversation is in, and close."""
        body = orjson.dumps({"error_code": status, "message": message})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _certificate(transport: asyncio.Transport) -> dict[str, Any] | None:
    """What a client has shown, as `ssl.SSLSocket.getpeercert` has it; None: nothing, or it speaks no TLS."""
    shown: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return None if shown is None else (shown.getpeercert() or None)
