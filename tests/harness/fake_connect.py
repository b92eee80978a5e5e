"""Kafka Connect's REST interface over HTTP, without Kafka or connectors: what commands ask is kept and answered.

    with FakeConnect() as connect:
        connect.add("orders", {"connector.class": "Generator"}, tasks=["RUNNING", "FAILED"])
        ... connect.url ...
        connect.asked == [("GET", "/connectors/orders/status")]

It answers with Kafka Connect 4.3's status codes and bodies. A connector whose class is "Bad" is invalid.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["FakeConnect"]

WORKER = "10.0.0.5:8083"
Answer = tuple[int, Any]

PLUGIN_KEYS = [
    {
        "name": "topic",
        "type": "STRING",
        "required": True,
        "default_value": None,
        "importance": "HIGH",
        "documentation": "What it is.",
    },
    {
        "name": "api.key",
        "type": "PASSWORD",
        "required": False,
        "default_value": None,
        "importance": "HIGH",
        "documentation": "What it is.",
    },
    {"name": "rate", "type": "INT", "required": False, "default_value": "10", "importance": "LOW", "documentation": ""},
]


class FakeConnect:
    """One worker."""

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        can_validate: bool = True,
        certificate: Path | None = None,
        authority: Path | None = None,
    ) -> None:
        """certificate: with its key; None: no TLS. authority: who must have signed its clients' certificates."""
        self.configs: dict[str, dict[str, str]] = {}
        self.states: dict[str, list[str]] = {}  # the connector's, then its tasks'
        self.offsets: list[dict[str, Any]] = [{"partition": {"file": "a"}, "offset": {"position": 3}}]
        self.levels = {"root": "INFO"}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []  # of what changes something
        self.rebalances = 0  # so many questions are answered 409
        self._user, self._password = user, password
        self._can_validate = can_validate
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._protocol = "http"
        if certificate is not None:
            self._protocol = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if authority is not None:
                context.load_verify_locations(authority)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._protocol}://127.0.0.1:{self._server.server_port}"

    def add(self, name: str, config: dict[str, str], *, state: str = "RUNNING", tasks: tuple[str, ...] = ()) -> None:
        self.configs[name] = {**config, "name": name}
        self.states[name] = [state, *tasks]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, target: str, authorization: str, body: Any) -> Answer:
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        self.asked.append((method, target))
        if body is not None:
            self.bodies.append(body)
        expected = "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if self._user and authorization != expected:
            return 401, "User cannot access the resource."
        if self.rebalances:
            self.rebalances -= 1
            text = "Cannot complete request momentarily due to stale configuration (typically caused by a concurrent "
            return error(409, text + "config change)")
        if path[0] == "connectors":
            return self._connectors(method, path[1:], parse_qs(parts.query), body)
        if path[0] == "connector-plugins":
            return self._plugins(path[1:], body)
        if path[:2] == ["admin", "loggers"]:
            return self._loggers(method, path[2:], body)
        return error(404, "HTTP 404 Not Found")

    def _connectors(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        if not path and method == "GET":
            expand = query.get("expand")
            if not expand:
                return 200, list(self.configs)
            views: dict[str, Callable[[str], Any]] = {"info": self._info, "status": self._status}
            return 200, {name: {one: views[one](name) for one in expand} for name in self.configs}
        if not path:
            return self._create(body)
        name, rest = path[0], path[1:]
        if rest == ["config"] and method == "PUT":
            if body["connector.class"] == "Bad":
                return error(400, f"Connector configuration is invalid: {body}")
            self.add(name, body, tasks=("RUNNING",))
            return 200, self._info(name)
        if name not in self.configs:
            return error(404, f"Connector {name} not found")
        return self._of(name, method, rest, query, body)

    def _create(self, body: Any) -> Answer:
        name = body["name"]
        if name in self.configs:
            return error(409, f"Connector {name} already exists")
        if body["config"]["connector.class"] == "Bad":
            return error(400, f"Connector configuration is invalid: {body['config']}")
        self.add(name, body["config"], state=body.get("initial_state", "RUNNING"))
        return 201, self._info(name)

    def _of(self, name: str, method: str, rest: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        match method, rest:
            case "DELETE", []:
                del self.configs[name], self.states[name]
                return 204, None
            case "GET", ["config"]:
                return 200, self.configs[name]
            case "PATCH", ["config"]:
                merged = {**self.configs[name], **body}
                self.configs[name] = {key: value for key, value in merged.items() if value is not None}
                return 200, self._info(name)
            case "GET", ["status"]:
                return 200, self._status(name)
            case "PUT", ["pause" | "resume" | "stop" as verb]:
                self.states[name][0] = {"pause": "PAUSED", "resume": "RUNNING", "stop": "STOPPED"}[verb]
                return (204 if verb == "stop" else 202), None
            case "POST", ["restart"]:
                return self._restart(name, query)
            case "POST", ["tasks", _, "restart"]:
                return 204, None
            case "GET", ["topics"]:
                return 200, {name: {"topics": ["b", "a"]}}
            case "PUT", ["topics", "reset"]:
                return 202, None
            case _, ["offsets"]:
                return self._offsets(name, method)
        return error(405, "HTTP 405 Method Not Allowed")

    def _restart(self, name: str, query: dict[str, list[str]]) -> Answer:
        if query.get("includeTasks") != ["true"]:
            return 204, None
        only_failed = query.get("onlyFailed") == ["true"]
        own, *tasks = self.states[name]
        self.states[name] = [own, *("RESTARTING" if not only_failed or one == "FAILED" else one for one in tasks)]
        return 202, self._status(name)

    def _offsets(self, name: str, method: str) -> Answer:
        if method == "GET":
            return 200, {"offsets": self.offsets}
        if self.states[name][0] != "STOPPED":
            return error(400, "Connectors must be in the STOPPED state before their offsets can be modified.")
        done = "reset" if method == "DELETE" else "altered"
        return 200, {"message": f"The offsets for this connector have been {done} successfully"}

    def _plugins(self, path: list[str], body: Any) -> Answer:
        if not path:
            return 200, [{"class": "org.example.Generator", "type": "source", "version": "1.0"}]
        if path[1:] == ["config"]:
            return 200, PLUGIN_KEYS
        if not self._can_validate:
            return error(404, "HTTP 404 Not Found")
        bad = ["it is bad"] if path[0] == "Bad" else []
        value = {"name": "connector.class", "value": path[0], "errors": bad}
        return 200, {"name": path[0], "error_count": len(bad), "groups": [], "configs": [{"value": value}]}

    def _loggers(self, method: str, path: list[str], body: Any) -> Answer:
        if method == "PUT":
            self.levels[path[0]] = body["level"]
            return 200, [path[0]]
        found = {name: {"level": level, "last_modified": None} for name, level in self.levels.items()}
        return (200, found[path[0]]) if path else (200, found)

    def _info(self, name: str) -> dict[str, Any]:
        tasks = [{"connector": name, "task": number} for number in range(len(self.states[name]) - 1)]
        return {"name": name, "config": self.configs[name], "tasks": tasks, "type": "source"}

    def _status(self, name: str) -> dict[str, Any]:
        own, *tasks = self.states[name]
        return {
            "name": name,
            "connector": {"state": own, "worker_id": WORKER},
            "tasks": [
                {
                    "id": number,
                    "state": state,
                    "worker_id": WORKER,
                    **({"trace": "it broke\n  here"} if state == "FAILED" else {}),
                }
                for number, state in enumerate(tasks)
            ],
            "type": "source",
        }


def error(status: int, message: str) -> Answer:
    return status, {"error_code": status, "message": message}


def _handler(connect: FakeConnect) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = connect.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            content = b"" if answer is None else (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            pass

    return Handler
