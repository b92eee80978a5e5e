"""Numbers and dates as Java prints them.

    double_text(1e10)  ──►  "1.0E10"        float_text(0.10000000149011612)  ──►  "0.1"
    date_text(1_700_000_000_000)  ──►  "Tue Nov 14 22:13:20 UTC 2023"

Which digits: the shortest that read back as the same number, as Java prints from release 19 on. Java 17 has a
digit too many for a few numbers (2e23 is 1.9999999999999998E23 there); both read back as the same number.

Used by: engine.api.java_text, the converters.
Not here: text of lists, maps and structs (java_text.py).
"""

from __future__ import annotations

import datetime
import math
import struct
from decimal import Decimal
from typing import Any

from engine.api.validation import DAY_MS

__all__ = [
    "PLAIN_BELOW",
    "PLAIN_FROM",
    "date_of_ms",
    "date_text",
    "datetime_of_ms",
    "double_text",
    "epoch_days",
    "epoch_ms",
    "float32_digits",
    "float_text",
    "nearest_float32",
    "round_to_float32",
    "time_of_ms",
]

PLAIN_FROM, PLAIN_BELOW = (1e-3, 1e7)  # between them Java writes no exponent, and what Python writes

_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # day 0 was a Thursday
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
GREGORIAN_FROM_DAY = -141_427  # 15 October 1582; before it Java's calendar is the Julian one
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_FLOAT = struct.Struct("f")
_FLOAT_NORMAL_MIN = 2.0**-126


def double_text(number: float) -> str:
    """Java's Double.toString."""
    text = repr(number)
    if PLAIN_FROM <= number < PLAIN_BELOW or -PLAIN_BELOW < number <= -PLAIN_FROM or number == 0:
        return text
    return _with_exponent(text, number)


def float_text(number: float) -> str:
    """Java's Float.toString; the number has been rounded to 32 bits."""
    return double_text(float32_digits(number))


def float32_digits(number: float) -> float:
    """The double whose shortest text is the shortest text of a 32-bit float; NaN and infinities stay."""
    if not math.isfinite(number) or number == 0:
        return number
    # Six digits always survive the way through a float; of those too small for a full mantissa, fewer may.
    for digits in (6, 7, 8) if abs(number) >= _FLOAT_NORMAL_MIN else range(2, 9):
        shorter = float(f"{number:.{digits}g}")
        if round_to_float32(shorter) == number:
            return shorter
    return float(f"{number:.9g}")  # nine digits tell any two floats apart


def round_to_float32(number: float) -> float:
    """The nearest 32-bit float, as a float; beyond their range an infinity."""
    try:
        return _FLOAT.unpack(_FLOAT.pack(number))[0]  # type: ignore[no-any-return]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def nearest_float32(number: Decimal) -> float:
    """The nearest 32-bit float; rounded once, and not to 64 bits first."""
    wide = float(number)
    if math.isinf(wide) or Decimal(wide) == number:
        return round_to_float32(wide)
    # Of the two neighbours in 64 bits, the odd one is never in the middle between two of 32.
    is_odd = int(math.ldexp(abs(math.frexp(wide)[0]), 53)) & 1
    if not is_odd:
        wide = math.nextafter(wide, math.inf if Decimal(wide) < number else -math.inf)
    return round_to_float32(wide)


def epoch_days(value: datetime.date | int) -> int:
    """Days since 1970-01-01 of a Date value, in either of its forms."""
    return value if isinstance(value, int) else value.toordinal() - _EPOCH_ORDINAL


def epoch_ms(value: Any) -> int:
    """Milliseconds since the epoch of any temporal value; a time is one of day 0, a datetime without zone is UTC."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.UTC)
        since_epoch: datetime.timedelta = value - _EPOCH
        return since_epoch // _MILLISECOND
    if isinstance(value, datetime.date):
        return epoch_days(value) * DAY_MS
    if isinstance(value, datetime.time):
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return seconds * 1000 + value.microsecond // 1000
    assert isinstance(value, int), value
    return value


def date_of_ms(milliseconds: int) -> datetime.date:
    """The day of a moment that is within the years 1 to 9999."""
    return datetime.date.fromordinal(milliseconds // DAY_MS + _EPOCH_ORDINAL)


def time_of_ms(milliseconds: int) -> datetime.time:
    """The time of day of milliseconds since midnight, below 24:00."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.time(seconds // 3600, seconds // 60 % 60, seconds % 60, rest * 1000)


def datetime_of_ms(milliseconds: int) -> datetime.datetime:
    """The moment, which is within the years 1 to 9999, in UTC."""
    return _EPOCH + datetime.timedelta(milliseconds=milliseconds)


def date_text(milliseconds: int) -> str:
    """Java's Date.toString in UTC."""
    days, rest = divmod(milliseconds, DAY_MS)
    year, month, day = calendar_date(days)
    seconds = rest // 1000
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    shown_year = year if year > 0 else 1 - year
    return f"{_DAYS[days % 7]} {_MONTHS[month - 1]} {day:02} {clock} UTC {shown_year}"


def calendar_date(days: int) -> tuple[int, int, int]:
    """Year (0 is 1 BC), month and day in Java's calendar, Julian before October 1582."""
    # Counted in years that begin in March, so that a leap day is a year's last.
    if days >= GREGORIAN_FROM_DAY:
        shifted = days + 719_468  # from 0000-03-01
        era, day_of_era = divmod(shifted, 146_097)
        year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
        day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
        year = year_of_era + era * 400
    else:
        shifted = days + 719_470  # two days between the calendars in the year 0
        era, day_of_era = divmod(shifted, 1461)
        year_of_era = (day_of_era - day_of_era // 1460) // 365
        day_of_year = day_of_era - 365 * year_of_era
        year = year_of_era + era * 4
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    return (year, month + 3, day) if month < 10 else (year + 1, month - 9, day)


def days_of(year: int, month: int, day: int) -> int:
    """Days since the epoch of a date in Java's calendar; `month` and `day` may lie outside their ranges."""
    is_julian = year < 1582  # as written: what carries over into the Gregorian years is still counted as Julian
    carry, month = divmod(month - 1, 12)
    year += carry
    shifted_year = year - 1 if month < 2 else year
    day_of_year = (153 * ((month + 10) % 12) + 2) // 5 + day - 1
    gregorian = 365 * shifted_year + shifted_year // 4 - shifted_year // 100 + shifted_year // 400 + day_of_year
    if not is_julian and gregorian - 719_468 >= GREGORIAN_FROM_DAY:
        return gregorian - 719_468
    return 365 * shifted_year + shifted_year // 4 + day_of_year - 719_470


def _with_exponent(text: str, number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) + len(digits) - len(fraction) - 1 if digits != "0" else 0
    digits = digits.rstrip("0") or "0"
    if len(digits) == 1:
        # Java writes two digits at least, so it chooses among two: 4.9E-324, not 5.0E-324.
        digits = f"{abs(number):.1e}"[:3].replace(".", "")
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"
