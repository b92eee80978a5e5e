"""Wait for a condition with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["until"]

T = TypeVar("T")

LOOK_EVERY_S = 0.02


def until(
    condition: Callable[[], T],
    what: str,
    *,
    timeout_s: float = 30.0,
    look_every_s: float = LOOK_EVERY_S,
    steady_s: float = 0.0,
) -> T:
    """Return a true answer of `condition`, the first, or the first after being true for `steady_s` seconds.

    Raises TimeoutError, naming `what` and the last answer, when none came within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    true_since: float | None = None
    while True:
        answer = condition()
        now = time.monotonic()
        true_since = (true_since or now) if answer else None
        if true_since is not None and now - true_since >= steady_s:
            return answer
        if now > deadline:
            raise TimeoutError(f"no {what} within {timeout_s:g} s; last answer: {answer!r}")
        time.sleep(look_every_s)
