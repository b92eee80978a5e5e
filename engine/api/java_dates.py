"""Dates in the three ISO forms, as Java's lenient SimpleDateFormat reads and writes them, in UTC.

    "2024-01-31"                   Date         "2024-13-45", "1-2-3 abcd"    Dates too: it carries over, and
    "12:34:56.789Z"                Time                                       takes no notice of what follows
    "2019-08-23T14:34:54.346Z"     Timestamp

Only a text of exactly 10, 13 or 24 characters is looked at. A moment is milliseconds since the epoch.

Used by: engine.api.values.
Not here: the form of `Date.toString` and the calendar (java_scalars.py).
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from engine.api.java_scalars import calendar_date, date_of_ms, datetime_of_ms, days_of, time_of_ms
from engine.api.schema import DATE, TIME, TIMESTAMP, Schema
from engine.api.validation import DAY_MS, TIMESTAMP_MS

__all__ = ["Moment", "carried", "int_of", "iso_text", "parse_iso"]

# Before a number blanks are skipped; a number may be negative, and its exponent is read as well.
_NUMBER = r"[ \t]*(-?\d+(?:E-?\d+)?)"
_DAY = rf"{_NUMBER}-{_NUMBER}-{_NUMBER}"
_CLOCK = rf"{_NUMBER}:{_NUMBER}:{_NUMBER}\.{_NUMBER}Z"
_FORMS: dict[int, tuple[Schema, re.Pattern[str]]] = {
    10: (DATE, re.compile(_DAY)),
    13: (TIME, re.compile(_CLOCK)),
    24: (TIMESTAMP, re.compile(rf"{_DAY}T{_CLOCK}")),
}
_INT_MAX = 2**31 - 1
_LONG_DIGITS_MAX = 18


class Moment(NamedTuple):
    """A `java.util.Date`: what it stands for, only a schema tells."""

    milliseconds: int


def parse_iso(text: str) -> tuple[Moment, Schema] | None:
    """The moment of a text in one of the three forms, and the schema that its form means; None of any other text."""
    text = text.replace("\\:", ":")
    form = _FORMS.get(len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2)
    if form is None:
        return None
    schema, pattern = form
    found = pattern.match(text)
    if found is None:
        return None
    numbers = [*map(int_of, found.groups())]
    days = rest = 0
    if schema is not DATE:
        hour, minute, second, millisecond = numbers[-4:]
        days, rest = divmod(((hour * 60 + minute) * 60 + second) * 1000 + millisecond, DAY_MS)
    if schema is not TIME:
        year, month, day = numbers[:3]
        days = days_of(year, month, day + days)  # together, because the calendar changes from one day to another
    return Moment(days * DAY_MS + rest), schema


def carried(moment: Moment, schema: Schema | None) -> datetime.date | datetime.time | int:
    """What stands for a moment under a logical schema, without one a datetime; beyond Python's years an int."""
    logical = (schema and schema.logical) or "Timestamp"
    milliseconds = moment.milliseconds
    if logical == "Time":
        return time_of_ms(milliseconds) if 0 <= milliseconds < DAY_MS else milliseconds
    if not TIMESTAMP_MS[0] <= milliseconds <= TIMESTAMP_MS[1]:
        return milliseconds // DAY_MS if logical == "Date" else milliseconds
    if logical == "Date" and milliseconds % DAY_MS == 0:
        return date_of_ms(milliseconds)
    return datetime_of_ms(milliseconds)


def iso_text(milliseconds: int) -> str:
    """The shortest of the forms that holds the moment; all that is before the second day of the epoch is a time."""
    days, rest = divmod(milliseconds, DAY_MS)
    seconds, fraction = divmod(rest, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:03}Z"
    if milliseconds < DAY_MS:
        return clock
    year, month, day = calendar_date(days)
    date = f"{year:04}-{month:02}-{day:02}"
    return f"{date}T{clock}" if rest else date


def int_of(digits: str) -> int:
    """Java's `Number.intValue` of what its number format reads."""
    mantissa, _, exponent = digits.partition("E")
    number = int(mantissa)
    if exponent:
        power = int(exponent)
        if power < 0:
            number = int(number / 10**-power) if -power < _LONG_DIGITS_MAX else 0
        else:
            number = number * 10 ** min(power, 2 * _LONG_DIGITS_MAX)
    if abs(number) >= 2**63:
        return _INT_MAX if number > 0 else -_INT_MAX - 1  # it was read as a double, which is cut off
    return (number + 2**31) % 2**32 - 2**31
