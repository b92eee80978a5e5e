"""A moment out of the fields of a date, in UTC, as Java's lenient calendar in the United States reckons.

    year 2019, month 13, day 45  ──►  14 February 2020          year 2019, week 34, day of week 6  ──►  23 August 2019

Fields may contradict each other: of those that name a day, the ones that were set last count. Weeks begin on Sunday,
and the first of a year is the one that holds the first of January.

Used by: engine.api.java_date_patterns.
Source: the documentation of java.util.Calendar.
Not here: days to years and months (java_scalars.py).
"""

from __future__ import annotations

from engine.api.java_scalars import calendar_date, days_of
from engine.api.validation import DAY_MS

__all__ = ["Fields", "day_of_week", "week_of_month", "week_of_year"]

_EPOCH_YEAR = 1970
_FIRST_OF_WEEK = 1  # Sunday
_UNSET = 0
#: Ways to name a day, the strongest first: the field, and whether it takes a day of the week beside it.
_WAYS = (
    ("day", False),
    ("week_of_month", True),
    ("day_of_week_in_month", True),
    ("day_of_year", False),
    ("week_of_year", True),
)


class Fields:
    """Fields as they are set, one after the other."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}
        self._stamps: dict[str, int] = {}

    def set(self, name: str, value: int) -> None:
        """Set a field; month and day begin at 1, days of the week at 1 for Sunday, am_pm is 0 or 1."""
        self._values[name] = value
        self._stamps[name] = max(self._stamps.values(), default=_UNSET) + 1

    def add_century(self) -> None:
        """Move the year, of whichever kind, a hundred on."""
        for name in ("year", "week_year"):
            if name in self._values:
                self._values[name] += 100

    def milliseconds(self) -> int:
        """The moment, in milliseconds since the epoch."""
        seconds = (self._hour() * 60 + self._get("minute")) * 60 + self._get("second")
        local = self._days() * DAY_MS + seconds * 1000 + self._get("millisecond")
        return local - self._get("zone_ms")

    def _get(self, name: str, default: int = 0) -> int:
        return self._values.get(name, default)

    def _stamp(self, name: str, *, beside: str = "") -> int:
        """When a field was set, 0 for never; beside: a field that it needs."""
        stamp = self._stamps.get(name, _UNSET)
        if beside:
            other = self._stamps.get(beside, _UNSET)
            return max(stamp, other) if stamp and other else _UNSET
        return stamp

    def _hour(self) -> int:
        of_day = self._stamp("hour_of_day")
        of_half = self._stamp("hour", beside="am_pm")
        if not of_day and not of_half:
            of_half = max(self._stamp("hour"), self._stamp("am_pm"))
        return self._get("hour") + 12 * self._get("am_pm") if of_half > of_day else self._get("hour_of_day")

    def _days(self) -> int:
        if self._stamp("week_year") > self._stamp("year"):
            return self._days_of_week_date()
        year = self._get("year", _EPOCH_YEAR)
        if self._get("era", 1) == 0:
            year = 1 - year
        way = self._way()
        month = self._get("month", 1)
        if way == "day":
            return days_of(year, month, self._get("day", 1))
        if way == "day_of_year":
            return days_of(year, 1, self._get("day_of_year"))
        if way == "week_of_year":
            return self._day_in_week(days_of(year, 1, 1), self._get("week_of_year"))
        first = days_of(year, month, 1)
        if way == "week_of_month":
            return self._day_in_week(first, self._get("week_of_month"))
        number = self._get("day_of_week_in_month", 1)
        wanted = self._get("day_of_week", _FIRST_OF_WEEK)
        if number >= 0:
            return _on_or_before(first + 7 * number - 1, wanted)
        length = days_of(year, month + 1, 1) - first
        return _on_or_before(first + length + 7 * (number + 1) - 1, wanted)

    def _way(self) -> str:
        """How the day is named: by the fields that were set last, alone or with the day of the week."""
        found = {name: self._stamp(name, beside="day_of_week" if weekly else "") for name, weekly in _WAYS}
        best = max(found.values())
        if not best:
            found = {name: self._stamp(name) for name, weekly in _WAYS if weekly}
            found["day_of_week_in_month"] = max(found["day_of_week_in_month"], self._stamp("day_of_week"))
            best = max(found.values())
            if not best:
                return "day"
        in_year = self._stamp("week_of_year")
        ways = [name for name, stamp in found.items() if stamp == best]
        if ways[0] in ("day", "day_of_year"):
            return ways[0]
        in_month = [name for name in ways if name != "week_of_year" and self._stamp(name) >= in_year]
        if not in_month:
            return "week_of_year"
        return max(in_month, key=self._stamp)  # of equals the first: the week of the month

    def _day_in_week(self, first: int, week: int) -> int:
        """The day of the week that is set, or its first, in a week counted from the one that holds `first`."""
        begin = _on_or_before(first, _FIRST_OF_WEEK)
        if "day_of_week" in self._values:
            begin = _on_or_before(begin + 6, self._get("day_of_week"))
        return begin + 7 * (week - 1)

    def _days_of_week_date(self) -> int:
        week = self._get("week_of_year", 1)
        day = self._get("day_of_week", _FIRST_OF_WEEK)
        if not 1 <= day <= 7:
            carry, rest = divmod(day - 1, 7)
            week += carry
            day = (rest + 1) % 7 + 1  # what is out of range is counted from Monday
        begin = _on_or_before(days_of(self._get("week_year"), 1, 1), _FIRST_OF_WEEK)
        return begin + (day - _FIRST_OF_WEEK) + 7 * (week - 1)


def day_of_week(days: int) -> int:
    """1 for Sunday to 7 for Saturday."""
    return (days + 4) % 7 + 1


def week_of_month(days: int) -> int:
    """The week of the month, from 1."""
    year, month, _ = calendar_date(days)
    return (days - _on_or_before(days_of(year, month, 1), _FIRST_OF_WEEK)) // 7 + 1


def week_of_year(days: int) -> tuple[int, int]:
    """The year that a week belongs to, and which of that year's it is, from 1."""
    year, _, _ = calendar_date(days)
    if days >= _on_or_before(days_of(year + 1, 1, 1), _FIRST_OF_WEEK):
        return year + 1, 1
    return year, (days - _on_or_before(days_of(year, 1, 1), _FIRST_OF_WEEK)) // 7 + 1


def _on_or_before(days: int, wanted: int) -> int:
    """The last such day of the week that is not after `days`."""
    return days - (days + 4 - (wanted - 1)) % 7
