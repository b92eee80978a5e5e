"""ReplaceField: fields left out, and others renamed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta, field

from engine.api.errors import ConfigError, Problem
from engine.api.schema import Schema
from engine.transforms.building import Building, renewed, struct_only, taken
from engine.transforms.fields import Steps, plan_side_by_side
from engine.transforms.paths import FieldPath, FieldSyntax
from engine.transforms.planned import Edit, Fields, Plan, Planned

__all__ = ["ReplaceFieldConfig", "ReplaceFieldKey", "ReplaceFieldValue"]

_PURPOSE = "field replacement"


class ReplaceFieldConfig(FieldSyntax, frozen=True, kw_only=True):
    """Which fields go on, and under which names."""

    exclude: Annotated[list[str], Meta(description="Fields to leave out; this goes before `include`.")] = field(
        default_factory=list
    )
    include: Annotated[list[str], Meta(description="Fields to keep; none are named: all.")] = field(
        default_factory=list
    )
    renames: Annotated[list[str], Meta(description="What to rename, as `old:new`, of the fields that are kept.")] = (
        field(default_factory=list)
    )
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is copied as its default.")
    ] = field(name="replace.null.with.default", default=True)


class _Group(NamedTuple):
    """What is done to fields that lie side by side."""

    exclude: set[str]
    include: set[str]  # empty: all
    renames: dict[str, str]

    def keeps(self, name: str) -> bool:
        """Whether a field stays."""
        return name not in self.exclude and (not self.include or name in self.include)

    def edit(self, fresh: list[dict[Any, Any]]) -> None:
        """Do it to maps."""
        for name in self.exclude:
            for value in fresh:
                value.pop(name, None)
        if self.include:
            for value in fresh:
                for name in value.keys() - self.include:
                    del value[name]
        if len(self.renames) == 1:
            # bench/micro/test_transforms.py: a set of the names takes longer than all the rest.
            ((old, new),) = self.renames.items()
            for value in fresh:
                if old in value:
                    if new in value:
                        self._rename(value)
                    else:
                        value[new] = value.pop(old)
        elif self.renames:
            for value in fresh:
                self._rename(value)

    def edit_columns(self, fresh: Fields) -> None:
        """Do it to the keys of all maps at once."""
        self.edit([fresh])

    def _rename(self, fresh: dict[Any, Any]) -> None:
        renames = self.renames
        if fresh.keys().isdisjoint(renames):
            return
        if fresh.keys().isdisjoint(renames.values()):
            for old, new in renames.items():
                if old in fresh:
                    fresh[new] = fresh.pop(old)
            return
        # One of the new names is that of another field: that may be renamed as well, and the later of two stays.
        renamed = [(renames.get(name, name), value) for name, value in fresh.items()]
        fresh.clear()
        fresh.update(renamed)


class _ReplaceField(Planned):
    config = ReplaceFieldConfig
    passes_null: ClassVar[bool] = True

    def configure(self, config: ReplaceFieldConfig) -> None:
        self._replaces_null = config.replaces_null
        self._groups: dict[Steps, _Group] = {(): _Group(set(), set(), {})}
        syntax = config.field_syntax_version
        for text in config.exclude:
            group, name = self._found(FieldPath.parse(text, syntax, "exclude").steps)
            group.exclude.add(name)
        for text in config.include:
            steps = FieldPath.parse(text, syntax, "include").steps
            for depth in range(len(steps)):  # who keeps a nested field keeps what it is in
                group, name = self._found(steps[: depth + 1])
                group.include.add(name)
        for old, new in [_rename(config.renames, mapping) for mapping in config.renames]:
            group, name = self._found(FieldPath.parse(old, syntax, "renames").steps)
            group.renames[name] = new

    def _found(self, steps: Steps) -> tuple[_Group, str]:
        """A field's name, and what is done to it and to those beside it."""
        return self._groups.setdefault(steps[:-1], _Group(set(), set(), {})), steps[-1]

    def plan(self, schema: Schema | None) -> Plan:
        return plan_side_by_side(schema, self._groups, self._plan, purpose=_PURPOSE)

    def _plan(self, schema: Schema | None, group: _Group) -> Plan:
        if schema is None:
            return Plan.of_map(Edit(group.edit, columns=group.edit_columns), _PURPOSE)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, _PURPOSE))
        kept = [one for one in schema.fields if group.keeps(one.name)]
        fields = [(group.renames.get(one.name, one.name), one.schema) for one in kept]
        expressions = [taken(schema, one.index, replaces_null=self._replaces_null) for one in kept]
        return Plan.of_struct(Building(schema, renewed(schema, fields), expressions, _PURPOSE))


class ReplaceFieldKey(_ReplaceField):
    """Leaves out or renames fields of the key."""

    side = "key"


class ReplaceFieldValue(_ReplaceField):
    """Leaves out or renames fields of the value."""

    side = "value"


def _rename(renames: list[str], mapping: str) -> tuple[str, str]:
    # As Java splits: what is empty at the end is no part.
    parts = mapping.rstrip(":").split(":")
    if len(parts) != 2:
        shown = ", ".join(renames)
        text = f"Invalid value [{shown}] for configuration renames: Invalid rename mapping: {mapping}"
        raise ConfigError([Problem("renames", text)])
    return parts[0], parts[1]
