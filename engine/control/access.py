"""Who may use REST: a user by name and password, or a client by its certificate, each with a role.

    read     GET, HEAD
    write    every method
    open     OPTIONS, and what only says that somebody is there (OPEN)

A file of rules that has changed is read anew; one that cannot be read leaves the rules as they were, and the log says
so. Every refusal stands in the log, without what was given as a password.

Used by: engine.control.app, engine.control.serving.
Not here: the file (engine.config.access), TLS (engine.config.tls).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.api.errors import ConfigError
from engine.config.access import AccessFile, Role, Rules, read_rules
from engine.config.passwords import Hash, hashed
from engine.control.rest.answers import JSON, error_answer
from engine.control.watch import Watch

__all__ = ["Access", "Gate", "subject_of"]

logger = logging.getLogger("millrace.control.access")

OPEN = frozenset({"/livez", "/readyz"})
_READING = frozenset({"GET", "HEAD"})
#: As Kafka Connect's extension answers, its media type included.
REFUSAL = "User cannot access the resource."
CHALLENGE = 'Basic realm="millrace", charset="UTF-8"'
#: Passwords that were right, remembered by a keyed hash, so that not every request takes a twentieth of a second.
REMEMBERED_MAX = 1000
_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "countryName": "C",
    "domainComponent": "DC",
    "userId": "UID",
    "emailAddress": "EMAILADDRESS",
}


class Gate:
    """Says who somebody is and what he may."""

    def __init__(self, file: AccessFile) -> None:
        self._file = file
        self._rules = Rules({}, {}, (file.path,))  # nobody, as long as it cannot be read
        self._watch = Watch(self._rules.files)
        self._is_failing = False
        self._read()
        self._secret = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._turn = asyncio.Lock()  # one comparison at a time: each takes memory, and a core
        self._nobody: Hash = hashed("")

    def role_of_certificate(self, subject: str) -> Role | None:
        """What a client with this certificate may; None: it is not named."""
        return self._now().certificates.get(subject)

    async def role_of_user(self, name: str, password: str) -> Role | None:
        """What a user may; None: there is none of this name and password. Both take the same time to find out."""
        role, stored = self._now().users.get(name, (None, self._nobody))
        key = hmac.digest(self._secret, f"{stored}\0{password}".encode(errors="surrogatepass"), hashlib.sha256)
        if key in self._right:
            return role
        async with self._turn:
            fits = await asyncio.to_thread(stored.fits, password)
        if not fits or role is None:
            return None
        if len(self._right) >= REMEMBERED_MAX:
            self._right.clear()
        self._right[key] = None
        return role

    def _now(self) -> Rules:
        if self._is_failing or self._watch.has_changed():
            self._read()
        return self._rules

    def _read(self) -> None:
        try:
            self._rules = read_rules(self._file)
        except ConfigError as error:
            if not self._is_failing:
                logger.warning("%s; until then the rules stay as they were", error.problems[0].message)
            self._is_failing = True
        else:
            self._is_failing = False
            self._watch = Watch(self._rules.files)


class Access:
    """Lets through whom the gate knows and who may."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "OPTIONS" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        who, role = await self._ask(scope)
        if role is None:
            self._log(scope, logging.INFO if who == "" else logging.WARNING, who or "no credentials")
            headers = {"www-authenticate": CHALLENGE}
            await Response(REFUSAL, 401, headers, media_type=JSON)(scope, receive, send)
        elif role == "read" and scope["method"] not in _READING:
            self._log(scope, logging.WARNING, f"{who} may only read")
            await error_answer(403, f"Access denied: {who} may only read.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _ask(self, scope: Scope) -> tuple[str, Role | None]:
        """Who asks, in words, and what he may. Nobody: he has not said who he is."""
        told = ""
        certificate = scope.get("state", {}).get("certificate")
        if certificate is not None:
            told = f"certificate {subject_of(certificate)}"
            role = self._gate.role_of_certificate(subject_of(certificate))
            if role is not None:
                return told, role
        header = Headers(scope=scope).get("authorization")
        if header is None:
            return told, None
        given = _basic(header)
        if given is None:
            return "credentials that are not of the kind Basic", None
        name, password = given
        role = await self._gate.role_of_user(name, password)
        return f"user {name!a}" + ("" if role else " with a wrong password, or unknown"), role

    def _log(self, scope: Scope, level: int, why: str) -> None:
        client = scope.get("client") or ("somewhere",)
        logger.log(level, "refused %s %a from %s: %s", scope["method"], scope["path"], client[0], why)


def subject_of(certificate: Mapping[str, Any]) -> str:
    """The subject as a rule names it: RFC 4514, the narrowest part first."""
    parts = [
        "+".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in names)
        for names in certificate.get("subject", ())
    ]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    return re.sub(r'([,+"\\<>;])', r"\\\1", value)


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None
