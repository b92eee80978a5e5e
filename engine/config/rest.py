"""How a worker serves REST, out of its keys: everything that control needs to know, checked before anything starts.

Used by: engine.plan (reads), engine.boot (listens), engine.control (serves).
Not here: the keys (rest_keys.py, tls.py), places (listeners.py), HTTP (engine.control).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from engine.api.errors import ConfigError, Problem
from engine.config.access import AccessFile, access_file, read_rules
from engine.config.listeners import Place, read_listeners
from engine.config.rest_keys import RestKeys
from engine.config.tls import ADMIN_HTTPS, HTTPS, Tls, read_tls

__all__ = ["Header", "RestSettings", "read_rest"]

T = TypeVar("T")

_ORIGINS, _HEADERS = "access.control.allow.origin", "response.http.headers.config"
METHODS = ("GET", "POST", "HEAD")
_ACTIONS = {"set": (False, False), "add": (True, False), "setdate": (False, True), "adddate": (True, True)}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_NUMBER = re.compile(r"[+-]?[0-9]+\Z")


class Header(Struct, frozen=True):
    """A header of every answer."""

    name: str
    value: str  # of a date: ms from now
    is_added: bool = False  # beside others of its name
    is_date: bool = False


class RestSettings(Struct, frozen=True, kw_only=True):
    """How REST is served; holds secrets of TLS: never logged."""

    places: tuple[Place, ...]
    tls: Tls | None = None  # of `listeners`
    admin_tls: Tls | None = None
    origins: tuple[str, ...] = ()  # regular expressions, or *; empty: no CORS
    methods: tuple[str, ...] = METHODS  # that pages of other origins may use
    headers: tuple[Header, ...] = ()
    access: AccessFile | None = None  # None: everybody may do everything
    body_bytes_max: int = 1024 * 1024
    connections_max: int = 100
    request_seconds: float = 30.0

    def tls_of(self, place: Place) -> Tls | None:
        """How a place speaks TLS; None: it does not."""
        if place.protocol != "https":
            return None
        return self.admin_tls if place.part == "admin" else self.tls


def read_rest(keys: RestKeys, properties: Mapping[str, str]) -> RestSettings:
    """What the worker's keys say of REST. properties: the worker's. Raises ConfigError with every problem."""
    problems: list[Problem] = []

    def kept(read: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return read(*arguments)
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    admin = keys.admin_listeners
    public = kept(read_listeners, keys.listeners, "all" if admin is None else "public") or []
    apart = kept(read_listeners, admin or (), "admin") or []
    tls = kept(read_tls, properties, HTTPS) if _needs_tls(public) else None
    admin_tls = kept(read_tls, properties, ADMIN_HTTPS) if _needs_tls(apart) else None
    origins = _split(keys.access_control_allow_origin)
    headers = [kept(_header, rule) for rule in _rules(keys.response_http_headers_config)]
    kept(_check_origins, origins)
    access = kept(access_file, keys.rest_access_file, keys.java_security_auth_login_config, keys.rest_extension_classes)
    if access is not None:
        kept(read_rules, access)
    if problems:
        raise ConfigError(problems)
    return RestSettings(
        places=(*public, *apart),
        tls=tls,
        admin_tls=admin_tls,
        origins=origins,
        methods=_split(keys.access_control_allow_methods) or METHODS,
        headers=tuple(header for header in headers if header is not None),
        access=access,
        body_bytes_max=keys.rest_body_bytes_max,
        connections_max=keys.rest_connections_max,
        request_seconds=keys.rest_request_timeout_ms / 1000,
    )


def _needs_tls(places: Sequence[Place]) -> bool:
    return any(place.protocol == "https" for place in places)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if origin == "*":
            continue
        try:
            re.compile(origin)
        except re.error as error:
            raise _error(_ORIGINS, origin, f"no regular expression: {error}; expected *, or origins") from error


def _rules(text: str) -> list[str]:
    return [rule for rule in next(csv.reader([text], skipinitialspace=True), []) if rule.strip()]


def _header(rule: str) -> Header:
    action, _, pair = rule.strip().partition(" ")
    name, _, value = pair.strip().partition(":")
    name, value = name.strip(), value.strip()
    if action.lower() not in _ACTIONS:
        raise _error(_HEADERS, rule, f"{action} is none of set, add, setDate, addDate")
    if not _TOKEN.match(name) or not value or ":" in value or not value.isprintable():
        raise _error(_HEADERS, rule, "expected ACTION NAME:VALUE, a name without blanks and a value without colons")
    is_added, is_date = _ACTIONS[action.lower()]
    if is_date and not _NUMBER.match(value):
        raise _error(_HEADERS, rule, "the value of a date is a number of milliseconds from now")
    return Header(name, value, is_added, is_date)


def _error(key: str, value: str, reason: str) -> ConfigError:
    return ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {reason}")])
