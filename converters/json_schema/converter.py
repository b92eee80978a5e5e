"""JsonSchemaConverter: JSON whose schema is in a registry, as Confluent's JsonSchemaConverter reads and writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from converters.json import finish
from converters.json.encode import JsonEncoder
from converters.json_schema import names
from converters.json_schema.from_connect import JsonSchemas
from converters.json_schema.to_connect import connect_schema
from converters.json_schema.trees import Trees
from converters.registry.client import Registered, Text
from converters.registry.config import RegistryConfig
from converters.registry.converter import Column, Reader, RegistryConverter, Target, Writer
from converters.registry.wire import HEADER_BYTES
from engine.api.column import Repeat
from engine.api.config import Config
from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.api.structs import annotation

__all__ = ["JsonSchemaConfig", "JsonSchemaConverter"]

_JSON = {"group": "JSON Schema", "width": "MEDIUM", "importance": "LOW"}
_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArithmeticError, DataError)
Check = Callable[[bytes], None]


class JsonSchemaConfig(RegistryConfig, frozen=True, kw_only=True):
    """How schemas of Connect and JSON Schemas become each other."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"decimal.format"})

    decimal_format: Annotated[
        Literal["BASE64", "NUMERIC"],
        Meta(description="How decimals are written: their digits as base64, or a number. Both are read.", extra=_JSON),
    ] = field(name="decimal.format", default="BASE64")
    is_open: Annotated[
        bool, Meta(description="Whether objects may have other members than their properties.", extra=_JSON)
    ] = field(name="object.additional.properties", default=True)
    may_miss: Annotated[
        bool, Meta(description="Whether properties that are not required are optional.", extra=_JSON)
    ] = field(name="use.optional.for.nonrequired", default=False)
    validates: Annotated[
        bool, Meta(description="Whether every value must be valid under its JSON Schema.", extra=_JSON)
    ] = field(name="json.fail.invalid.schema", default=False)


class JsonSchemaConverter(RegistryConverter):
    """Values to JSON and back."""

    config: ClassVar[type[Config]] = JsonSchemaConfig
    kind = "JSON"

    def configure(self, config: JsonSchemaConfig, *, is_key: bool) -> None:
        super().configure(config, is_key=is_key)
        self._json = config
        is_numeric = config.decimal_format == "NUMERIC"
        self._trees = Trees(is_decimal_numeric=is_numeric)
        self._schemas = JsonSchemas(self._trees, is_closed=not config.is_open, tells_required=config.may_miss)
        self._encoder = JsonEncoder(
            has_envelope=False, replace_null=True, is_decimal_numeric=is_numeric, cache_size=config.schemas_cache
        )

    def _reader(self, found: Registered, version: int | None) -> Reader:
        schema = connect_schema(
            found.text.schema, found.referred, self._trees, version=version, may_miss=self._json.may_miss
        )
        return JsonReader(schema, self._trees, self._check(found))

    def _target(self, schema: Schema | None) -> Target:
        text = msgspec.json.encode(self._schemas.of(schema)).decode()
        return Target(Text("JSON", text), None if schema is None else schema.name)

    def _writer(self, schema: Schema | None, found: Registered, *, is_strict: bool) -> Writer:
        if schema is None:
            raise DataError("a value without a schema cannot be written under a JSON Schema")
        return JsonWriter(schema, self._trees, self._encoder, self._check(found))

    def _name_of(self, found: Registered) -> str | None:
        try:
            title = msgspec.json.decode(found.text.schema).get("title")
        except (msgspec.DecodeError, AttributeError):
            return None
        return title if isinstance(title, str) else None

    def _check(self, found: Registered) -> Check | None:
        """What a payload's JSON must pass; None: nothing is checked."""
        return None if not self._json.validates else _checker(found)


