"""The text of a function that is compiled for one schema, and the objects that it is handed by name.

    source.new("kind_", Order)      "kind_1", which means Order in the text
    source.add("def read_2(b, p): ...")
    source.compiled("read", "def read(payloads, put, failed): ...")

The text holds names of ours and numbers only: whatever stands in a schema (names of fields, symbols) is an object.

Used by: reader.py, writer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Source"]


class Source:
    """One schema's."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        """names: what the text may use from the start."""
        self._names = dict(names)
        self._functions: list[str] = []
        self._numbers = 0

    def new(self, prefix: str, value: Any = None) -> str:
        """A name that nothing else has. value: what it means; None: the text gives it one."""
        self._numbers += 1
        name = f"{prefix}{self._numbers}"
        if value is not None:
            self._names[name] = value
        return name

    def add(self, function: str) -> None:
        """Have a function before all that are added later."""
        self._functions.append(function)

    def compiled(self, name: str, function: str) -> Any:
        """The function of this name and text, after all that were added."""
        exec("\n\n".join([*self._functions, function]), self._names)  # noqa: S102  our own words: see above
        return self._names[name]
