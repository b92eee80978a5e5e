"""DropHeaders, InsertHeader and HeaderFrom: transforms of a record's headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from engine.api import values
from engine.api.batch import Columns
from engine.api.column import Column, mapped
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.errors import ConfigError, DataError
from engine.api.record import Header
from engine.api.schema import Schema
from engine.api.transform import AnyRecord, Transform
from engine.transforms.building import Building, renewed, struct_only, taken
from engine.transforms.fields import by_parent, plan_side_by_side, reader
from engine.transforms.paths import FieldPath, FieldSyntax
from engine.transforms.planned import Edit, Plan, Plans
from engine.transforms.requirements import require_map, require_struct

__all__ = [
    "DropHeaders",
    "DropHeadersConfig",
    "HeaderFromConfig",
    "HeaderFromKey",
    "HeaderFromValue",
    "InsertHeader",
    "InsertHeaderConfig",
]

Headers = Sequence[Header]


class DropHeadersConfig(Config, frozen=True, kw_only=True):
    """Which headers go."""

    headers: Annotated[list[str], Meta(min_length=1, description="Names of the headers to leave out.")]


class DropHeaders(Transform):
    """Leaves out all headers of some names."""

    config = DropHeadersConfig
    reads_timestamps = False

    def configure(self, config: DropHeadersConfig) -> None:
        self._names = frozenset(config.headers)

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, headers=self._kept(record.headers))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.headers = mapped(self._kept, columns.headers)
        return ()

    def _kept(self, headers: Headers) -> Headers:
        return tuple(header for header in headers if header.key not in self._names)


class InsertHeaderConfig(Config, frozen=True, kw_only=True):
    """The header that each record gets."""

    header: Annotated[str, Meta(description="The header's name.")]
    literal: Annotated[
        str,
        Meta(
            description="The header's value: `12`, `true`, `[1, 2]` and the like are of the type that they look like."
        ),
    ] = field(name="value.literal")


class InsertHeader(Transform):
    """Adds a header with a constant value, behind those that a record has."""

    config = InsertHeaderConfig
    reads_timestamps = False

    def configure(self, config: InsertHeaderConfig) -> None:
        value, schema = values.parse(config.literal)
        self._added = Header(config.header, value, schema)

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, headers=self._with(record.headers))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.headers = mapped(self._with, columns.headers)
        return ()

    def _with(self, headers: Headers) -> Headers:
        return (*headers, self._added)


class HeaderFromConfig(FieldSyntax, frozen=True, kw_only=True):
    """Which fields become headers, and whether they stay."""

    fields: Annotated[list[str], Meta(description="Fields of the key or value.")]
    headers: Annotated[list[str], Meta(description="For each of the fields, its header's name.")]
    operation: Annotated[Literal["move", "copy"], Meta(description="Whether the fields go, or stay as well.")]
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is taken for its default.")
    ] = field(name="replace.null.with.default", default=True)


class _HeaderFrom(Transform):
    config = HeaderFromConfig
    reads_timestamps = False
    side: ClassVar[Literal["key", "value"]]

    def __init__(self) -> None:
        self._plans = Plans(self._plan)

    def configure(self, config: HeaderFromConfig) -> None:
        if len(config.fields) != len(config.headers):
            raise ConfigError("'fields' config must have the same number of elements as 'headers' config.")
        for name, given in (("fields", config.fields), ("headers", config.headers)):
            if not given:
                raise ConfigError(f"Invalid value [] for configuration {name}: Empty list")
        paths = [FieldPath.parse(name, config.field_syntax_version, "fields") for name in config.fields]
        self._pairs = [*zip(paths, config.headers, strict=True)]
        self._groups = by_parent(paths)
        self._moves = config.operation == "move"
        self._purpose = f"header {config.operation}"
        self._replaces_null = config.replaces_null
        self._left_of_maps = self._leaving(None)

    def apply(self, record: AnyRecord) -> AnyRecord:
        is_key = self.side == "key"
        schema, value = (record.key_schema, record.key) if is_key else (record.value_schema, record.value)
        pair: tuple[Any, list[Header]]
        pair, left = self._plans.one(schema, value)
        headers = [*record.headers, *pair[1]]
        if is_key:
            return replace(record, key=pair[0], key_schema=left, headers=headers)
        return replace(record, value=pair[0], value_schema=left, headers=headers)

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        is_key = self.side == "key"
        given = (columns.key_schemas, columns.keys) if is_key else (columns.value_schemas, columns.values)
        pairs, schemas, failures = self._plans.map(*given)
        # A slot that has failed holds None.
        changed = [pair and pair[0] for pair in pairs]
        columns.headers = [
            [*headers, *(pair[1] if pair else ())] for headers, pair in zip(columns.headers, pairs, strict=True)
        ]
        if is_key:
            columns.keys, columns.key_schemas = changed, schemas
        else:
            columns.values, columns.value_schemas = changed, schemas
        return failures

    def _plan(self, schema: Schema | None) -> Plan:
        """What becomes of a value: itself as it goes on, and the headers to add."""
        if schema is None:
            return Plan(None, self._of_map, self._of_maps)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, self._purpose))
        leaving = self._leaving(schema)
        left, leave = (leaving.schema, leaving.change) if self._moves else (schema, _same)
        readers = [self._reader(schema, path, header) for path, header in self._pairs]

        def change(value: Any) -> tuple[Any, list[Header]]:
            require_struct(value, schema, self._purpose)
            return leave(value), [read(value) for read in readers]

        return Plan(left, change)

    def _leaving(self, schema: Schema | None) -> Plan:
        """What moved fields leave of a value."""
        return plan_side_by_side(schema, self._groups, self._without, purpose=self._purpose)

    def _without(self, schema: Schema | None, names: Sequence[str]) -> Plan:
        if schema is None:
            return Plan.of_map(Edit(partial(_take_out, names)), self._purpose)
        kept = [one for one in schema.fields if one.name not in names]
        left = renewed(schema, [(one.name, one.schema) for one in kept])
        expressions = [taken(schema, one.index, replaces_null=self._replaces_null) for one in kept]
        return Plan.of_struct(Building(schema, left, expressions, self._purpose))

    def _reader(self, schema: Schema, path: FieldPath, header: str) -> Callable[[Any], Header]:
        found = path.field_of(schema)
        if found is None:

            def fail(_: Any) -> Header:
                raise DataError(f'There is no field "{path.text}" to become the header "{header}"')

            return fail
        field_schema = found.schema
        content = reader(schema, path, replaces_null=self._replaces_null)
        return lambda value: Header(header, content(value), field_schema)

    def _of_map(self, value: Any) -> tuple[dict[str, Any], list[Header]]:
        whole = require_map(value, self._purpose)
        headers = [Header(header, path.value_of(whole)) for path, header in self._pairs]
        return (self._left_of_maps.change(whole) if self._moves else whole), headers

    def _of_maps(self, values: Column) -> list[Any]:
        maps = [*values]
        for value in maps:
            require_map(value, self._purpose)
        columns = [[Header(header, path.value_of(value)) for value in maps] for path, header in self._pairs]
        left = self._left_of_maps.of_column(maps) if self._moves else maps
        return [*zip(left, zip(*columns, strict=True), strict=True)]


class HeaderFromKey(_HeaderFrom):
    """Moves or copies fields of the key into headers."""

    side = "key"


class HeaderFromValue(_HeaderFrom):
    """Moves or copies fields of the value into headers."""

    side = "value"


def _take_out(names: Sequence[str], fresh: list[dict[Any, Any]]) -> None:
    for name in names:
        for value in fresh:
            value.pop(name, None)


def _same(value: Any) -> Any:
    return value