class JsonReader:
    """Reads payloads of one schema."""

    def __init__(self, schema: Schema, trees: Trees, check: Check | None) -> None:
        self.schema: Schema | None = schema
        self._schema = schema
        self._trees = trees
        self._check = check
        self._parse = msgspec.json.Decoder(float_hook=Decimal).decode
        is_direct = finish.is_direct(schema, replace_null=True) and not _is_odd(schema, "FLOAT32")
        self._decode = msgspec.json.Decoder(annotation(schema)).decode if is_direct else None
        self._finish = finish.finisher(schema) if is_direct else None

    def read(self, payloads: Sequence[bytes]) -> Column:
        """The values of payloads, which begin with magic byte and id."""
        bodies = [payload[HEADER_BYTES:] for payload in payloads]
        if self._decode is not None and self._check is None:
            try:
                values = [*map(self._decode, bodies)]
                return Column([*self._finish(values)] if self._finish is not None else values, [])
            except _FAULTS:
                pass  # one by one, so that the others are read
        column = Column([], [])
        for index, body in enumerate(bodies):
            try:
                column.slots.append(self._one(body))
            except _FAULTS as error:
                column.slots.append(None)
                column.failures.append((index, _told(error)))
        return column

    def _one(self, body: bytes) -> Any:
        if self._check is not None:
            self._check(body)
        return self._trees.value(self._schema, self._parse(body))


class JsonWriter:
    """Writes values of one schema."""

    def __init__(self, schema: Schema, trees: Trees, encoder: JsonEncoder, check: Check | None) -> None:
        self._schema = schema
        self._trees = trees
        self._encoder = encoder
        self._check = check
        self._is_odd = _is_odd(schema)
        self._encode = msgspec.json.Encoder().encode

    def write(self, values: Sequence[Any], prefix: bytes) -> Column:
        """The payloads of values, none of which is None; each begins with `prefix`."""
        if not self._is_odd and self._check is None:
            encoded = self._encoder.encode(values, Repeat(self._schema, len(values)))
            if not encoded.failures:
                return Column([prefix + (payload or b"") for payload in encoded.payloads], [])
        column = Column([], [])
        for index, value in enumerate(values):
            try:
                body = self._encode(self._trees.tree(self._schema, value))
                if self._check is not None:
                    self._check(body)
                column.slots.append(prefix + body)
            except (*_FAULTS, UnicodeEncodeError) as error:
                column.slots.append(None)
                column.failures.append((index, _told(error)))
        return column


def _is_odd(schema: Schema, *odd: str) -> bool:
    """Whether it has something that JSON of converters.json writes otherwise. odd: types that count for it as well.

    A 32-bit float is read one by one: whatever is too large for one is to be refused, and not read as infinite.
    """
    if schema.type in odd or schema.name == names.ONE_OF or (schema.type == "MAP" and not names.is_text_keyed(schema)):
        return True
    parts = [schema.value_schema, *(field.schema for field in schema.fields)]
    return any(_is_odd(part, *odd) for part in parts if part is not None)


def _checker(found: Registered) -> Check:
    import jsonschema_rs  # noqa: PLC0415  only who validates needs it

    documents = {name: msgspec.json.decode(text) for name, text in found.referred.items()}

    def fetch(place: str) -> Any:
        name = next((name for name in documents if place == name or place.endswith(f"/{name}")), None)
        if name is None:
            raise ValueError(f"{place} is not among the references")
        return documents[name]

    try:
        validator = jsonschema_rs.validator_for(msgspec.json.decode(found.text.schema), retriever=fetch)
    except (ValueError, msgspec.DecodeError, jsonschema_rs.ReferencingError) as error:
        raise DataError(f"no JSON Schema that can be validated by: {error}") from error

    def check(body: bytes) -> None:
        problem = next(iter(validator.iter_errors(msgspec.json.decode(body))), None)
        if problem is not None:
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem.instance_path)
            raise DataError(problem.message).within(path)

    return check


def _told(error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(f"Converting byte[] to Kafka Connect data failed due to serialization error: {error}")
