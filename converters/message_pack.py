"""MessagePackConverter: values without a schema as MessagePack, a fast and compact stand-in for schemaless JSON.

    {"id": 1, "tags": ["a"]}  ◄──►  82 a2 69 64 01 a4 74 61 67 73 91 a1 61

A struct is written as the map of its fields, a datetime as MessagePack's timestamp, a Decimal, date or time as text.
What is read has no schema.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.api.column import Repeat
from engine.api.converter import Converter, Decoded, Encoded, Failure
from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.api.structs import INT_RANGES
from engine.api.validation import java_class

__all__ = ["DEPTH_MAX", "MessagePackConverter"]

#: Lists and maps within each other.
DEPTH_MAX = 200
_FAULTS = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
_INT64 = INT_RANGES["INT64"]


class MessagePackConverter(Converter):
    """Values to MessagePack and back."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder(enc_hook=_hook).encode
        self._decode = msgspec.msgpack.Decoder().decode

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        payloads: list[bytes | None] = []
        failures = []
        for index, value in enumerate(values):
            try:
                if value is not None:
                    _check(value, 0)
                payloads.append(None if value is None else self._encode(value))
            except (*_FAULTS, DataError) as error:
                payloads.append(None)
                failures.append(Failure(index, _told("cannot be written as MessagePack", error)))
        return Encoded(payloads, failures)

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        values: list[Any] = []
        failures = []
        for index, payload in enumerate(payloads):
            try:
                value = None if payload is None else self._decode(payload)
                _check(value, 0)
                values.append(value)
            except (*_FAULTS, DataError) as error:
                values.append(None)
                failures.append(Failure(index, _told("is no MessagePack", error)))
        return Decoded(values, Repeat(None, len(values)), failures)


def _check(value: Any, depth: int) -> None:
    """Raises DataError for what no other converter could carry on: numbers beyond 64 bits, extensions, depth."""
    kind = type(value)
    if kind is int:
        if not _INT64[0] <= value <= _INT64[1]:
            raise DataError(f"{str(value)[:40]} is out of range", expected="a number of 64 bits")
    elif kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            raise DataError(f"lists and maps are nested deeper than {DEPTH_MAX}")
        for key, one in value.items() if kind is dict else enumerate(value):
            if kind is dict and type(key) not in (str, int, bool, float):
                raise DataError(f"a key of class {java_class(key)}", expected="text or a number")
            if type(one) in (str, bool, float):
                continue
            try:
                _check(one, depth + 1)
            except DataError as error:
                error.within(f".{key}" if kind is dict else f"[{key}]")
                raise
    elif kind is msgspec.msgpack.Ext:
        raise DataError(f"an extension of type {value.code}", expected="none but the timestamp")


def _hook(value: Any) -> Any:
    if isinstance(value, float):  # a 32-bit one that has no schema
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise DataError(f"a value of class {java_class(value)} has no form in MessagePack")


def _told(act: str, error: Exception) -> DataError:
    return error if isinstance(error, DataError) else DataError(f"the value {act}: {error}")
