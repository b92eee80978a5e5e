"""TimestampConverter: timestamps from one form into another: text, unix epoch, Date, Time, Timestamp.

Used by: the catalog.
Not here: patterns of text (engine.api.java_date_patterns).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from engine.api.errors import ConfigError, ConnectError, DataError, Problem
from engine.api.java_date_patterns import DatePattern
from engine.api.java_dates import Moment, carried
from engine.api.java_scalars import datetime_of_ms, epoch_ms
from engine.api.schema import DATE, INT64, STRING, TIME, TIMESTAMP, Schema
from engine.api.structs import INT_RANGES
from engine.api.validation import DAY_MS, TIMESTAMP_MS
from engine.transforms.building import struct_only
from engine.transforms.fields import FieldPlan, LeafPlan, plan_fields
from engine.transforms.paths import FieldPath, FieldSyntax, map_editor
from engine.transforms.planned import Passed, Plan, Planned
from engine.transforms.record_text import schema_text
from engine.transforms.requirements import class_of, require_struct_schema

__all__ = ["TimestampConverterConfig", "TimestampConverterKey", "TimestampConverterValue"]

Change = Callable[[Any], Any]

_PURPOSE = "converting timestamp formats"
_SCHEMAS: Mapping[str, Schema] = {"string": STRING, "unix": INT64, "Date": DATE, "Time": TIME, "Timestamp": TIMESTAMP}
_OPTIONAL = {kind: schema.replaced(optional=True) for kind, schema in _SCHEMAS.items()}
#: How many units of a precision a millisecond has, or how many milliseconds a unit.
_PRECISIONS: Mapping[str, tuple[int, int]] = {
    "nanoseconds": (1_000_000, 1),
    "microseconds": (1000, 1),
    "milliseconds": (1, 1),
    "seconds": (1, 1000),
}
_LONG: tuple[int, int] = INT_RANGES["INT64"]


class TimestampConverterConfig(FieldSyntax, frozen=True, kw_only=True):
    """Which timestamps, and what they become."""

    path: Annotated[
        str,
        Meta(description="The field with the timestamp; empty: the whole key or value.", extra={"importance": "HIGH"}),
    ] = field(name="field", default="")
    target_type: Annotated[
        Literal["string", "unix", "Date", "Time", "Timestamp"],
        Meta(description="What it becomes.", extra={"importance": "HIGH"}),
    ] = field(name="target.type")
    format: Annotated[
        str,
        Meta(
            description="The pattern of text, as Java's SimpleDateFormat has it; for reading text, and for writing it.",
            extra={"importance": "MEDIUM"},
        ),
    ] = ""
    unix_precision: Annotated[
        Literal["nanoseconds", "microseconds", "milliseconds", "seconds"],
        Meta(description="The unit of a unix epoch.", extra={"importance": "LOW"}),
    ] = field(name="unix.precision", default="milliseconds")
    replaces_null: Annotated[
        bool,
        Meta(description="Whether a field's default stands in the place of its null.", extra={"importance": "MEDIUM"}),
    ] = field(name="replace.null.with.default", default=True)


class _TimestampConverter(Planned):
    config = TimestampConverterConfig
    passes_null = True

    def configure(self, config: TimestampConverterConfig) -> None:
        self._target = config.target_type
        self._pattern_text = config.format
        self._pattern = _pattern(config)
        self._precision = _PRECISIONS[config.unix_precision]
        self._replaces_null = config.replaces_null
        self._path = FieldPath.parse(config.path, config.field_syntax_version, "field") if config.path else None
        self._write = self._writer(None)

    def plan(self, schema: Schema | None) -> Plan:
        if schema is None:
            if self._path is None:
                return Plan(None, self._convert)
            return Plan.of_map(map_editor({self._path: self._convert}), _PURPOSE)
        if self._path is None:
            return Plan(*self._plan_leaf(schema))
        if schema.type != "STRUCT":
            return Plan(None, struct_only(schema, _PURPOSE))
        return self._plan_struct(schema, self._path, self._plan_leaf)

    def null(self, schema: Schema | None, *_: Any) -> Passed:
        if schema is None:
            return None, None
        if self._path is None:
            return None, self._plans.of(schema).schema
        # That the field is no timestamp does not matter here.
        return None, self._plan_struct(require_struct_schema(schema), self._path, self._plan_nothing).schema

    def _plan_struct(self, schema: Schema, path: FieldPath, leaf: LeafPlan) -> Plan:
        return Plan.of_struct(
            plan_fields(schema, {path.steps: leaf}, replaces_null=self._replaces_null, purpose=_PURPOSE)
        )

    def _plan_nothing(self, schema: Schema) -> FieldPlan:
        return self._target_schema(schema), _identity

    def _target_schema(self, schema: Schema) -> Schema:
        return (_OPTIONAL if schema.optional else _SCHEMAS)[self._target]

    def _plan_leaf(self, schema: Schema) -> FieldPlan:
        """What becomes of timestamps of a schema. Raises ConnectError when they are none."""
        read = self._reader(schema)
        target = self._target_schema(schema)
        write = self._writer(target)
        return target, lambda value: write(read(value))

    def _reader(self, schema: Schema) -> Callable[[Any], int]:
        if schema.logical == "Date":
            return lambda value: value * DAY_MS if isinstance(value, int) else epoch_ms(value)
        if schema.logical in ("Time", "Timestamp"):
            return epoch_ms
        if schema.type == "STRING":
            return self._parse
        if schema.type == "INT64":
            return self._of_unix
        raise ConnectError(f"Schema {schema_text(schema)} does not correspond to a known timestamp type format")

    def _writer(self, schema: Schema | None) -> Callable[[int], Any]:
        """Makes of a moment what is wanted. schema: None: it will have none."""
        if self._target == "string":
            assert self._pattern is not None, "refused by _pattern"
            return self._pattern.format
        if self._target == "unix":
            return self._to_unix
        if self._target == "Date":
            return lambda moment: carried(Moment(moment // DAY_MS * DAY_MS), schema)
        if self._target == "Time":
            return lambda moment: carried(Moment(moment % DAY_MS), schema)
        return _timestamp

    def _convert(self, value: Any) -> Any:
        """A value without a schema: its class tells what it is."""
        if value is None:
            return None
        if isinstance(value, str):
            return self._write(self._parse(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return self._write(self._of_unix(value))
        if isinstance(value, datetime.date | datetime.time):
            return self._write(epoch_ms(value))
        raise DataError(f"TimestampConverter does not support class {class_of(value)} objects as timestamps")

    def _parse(self, value: str) -> int:
        if self._pattern is None:
            raise DataError(
                f"TimestampConverter got the text {value} and has no format to read it by; expected format to be set"
            )
        try:
            return self._pattern.parse(value)
        except ValueError:
            raise DataError(
                f"Could not parse timestamp: value ({value}) does not match pattern ({self._pattern_text})"
            ) from None

    def _of_unix(self, value: int) -> int:
        units, milliseconds = self._precision
        return _within_long(_towards_zero(value, units) * milliseconds)

    def _to_unix(self, moment: int) -> int:
        units, milliseconds = self._precision
        return _within_long(_towards_zero(moment, milliseconds) * units)


class TimestampConverterKey(_TimestampConverter):
    """Converts timestamps in the key."""

    side = "key"


class TimestampConverterValue(_TimestampConverter):
    """Converts timestamps in the value."""

    side = "value"


def _pattern(config: TimestampConverterConfig) -> DatePattern | None:
    if not config.format:
        if config.target_type == "string":
            raise ConfigError(
                [
                    Problem(
                        "format",
                        "TimestampConverter requires format option to be specified when using string timestamps",
                    )
                ]
            )
        return None
    try:
        return DatePattern(config.format)
    except ValueError as error:
        text = (
            f"Invalid value java.lang.IllegalArgumentException: {error} for configuration TimestampConverter requires "
            f"a SimpleDateFormat-compatible pattern for string timestamps: {config.format}"
        )
        raise ConfigError([Problem("format", text)]) from None


def _timestamp(moment: int) -> datetime.datetime | int:
    return datetime_of_ms(moment) if TIMESTAMP_MS[0] <= moment <= TIMESTAMP_MS[1] else moment


def _identity(value: Any) -> Any:
    return value


def _towards_zero(number: int, divisor: int) -> int:
    return number if divisor == 1 else number // divisor if number >= 0 else -(-number // divisor)


def _within_long(number: int) -> int:
    return min(max(number, _LONG[0]), _LONG[1])
