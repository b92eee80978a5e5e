"""What stands for a list or map that is the key of a map, because a dict takes neither.

    {[1, 2]: "a"}  ──►  {(1, 2): "a"}          {{"b": 1}: "a"}  ──►  {MapKey({"b": 1}): "a"}

Both are values of the same schemas as what they stand for, and are printed and encoded alike.

Used by: engine.api.values, converters.json.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MapKey", "as_key"]


class MapKey(dict[Any, Any]):
    """A map that is a key; not to be changed. What it holds is hashable too."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # a dict says it has none
        return hash(frozenset(self.items()))


def as_key(value: Any) -> Any:
    """The value as the key of a dict; whatever is neither a list nor a map is returned as it is."""
    if isinstance(value, list | tuple):
        return tuple(map(as_key, value))
    if isinstance(value, dict):
        return MapKey((as_key(key), as_key(element)) for key, element in value.items())
    return value
