"""A worker's REST interface, as a command uses it: one question at a time, and errors that say what to do.

    ask("GET", "connectors", name, "status") ──► JSON
                                             └─► RefusedError: the worker's own words; UnreachableError: nobody answered

A worker whose group is rebalancing answers 409 for some seconds: the question is asked again.

Used by: engine.commands.
Not here: what is asked (connectors.py, settings.py, apply.py), options of the command line (session.py).
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import httpx
from msgspec import Struct

from engine.api.config import HIDDEN
from engine.api.errors import ConfigError, Problem, UnreachableError
from engine.commands.errors import RefusedError

__all__ = ["Access", "Client"]

#: Kafka Connect answers within 90 s or says that it cannot.
ANSWER_SECONDS = 100.0
CONNECT_SECONDS = 5.0
#: For a group that rebalances.
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.5
#: What a 409 says that goes away by itself; another one means that a connector of the name is there.
_FOR_NOW = ("rebalance", "momentarily", "stale configuration")
_SHOWN_CHARACTERS = 300
#: A shorter secret would hide half of each sentence.
_FINDABLE_LENGTH = 4


class Access(Struct, frozen=True):
    """Where a worker is, and how it lets one in."""

    url: str
    user: str = ""
    password: str = ""
    ca: Path | None = None  # of the worker's certificate; None: those that the machine trusts
    certificate: Path | None = None  # of one's own
    key: Path | None = None  # of that certificate; None: in the same file
    is_insecure: bool = False

    @property
    def shown(self) -> str:
        """The address without user and password."""
        before, at, after = self.url.rpartition("@")
        return before.partition("//")[0] + "//" + after if at else self.url


class Client:
    """One worker. Close it."""

    def __init__(
        self,
        access: Access,
        *,
        sleep: Callable[[float], None] = time.sleep,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """patience_seconds: for a group that rebalances. Raises ConfigError for a bad address or file."""
        self._access = access
        self._sleep = sleep
        self._patience_seconds = patience_seconds
        self._secrets: set[str] = set()
        parts = _parts(access.url)
        if parts is None:
            raise ConfigError(
                [Problem("--url", f"--url {access.shown}: expected http://HOST:PORT or https://HOST:PORT")]
            )
        verify = _tls(access) if parts.scheme == "https" else False
        self._client = httpx.Client(
            base_url=access.url,
            auth=(access.user, access.password) if access.user else None,
            verify=verify,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    @property
    def address(self) -> str:
        """As people may see it."""
        return self._access.shown

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def hide(self, secrets: Collection[str]) -> None:
        """Let no error of this client show these values; variables are none."""
        self._secrets |= {one for one in secrets if len(one) >= _FINDABLE_LENGTH and not one.startswith("${")}

    def hidden(self, text: str) -> str:
        """The text without the values that are hidden."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def ask(self, method: str, *path: str, body: Any = None, **query: Any) -> Any:
        """The answer; None for one without a body. path: its parts, with whatever characters.

        query: values, or lists of them. Raises RefusedError, UnreachableError.
        """
        url = "/".join(quote(part, safe="") for part in path)
        content = None if body is None else json.dumps(body).encode()
        tries_left = int(self._patience_seconds / PAUSE_SECONDS)
        while True:
            answer = self._send(method, url, content, query)
            if answer.status_code != httpx.codes.CONFLICT or not tries_left or not _passes(_message(answer)):
                return self._understood(answer)
            tries_left -= 1
            self._sleep(PAUSE_SECONDS)

    def _send(self, method: str, url: str, content: bytes | None, query: dict[str, Any]) -> httpx.Response:
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._client.request(method, url, content=content, params=query or None, headers=headers)
        except httpx.TransportError as error:
            raise UnreachableError(f"{self.address}: {_why(error, self._access)}") from error

    def _understood(self, answer: httpx.Response) -> Any:
        status = answer.status_code
        if answer.is_success:
            if not answer.content:
                return None
            try:
                return answer.json()
            except ValueError as error:
                text = f"{self.address} answers {status} with something that is no JSON: is it a Connect worker's REST?"
                raise RefusedError(status, text) from error
        if status == httpx.codes.UNAUTHORIZED:
            who = f"does not accept the user {self._access.user}" if self._access.user else "wants to know the user"
            raise RefusedError(
                status,
                f"{self.address} {who}: give --user, and --password-file or MILLRACE_PASSWORD",
            )
        if status == httpx.codes.FORBIDDEN and self._access.user and not _message(answer):
            raise RefusedError(status, f"{self.address}: the user {self._access.user} may not do this")
        if answer.is_redirect:
            raise RefusedError(status, f"{self.address} sends to {answer.headers.get('Location')}: give that as --url")
        message = _message(answer) or f"{self.address} answers {status} {answer.reason_phrase}"
        raise RefusedError(status, self.hidden(message))


def _parts(url: str) -> SplitResult | None:
    """Of an address; None: it is no good."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or a bracket that is not closed
        return None
    return parts if is_good else None


def _message(answer: httpx.Response) -> str:
    """What the worker says of an error."""
    try:
        told = answer.json()
    except ValueError:
        text = answer.text.strip()
        return "" if text.startswith("<") else text[:_SHOWN_CHARACTERS]
    return str(told.get("message", "")) if isinstance(told, dict) else ""


def _passes(message: str) -> bool:
    return any(word in message.lower() for word in _FOR_NOW)


def _why(error: httpx.TransportError, access: Access) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not trusted ({text}): give its CA as --ca FILE"
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text.upper():
        return f"it wants a certificate ({text}): give --cert and --key"
    if "WRONG_VERSION_NUMBER" in text:
        return f"it speaks no TLS ({text}): try http://"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and access.url.startswith("http://"):
        return f"it gives no answer of HTTP ({text}): does it want https://?"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"nobody answers there ({text}): is the worker running, and is this its address (--url, MILLRACE_URL)?"
    return f"no answer ({text})"


def _tls(access: Access) -> ssl.SSLContext:
    """Raises ConfigError for a file that cannot be used."""
    option: tuple[str, Path | None] = ("--ca", access.ca)
    try:
        context = ssl.create_default_context(cafile=access.ca)
        if access.certificate is not None:
            option = ("--cert", access.certificate)
            context.load_cert_chain(access.certificate, access.key)
    except (OSError, ssl.SSLError) as error:
        text = f"{option[0]} {option[1]}: {error.strerror or error}; expected a file in PEM"
        raise ConfigError([Problem(option[0], text)]) from error
    if access.is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
