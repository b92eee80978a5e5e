"""ReplaceField: fields left out, and others renamed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from engine.api.config import Config
from engine.api.errors import ConfigError, Problem
from engine.api.schema import Schema
from engine.transforms.building import Building, renewed, struct_only, taken
from engine.transforms.planned import Plan, Planned

__all__ = ["ReplaceFieldConfig", "ReplaceFieldKey", "ReplaceFieldValue"]

_PURPOSE = "field replacement"


class ReplaceFieldConfig(Config, frozen=True, kw_only=True):
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


class _ReplaceField(Planned):
    config = ReplaceFieldConfig
    passes_null: ClassVar[bool] = True

    def configure(self, config: ReplaceFieldConfig) -> None:
        self._exclude = frozenset(config.exclude)
        self._include = frozenset(config.include)
        self._renames = dict(_rename(config.renames, mapping) for mapping in config.renames)
        self._new_names = frozenset(self._renames.values())
        self._replaces_null = config.replaces_null

    def plan(self, schema: Schema | None) -> Plan:
        if schema is None:
            return Plan.of_map(self._edit, _PURPOSE)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, _PURPOSE))
        kept = [one for one in schema.fields if self._keeps(one.name)]
        fields = [(self._renames.get(one.name, one.name), one.schema) for one in kept]
        expressions = [taken(schema, one.index, replaces_null=self._replaces_null) for one in kept]
        return Plan.of_struct(Building(schema, renewed(schema, fields), expressions, _PURPOSE))

    def _keeps(self, name: str) -> bool:
        return name not in self._exclude and (not self._include or name in self._include)

    def _edit(self, fresh: dict[Any, Any]) -> None:
        for name in self._exclude:
            fresh.pop(name, None)
        if self._include:
            for name in fresh.keys() - self._include:
                del fresh[name]
        if self._renames.keys() & fresh.keys():
            self._rename(fresh)

    def _rename(self, fresh: dict[Any, Any]) -> None:
        renames = self._renames
        if fresh.keys().isdisjoint(self._new_names):
            for old, new in renames.items():
                if old in fresh:
                    fresh[new] = fresh.pop(old)
            return
        # One of the new names is that of another field: that may be renamed as well, and the later of two stays.
        renamed = [(renames.get(name, name), value) for name, value in fresh.items()]
        fresh.clear()
        fresh.update(renamed)


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
