"""Transforms that are planned once for a schema and then map a column.

    class HoistFieldValue(Planned):
        side = "value"

        def plan(self, schema):                                 once for each schema that comes along
            if schema is None:
                return Plan(None, lambda value: {self._field: value})
            hoisted = Schema.struct({self._field: schema})
            return Plan(hoisted, ...)                           and this once a value

The record form and the batch form use the same plan, so that they cannot differ. Neighbours in a chain that plan for
the same side become one (`fused`): maps are copied once for both, and no struct is made between them.

Used by: engine.transforms.
Not here: columns, and which slots of them are looked at (engine.api.batch, engine.stages.transform).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.column import Column, MapColumn, Repeat, StructColumn, fields_of, has_null, uniform
from engine.api.converter import Failure
from engine.api.schema import Schema
from engine.api.transform import AnyRecord, Transform
from engine.transforms.building import Building
from engine.transforms.requirements import require_map

__all__ = ["Edit", "Fields", "Mapped", "Passed", "Plan", "Planned", "Plans"]

#: Plans that a transform keeps; Kafka Connect keeps 16.
PLANS_MAX = 64

Side = Literal["key", "value"]
Passed = tuple[Any, Schema | None]


class Plan(NamedTuple):
    """What becomes of values of one schema: their new schema, and one value of one value.

    `of_struct` and `of_map` make such that can be composed with others.
    """

    schema: Schema | None
    change: Callable[..., Any]  # raises DataError; never changes what it is given
    column: Callable[..., Column] | None = None  # `change`, of a column; raises anything. None: slot by slot
    building: Building | None = None  # `change`, as a struct made of a struct
    edits: Sequence[Edit] = ()  # `change`, as edits of a copy of a map
    purpose: str = ""  # of these: what a map is needed for

    @classmethod
    def of_struct(cls, building: Building) -> Plan:
        """A struct is made of a struct."""
        return cls(building.schema, building.compiled(), building=building)

    @classmethod
    def of_map(cls, edit: Edit, purpose: str) -> Plan:
        """Maps, which have no schema, are copied and the copies edited. purpose: what a map is needed for."""
        return cls._of_edits([edit], purpose)

    @classmethod
    def _of_edits(cls, edits: Sequence[Edit], purpose: str) -> Plan:
        by_map = [edit.act for edit in edits]
        by_key = [edit.columns for edit in edits if edit.columns is not None]

        def do(acts: Sequence[Callable[..., None]], fresh: Any, given: Sequence[Column]) -> None:
            at = 0
            for edit, act in zip(edits, acts, strict=True):
                act(fresh, *given[at : at + edit.given])
                at += edit.given

        def change(value: Any, *given: Any) -> Any:
            fresh = [require_map(value, purpose).copy()]
            do(by_map, fresh, [[one] for one in given])
            return fresh[0]

        def column(values: Column, *given: Column) -> Column:
            if isinstance(values, MapColumn) and len(by_key) == len(edits):
                fields = Fields(values.columns, len(values))
                do(by_key, fields, given)
                return MapColumn(fields, len(values))
            # Maps by key are made when they are read, for this. Which slot holds no map, `change` finds out.
            fresh = [*values] if isinstance(values, MapColumn) else [*map(dict.copy, values)]
            do(by_map, fresh, given)
            return fresh

        return cls(None, change, column, edits=edits, purpose=purpose)

    def then(self, following: Plan, given: int) -> Plan:
        """Both in one. given: how many of what is given beside a value are for this one; the rest is the other's."""
        if (
            self.building is not None
            and following.building is not None
            and following.building.can_follow(self.building)
        ):
            return Plan.of_struct(following.building.after(self.building))
        if self.edits and following.edits:
            return Plan._of_edits([*self.edits, *following.edits], self.purpose)
        return Plan(
            following.schema,
            lambda value, *all: following.change(self.change(value, *all[:given]), *all[given:]),
            lambda values, *all: following.of_column(self.of_column(values, *all[:given]), *all[given:]),
        )

    def of_fields(self, values: Column, *given: Column) -> Column | None:
        """What becomes of a column of structs, as a column for each field; None where that is not how it is done."""
        if self.building is None or not self.building.source.fields:
            return None
        source = self.building.source
        if not isinstance(values, StructColumn):
            if set(map(type, values)) != {source.struct_type}:
                return None
            fields: Sequence[Column] = fields_of(source.struct_type, self.building.used())(values)
        elif values.schema is source:
            fields = values.columns
        else:
            return None
        return StructColumn(self.building.schema, self.building.columns(fields, given, len(values)), len(values))

    def of_column(self, values: Column, *given: Column) -> Column:
        """What becomes of a column. Raises whatever one of its slots does, and then says not which."""
        return [*map(self.change, values, *given)] if self.column is None else self.column(values, *given)


