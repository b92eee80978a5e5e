"""StringConverter: text in an encoding, and the text that Java prints of whatever is no text.

In UTF-8 a column of text is moved without being decoded: `Utf8Column`.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, field

from engine.api import java_text
from engine.api.column import Repeat, Utf8Column
from engine.api.config import Config
from engine.api.converter import Converter, Decoded, Encoded, Failure, HeaderConverter
from engine.api.errors import ConfigError, DataError, Problem
from engine.api.record import Header
from engine.api.schema import OPTIONAL_STRING, Schema

__all__ = ["StringConfig", "StringConverter"]

# Names that Java knows and Python does not, or means otherwise: Java's UTF-16 writes big-endian with a mark.
_JAVA_ENCODINGS = {"utf8": "utf-8", "utf-16": "utf-16-be", "utf16": "utf-16-be", "unicode": "utf-16-be"}
_BYTE_ORDER_MARK = b"\xfe\xff"


class StringConfig(Config, frozen=True, kw_only=True):
    """How text is encoded."""

    encoding: Annotated[
        str,
        Meta(
            title="Encoding",
            description="The name of the Java character set to use for encoding and decoding strings.",
            extra={"importance": "HIGH", "width": "MEDIUM"},
        ),
    ] = field(name="converter.encoding", default="UTF-8")


class StringConverter(Converter, HeaderConverter):
    """Text to bytes and back; everything else to the text Java prints of it."""

    config = StringConfig

    def __init__(self) -> None:
        self._encoding = "utf-8"
        self._mark = b""

    def configure(self, config: StringConfig, *, is_key: bool = False) -> None:
        """Raises ConfigError for an encoding that is not known."""
        name = config.encoding
        encoding = _JAVA_ENCODINGS.get(name.lower(), name)
        try:
            self._encoding = codecs.lookup(encoding).name
            "".encode(self._encoding)  # base64 and its like are codecs in Python, and no encodings
        except LookupError:
            problem = f"Invalid value {name} for configuration converter.encoding: no such encoding"
            raise ConfigError([Problem("converter.encoding", problem)]) from None
        self._mark = _BYTE_ORDER_MARK if encoding == "utf-16-be" and name.lower() in _JAVA_ENCODINGS else b""

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        if isinstance(values, Utf8Column) and self._encoding == "utf-8":
            return Encoded(_valid(values))
        if isinstance(values, Repeat):
            return Encoded(Repeat(self._encoded(values.value, schemas[0]), len(values)) if values else [])
        if self._encoding == "utf-8":
            try:
                # bench/micro/test_converters.py::string_out: no call of ours a record
                return Encoded([*map(str.encode, values)])
            except (TypeError, UnicodeEncodeError):
                pass  # not all of it is text, or it holds half a surrogate pair
        if set(map(type, values)) <= {str, type(None)}:
            return Encoded([None if value is None else self._encode(value) for value in values])
        try:
            found = java_text.texts(values, schemas)
        except DataError:
            return self._one_by_one(values, schemas)
        pairs = zip(values, found, strict=True)
        return Encoded([None if value is None else self._encode(text) for value, text in pairs])

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        schemas = Repeat(OPTIONAL_STRING, len(payloads))
        if self._encoding == "utf-8":
            return Decoded(Utf8Column(payloads), schemas)
        return Decoded([None if payload is None else self._decode(payload) for payload in payloads], schemas)

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        return self._encoded(header.value, header.schema)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        return Header(key, self.to_connect(topic, [payload]).values[0], OPTIONAL_STRING)

    def _one_by_one(self, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        payloads: list[bytes | None] = []
        failures = []
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            try:
                payloads.append(self._encoded(value, schema))
            except DataError as error:
                payloads.append(None)
                failures.append(Failure(index, error))
        return Encoded(payloads, failures)

    def _encoded(self, value: Any, schema: Schema | None) -> bytes | None:
        return None if value is None else self._encode(java_text.texts([value], [schema])[0])

    def _encode(self, text: str) -> bytes:
        mark = self._mark if text else b""
        return mark + text.encode(self._encoding, "replace")

    def _decode(self, payload: bytes) -> str:
        if self._mark and payload[:2] == b"\xff\xfe":
            return payload[2:].decode("utf-16-le", "replace")
        if self._mark and payload[:2] == _BYTE_ORDER_MARK:
            payload = payload[2:]
        return payload.decode(self._encoding, "replace")


def _valid(column: Utf8Column) -> Sequence[bytes | None]:
    """The column's bytes; where they are no UTF-8, what the text they read as is in UTF-8."""
    encoded = column.encoded
    try:
        b"\n".join(encoded).decode()  # type: ignore[arg-type]  # the few columns with a None fail to join
        return encoded
    except (TypeError, UnicodeDecodeError):
        return [None if text is None else java_text.encode(text) for text in column]
