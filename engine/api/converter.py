"""Converters: between the bytes that Kafka stores and the values that connectors see.

A converter works on a whole column. A slot that cannot be converted becomes a
`Failure` beside the others' results: one bad record must not cost the other 499.

    to_connect(topic, [b"1", b"x"])  ──►  Decoded(values=[1, None], failures=[Failure(1, DataError(...))])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from engine.api.column import Repeat
from engine.api.config import Config
from engine.api.record import Header
from engine.api.schema import Schema

__all__ = ["Converter", "Decoded", "Encoded", "Failure", "HeaderConverter", "RecordConverter"]


class Failure(Struct, frozen=True):
    """Why one slot of a column has no result."""

    index: int
    error: Exception


class Decoded(Struct):
    """A column of values and the schema of each; a failed slot holds None in both."""

    values: Sequence[Any]
    schemas: Sequence[Schema | None]
    failures: Sequence[Failure] = ()


class Encoded(Struct):
    """A column of bytes as Kafka stores them (None: a null, a tombstone); a failed slot holds None."""

    payloads: Sequence[bytes | None]
    failures: Sequence[Failure] = ()


class Converter(ABC):
    """Converts columns. Made once a task, used by one process, for keys or for values."""

    #: The keys this converter understands; parsed and validated by the engine before `configure`.
    config: ClassVar[type[Config]] = Config

    def configure(self, config: Any, *, is_key: bool) -> None:  # noqa: B027  most have nothing to configure
        """Take the parsed configuration (an instance of `self.config`), once, before anything is converted."""

    @abstractmethod
    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        """n values in, n payloads out, same order."""

    @abstractmethod
    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        """n payloads in, n values out, same order."""


class RecordConverter(Converter):
    """The simple way to write a converter: one value at a time, DataError for a bad one."""

    @abstractmethod
    def from_connect_value(self, topic: str, value: Any, schema: Schema | None) -> bytes | None:
        """The bytes of one value. Raises DataError for one that cannot be converted."""

    @abstractmethod
    def to_connect_value(self, topic: str, payload: bytes | None) -> tuple[Any, Schema | None]:
        """The value of one payload, and its schema. Raises DataError for one that cannot be converted."""

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        payloads: list[bytes | None] = []
        failures = []
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            try:
                payloads.append(self.from_connect_value(topic, value, schema))
            except MemoryError:
                raise  # no fault of the record's
            except Exception as error:  # noqa: BLE001  whatever a plugin raises for a record costs that record
                payloads.append(None)
                failures.append(Failure(index, error))
        return Encoded(payloads, failures)

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        if isinstance(payloads, Repeat) and payloads:
            # One look tells for all: a column of nulls is the usual case of keys.
            first = self.to_connect(topic, [payloads.value])
            repeated = [Failure(index, failure.error) for failure in first.failures for index in range(len(payloads))]
            count = len(payloads)
            return Decoded(Repeat(first.values[0], count), Repeat(first.schemas[0], count), repeated)
        values: list[Any] = []
        schemas: list[Schema | None] = []
        failures = []
        for index, payload in enumerate(payloads):
            try:
                value, schema = self.to_connect_value(topic, payload)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  as above
                value = schema = None
                failures.append(Failure(index, error))
            values.append(value)
            schemas.append(schema)
        return Decoded(values, schemas, failures)


class HeaderConverter(ABC):
    """Converts single headers; they are few, and no two need be alike."""

    config: ClassVar[type[Config]] = Config
    #: Whether there are bytes that `to_connect_header` refuses. Headers of one that takes all are converted when
    #: somebody looks at them, whatever becomes of records that fail.
    can_fail: ClassVar[bool] = True

    def configure(self, config: Any) -> None:  # noqa: B027  most have nothing to configure
        """Take the parsed configuration, once."""

    @abstractmethod
    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        """The bytes of one header's value. Raises DataError."""

    @abstractmethod
    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        """One header from its bytes. Raises DataError."""


def plain_config(config: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The keys below `prefix` (which ends in a dot), without it."""
    return {key[len(prefix) :]: value for key, value in config.items() if key.startswith(prefix)}
