"""ByteArrayConverter: the bytes as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from engine.api.column import Repeat, Utf8Column
from engine.api.converter import Converter, Decoded, Encoded, Failure, HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import OPTIONAL_BYTES, Schema
from engine.api.validation import java_class

__all__ = ["ByteArrayConverter"]


class ByteArrayConverter(Converter, HeaderConverter):
    """Passes bytes through; refuses what is none."""

    can_fail: ClassVar[bool] = False

    def configure(self, config: Any, *, is_key: bool = False) -> None:
        """There is nothing to configure."""

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        if not isinstance(values, Utf8Column) and set(map(type, values)) <= {bytes, type(None)} and _all_bytes(schemas):
            return Encoded(values)
        payloads: list[bytes | None] = []
        failures = []
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            try:
                payloads.append(_bytes_of(value, schema))
            except DataError as error:
                payloads.append(None)
                failures.append(Failure(index, error))
        return Encoded(payloads, failures)

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        return Decoded(payloads, Repeat(OPTIONAL_BYTES, len(payloads)))

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        return _bytes_of(header.value, header.schema)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        return Header(key, payload, OPTIONAL_BYTES)


def _all_bytes(schemas: Sequence[Schema | None]) -> bool:
    looked_at = [schemas.value] if isinstance(schemas, Repeat) else schemas
    return all(schema is None or schema.type == "BYTES" for schema in looked_at)


def _bytes_of(value: Any, schema: Schema | None) -> bytes | None:
    if schema is not None and schema.type != "BYTES":
        raise DataError(f"Invalid schema type for ByteArrayConverter: {schema.type}")
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise DataError(f"ByteArrayConverter is not compatible with objects of type class {java_class(value)}")
