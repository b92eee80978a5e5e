"""The places where a worker listens for REST, out of `listeners` and `admin.listeners`.

    http://HOST:PORT, https://HOST:PORT        no host: all interfaces; port 0: one that is free

Used by: engine.config.rest, engine.control.rest.routes (parts).
Not here: sockets (engine.control.listen), TLS (tls.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from engine.api.errors import ConfigError, Problem

__all__ = ["ADMIN_KEY", "KEY", "Part", "Place", "read_listeners"]

KEY = "listeners"
ADMIN_KEY = "admin.listeners"
_LISTENER = re.compile(r"(?P<protocol>https?)://(?P<host>[^:/\[\]]*|\[[0-9A-Fa-f:.]+\]):(?P<port>\d+)", re.IGNORECASE)

#: What of the interface a place serves.
Part = Literal["all", "public", "admin"]


class Place(Struct, frozen=True):
    """Where to listen."""

    host: str  # empty: all interfaces
    port: int
    protocol: str = "http"
    part: Part = "all"

    @property
    def key(self) -> str:
        """The key that names it."""
        return ADMIN_KEY if self.part == "admin" else KEY


def read_listeners(texts: Sequence[str], part: Part = "all") -> list[Place]:
    """The places that a key names. Raises ConfigError with every problem."""
    key = Place("", 0, part=part).key
    places: list[Place] = []
    problems: list[Problem] = []
    for text in texts:
        found = _LISTENER.fullmatch(text.strip())
        if found is None or int(found["port"]) > 65_535:
            expected = "expected http://HOST:PORT or https://HOST:PORT, the host may be left out"
            problems.append(_problem(key, text, expected))
        else:
            places.append(Place(found["host"].strip("[]"), int(found["port"]), found["protocol"].lower(), part))
    if not texts and part != "admin":
        problems.append(_problem(key, "", "expected at least one listener"))
    if problems:
        raise ConfigError(problems)
    return places


def _problem(key: str, text: str, expected: str) -> Problem:
    return Problem(key, f"Invalid value {text} for configuration {key}: {expected}")
