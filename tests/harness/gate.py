"""A door before a schema registry: TLS, certificates of clients, names with passwords, tokens. All else goes through.

    authority = Authority(folder)
    with Gate(registry.port, authority.issue(folder / "gate.pem", "gate")) as gate:
        gate.users["alice"] = "wonderland"       from now on only she comes in, or who has one of gate.tokens
        gate.url                                 "https://127.0.0.1:45123/apis/ccompat/v7"
        gate.answers                             how often each status was given: {200: 4, 401: 1}

Apicurio has all this too, but by an identity server beside it. Threads of the test's own process: a converter asks once
a schema.

Used by: tests/registry/test_access.py, tests/faults/test_registry.py.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

__all__ = ["Gate"]

ASK_S = 20.0
DRAIN_S = 2.0
DRAIN_BYTES = 65_536
LOOK_S = 0.05
HOST = "127.0.0.1"
REFUSED = {"error_code": 401, "message": "Unauthorized"}


class Gate:
    """One door; whom it lets in may change while it stands open. With neither users nor tokens: everybody."""

    def __init__(
        self, port: int, certificate: Path | None = None, *, clients: Path | None = None, host: str = HOST
    ) -> None:
        """port: the registry's. certificate: with its key; None: http. clients: who signs those that clients show."""
        self.users: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.answers: Counter[int] = Counter()
        self._server = _Server((host, 0), _Handler)
        self._server.gate = self
        self._server.registry_port = port
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if clients is not None:
                context.load_verify_locations(clients)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.context = context
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://{host}:{self._server.server_port}/apis/ccompat/v7"

    def lets_in(self, authorization: str) -> bool:
        """Whether this header is of somebody known."""
        pairs = (f"{name}:{password}".encode() for name, password in self.users.items())
        known = {f"Basic {base64.b64encode(pair).decode()}" for pair in pairs}
        known |= {f"Bearer {token}" for token in self.tokens}
        return not known or authorization in known

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(LOOK_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    gate: Gate
    registry_port: int
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, as the handshake is, which may take a client's time."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secure:
            secure.settimeout(ASK_S)
            try:
                secure.do_handshake()
            except OSError:
                _let_read(secure)
            else:
                super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if self.server.gate.lets_in(self.headers.get("Authorization", "")):
            status, kind, answer = self._ask(body)
        else:
            status, kind, answer = 401, "application/json", json.dumps(REFUSED).encode()
        self.server.gate.answers[status] += 1
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: tests look at answers."""

    def _ask(self, body: bytes | None) -> tuple[int, str, bytes]:
        """What the registry says."""
        way = http.client.HTTPConnection(HOST, self.server.registry_port, timeout=ASK_S)
        kept = {name: value for name in ("Accept", "Content-Type") if (value := self.headers.get(name))}
        try:
            way.request(self.command, self.path, body, kept)
            answer = way.getresponse()
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        finally:
            way.close()


def _let_read(secure: ssl.SSLSocket) -> None:
    """Close a connection so that the client reads why: what it has sent already would reset it."""
    secure.settimeout(DRAIN_S)
    try:
        secure.shutdown(socket.SHUT_WR)
        while secure.recv(DRAIN_BYTES):
            pass
    except OSError:
        pass
