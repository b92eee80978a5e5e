"""One HTTP request as it is written: no client between that mends paths, follows redirects or adds headers.

    answer = ask("http://127.0.0.1:8083", "PUT", "/connectors/x/config", {"topic": "t"})
    answer.status, answer.json, answer.headers["location"]

Used by: tests.dual, tests.harness.standalone.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

__all__ = ["Answer", "ask"]

ANSWER_S = 100.0  # Kafka Connect gives up after 90


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded. Raises AssertionError with the body when it is no JSON."""
        try:
            return json.loads(self.body)
        except json.JSONDecodeError as error:
            raise AssertionError(f"no JSON in an answer of status {self.status}: {self.body[:500]!r}") from error


def ask(
    url: str, method: str, path: str, body: object = None, headers: Mapping[str, str | None] | None = None
) -> Answer:
    """body: None: none; bytes as they are; all else as JSON. headers: over those a body has; None takes one away.

    Raises OSError or http.client.HTTPException when there is no answer.
    """
    place = urlsplit(url)
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fixed = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(content))}
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_S)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**fixed, **(headers or {})}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
