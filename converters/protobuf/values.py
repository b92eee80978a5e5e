"""Single values between Connect and what google.protobuf's messages hold.

    Decimal("1.50")   confluent.type.Decimal(value=b"\\x00\\x96", scale=2)
    date(2024, 2, 29) google.type.Date(year=2024, month=2, day=29)

Used by: reader.py, writer.py.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from converters.json import logical
from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.api.structs import INT_RANGES
from engine.api.validation import DAY_MS, java_class

__all__ = ["checked", "from_message", "ranged", "to_message"]

Change = Callable[[Any], Any]
_NANOS = 1_000_000
_CLASSES: dict[str, tuple[type, ...]] = {
    "FLOAT32": (float,), "FLOAT64": (float,), "BOOLEAN": (bool,), "STRING": (str,),
    "BYTES": (bytes, bytearray, memoryview),
}  # fmt: skip


def ranged(kind: str) -> Change:
    """Checks that a number is one of this type of Connect's."""
    low, high = INT_RANGES[kind]

    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise DataError(f"{value} is out of range", expected=f"{kind}: {low} to {high}")
        return value

    return check


def checked(schema: Schema) -> Change:
    """Checks that a value is one of a scalar schema, so that nothing is cast without a word."""
    if schema.type in INT_RANGES:
        in_range = ranged(schema.type)

        def whole(value: Any) -> Any:
            if not isinstance(value, int) or isinstance(value, bool):
                raise _wrong(schema, value)
            return in_range(value)

        return whole
    classes = _CLASSES[schema.type]

    is_bytes = schema.type == "BYTES"

    def check(value: Any) -> Any:
        if not isinstance(value, classes):
            raise _wrong(schema, value)
        found: Any = value
        return bytes(found) if is_bytes else found

    return check


def to_message(schema: Schema, kind: Any) -> Change:
    """Makes the message of a logical value. kind: the message's class."""
    if schema.logical == "Decimal":
        scale = schema.scale
        return lambda value: kind(value=logical.decimal_from(schema, value), scale=scale)
    if schema.logical == "Date":
        return lambda value: _date_message(kind, value)
    if schema.logical == "Time":
        return lambda value: _time_message(kind, logical.milliseconds_from(schema, value))
    return lambda value: _timestamp_message(kind, logical.milliseconds_from(schema, value))


def from_message(schema: Schema) -> Change:
    """The logical value of a message."""
    if schema.logical == "Decimal":
        return lambda message: _decimal(schema.scale, message)
    return {"Date": _date, "Time": _time, "Timestamp": _timestamp}[schema.logical or ""]


def _date_message(kind: Any, value: Any) -> Any:
    logical.days_from(value)  # it knows what is none
    if not isinstance(value, datetime.date):
        raise DataError("a date outside of the years 1 to 9999 has no place in google.type.Date")
    return kind(year=value.year, month=value.month, day=value.day)


def _time_message(kind: Any, milliseconds: int) -> Any:
    seconds, rest = divmod(milliseconds, 1000)
    return kind(hours=seconds // 3600, minutes=seconds // 60 % 60, seconds=seconds % 60, nanos=rest * _NANOS)


def _timestamp_message(kind: Any, milliseconds: int) -> Any:
    seconds, rest = divmod(milliseconds, 1000)
    return kind(seconds=seconds, nanos=rest * _NANOS)


def _decimal(scale: int, message: Any) -> Any:
    unscaled, own = message.value, message.scale
    if own == scale:
        return logical.decimal_of(unscaled, scale)
    number = int.from_bytes(unscaled, "big", signed=True)
    shift = scale - own
    if abs(shift) > 10_000:
        raise DataError(f"a decimal of scale {own}", expected=f"the scale {scale}")
    if shift < 0 and number % 10**-shift:
        raise DataError(f"a decimal of scale {own} that has more digits than its schema", expected=f"the scale {scale}")
    number = number * 10**shift if shift > 0 else number // 10**-shift
    return logical.decimal_of(number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True), scale)


def _date(message: Any) -> datetime.date:
    try:
        return datetime.date(message.year, message.month, message.day)
    except (ValueError, OverflowError):
        raise DataError(
            f"{message.year}-{message.month}-{message.day} is no date", expected="a day of the years 1 to 9999"
        ) from None


def _time(message: Any) -> Any:
    parts = (message.hours, message.minutes, message.seconds)
    milliseconds = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + message.nanos // _NANOS
    if not (0 <= parts[1] < 60 and 0 <= parts[2] < 60 and 0 <= milliseconds <= DAY_MS):
        raise DataError(f"{':'.join(map(str, parts))} is no time of day")
    return logical.time_of(milliseconds)


def _timestamp(message: Any) -> Any:
    return logical.timestamp_of(message.seconds * 1000 + message.nanos // _NANOS)


def _wrong(schema: Schema, value: Any) -> DataError:
    return DataError(f"Invalid type for {schema.type}: class {java_class(value)}")
