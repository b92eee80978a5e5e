r"""Sets of characters as Java's patterns name them, and as Python's write them.

    \p{Alpha}  ──►  a-zA-Z             [a-z&&[^b]]  ──►  ac-z

A set is the ranges of its code points, in order and apart. A name that is not ASCII's own means what Python's tables
of Unicode say, which may be of another release than Java's.

Used by: engine.api.java_regex.
Source: the documentation of java.util.regex.Pattern.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby

__all__ = ["LINE_ENDS", "CharacterSet", "named", "shorthand"]

Range = tuple[int, int]  # both ends belong to it

_LAST = sys.maxunicode
_CASE_SHIFT = ord("a") - ord("A")


class CharacterSet:
    """A set of characters; not to be changed."""

    __slots__ = ("ranges",)

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """ranges: in any order, and overlapping perhaps."""
        merged: list[Range] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self.ranges = tuple(merged)

    @classmethod
    def of(cls, characters: str) -> CharacterSet:
        """These characters."""
        return cls((ord(one), ord(one)) for one in characters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharacterSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __or__(self, other: CharacterSet) -> CharacterSet:
        return CharacterSet((*self.ranges, *other.ranges))

    def __and__(self, other: CharacterSet) -> CharacterSet:
        return ~(~self | ~other)

    def __invert__(self) -> CharacterSet:
        gaps = []
        begin = 0
        for low, high in self.ranges:
            if low > begin:
                gaps.append((begin, low - 1))
            begin = high + 1
        if begin <= _LAST:
            gaps.append((begin, _LAST))
        return CharacterSet(gaps)

    def in_any_case(self, *, is_unicode: bool) -> CharacterSet:
        """The set with the other case of each letter; only of ASCII's, unless is_unicode."""
        if is_unicode:
            letters = (chr(code) for low, high in self.ranges for code in range(low, high + 1))
            cases = ({one.lower(), one.upper(), one.upper().lower()} for one in letters if one.lower() != one.upper())
            return self | CharacterSet.of("".join(case for found in cases for case in found if len(case) == 1))
        upper = self & CharacterSet([(ord("A"), ord("Z"))])
        lower = self & CharacterSet([(ord("a"), ord("z"))])
        return (
            self
            | CharacterSet((low + _CASE_SHIFT, high + _CASE_SHIFT) for low, high in upper.ranges)
            | CharacterSet((low - _CASE_SHIFT, high - _CASE_SHIFT) for low, high in lower.ranges)
        )

    def pattern(self) -> str:
        """What matches one character of the set, for Python's `re`."""
        if not self.ranges:
            return "(?!)"
        others = (~self).ranges
        if not others:
            return r"[\s\S]"
        is_negated = len(others) < len(self.ranges)
        shown = "".join(map(_shown, others if is_negated else self.ranges))
        return f"[{'^' if is_negated else ''}{shown}]"


def _shown(ends: Range) -> str:
    low, high = (re.escape(chr(end)) if end < 0x80 else chr(end) for end in ends)
    return low if low == high else f"{low}{high}" if ends[1] == ends[0] + 1 else f"{low}-{high}"


def _ascii(ranges: str) -> CharacterSet:
    """Ranges as pairs of characters: `azAZ`."""
    return CharacterSet((ord(low), ord(high)) for low, high in zip(ranges[::2], ranges[1::2], strict=True))


_DIGIT = _ascii("09")
_BLANKS = CharacterSet.of(" \t\n\x0b\f\r")
LINE_ENDS = CharacterSet.of("\n\r\x85\u2028\u2029")

#: What a letter after a backslash means; the capital letter means all others.
_SHORTHANDS: Mapping[str, CharacterSet] = {
    "d": _DIGIT,
    "s": _BLANKS,
    "w": _ascii("azAZ09__"),
    "h": CharacterSet.of(" \t\xa0\u1680\u180e\u202f\u205f\u3000") | CharacterSet([(0x2000, 0x200A)]),
    "v": CharacterSet.of("\n\x0b\f\r\x85\u2028\u2029"),
}
_POSIX: Mapping[str, CharacterSet] = {
    "Lower": _ascii("az"),
    "Upper": _ascii("AZ"),
    "ASCII": _ascii("\0\x7f"),
    "Alpha": _ascii("azAZ"),
    "Digit": _DIGIT,
    "Alnum": _ascii("azAZ09"),
    "Punct": _ascii("!/:@[`{~"),
    "Graph": _ascii("!~"),
    "Print": _ascii(" ~"),
    "Blank": CharacterSet.of(" \t"),
    "Cntrl": _ascii("\0\x1f\x7f\x7f"),
    "XDigit": _ascii("09afAF"),
    "Space": _BLANKS,
}
#: Properties of Unicode, by the general categories that make them up.
_PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "ALPHABETIC": ("L", "Nl"),
    "LETTER": ("L",),
    "DIGIT": ("Nd",),
    "UPPERCASE": ("Lu",),
    "LOWERCASE": ("Ll",),
    "TITLECASE": ("Lt",),
    "PUNCTUATION": ("P",),
    "CONTROL": ("Cc",),
}
_CASED = ("Lu", "Ll", "Lt")


def shorthand(letter: str) -> CharacterSet | None:
    """What `\\d`, `\\W` and their like mean; None of any other letter."""
    found = _SHORTHANDS.get(letter.lower())
    return ~found if found is not None and letter.isupper() else found


def named(name: str, *, ignores_case: bool = False) -> CharacterSet:
    r"""What `\p{name}` means. Raises ValueError of a name that is not known here."""
    posix = _POSIX.get(name)
    if posix is not None:
        return posix.in_any_case(is_unicode=False) if ignores_case else posix
    key, _, value = name.rpartition("=")
    short = value if key in ("gc", "general_category") else name.removeprefix("Is") if not key else ""
    categories = _PROPERTIES.get(name.removeprefix("Is").upper()) if name.startswith("Is") else None
    if categories is None and short == "LC":
        categories = _CASED
    for category in categories or (short,):
        if not any(known.startswith(category) for known in _categories()) or not category:
            raise ValueError(
                rf"class \p{{{name}}} is not known; expected one of {', '.join(_POSIX)}, a general category "
                r"such as Lu, or its characters, such as [\u0370-\u03ff]"
            )
    wanted = set(categories or (short,))
    if ignores_case and wanted & set(_CASED):
        wanted |= set(_CASED)
    return CharacterSet(
        ends for category, ranges in _categories().items() if wanted & {category, category[0]} for ends in ranges
    )


@cache
def _categories() -> dict[str, list[Range]]:
    """The characters of each general category."""
    found: dict[str, list[Range]] = {}
    for category, codes in groupby(range(_LAST + 1), key=lambda code: unicodedata.category(chr(code))):
        run = [*codes]
        found.setdefault(category, []).append((run[0], run[-1]))
    return found
