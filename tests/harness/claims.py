"""What a simulation claims. A failed claim is no `Exception`: the engine keeps what a plugin raises, and would keep it.

Used by: tests.harness, tests.simulation.
"""

from __future__ import annotations

__all__ = ["Wrong", "claim"]


class Wrong(BaseException):
    """An invariant does not hold."""


def claim(is_so: object, text: object = "") -> None:
    """Go on if it is so. Raises Wrong with the text."""
    if not is_so:
        raise Wrong(text)
