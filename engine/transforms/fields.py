"""Plans that change some fields of a struct and keep the others, nested ones too.

Used by: engine.transforms.
Not here: how a new struct is made (building.py), how fields are named (paths.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.transforms.building import Apply, Building, Expression, renewed, taken

__all__ = ["FieldPlan", "LeafPlan", "plan_fields"]

#: The new schema of a field, and what makes its new value of one that is not null.
FieldPlan = tuple[Schema, Callable[[Any], Any]]
LeafPlan = Callable[[Schema], FieldPlan]


def plan_fields(
    schema: Schema, leaves: Mapping[tuple[str, ...], LeafPlan], *, replaces_null: bool, purpose: str
) -> Building:
    """The struct with the fields at some paths changed; paths that lead nowhere are left out.

    Unlike other new schemas, this one may be null if the old one may. replaces_null: a field's default stands in the
    place of its null. purpose: what a struct is needed for.
    """
    fields: list[tuple[str, Schema]] = []
    expressions: list[Expression] = []
    for field in schema.fields:
        found = taken(schema, field.index, replaces_null=replaces_null)
        own = {steps[1:]: leaf for steps, leaf in leaves.items() if steps[0] == field.name}
        if own:
            changed, change = _changed(field.schema, own, replaces_null=replaces_null, purpose=purpose)
            fields.append((field.name, changed))
            expressions.append(Apply(change, found, keeps_null=True))
        else:
            fields.append((field.name, field.schema))
            expressions.append(found)
    target = renewed(schema, fields)
    return Building(schema, target.replaced(optional=True) if schema.optional else target, expressions, purpose)


def _changed(
    schema: Schema, leaves: Mapping[tuple[str, ...], LeafPlan], *, replaces_null: bool, purpose: str
) -> FieldPlan:
    """A field that changes, or that has a field which does."""
    leaf = leaves.get(())
    if leaf is not None:
        return leaf(schema)
    if schema.type != "STRUCT":
        raise DataError("Cannot look up fields on non-struct type")
    building = plan_fields(schema, leaves, replaces_null=replaces_null, purpose=purpose)
    return building.schema, building.compiled()
