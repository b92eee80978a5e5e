"""What a schema of Avro comes to: a tree that readers and writers are compiled of.

    {"type": "record", "fields": [{"name": "id", "type": "long"}, ...]}  ──►  Node("record", parts=(Node("long"), ...))

Source: the encoding of Apache Avro's specification.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.api.schema import Schema

__all__ = ["Kind", "Node"]

Kind = Literal[
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "bytes",
    "string",
    "fixed",
    "enum",
    "array",
    "map",
    "entries",  # an array of pairs: a map whose keys are no text
    "record",
    "nullable",  # a union of null and one other
    "union",
    "anything",  # a value without a schema
    "constant",  # a field that the value does not have
]


@dataclass
class Node:
    """A schema of Avro and what its values are to Connect."""

    kind: Kind
    schema: Schema | None = None
    parts: tuple[Node | None, ...] = ()  # of a union: None for null
    attributes: tuple[str | None, ...] = ()  # of the struct, for the parts of a record or union; None: of none
    names: tuple[str, ...] = ()  # of the parts, for messages and defaults
    symbols: tuple[str, ...] = ()  # of an enum
    size: int = 0  # of a fixed, in bytes
    null_index: int | None = 0  # of a nullable: the branch of null; None: there is none
    value_index: int = 1  # of a nullable: the branch of values
    constant: bytes = b""
    default: Any = field(default=None)  # what a null is written as

    @property
    def inner(self) -> Node:
        """The only part."""
        (part,) = self.parts
        assert part is not None
        return part

    def bytes_min(self) -> int:
        """The least that a value takes."""
        if self.kind == "fixed":
            return self.size
        if self.kind == "record":
            return sum(part.bytes_min() for part in self.parts if part is not None)
        return {"float": 4, "double": 8, "anything": 9, "constant": len(self.constant)}.get(self.kind, 1)
