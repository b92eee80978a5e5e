"""Wait for a condition with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["until"]

T = TypeVar("T")

LOOK_EVERY_S = 0.02


def until(condition: Callable[[], T], what: str, *, timeout_s: float = 30.0, look_every_s: float = LOOK_EVERY_S) -> T:
    """Return the first true answer of `condition`.

    Raises TimeoutError, naming `what` and the last answer, when none came within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout_s:g} s; last answer: {answer!r}")
        time.sleep(look_every_s)
