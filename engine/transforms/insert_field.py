"""InsertField: fields of the record itself, and a constant, into its key or value."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta, field

from engine.api.column import Column, Repeat, has_null, mapped
from engine.api.errors import ConfigError, DataError, Problem
from engine.api.java_scalars import datetime_of_ms
from engine.api.schema import INT32, INT64, STRING, TIMESTAMP, Schema
from engine.api.validation import TIMESTAMP_MS
from engine.transforms.building import (
    Apply,
    Building,
    Constant,
    Expression,
    Given,
    renewed,
    struct_only,
    taken,
)
from engine.transforms.fields import Steps, inmost_first, plan_side_by_side
from engine.transforms.paths import FieldPath, FieldSyntax
from engine.transforms.planned import Edit, Fields, Plan, Planned

__all__ = ["InsertFieldConfig", "InsertFieldKey", "InsertFieldValue"]

_PURPOSE = "field insertion"
_HOW = "Suffix the name with `!` to make it a required field, or `?` to keep it optional (the default)."


class InsertFieldConfig(FieldSyntax, frozen=True, kw_only=True):
    """What is inserted, and under which names."""

    topic_field: Annotated[str | None, Meta(description=f"Name of the field for the topic. {_HOW}")] = field(
        name="topic.field", default=None
    )
    partition_field: Annotated[str | None, Meta(description=f"Name of the field for the partition. {_HOW}")] = field(
        name="partition.field", default=None
    )
    offset_field: Annotated[
        str | None, Meta(description=f"Name of the field for the offset; only for sinks. {_HOW}")
    ] = field(name="offset.field", default=None)
    timestamp_field: Annotated[str | None, Meta(description=f"Name of the field for the timestamp. {_HOW}")] = field(
        name="timestamp.field", default=None
    )
    static_field: Annotated[str | None, Meta(description=f"Name of the field for the constant. {_HOW}")] = field(
        name="static.field", default=None
    )
    static_value: Annotated[str | None, Meta(description="The constant.")] = field(name="static.value", default=None)
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is copied as its default.")
    ] = field(name="replace.null.with.default", default=True)


class _Insertion(NamedTuple):
    """One field that is inserted."""

    name: str
    schema: Schema
    column: str | None = None  # of what it comes; None: it is the constant
    constant: str | None = None


class _InsertField(Planned):
    config = InsertFieldConfig
    passes_null: ClassVar[bool] = True

    def configure(self, config: InsertFieldConfig) -> None:
        self._replaces_null = config.replaces_null
        if config.static_field is not None and config.static_value is None:
            text = f"No value specified for static field: {config.static_field}"
            raise ConfigError([Problem("static.value", f"Invalid value null for configuration static.value: {text}")])
        self._groups: dict[Steps, list[_Insertion]] = {(): []}
        for key, told, schema, column in (
            ("topic.field", config.topic_field, STRING, "topics"),
            ("partition.field", config.partition_field, INT32, "partitions"),
            ("offset.field", config.offset_field, INT64, "offsets"),
            ("timestamp.field", config.timestamp_field, TIMESTAMP, "timestamps"),
            ("static.field", config.static_field, STRING, None),
        ):
            if told is None:
                continue
            name = told[:-1] if told.endswith(("!", "?")) else told
            steps = FieldPath.parse(name, config.field_syntax_version, key).steps
            inserted = schema if told.endswith("!") else schema.replaced(optional=True)
            one = _Insertion(steps[-1], inserted, column, config.static_value)
            self._groups.setdefault(steps[:-1], []).append(one)
        if not any(self._groups.values()):
            raise ConfigError("No field insertion configured")
        planned = [one for parent in inmost_first(self._groups) for one in self._groups[parent]]
        self.reads = [one.column for one in planned if one.column is not None]
        self.reads_timestamps = "timestamps" in self.reads

    def plan(self, schema: Schema | None) -> Plan:
        return plan_side_by_side(schema, self._groups, self._plan, purpose=_PURPOSE, given=_given)

    def _plan(self, schema: Schema | None, insertions: Sequence[_Insertion]) -> Plan:
        if schema is None:
            return Plan.of_map(_edit_of(insertions), _PURPOSE)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, _PURPOSE))
        fields = [(one.name, one.schema) for one in schema.fields]
        fields += [(one.name, one.schema) for one in insertions]
        expressions = [taken(schema, index, replaces_null=self._replaces_null) for index in range(len(schema.fields))]
        expressions += _inserted(insertions)
        return Plan.of_struct(Building(schema, renewed(schema, fields), expressions, _PURPOSE, _given(insertions)))


class InsertFieldKey(_InsertField):
    """Inserts fields into the key: topic, partition, offset, timestamp of the record, and a constant."""

    side = "key"


class InsertFieldValue(_InsertField):
    """Inserts fields into the value: topic, partition, offset, timestamp of the record, and a constant."""

    side = "value"


def _given(insertions: Sequence[_Insertion]) -> int:
    """How many of them come from other columns."""
    return sum(one.column is not None for one in insertions)


def _inserted(insertions: Sequence[_Insertion]) -> list[Expression]:
    found: list[Expression] = []
    place = 0
    for one in insertions:
        if one.column is None:
            found.append(Constant(one.constant))
            continue
        given = Given(place)
        place += 1
        made_by = {"offsets": required_offset, "timestamps": timestamp_of}.get(one.column)
        found.append(given if made_by is None else Apply(made_by, given))
    return found


def _edit_of(insertions: Sequence[_Insertion]) -> Edit:
    return Edit(partial(_edit, insertions), _given(insertions), partial(_edit_columns, insertions))


def _edit(insertions: Sequence[_Insertion], fresh: list[dict[str, Any]], *given: Sequence[Any]) -> None:
    columns = iter(given)
    for one in insertions:
        name = one.name
        if one.column is None:
            constant = one.constant
            for value in fresh:
                value[name] = constant
            continue
        column: Iterable[Any] = next(columns)
        if one.column == "offsets":
            column = map(required_offset, column)
        for value, found in zip(fresh, column, strict=True):
            if found is not None:
                value[name] = found


def _edit_columns(insertions: Sequence[_Insertion], fresh: Fields, *given: Column) -> None:
    columns = iter(given)
    for one in insertions:
        if one.column is None:
            fresh[one.name] = Repeat(one.constant, fresh.count)
            continue
        column = next(columns)
        if one.column == "offsets":
            column = mapped(required_offset, column)
        if not has_null(column):
            fresh[one.name] = column
        elif set(column) != {None}:
            raise ValueError("Some maps get a field and others do not: each for itself, then")


def required_offset(offset: int | None) -> int:
    """The offset of a record out of Kafka. Raises DataError for one on its way into it."""
    if offset is None:
        raise DataError(
            "Only SinkRecord supported for [field insertion], found: org.apache.kafka.connect.source.SourceRecord"
        )
    return offset


def timestamp_of(milliseconds: int | None) -> datetime.datetime | int | None:
    """A record's timestamp as a value of the schema Timestamp."""
    if milliseconds is None or not TIMESTAMP_MS[0] <= milliseconds <= TIMESTAMP_MS[1]:
        return milliseconds
    return datetime_of_ms(milliseconds)
