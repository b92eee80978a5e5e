"""Logical types and their encodings: days, milliseconds, bytes.

    date_of(19_723)  ──►  date(2024, 1, 1)          date_of(9_999_999)  ──►  9999999, beyond Python's years
    decimal_of(b"\\x00\\x96", 2)  ──►  Decimal("1.50")

Every pair is exact in both directions; what a value must be is checked on the way out.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from engine.api.errors import DataError
from engine.api.java_scalars import date_of_ms, datetime_of_ms, epoch_days, epoch_ms, time_of_ms
from engine.api.schema import Schema
from engine.api.validation import DATE_DAYS, DAY_MS, TIMESTAMP_MS, is_beyond_python, java_class

__all__ = ["date_of", "days_from", "decimal_from", "decimal_of", "milliseconds_from", "time_of", "timestamp_of"]


def date_of(days: int) -> datetime.date | int:
    """A Date value."""
    return date_of_ms(days * DAY_MS) if DATE_DAYS[0] <= days <= DATE_DAYS[1] else days


def time_of(milliseconds: int) -> datetime.time | int:
    """A Time value. Raises DataError outside of 0 to 24:00."""
    if not 0 <= milliseconds <= DAY_MS:
        raise DataError("Time values must use number of milliseconds greater than 0 and less than 86400000")
    return time_of_ms(milliseconds) if milliseconds < DAY_MS else milliseconds


def timestamp_of(milliseconds: int) -> datetime.datetime | int:
    """A Timestamp value."""
    return datetime_of_ms(milliseconds) if TIMESTAMP_MS[0] <= milliseconds <= TIMESTAMP_MS[1] else milliseconds


def decimal_of(unscaled: bytes, scale: int) -> Decimal:
    """The number whose digits are a big-endian integer; no context rounds it. Raises DataError for no bytes."""
    if not unscaled:
        raise DataError("Invalid bytes for Decimal field")
    number = int.from_bytes(unscaled, "big", signed=True)
    try:
        return Decimal(f"{number}E{-scale}")
    except ValueError:  # more digits than Python writes of an int (sys.set_int_max_str_digits)
        sign, digits, _ = Decimal(number).as_tuple()
        return Decimal((sign, digits, -scale))


def days_from(value: Any) -> int:
    """Days of a Date value. Raises DataError."""
    if not isinstance(value, datetime.date) and not is_beyond_python("Date", value):
        raise _wrong("Date", "Date", value)
    if isinstance(value, datetime.datetime):
        if epoch_ms(value) % DAY_MS:
            raise DataError("Kafka Connect Date type should not have any time fields set to non-zero values.")
        return epoch_ms(value) // DAY_MS
    return epoch_days(value)


def milliseconds_from(schema: Schema, value: Any) -> int:
    """Milliseconds of a Time or Timestamp value. Raises DataError."""
    if schema.logical == "Timestamp":
        if not isinstance(value, datetime.date) and not is_beyond_python("Timestamp", value):
            raise _wrong("Timestamp", "Date", value)
        return epoch_ms(value)
    if not isinstance(value, datetime.date | datetime.time) and not is_beyond_python("Time", value):
        raise _wrong("Time", "Date", value)
    milliseconds = epoch_ms(value)
    if not 0 <= milliseconds <= DAY_MS:
        raise DataError("Kafka Connect Time type should not have any date fields set to non-zero values.")
    return milliseconds


def decimal_from(schema: Schema, value: Any) -> bytes:
    """The unscaled digits of a Decimal value, as few bytes as hold them. Raises DataError."""
    if not isinstance(value, Decimal):
        raise _wrong("Decimal", "BigDecimal", value)
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise DataError(f"Invalid value for Decimal: {value}")
    if -exponent != schema.scale:
        raise DataError(
            "Decimal value has mismatching scale for given Decimal schema. "
            f"Schema has scale {schema.scale}, value has scale {-exponent}."
        )
    unscaled = int(Decimal((sign, digits, 0)))
    bits = (unscaled if unscaled >= 0 else -unscaled - 1).bit_length()
    return unscaled.to_bytes(bits // 8 + 1, "big", signed=True)


def _wrong(name: str, expected: str, value: Any) -> DataError:
    kind = java_class(value)
    return DataError(f"Invalid type for {name}, expected {expected} but was class {kind}")