class Edit(NamedTuple):
    """Something done to maps that are nobody else's: in one loop, as calls cost more than what they do."""

    act: Callable[..., None]  # takes a list of them, and after it `given` columns as long as that
    given: int = 0
    columns: Callable[..., None] | None = None  # the same, done to `Fields`; None: only map by map


class Fields(dict[str, Column]):
    """The columns of maps that have the same keys, by key: what is done to the keys of a map is done to it as well."""

    def __init__(self, columns: Mapping[str, Column], count: int) -> None:
        super().__init__(columns)
        self.count = count  # slots of each

    def column(self, name: str) -> Column:
        """The field of each map; nulls, if they have none of this name."""
        return self[name] if name in self else Repeat(None, self.count)


class Mapped(NamedTuple):
    """A column that was changed. A slot that has failed holds None in both."""

    values: Sequence[Any]
    schemas: Sequence[Schema | None]
    failures: Sequence[Failure]


class Plans:
    """The plans for the schemas that came along last."""

    def __init__(self, make: Callable[[Schema | None], Plan], null: Callable[..., Passed] | None = None) -> None:
        """make: raises DataError for a schema that it cannot take.

        null: what becomes of a null and its schema, and of what is given beside; None: plans take it as any value.
        """
        self._make = make
        self._null = null
        self._kept: dict[Schema | None, Plan] = {}

    def of(self, schema: Schema | None) -> Plan:
        """The plan for a schema. Raises DataError."""
        plan = self._kept.get(schema)
        if plan is None:
            plan = self._make(schema)
            if len(self._kept) >= PLANS_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[schema] = plan
        return plan

    def one(self, schema: Schema | None, value: Any, *given: Any) -> Passed:
        """A value as it becomes, and its schema. given: what `change` takes beside it. Raises DataError."""
        if value is None and self._null is not None:
            return self._null(schema, *given)
        plan = self.of(schema)
        return plan.change(value, *given), plan.schema

    def map(
        self,
        schemas: Sequence[Schema | None],
        values: Sequence[Any],
        *given: Sequence[Any],
        is_sink: bool = False,
    ) -> Mapped:
        """A column as it becomes, and its schemas; only the slots that are bad fail.

        is_sink: who gets it may do without structs; a source's converter cannot, and gets them made at once.
        """
        schemas = uniform(schemas)
        if isinstance(schemas, Repeat) and not (self._null is not None and has_null(values)):
            try:
                plan = self.of(schemas.value)
                changed: Sequence[Any]
                if isinstance(values, Repeat) and len(values) and not given:
                    changed = Repeat(plan.change(values.value), len(values))
                else:
                    has_fields = is_sink or isinstance(values, StructColumn)
                    by_field = plan.of_fields(values, *given) if has_fields else None
                    changed = plan.of_column(values, *given) if by_field is None else by_field
                return Mapped(changed, Repeat(plan.schema, len(changed)), ())
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001, S110  which of the slots it was is found out below
                pass
        return self._one_by_one(schemas, values, *given)

    def _one_by_one(self, schemas: Sequence[Schema | None], values: Sequence[Any], *given: Sequence[Any]) -> Mapped:
        changed: list[Any] = []
        changed_schemas: list[Schema | None] = []
        failures = []
        for index, (schema, value, *beside) in enumerate(zip(schemas, values, *given, strict=True)):
            try:
                value, schema = self.one(schema, value, *beside)
            except MemoryError:
                raise  # no fault of the record's
            except Exception as error:  # noqa: BLE001  whatever is raised for a record costs that record
                value = schema = None
                failures.append(Failure(index, error))
            changed.append(value)
            changed_schemas.append(schema)
        return Mapped(changed, uniform(changed_schemas), failures)


