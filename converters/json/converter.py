"""JsonConverter: JSON with a schema beside each value, or without.

    schemas.enable=true      {"schema":{"type":"int32","optional":false},"payload":1}
    schemas.enable=false     1

What it writes is byte for byte what Kafka Connect's converter writes; what it reads, it reads alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from converters.json.decode import EnvelopeDecoder, SchemaDecoder, SchemalessDecoder
from converters.json.encode import JsonEncoder
from converters.json.reading import MISSING, parse
from converters.json.schemas import schema_from_tree
from engine.api.config import Config
from engine.api.converter import Converter, Decoded, Encoded, HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import Schema

__all__ = ["JsonConfig", "JsonConverter"]


#: How clients show the keys: as those of Kafka Connect's converter.
_SCHEMAS = {"group": "Schemas", "width": "MEDIUM"}
_SERIALIZATION = {"group": "Serialization", "width": "MEDIUM", "importance": "LOW"}


class JsonConfig(Config, frozen=True, kw_only=True):
    """What JSON carries."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"decimal.format"})

    schemas_enable: Annotated[
        bool,
        Meta(
            title="Enable Schemas",
            description="Whether each value is in an envelope with its schema.",
            extra={**_SCHEMAS, "order": 0, "importance": "HIGH"},
        ),
    ] = field(name="schemas.enable", default=True)
    schemas_cache_size: Annotated[
        int,
        Meta(
            le=2**31 - 1,
            title="Schema Cache Size",
            description="How many schemas are kept ready, in each direction.",
            extra={**_SCHEMAS, "order": 1, "importance": "HIGH"},
        ),
    ] = field(name="schemas.cache.size", default=1000)
    schema_content: Annotated[
        str | None,
        Meta(
            title="Schema Content",
            description="A schema in JSON for every value read; values then come without an envelope.",
            extra={**_SCHEMAS, "order": 2, "importance": "HIGH"},
        ),
    ] = field(name="schema.content", default=None)
    decimal_format: Annotated[
        Literal["NUMERIC", "BASE64"],
        Meta(
            title="Decimal Format",
            description="How decimals are written: their digits as base64, or a number. Both are read.",
            extra={**_SERIALIZATION, "order": 0},
        ),
    ] = field(name="decimal.format", default="BASE64")
    replace_null_with_default: Annotated[
        bool,
        Meta(
            title="Replace null with default",
            description="Whether a null becomes the default of its schema, if that has one.",
            extra={**_SERIALIZATION, "order": 1},
        ),
    ] = field(name="replace.null.with.default", default=True)


class JsonConverter(Converter, HeaderConverter):
    """Values to JSON and back."""

    config = JsonConfig

    def __init__(self) -> None:
        self._take(JsonConfig(), None)

    def configure(self, config: JsonConfig, *, is_key: bool = False) -> None:
        """Raises DataError for a `schema.content` that is no schema."""
        self._take(config, _schema_of_content(config))

    def _take(self, config: JsonConfig, schema: Schema | None) -> None:
        replace_null = config.replace_null_with_default
        self._encoder = JsonEncoder(
            has_envelope=config.schemas_enable,
            replace_null=replace_null,
            is_decimal_numeric=config.decimal_format == "NUMERIC",
            cache_size=config.schemas_cache_size,
        )
        self._decoder: SchemalessDecoder | SchemaDecoder | EnvelopeDecoder
        if not config.schemas_enable:
            self._decoder = SchemalessDecoder()
        elif schema is not None:
            self._decoder = SchemaDecoder(schema, replace_null=replace_null)
        else:
            self._decoder = EnvelopeDecoder(replace_null=replace_null, cache_size=config.schemas_cache_size)

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        return self._encoder.encode(values, schemas)

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        return self._decoder.decode(payloads)

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        return self._encoder.encode_one(header.value, header.schema)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        value, schema = self._decoder.decode_one(payload)
        return Header(key, value, schema)


def _schema_of_content(config: JsonConfig) -> Schema | None:
    if not config.schema_content:
        return None
    try:
        tree = parse(config.schema_content.encode())
    except ValueError as error:
        raise DataError("Failed to parse schema in converter config due to serialization error: ") from error
    if tree is MISSING:
        return None
    return schema_from_tree(tree, replace_null=config.replace_null_with_default)
