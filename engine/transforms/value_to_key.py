"""ValueToKey: a key made of fields of the value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, field
from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.converter import Failure
from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.api.transform import AnyRecord, Transform
from engine.transforms.building import Building, struct_only
from engine.transforms.fields import taken_at
from engine.transforms.paths import FieldPath, FieldSyntax
from engine.transforms.planned import Plan, Plans
from engine.transforms.requirements import require_map, require_struct

__all__ = ["ValueToKey", "ValueToKeyConfig"]

_PURPOSE = "copying fields from value to key"


class ValueToKeyConfig(FieldSyntax, frozen=True, kw_only=True):
    """Of which fields the key is made."""

    fields: Annotated[list[str], Meta(min_length=1, description="Fields of the value, in the key's order.")]
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is copied as its default.")
    ] = field(name="replace.null.with.default", default=True)


class ValueToKey(Transform):
    """Replaces the key by one that is made of fields of the value."""

    config = ValueToKeyConfig
    reads_timestamps = False
    reads_headers = False

    def __init__(self) -> None:
        self._plans = Plans(self._plan)

    def configure(self, config: ValueToKeyConfig) -> None:
        syntax = config.field_syntax_version
        self._paths = [FieldPath.parse(name, syntax, "fields") for name in dict.fromkeys(config.fields)]
        self._are_nested = any(len(path.steps) > 1 for path in self._paths)
        self._replaces_null = config.replaces_null

    def apply(self, record: AnyRecord) -> AnyRecord:
        key, schema = self._plans.one(record.value_schema, record.value)
        return replace(record, key=key, key_schema=schema)

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.keys, columns.key_schemas, failures = self._plans.map(columns.value_schemas, columns.values)
        return failures

    def _plan(self, schema: Schema | None) -> Plan:
        if schema is None:
            return Plan(None, self._of_map)
        if schema.type != "STRUCT":
            return Plan(None, struct_only(schema, _PURPOSE))
        found = [(path.text, taken_at(schema, path, replaces_null=self._replaces_null)) for path in self._paths]
        missing = next((text for text, one in found if one is None), None)
        if missing is not None:
            return Plan(None, _lacking(schema, missing))
        fields = [one for _, one in found if one is not None]
        key = Schema.struct([(one.name, one.schema) for _, one in fields])
        return Plan.of_struct(Building(schema, key, [expression for expression, _ in fields], _PURPOSE))

    def _of_map(self, value: Any) -> dict[str, Any]:
        whole = require_map(value, _PURPOSE)
        if self._are_nested:
            return {path.steps[-1]: path.value_of(whole) for path in self._paths}
        return {path.text: whole.get(path.text) for path in self._paths}


def _lacking(schema: Schema, name: str) -> Any:
    def change(value: Any) -> Any:
        require_struct(value, schema, _PURPOSE)
        raise DataError(f"Field does not exist: {name}")

    return change
