"""The places where a worker listens for REST, out of `listeners`, and where others reach it.

    http://HOST:PORT, ...        no host: all interfaces; port 0: one that is free

Used by: engine.boot (opens).
Not here: sockets (engine.control.listen).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from engine.api.errors import ConfigError, Problem

__all__ = ["KEY", "Place", "read_listeners"]

KEY = "listeners"
_LISTENER = re.compile(r"(?P<protocol>[a-z]+)://(?P<host>[^:/\[\]]*|\[[0-9A-Fa-f:.]+\]):(?P<port>\d+)", re.IGNORECASE)


class Place(Struct, frozen=True):
    """Where to listen."""

    host: str  # empty: all interfaces
    port: int
    protocol: str = "http"


def read_listeners(texts: Sequence[str]) -> list[Place]:
    """The places that `listeners` names. Raises ConfigError with every problem."""
    places: list[Place] = []
    problems: list[Problem] = []
    for text in texts:
        found = _LISTENER.fullmatch(text.strip())
        if found is None or int(found["port"]) > 65_535:
            problems.append(_problem(text, "expected http://HOST:PORT, the host may be left out"))
        elif found["protocol"].lower() != "http":
            problems.append(_problem(text, f"{found['protocol']} is not built yet; expected http"))
        else:
            places.append(Place(found["host"].strip("[]"), int(found["port"])))
    if not texts:
        problems.append(_problem("", "expected at least one listener"))
    if problems:
        raise ConfigError(problems)
    return places


def _problem(text: str, expected: str) -> Problem:
    return Problem(KEY, f"Invalid value {text} for configuration {KEY}: {expected}")
