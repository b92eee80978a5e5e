"""MaskField: fields emptied, or replaced, so that nobody can read them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from engine.api.column import Repeat
from engine.api.errors import DataError
from engine.api.java_scalars import round_to_float32
from engine.api.schema import Float32, Schema
from engine.transforms.building import Apply, Building, Expression, IfPresent, struct_only, taken
from engine.transforms.fields import by_parent, plan_side_by_side
from engine.transforms.paths import FieldPath, FieldSyntax
from engine.transforms.planned import Edit, Fields, Plan, Planned
from engine.transforms.requirements import class_of

__all__ = ["MaskFieldConfig", "MaskFieldKey", "MaskFieldValue"]

_PURPOSE = "mask fields"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_BITS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64}
_EPOCH_DAY = datetime.date(1970, 1, 1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
#: What stands in the place of values of a class, each time made anew where it could be changed.
_EMPTY: Mapping[type, Callable[[], Any]] = {
    bool: lambda: False,
    int: lambda: 0,
    float: lambda: 0.0,
    Float32: lambda: Float32(0.0),
    str: lambda: "",
    Decimal: lambda: Decimal(0),
    datetime.datetime: lambda: _EPOCH,
    datetime.date: lambda: _EPOCH_DAY,
    datetime.time: lambda: datetime.time(0),
    list: list,
    dict: dict,
}
_EMPTY_OF: Mapping[str, Any] = {
    **dict.fromkeys(_BITS, 0),
    "FLOAT32": 0.0,
    "FLOAT64": 0.0,
    "BOOLEAN": False,
    "STRING": "",
    "Decimal": Decimal(0),
    "Date": _EPOCH_DAY,
    "Time": datetime.time(0),
    "Timestamp": _EPOCH,
}
_MASKED_AS_TEXT = ("STRING", *_BITS, "FLOAT32", "FLOAT64", "Decimal")


class MaskFieldConfig(FieldSyntax, frozen=True, kw_only=True):
    """Which fields are masked, and by what."""

    fields: Annotated[list[str], Meta(min_length=1, description="Fields to mask.")]
    replacement: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="What stands in their place, in numbers and texts; absent: 0, or what is empty of its type."),
    ] = None
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is taken for its default.")
    ] = field(name="replace.null.with.default", default=True)


class _MaskField(Planned):
    config = MaskFieldConfig
    passes_null: ClassVar[bool] = False

    def configure(self, config: MaskFieldConfig) -> None:
        syntax = config.field_syntax_version
        self._groups = by_parent(FieldPath.parse(name, syntax, "fields") for name in dict.fromkeys(config.fields))
        self._replaces_null = config.replaces_null
        self._replacement = config.replacement
        #: By class, where it is the same for all of it.
        self._masks: dict[type, Any] = {}
        kinds = (bool, int, float, str) if config.replacement is None else (str,)
        for kind in kinds:
            self._masks[kind] = self._masked(kind())

    def plan(self, schema: Schema | None) -> Plan:
        return plan_side_by_side(schema, self._groups, self._plan, purpose=_PURPOSE)

    def _plan(self, schema: Schema | None, names: Sequence[str]) -> Plan:
        if schema is None:
            return Plan.of_map(Edit(partial(self._edit, names), columns=partial(self._edit_columns, names)), _PURPOSE)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, _PURPOSE))
        expressions: list[Expression] = []
        for one in schema.fields:
            expression = taken(schema, one.index, replaces_null=self._replaces_null)
            expressions.append(self._mask(expression, one.schema) if one.name in names else expression)
        return Plan.of_struct(Building(schema, schema, expressions, _PURPOSE))

    def _mask(self, expression: Expression, schema: Schema) -> Expression:
        """The expression for a field that is masked."""
        kind = schema.logical or schema.type
        if self._replacement is None and kind in _EMPTY_OF:
            return IfPresent(expression, _EMPTY_OF[kind])
        if self._replacement is not None and kind in _MASKED_AS_TEXT:
            try:
                return IfPresent(expression, _replacement(self._replacement, kind))
            except DataError:
                pass  # it is an error of each record whose field is not null
        return Apply(lambda value: None if value is None else self._masked(value, schema), expression)

    def _edit(self, names: Sequence[str], fresh: list[dict[Any, Any]]) -> None:
        masks = self._masks
        for name in names:
            for whole in fresh:
                value = whole.get(name)
                if value is None:
                    whole[name] = None
                    continue
                kind = value.__class__
                whole[name] = masks[kind] if kind in masks else self._masked(value)

    def _edit_columns(self, names: Sequence[str], fresh: Fields) -> None:
        masks = self._masks
        for name in names:
            column = fresh.column(name)
            kinds = set(map(type, column))
            if len(kinds) == 1 and (kind := kinds.pop()) in masks:
                fresh[name] = Repeat(masks[kind], fresh.count)
            else:  # a list or a map is emptied by one of its own
                fresh[name] = [None if value is None else self._masked(value) for value in column]

    def _masked(self, value: Any, schema: Schema | None = None) -> Any:
        """What stands in the place of a value. Raises DataError."""
        if self._replacement is None:
            empty = _EMPTY.get(type(value))
            if empty is None:
                raise DataError(f"Cannot mask value of type: class {class_of(value, schema)}")
            return empty()
        kind = _kind_of(value) if schema is None else schema.logical or schema.type
        if kind not in _MASKED_AS_TEXT:
            raise DataError(f"Cannot mask value of type class {class_of(value, schema)} with custom replacement.")
        return _replacement(self._replacement, kind)


class MaskFieldKey(_MaskField):
    """Masks fields of the key."""

    side = "key"


class MaskFieldValue(_MaskField):
    """Masks fields of the value."""

    side = "value"


def _kind_of(value: Any) -> str:
    """The type that a value without a schema is taken for."""
    if isinstance(value, str):
        return "STRING"
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "INT64" if -(2**63) <= value < 2**63 else "INTEGER"
    if isinstance(value, float):
        return "FLOAT32" if isinstance(value, Float32) else "FLOAT64"
    return "Decimal" if isinstance(value, Decimal) else type(value).__name__


def _replacement(text: str, kind: str) -> Any:
    """The replacement as a value of a type. Raises DataError when it is no number of it."""
    if kind == "STRING":
        return text
    if not _NUMBER.match(text):
        raise DataError(f"Unable to convert {text} (class java.lang.String) to a number")
    number = Decimal(text)
    if kind == "Decimal":
        return number
    if kind == "FLOAT64":
        return float(number)
    if kind == "FLOAT32":
        return Float32(round_to_float32(float(number)))
    bits = _BITS[kind]
    return (int(number) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
