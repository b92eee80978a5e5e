"""Dates as text in a pattern of Java's SimpleDateFormat, read and written as Java does: leniently, in UTC, in English.

    DatePattern("yyyy-MM-dd HH:mm").format(1_566_570_894_346)  ──►  "2019-08-23 14:34"
    DatePattern("yyyy-MM-dd").parse("2019-13-45 and more")     ──►  1_581_638_400_000, 14 February 2020

A moment is milliseconds since the epoch. What follows the date in a text is not looked at. A zone in a text holds for
that text alone: Java's own object would keep it for those to come.

Used by: engine.transforms.
Source: the documentation of java.text.SimpleDateFormat.
Not here: the moment that fields mean (java_calendar.py), abbreviations of zones (java_zones.py).
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.api.java_calendar import Fields, day_of_week, week_of_month, week_of_year
from engine.api.java_dates import int_of
from engine.api.java_scalars import calendar_date, days_of
from engine.api.java_zones import zone_minutes
from engine.api.structs import INT_RANGES
from engine.api.validation import DAY_MS

__all__ = ["DatePattern"]

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_NAMES: Mapping[str, Sequence[str]] = {"E": _DAYS, "M": _MONTHS, "a": ("AM", "PM"), "G": ("BC", "AD")}
_SHORT = 3  # letters of a short name
_LONG_FROM = 4  # letters in the pattern for a long one
_CENTURY_LETTERS = 2
_CENTURY_YEARS = 80  # a year of two digits is at most so long ago
_ISO_ZONE_LETTERS = 3
_KEPT_MAX = 4096
_LONG = INT_RANGES["INT64"]

#: Letters of numbers, and the field that each sets.
_NUMBERS: Mapping[str, str] = {
    "y": "year", "Y": "week_year", "M": "month", "L": "month", "w": "week_of_year", "W": "week_of_month",
    "D": "day_of_year", "d": "day", "F": "day_of_week_in_month", "u": "day_of_week", "H": "hour_of_day",
    "k": "hour_of_day", "K": "hour", "h": "hour", "m": "minute", "s": "second", "S": "millisecond",
}  # fmt: skip
_LETTERS = {*_NUMBERS, *_NAMES, *"zZX"}
#: For how long the text of a pattern stays the same, by its quickest letter.
_STEADY_MS = {
    "S": 1,
    "s": 1000,
    "m": 60_000,
    "H": 3_600_000,
    "k": 3_600_000,
    "K": 3_600_000,
    "h": 3_600_000,
    "a": DAY_MS // 2,
}
_NUMBER = re.compile(r"-?\d+(?:E-?\d+)?")
_OFFSETS = {
    "rfc": re.compile(r"([+-])(\d\d)(\d\d)", re.ASCII),
    "gmt": re.compile(r"GMT(?:([+-])(\d\d?):(\d\d))?", re.ASCII | re.IGNORECASE),
    "X": re.compile(r"([+-])(\d\d)()", re.ASCII),
    "XX": re.compile(r"([+-])(\d\d)(\d\d)", re.ASCII),
    "XXX": re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII),
}
#: Digits of the fields that a quick look takes; and from which year on months and days are as Python has them.
_QUICK_DIGITS = {"y": 4, "M": 2, "d": 2, "H": 2, "m": 2, "s": 2, "S": 3}
_QUICK_YEAR = 1583
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_QUICK_DEFAULTS = {"y": 1970, "M": 1, "d": 1, "H": 0, "m": 0, "s": 0, "S": 0}


class _Piece(NamedTuple):
    """A run of one letter, or, without a letter, text that stands for itself."""

    letter: str
    text: str

    @property
    def width(self) -> int:
        return len(self.text)

    @property
    def is_name(self) -> bool:
        return self.letter in tuple("EaG") or (self.letter in tuple("ML") and self.width >= _SHORT)

    @property
    def is_number(self) -> bool:
        return self.letter in _NUMBERS and not self.is_name


class _Moment(NamedTuple):
    """What a text can show of a moment."""

    days: int
    year: int  # 0 is 1 BC
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int


class DatePattern:
    """One pattern, for reading and writing."""

    def __init__(self, text: str, *, now_ms: int | None = None) -> None:
        """now_ms: years of two digits lie up to 80 years before it. Raises ValueError for what is no pattern."""
        self._pieces = _pieces(text)
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        year, month, day = calendar_date(now // DAY_MS)
        self._century_ms = days_of(year - _CENTURY_YEARS, month, day) * DAY_MS + now % DAY_MS
        self._century_year = calendar_date(self._century_ms // DAY_MS)[0]
        self._template = "".join(map(_template, self._pieces))
        self._shown = [_writer(piece) for piece in self._pieces if piece.letter]
        self._steady_ms = min((_STEADY_MS.get(piece.letter, DAY_MS) for piece in self._pieces), default=DAY_MS)
        self._kept: dict[int, str] = {}
        self._quick = _quick(self._pieces)

    def format(self, milliseconds: int) -> str:
        """The text of a moment."""
        period = milliseconds // self._steady_ms
        found = self._kept.get(period)
        if found is None:
            moment = _moment(milliseconds)
            found = self._template % tuple([show(moment) for show in self._shown])
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            self._kept[period] = found
        return found

    def parse(self, text: str) -> int:
        """The moment of a text. Raises ValueError for one that does not match."""
        if self._quick is not None:
            found = self._quick(text)
            if found is not None:
                return found
        return self._parse_slowly(text)

    def _parse_slowly(self, text: str) -> int:
        fields = Fields()
        at = 0
        is_ambiguous = False
        for piece, following in zip(self._pieces, [*self._pieces[1:], _Piece("", "")], strict=True):
            if not piece.letter:
                if not text.startswith(piece.text, at):
                    raise ValueError(text)
                at += piece.width
                continue
            width = piece.width if following.is_number else None
            begin = at
            while not piece.is_name and text[at : at + 1] in (" ", "\t"):
                at += 1
            if piece.is_number:
                number, end = _read_number(text, begin, at, width)
                if (
                    piece.letter in ("y", "Y")
                    and piece.width <= _CENTURY_LETTERS
                    and text[at:end].isdecimal()
                    and end - at == 2
                ):
                    last = self._century_year % 100
                    is_ambiguous = is_ambiguous or number == last
                    number += self._century_year - last + (100 if number < last else 0)
                _set_number(fields, piece.letter, number)
                at = end
            elif piece.is_name:
                at = _read_name(text, at, piece, fields)
            else:
                at = _read_zone(text, at, piece, fields)
        if not at:
            raise ValueError(text)
        milliseconds = fields.milliseconds()
        if is_ambiguous and milliseconds < self._century_ms:
            fields.add_century()
            milliseconds = fields.milliseconds()
        if not _LONG[0] <= milliseconds <= _LONG[1]:
            raise ValueError(text)
        return milliseconds


def _pieces(pattern: str) -> list[_Piece]:
    """Raises ValueError for what is no pattern."""
    pieces: list[_Piece] = []
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'", pattern):
        run = found[0]
        if run == "'":
            raise ValueError("Unterminated quote")
        letter = found[2] or ""
        if letter and letter not in _LETTERS:
            raise ValueError(f"Illegal pattern character '{letter}'")
        if letter == "X" and len(run) > _ISO_ZONE_LETTERS:
            raise ValueError(f"invalid ISO 8601 format: length={len(run)}")
        quoted = "'" if run == "''" else (found[1] or "").replace("''", "'")
        text = run if letter or found[1] is None else quoted
        if not letter and pieces and not pieces[-1].letter:
            pieces[-1] = _Piece("", pieces[-1].text + text)
        else:
            pieces.append(_Piece(letter, text))
    return pieces


def _moment(milliseconds: int) -> _Moment:
    days, rest = divmod(milliseconds, DAY_MS)
    seconds, millisecond = divmod(rest, 1000)
    return _Moment(days, *calendar_date(days), seconds // 3600, seconds // 60 % 60, seconds % 60, millisecond)


def _template(piece: _Piece) -> str:
    if not piece.letter:
        return piece.text.replace("%", "%%")
    if not piece.is_number:
        return "%s"
    return f"%0{piece.width}d"


def _writer(piece: _Piece) -> Callable[[_Moment], Any]:
    letter = piece.letter
    if letter in ("y", "Y") and piece.width == _CENTURY_LETTERS:
        whole = _NUMBER_WRITERS[letter]
        return lambda moment: whole(moment) % 100
    if piece.is_number:
        return _NUMBER_WRITERS[letter]
    if letter == "G":
        return lambda moment: "AD" if moment.year > 0 else "BC"
    if letter == "a":
        return lambda moment: "AM" if moment.hour < 12 else "PM"
    end = None if piece.width >= _LONG_FROM else _SHORT
    if letter == "E":
        return lambda moment: _DAYS[day_of_week(moment.days) - 1][:end]
    if letter in ("M", "L"):
        return lambda moment: _MONTHS[moment.month - 1][:end]
    zone = {"X": "Z", "Z": "+0000"}.get(letter) or ("UTC" if end else "Coordinated Universal Time")
    return lambda moment: zone


_NUMBER_WRITERS: Mapping[str, Callable[[_Moment], int]] = {
    "y": lambda moment: moment.year if moment.year > 0 else 1 - moment.year,
    "Y": lambda moment: week_of_year(moment.days)[0],
    "M": lambda moment: moment.month,
    "L": lambda moment: moment.month,
    "w": lambda moment: week_of_year(moment.days)[1],
    "W": lambda moment: week_of_month(moment.days),
    "D": lambda moment: moment.days - days_of(moment.year, 1, 1) + 1,
    "d": lambda moment: moment.day,
    "F": lambda moment: (moment.day - 1) // 7 + 1,
    "u": lambda moment: (day_of_week(moment.days) + 5) % 7 + 1,
    "H": lambda moment: moment.hour,
    "k": lambda moment: moment.hour or 24,
    "K": lambda moment: moment.hour % 12,
    "h": lambda moment: moment.hour % 12 or 12,
    "m": lambda moment: moment.minute,
    "s": lambda moment: moment.second,
    "S": lambda moment: moment.millisecond,
}


def _read_number(text: str, begin: int, at: int, width: int | None) -> tuple[int, int]:
    """The number at a place, and where it ends. width: of it with blanks, where another follows at once."""
    if width is not None:
        if begin + width > len(text):
            raise ValueError(text)
        found = _NUMBER.match(text, at, begin + width)
    else:
        found = _NUMBER.match(text, at)
    if found is None:
        raise ValueError(text)
    return int_of(found[0]), found.end()


def _set_number(fields: Fields, letter: str, number: int) -> None:
    if (letter == "k" and number == 24) or (letter == "h" and number == 12):
        number = 0
    elif letter == "u" and 1 <= number <= 7:
        number = number % 7 + 1  # it counts from Monday
    fields.set(_NUMBERS[letter], number)


def _read_name(text: str, at: int, piece: _Piece, fields: Fields) -> int:
    """Sets the field that a name stands for; the longest that matches, in either case."""
    letter = "M" if piece.letter == "L" else piece.letter
    rest = text[at:].lower()
    names = _NAMES[letter]
    matches = [
        (len(form), index)
        for index, name in enumerate(names)
        for form in ((name, name[:_SHORT]) if letter in "ME" else (name,))
        if rest.startswith(form.lower())
    ]
    if not matches:
        raise ValueError(text)
    length, index = max(matches)
    field = {"M": "month", "E": "day_of_week", "a": "am_pm", "G": "era"}[letter]
    fields.set(field, index + 1 if letter in "ME" else index)
    return at + length


def _read_zone(text: str, at: int, piece: _Piece, fields: Fields) -> int:
    """Sets the offset that a zone means."""
    if piece.letter == "X":
        if text.startswith("Z", at):
            fields.set("zone_ms", 0)
            return at + 1
        found = _OFFSETS[piece.text].match(text, at)
    else:
        found = _OFFSETS["rfc"].match(text, at)
        if found is None and text[at : at + 3].upper() == "GMT":
            found = _OFFSETS["gmt"].match(text, at)
            if found is not None and found[1] is None:
                if text[found.end() : found.end() + 1] in ("+", "-"):
                    raise ValueError(text)
                fields.set("zone_ms", 0)
                return found.end()
    if found is not None:
        hours, minutes = int(found[2]), int(found[3] or 0)
        if hours > 23 or minutes > 59:
            raise ValueError(text)
        fields.set("zone_ms", (hours * 60 + minutes) * (-60_000 if found[1] == "-" else 60_000))
        return found.end()
    if piece.letter != "X":
        known = zone_minutes(text, at)
        if known is not None:
            fields.set("zone_ms", known[0] * 60_000)
            return known[1]
    raise ValueError(text)


def _quick(pieces: Sequence[_Piece]) -> Callable[[str], int | None] | None:
    """Reads texts that are exactly as the pattern would write them; None of any other, or for any other pattern.

    bench/micro/test_transforms.py::test_date_pattern_parse: a small part of the time that field by field takes.
    """
    letters = [piece.letter for piece in pieces if piece.letter]
    if len({*letters}) != len(letters) or "y" not in letters:
        return None
    parts = []
    for piece in pieces:
        if piece.letter == "X":
            colon = ":" if piece.width == _ISO_ZONE_LETTERS else ""
            minutes = "" if piece.width == 1 else rf"{colon}[0-5]\d"
            parts.append(rf"(Z|[+-](?:[01]\d|2[0-3]){minutes})")
        elif not piece.letter:
            if piece.text[0].isdecimal() or piece.text[0] == "E":
                return None
            parts.append(re.escape(piece.text))
        elif _QUICK_DIGITS.get(piece.letter) == piece.width:
            parts.append(rf"(\d{{{piece.width}}})")
        else:
            return None
    match = re.compile("".join(parts), re.ASCII).fullmatch
    order = [letters.index(letter) + 1 if letter in letters else 0 for letter in "yMdHmsS"]
    zone = letters.index("X") + 1 if "X" in letters else 0

    def read(text: str) -> int | None:
        found = match(text)
        if found is None:
            return None
        year, month, day, hour, minute, second, millisecond = [
            int(found[group]) if group else default
            for group, default in zip(order, _QUICK_DEFAULTS.values(), strict=True)
        ]
        if year < _QUICK_YEAR:
            return None
        try:
            days = datetime.date(year, month, day).toordinal() - _EPOCH_ORDINAL
        except ValueError:  # it carries over
            return None
        rest = ((hour * 60 + minute) * 60 + second) * 1000 + millisecond
        return days * DAY_MS + rest - (_offset_ms(found[zone]) if zone else 0)

    return read


def _offset_ms(text: str) -> int:
    """Of `Z`, `+02`, `+0200` or `+02:00`."""
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[-2:] if len(text) > 3 else 0)
    return minutes * (-60_000 if text[0] == "-" else 60_000)
