"""DropHeaders, InsertHeader and HeaderFrom: transforms of a record's headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from engine.api import values
from engine.api.batch import Columns, Repeat
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.errors import ConfigError, DataError
from engine.api.record import Header
from engine.api.schema import Schema
from engine.api.transform import AnyRecord, Transform
from engine.transforms.building import Building, renewed, struct_only, taken
from engine.transforms.planned import Plan, Plans
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

    def configure(self, config: DropHeadersConfig) -> None:
        self._names = frozenset(config.headers)

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, headers=self._kept(record.headers))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.headers = _mapped(columns.headers, self._kept)
        return ()

    def _kept(self, headers: Headers) -> Headers:
        return [header for header in headers if header.key not in self._names]


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

    def configure(self, config: InsertHeaderConfig) -> None:
        value, schema = values.parse(config.literal)
        self._added = Header(config.header, value, schema)

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, headers=self._with(record.headers))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.headers = _mapped(columns.headers, self._with)
        return ()

    def _with(self, headers: Headers) -> Headers:
        return [*headers, self._added]


class HeaderFromConfig(Config, frozen=True, kw_only=True):
    """Which fields become headers, and whether they stay."""

    fields: Annotated[list[str], Meta(description="Fields of the key or value.")]
    headers: Annotated[list[str], Meta(description="For each of the fields, its header's name.")]
    operation: Annotated[Literal["move", "copy"], Meta(description="Whether the fields go, or stay as well.")]
    replaces_null: Annotated[
        bool, Meta(description="Whether a null field that has a default is taken for its default.")
    ] = field(name="replace.null.with.default", default=True)


class _HeaderFrom(Transform):
    config = HeaderFromConfig
    side: ClassVar[Literal["key", "value"]]

    def __init__(self) -> None:
        self._plans = Plans(self._plan)

    def configure(self, config: HeaderFromConfig) -> None:
        if len(config.fields) != len(config.headers):
            raise ConfigError("'fields' config must have the same number of elements as 'headers' config.")
        for name, given in (("fields", config.fields), ("headers", config.headers)):
            if not given:
                raise ConfigError(f"Invalid value [] for configuration {name}: Empty list")
        self._pairs = [*zip(config.fields, config.headers, strict=True)]
        self._moves = config.operation == "move"
        self._purpose = f"header {config.operation}"
        self._replaces_null = config.replaces_null

    def apply(self, record: AnyRecord) -> AnyRecord:
        is_key = self.side == "key"
        schema, value = (record.key_schema, record.key) if is_key else (record.value_schema, record.value)
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
            return Plan(None, self._of_map)
        if schema.type != "STRUCT":
            return Plan(schema, struct_only(schema, self._purpose))
        taken_out = {name for name, _ in self._pairs} if self._moves else set()
        kept = [one for one in schema.fields if one.name not in taken_out]
        left, leave = schema, _same
        if self._moves:
            left = renewed(schema, [(one.name, one.schema) for one in kept])
            expressions = [taken(schema, one.index, replaces_null=self._replaces_null) for one in kept]
            leave = Building(schema, left, expressions, self._purpose).compiled()
        readers = [self._reader(schema, name, header) for name, header in self._pairs]

        def change(value: Any) -> tuple[Any, list[Header]]:
            require_struct(value, schema, self._purpose)
            return leave(value), [read(value) for read in readers]

        return Plan(left, change)

    def _reader(self, schema: Schema, name: str, header: str) -> Callable[[Any], Header]:
        found = schema.field(name)
        if found is None:

            def fail(_: Any) -> Header:
                raise DataError(f'There is no field "{name}" to become the header "{header}"')

            return fail
        attribute, field_schema = schema.attribute(name), found.schema
        default = field_schema.default if self._replaces_null else None

        def read(value: Any) -> Header:
            content = getattr(value, attribute)
            return Header(header, default if content is None else content, field_schema)

        return read

    def _of_map(self, value: Any) -> tuple[dict[str, Any], list[Header]]:
        whole = require_map(value, self._purpose)
        headers = [Header(header, whole.get(name)) for name, header in self._pairs]
        if not self._moves:
            return whole, headers
        left = whole.copy()
        for name, _ in self._pairs:
            left.pop(name, None)
        return left, headers


class HeaderFromKey(_HeaderFrom):
    """Moves or copies fields of the key into headers."""

    side = "key"


class HeaderFromValue(_HeaderFrom):
    """Moves or copies fields of the value into headers."""

    side = "value"


def _mapped(column: Sequence[Headers], change: Callable[[Headers], Headers]) -> Sequence[Headers]:
    if isinstance(column, Repeat):
        return Repeat(change(column.value), len(column))
    return [*map(change, column)]


def _same(value: Any) -> Any:
    return value
