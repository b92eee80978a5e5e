r"""Fields by name, or nested ones by a path: `field.syntax.version`.

    V1    a.b             the field "a.b"
    V2    a.b             the field b of the field a
    V2    `a.b`.c         the field c of the field "a.b"
    V2    `a`b`.c         the field c of the field "a`b"
    V2    `a\`.b`.c       the field c of the field "a`.b"

Kafka Connect knows V2 in ExtractField alone; here every transform that names fields does.

Used by: engine.transforms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from msgspec import Meta, Struct, field

from engine.api.column import mapped
from engine.api.config import Config
from engine.api.errors import ConfigError, DataError, Problem
from engine.api.schema import Field, Schema
from engine.transforms.planned import Edit, Fields
from engine.transforms.requirements import require_map

__all__ = ["SYNTAX", "FieldPath", "FieldSyntax", "map_editor"]

_PURPOSE = "nested field access"
SYNTAX = (
    "How fields are named: `V1`, a name is all of the text; `V2`, a dot leads into a struct or map, and a name with "
    "dots stands in backticks."
)
#: One step: in backticks up to one before a dot or the end that no backslash stands before; or up to a dot.
_STEP = re.compile(r"`(?P<quoted>.*?)(?<!\\)`(?:\.|\Z)|(?P<plain>(?!`)[^.]*)(?:\.|\Z)", re.DOTALL)


class FieldSyntax(Config, frozen=True, kw_only=True):
    """The key that says how fields are named: Millrace's own but in ExtractField."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"field.syntax.version"})

    field_syntax_version: Annotated[
        Literal["V1", "V2"],
        Meta(description=SYNTAX, extra={"group": "Millrace", "importance": "LOW"}),
    ] = field(name="field.syntax.version", default="V1")


class FieldPath(Struct, frozen=True):
    """The names that lead to a field, outermost first."""

    steps: tuple[str, ...]
    text: str  # as it was configured

    @classmethod
    def parse(cls, text: str, syntax: str, key: str) -> Self:
        """Read a path. key: whose value it is. Raises ConfigError."""
        if syntax == "V1":
            return cls((text,), text)
        steps = []
        at = 0
        while at < len(text):
            found = _STEP.match(text, at)
            if found is None:
                words = f"Incomplete backtick pair in path: [{text}], consider adding a backslash before backtick at "
                raise ConfigError([Problem(key, f"{words}position {at} to escape it")])
            quoted = found["quoted"]
            steps.append(found["plain"] if quoted is None else quoted.replace("\\`.", "`."))
            at = found.end()
        if text.endswith("."):
            steps.append("")
        if not steps:
            raise ConfigError(
                [Problem(key, f"Invalid value {text} for configuration {key}: a path has a step at least")]
            )
        return cls(tuple(steps), text)

    def field_of(self, schema: Schema) -> Field | None:
        """The field of a struct schema; None: there is none. Raises DataError when a step on the way is no struct."""
        found: Field | None = None
        for step in self.steps:
            if schema.type != "STRUCT":
                raise DataError("Cannot look up fields on non-struct type")
            found = schema.field(step)
            if found is None:
                return None
            schema = found.schema
        return found

    def value_of(self, value: Mapping[Any, Any]) -> Any:
        """The value in a map; None where the way ends early. Raises DataError when a step on the way is no map."""
        for step in self.steps[:-1]:
            found = value.get(step)
            if found is None:
                return None
            value = require_map(found, _PURPOSE)
        return value.get(self.steps[-1])


def map_editor(changes: Mapping[FieldPath, Callable[[Any], Any]]) -> Edit:
    """Puts what each function makes of a field, null where there is none, into maps.

    Maps on the way to a field are copied; where one is not there, nothing is added. Raises DataError when what is on
    the way is no map.
    """
    if not all(len(path.steps) == 1 for path in changes):

        def edit_nested(fresh: list[dict[Any, Any]]) -> None:
            for path, change in changes.items():
                for value in fresh:
                    _change(value, path.steps, change)

        return Edit(edit_nested)

    pairs = [(path.steps[0], change) for path, change in changes.items()]

    def edit(fresh: list[dict[Any, Any]]) -> None:
        for name, change in pairs:
            for value in fresh:
                value[name] = change(value.get(name))

    def edit_columns(fresh: Fields) -> None:
        for name, change in pairs:
            fresh[name] = mapped(change, fresh.column(name))

    return Edit(edit, columns=edit_columns)


def _change(fresh: dict[Any, Any], steps: tuple[str, ...], change: Callable[[Any], Any]) -> None:
    step = steps[0]
    if len(steps) == 1:
        fresh[step] = change(fresh.get(step))
        return
    inner = fresh.get(step)
    if inner is not None:
        fresh[step] = copied = {**require_map(inner, _PURPOSE)}
        _change(copied, steps[1:], change)
