"""Plans that change some fields of a struct or map and keep the others, nested ones too.

    mask a, b.c, b.d     the plan for {c, d} at b, which keeps all else, and then the plan for {a}

A transform plans for fields that lie side by side; here its plans are put where the fields lie.

Used by: engine.transforms.
Not here: how a new struct is made (building.py), how fields are named (paths.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, TypeVar

from engine.api.errors import DataError
from engine.api.schema import Field, Schema
from engine.transforms.building import Apply, Building, Expression, Inside, Otherwise, renewed, taken
from engine.transforms.paths import FieldPath
from engine.transforms.planned import Edit, Plan
from engine.transforms.requirements import require_map

__all__ = [
    "FieldPlan",
    "LeafPlan",
    "Steps",
    "by_parent",
    "inmost_first",
    "plan_fields",
    "plan_side_by_side",
    "reader",
    "taken_at",
]

Steps = tuple[str, ...]
Group = TypeVar("Group")

#: The new schema of a field, and what makes its new value of one that is not null.
FieldPlan = tuple[Schema, Callable[..., Any]]
LeafPlan = Callable[[Schema], FieldPlan]

_PURPOSE = "nested field access"


def by_parent(paths: Iterable[FieldPath]) -> dict[Steps, list[str]]:
    """The names of the fields that lie in one struct or map, by the way to it; the outermost is always there."""
    groups: dict[Steps, list[str]] = {(): []}
    for path in paths:
        groups.setdefault(path.steps[:-1], []).append(path.steps[-1])
    return groups


def plan_side_by_side(
    schema: Schema | None,
    groups: Mapping[Steps, Group],
    make: Callable[[Schema | None, Group], Plan],
    *,
    purpose: str,
    given: Callable[[Group], int] = lambda _: 0,
) -> Plan:
    """What `make` plans for each group of fields, done where they lie; the innermost first.

    groups: by the way to the struct or map that holds them, the outermost among them. Where the way ends early, at a
    null or a field that is not there, nothing is done. purpose: what a struct or map is needed for. given: how many
    values the plan for a group takes beside; those of all come in the order of `inmost_first`.
    """
    plan: Plan | None = None
    taken_before = 0
    for parent in inmost_first(groups):
        here = schema if plan is None else plan.schema
        if schema is not None and schema.type != "STRUCT":
            return make(schema, groups[()])
        if not parent:
            step = make(here, groups[parent])
        elif here is None:
            inner = make(None, groups[parent])
            step = Plan.of_map(Edit(_editor(parent, inner), inner.edits[0].given), purpose)
        else:
            count = given(groups[parent])

            def leaf(nested: Schema, group: Group = groups[parent]) -> FieldPlan:
                return _nested(nested, make(nested, group))

            step = Plan.of_struct(plan_fields(here, {parent: leaf}, replaces_null=False, purpose=purpose, given=count))
        plan = step if plan is None else plan.then(step, taken_before)
        taken_before += given(groups[parent])
    assert plan is not None, "the outermost group is always there"
    return plan


def inmost_first(groups: Iterable[Steps]) -> Sequence[Steps]:
    """The order in which groups are planned for."""
    return sorted(groups, key=len, reverse=True)


def plan_fields(
    schema: Schema, leaves: Mapping[Steps, LeafPlan], *, replaces_null: bool, purpose: str, given: int = 0
) -> Building:
    """The struct with the fields at some paths changed; paths that lead nowhere are left out.

    Unlike other new schemas, this one may be null if the old one may. replaces_null: a field's default stands in the
    place of its null. purpose: what a struct is needed for. given: how many values each change takes beside.
    """
    fields: list[tuple[str, Schema]] = []
    expressions: list[Expression] = []
    for field in schema.fields:
        found = taken(schema, field.index, replaces_null=replaces_null)
        own = {steps[1:]: leaf for steps, leaf in leaves.items() if steps[0] == field.name}
        if own:
            changed, change = _changed(field.schema, own, replaces_null=replaces_null, purpose=purpose, given=given)
            fields.append((field.name, changed))
            expressions.append(Apply(change, found, keeps_null=True, given=(*range(given),)))
        else:
            fields.append((field.name, field.schema))
            expressions.append(found)
    target = renewed(schema, fields)
    target = target.replaced(optional=True) if schema.optional else target
    return Building(schema, target, expressions, purpose, given)


def taken_at(schema: Schema, path: FieldPath, *, replaces_null: bool) -> tuple[Expression, Field] | None:
    """The field at a path as it was, and which it is; None: there is none. Raises DataError on the way."""
    found: Field | None = None
    expression: Expression | None = None
    for step in path.steps:
        if schema.type != "STRUCT":
            raise DataError("Cannot look up fields on non-struct type")
        found = schema.field(step)
        if found is None:
            return None
        if expression is None:
            expression = taken(schema, found.index, replaces_null=replaces_null)
        else:
            expression = Inside(schema.attribute(step), expression)
            if replaces_null and found.schema.default is not None:
                expression = Otherwise(expression, found.schema.default)
        schema = found.schema
    return None if found is None or expression is None else (expression, found)


def reader(schema: Schema, path: FieldPath, *, replaces_null: bool) -> Callable[[Any], Any]:
    """Takes the field at a path out of structs, and of None a None. The path leads to a field."""
    steps: list[tuple[str, Any]] = []
    for step in path.steps:
        found = schema.field(step)
        assert found is not None, path
        steps.append((schema.attribute(step), found.schema.default if replaces_null else None))
        schema = found.schema

    def read(value: Any) -> Any:
        for attribute, default in steps:
            if value is None:
                return None
            value = getattr(value, attribute)
            if value is None:
                value = default
        return value

    return read


def _changed(
    schema: Schema, leaves: Mapping[Steps, LeafPlan], *, replaces_null: bool, purpose: str, given: int
) -> FieldPlan:
    """A field that changes, or that has a field which does."""
    leaf = leaves.get(())
    if leaf is not None:
        return leaf(schema)
    if schema.type != "STRUCT":
        raise DataError("Cannot look up fields on non-struct type")
    building = plan_fields(schema, leaves, replaces_null=replaces_null, purpose=purpose, given=given)
    return building.schema, building.compiled()


def _nested(schema: Schema, plan: Plan) -> FieldPlan:
    """What a plan does to a struct within another, which may still be null if it could be."""
    if schema.type != "STRUCT" or plan.building is None:
        raise DataError("Cannot look up fields on non-struct type")
    building = plan.building
    if schema.optional and not building.schema.optional:
        building = building._replace(schema=building.schema.replaced(optional=True))
    return building.schema, building.compiled()


def _editor(parent: Steps, plan: Plan) -> Callable[..., None]:
    """What a plan does to maps within others, each copied on the way."""
    (edit_inner,) = (edit.act for edit in plan.edits)  # what is planned for a map edits one

    def copied(outer: dict[Any, Any]) -> dict[Any, Any] | None:
        for step in parent:
            inner = outer.get(step)
            if inner is None:
                return None
            outer[step] = outer = {**require_map(inner, _PURPOSE)}
        return outer

    def edit(fresh: list[dict[Any, Any]], *given: Sequence[Any]) -> None:
        slots = [*map(copied, fresh)]
        found = [slot for slot in slots if slot is not None]
        if len(found) < len(slots):
            is_there = [slot is not None for slot in slots]
            given = tuple([*compress(column, is_there)] for column in given)
        edit_inner(found, *given)

    return edit
