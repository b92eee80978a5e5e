"""A Connect schema: what a value is, beyond what Python's own type says.

Placeholder shape for the contract's other modules; its types, equality and compiled structs come next.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Schema"]


class Schema(Struct, frozen=True):
    """The schema of a value: its type and attributes."""

    type: str