class Planned(Transform):
    """A transform of a key or a value that depends on nothing but it, its schema, and perhaps other columns."""

    side: ClassVar[Side]
    #: Whether `null` takes the nulls, which lets them go on as they are; then `change` never sees one.
    passes_null: ClassVar[bool] = False
    reads_timestamps = False  # unless they are among what it `reads`
    reads_headers = False
    #: Other columns of which `change` takes the record's slots, after the value; `configure` may set it.
    reads: Sequence[str] = ()

    def __init__(self) -> None:
        self._plans = Plans(self.plan, self.null if self.passes_null else None)

    @abstractmethod
    def plan(self, schema: Schema | None) -> Plan:
        """What becomes of values of this schema; asked once. Raises DataError for a schema that it cannot take."""

    def null(self, schema: Schema | None, *_: Any) -> Passed:
        """What becomes of a null and its schema, where `passes_null`. Raises DataError."""
        return None, schema

    def apply(self, record: AnyRecord) -> AnyRecord:
        return _applied(self._plans, self.side, self.reads, record)

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        return _applied_batch(self._plans, self.side, self.reads, columns)

    def one(self, schema: Schema | None, value: Any, *given: Any) -> Passed:
        """A value as it becomes, and its schema. Raises DataError."""
        return self._plans.one(schema, value, *given)

    def fused(self, following: Transform) -> Transform | None:
        if isinstance(following, Planned) and following.side == self.side:
            return _Fused([self, following])
        return None


class _PlansInTurn(Plans):
    """The plans of several steps as one; what does not go through all of them takes them in turn.

    So it is the first step that fails of which a record's error tells.
    """

    def __init__(self, steps: Sequence[Planned], make: Callable[[Schema | None], Plan]) -> None:
        super().__init__(make, self.one if any(step.passes_null for step in steps) else None)
        self._steps = steps

    def one(self, schema: Schema | None, value: Any, *given: Any) -> Passed:
        for step in self._steps:
            count = len(step.reads)
            value, schema = step.one(schema, value, *given[:count])
            given = given[count:]
        return value, schema


class _Fused(Transform):
    """Planned transforms of one side that follow each other, as one."""

    def __init__(self, steps: Sequence[Planned]) -> None:
        self._steps = steps
        self._side = steps[0].side
        self._reads = [name for step in steps for name in step.reads]
        self._plans = _PlansInTurn(steps, self._plan)

    def _plan(self, schema: Schema | None) -> Plan:
        plan = self._steps[0].plan(schema)
        given = len(self._steps[0].reads)
        for step in self._steps[1:]:
            plan = plan.then(step.plan(plan.schema), given)
            given += len(step.reads)
        return plan

    def apply(self, record: AnyRecord) -> AnyRecord:
        return _applied(self._plans, self._side, self._reads, record)

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        return _applied_batch(self._plans, self._side, self._reads, columns)

    def fused(self, following: Transform) -> Transform | None:
        if isinstance(following, Planned) and following.side == self._side:
            return _Fused([*self._steps, following])
        return None

    def close(self) -> None:
        for step in self._steps:
            step.close()


#: What the columns that a plan may read are called in a record; a source's has no offset.
_RECORD_NAMES = {"topics": "topic", "partitions": "partition", "timestamps": "timestamp", "offsets": "offset"}


def _applied(plans: Plans, side: Side, reads: Sequence[str], record: AnyRecord) -> AnyRecord:
    given = [getattr(record, _RECORD_NAMES[name], None) for name in reads]
    if side == "key":
        key, schema = plans.one(record.key_schema, record.key, *given)
        return replace(record, key=key, key_schema=schema)
    value, schema = plans.one(record.value_schema, record.value, *given)
    return replace(record, value=value, value_schema=schema)


def _applied_batch(plans: Plans, side: Side, reads: Sequence[str], columns: Columns) -> Sequence[Failure]:
    nothing = Repeat(None, len(columns))
    given = [getattr(columns, name) if name not in columns.unused() else nothing for name in reads]
    if side == "key":
        mapped = plans.map(columns.key_schemas, columns.keys, *given, is_sink=columns.is_sink)
        columns.keys, columns.key_schemas = mapped.values, mapped.schemas
    else:
        mapped = plans.map(columns.value_schemas, columns.values, *given, is_sink=columns.is_sink)
        columns.values, columns.value_schemas = mapped.values, mapped.schemas
    return mapped.failures
