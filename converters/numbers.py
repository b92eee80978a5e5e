"""ShortConverter to DoubleConverter: a number as its bytes, the first the most significant; BooleanConverter: one byte.

    LongConverter      5  ◄──►  00 00 00 00 00 00 00 05          BooleanConverter    True  ◄──►  01

A column is packed and unpacked in one call. Only where something in it is no such number, each value is looked at.

Source: Kafka Connect's converters of these names (its reference, section 7.4).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from engine.api.column import Repeat
from engine.api.converter import Converter, Decoded, Encoded, Failure, HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import (
    OPTIONAL_BOOLEAN,
    OPTIONAL_FLOAT32,
    OPTIONAL_FLOAT64,
    OPTIONAL_INT16,
    OPTIONAL_INT32,
    OPTIONAL_INT64,
    Float32,
    Schema,
)
from engine.api.structs import INT_RANGES
from engine.api.validation import java_class

__all__ = [
    "BooleanConverter",
    "DoubleConverter",
    "FloatConverter",
    "IntegerConverter",
    "LongConverter",
    "ShortConverter",
]

_FLOAT32_MAX = 3.4028235677973366e38  # what is not below rounds to an infinity


class _ColumnConverter(Converter, HeaderConverter):
    """All at once if it can be, else one by one."""

    #: Of what is read.
    schema: ClassVar[Schema]

    def configure(self, config: Any, *, is_key: bool = False) -> None:
        """There is nothing to configure."""

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        kinds = [schemas.value] if isinstance(schemas, Repeat) else [*{id(one): one for one in schemas}.values()]
        packed = _around_nulls(self._packed, values) if all(map(self._is_taken, kinds)) else None
        if packed is not None:
            return Encoded(packed)
        payloads: list[bytes | None] = []
        failures = []
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            try:
                payloads.append(self._bytes_of(value, schema))
            except DataError as error:
                payloads.append(None)
                failures.append(Failure(index, error))
        return Encoded(payloads, failures)

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        schemas = Repeat(self.schema, len(payloads))
        found = _around_nulls(self._unpacked, payloads)
        if found is not None:
            return Decoded(found, schemas)
        values: list[Any] = []
        each: list[Schema | None] = []
        failures = []
        for index, payload in enumerate(payloads):
            try:
                values.append(self._value_of(payload))
                each.append(self.schema)
            except DataError as error:
                values.append(None)
                each.append(None)
                failures.append(Failure(index, error))
        return Decoded(values, each, failures)

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        return self._bytes_of(header.value, header.schema)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        return Header(key, self._value_of(payload), self.schema)

    def _is_taken(self, schema: Schema | None) -> bool:
        """Whether values of this schema may be written."""
        raise NotImplementedError

    def _packed(self, values: Sequence[Any]) -> Sequence[bytes] | None:
        """The payloads of a column; None where one is no plain value."""
        raise NotImplementedError

    def _unpacked(self, payloads: Sequence[bytes]) -> Sequence[Any] | None:
        """The values of a column; None where one is none."""
        raise NotImplementedError

    def _bytes_of(self, value: Any, schema: Schema | None) -> bytes | None:
        raise NotImplementedError

    def _value_of(self, payload: bytes | None) -> Any:
        raise NotImplementedError


def _around_nulls(rule: Callable[[Sequence[Any]], Sequence[Any] | None], column: Sequence[Any]) -> Sequence[Any] | None:
    """What `rule` makes of all that is no null; nulls stay."""
    if isinstance(column, Repeat) and column.value is None:
        return column
    if None not in column:
        return rule(column) if column else column
    found = rule([one for one in column if one is not None])
    if found is None:
        return None
    rest = iter(found)
    return [None if one is None else next(rest) for one in column]


class _NumberConverter(_ColumnConverter):
    """Numbers of one width."""

    name: ClassVar[str]  # in messages
    code: ClassVar[str]  # of `struct`

    def __init__(self) -> None:
        self._one = struct.Struct(">" + self.code)
        is_int = self.schema.type in INT_RANGES
        self._kinds = {int} if is_int else {float, Float32}
        self._widths = frozenset(INT_RANGES if is_int else ("FLOAT32", "FLOAT64"))

    def _is_taken(self, schema: Schema | None) -> bool:
        # A schema of another width means a number of that width. Any other schema is not looked at, as in Java.
        return (
            schema is None
            or schema.type not in self._widths
            or (schema.type == self.schema.type and not schema.logical)
        )

    def _packed(self, values: Sequence[Any]) -> Sequence[bytes] | None:
        if not self._kinds.issuperset(map(type, values)):
            return None
        count = len(values)
        try:
            # bench/micro/test_numbers.py::out: a third of the time of a call of `pack` for each
            block = struct.pack(f">{count}{self.code}", *values)
        except (struct.error, OverflowError):
            return None
        return [*struct.unpack(f"{self._one.size}s" * count, block)]

    def _unpacked(self, payloads: Sequence[bytes]) -> Sequence[Any] | None:
        if set(map(len, payloads)) != {self._one.size}:
            return None
        return [*struct.unpack(f">{len(payloads)}{self.code}", b"".join(payloads))]

    def _bytes_of(self, value: Any, schema: Schema | None) -> bytes | None:
        if value is None:
            return None
        if self._is_taken(schema) and any(issubclass(type(value), kind) for kind in self._kinds):
            if isinstance(value, float) and self.code == "f" and _FLOAT32_MAX <= abs(value) < math.inf:
                raise DataError(f"Failed to serialize to {self.name}: {value} is beyond 32 bits")
            if not isinstance(value, bool):
                try:
                    return self._one.pack(value)
                except struct.error:
                    pass  # out of range
        raise DataError(
            f"Failed to serialize to {self.name} (was class {java_class(value, schema)}): ",
            expected=f"a value of {self.schema.type}",
        )

    def _value_of(self, payload: bytes | None) -> Any:
        if payload is None:
            return None
        if len(payload) != self._one.size:
            wanted = f"{self._one.size} bytes, not {len(payload)}"
            raise DataError(f"Failed to deserialize {self.name}: ", expected=wanted)
        return self._one.unpack(payload)[0]


class ShortConverter(_NumberConverter):
    """16 bits."""

    schema = OPTIONAL_INT16
    name, code = "short", "h"


class IntegerConverter(_NumberConverter):
    """32 bits."""

    schema = OPTIONAL_INT32
    name, code = "integer", "i"


class LongConverter(_NumberConverter):
    """64 bits."""

    schema = OPTIONAL_INT64
    name, code = "long", "q"


class FloatConverter(_NumberConverter):
    """A 32-bit float; other floats are rounded to it."""

    schema = OPTIONAL_FLOAT32
    name, code = "float", "f"


class DoubleConverter(_NumberConverter):
    """A 64-bit float."""

    schema = OPTIONAL_FLOAT64
    name, code = "double", "d"


class BooleanConverter(_ColumnConverter):
    """00 or 01."""

    schema = OPTIONAL_BOOLEAN
    _BYTES: ClassVar[dict[bool, bytes]] = {True: b"\1", False: b"\0"}
    _VALUES: ClassVar[dict[bytes, bool]] = {b"\1": True, b"\0": False}

    def _is_taken(self, schema: Schema | None) -> bool:
        return schema is None or schema.type == "BOOLEAN"

    def _packed(self, values: Sequence[Any]) -> Sequence[bytes] | None:
        if not {bool}.issuperset(map(type, values)):
            return None
        return [*map(self._BYTES.__getitem__, values)]

    def _unpacked(self, payloads: Sequence[bytes]) -> Sequence[Any] | None:
        try:
            return [*map(self._VALUES.__getitem__, payloads)]
        except KeyError:
            return None

    def _bytes_of(self, value: Any, schema: Schema | None) -> bytes | None:
        if schema is not None and schema.type != "BOOLEAN":
            raise DataError(f"Invalid schema type for BooleanConverter: {schema.type}", expected="BOOLEAN")
        if value is None:
            return None
        if not isinstance(value, bool):
            kind = java_class(value, schema)
            raise DataError(f"BooleanConverter is not compatible with objects of type class {kind}")
        return self._BYTES[value]

    def _value_of(self, payload: bytes | None) -> Any:
        if payload is None:
            return None
        if payload not in self._VALUES:
            shown = f"{len(payload)} bytes" if len(payload) != 1 else payload.hex()
            raise DataError("Failed to deserialize boolean: ", expected=f"one byte of 0 or 1, not {shown}")
        return self._VALUES[payload]
