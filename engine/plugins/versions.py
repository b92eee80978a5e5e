"""Versions of plugins, and the ranges of them that `plugin.version` keys name: Maven's, as in Kafka Connect.

    1.2            that version and no other          latest            the newest, as without the key
    [1.0,2.0)      from 1.0 to below 2.0              (,1.0],[1.2,)     several ranges

Used by: engine.plugins.catalog, engine.plugins.asking.
Source: the rules and words of Maven's VersionRange; versions compare as Python's do (PEP 440).
"""

from __future__ import annotations

import re

from msgspec import Struct
from packaging.version import InvalidVersion, Version

__all__ = ["ANY", "VERSION", "Versions", "comparable", "ranges_of", "version_key"]

#: The last part of a key that names a version.
VERSION = "plugin.version"
_LOWEST = Version("0.dev0")
_RANGE = re.compile(r"\s*([\[(])([^\[\]()]*)([\])])\s*(?:,|\Z)")


class _Range(Struct, frozen=True):
    """One range; an empty bound is none."""

    least: str
    most: str
    has_least: bool
    has_most: bool

    def holds(self, version: Version) -> bool:
        """Whether the version is in it."""
        if self.least:
            least = comparable(self.least)
            if version < least or (version == least and not self.has_least):
                return False
        if self.most:
            most = comparable(self.most)
            if version > most or (version == most and not self.has_most):
                return False
        return True

    def __str__(self) -> str:
        return f"{'[' if self.has_least else '('}{self.least},{self.most}{']' if self.has_most else ')'}"


class Versions(Struct, frozen=True):
    """Ranges of versions; none of them: every version."""

    ranges: tuple[_Range, ...] = ()

    def hold(self, version: str) -> bool:
        """Whether the version is wanted."""
        found = comparable(version)
        return not self.ranges or any(one.holds(found) for one in self.ranges)

    def __str__(self) -> str:
        return ",".join(map(str, self.ranges))


#: Every version; the newest counts.
ANY = Versions()


def version_key(key: str) -> str:
    """The key of the version that is wanted of what `key` names: `key.converter`, `transforms.a.type` ..."""
    owner = key.removesuffix(".class").removesuffix(".type")
    return f"{owner}.{VERSION}"


def comparable(version: str) -> Version:
    """What orders versions; text that is no version is below all others."""
    try:
        return Version(version)
    except InvalidVersion:
        return _LOWEST


def ranges_of(text: str) -> Versions:
    """The ranges that the value of a `plugin.version` key names. Raises ValueError."""
    text = text.strip()
    if not text or text == "latest":
        return ANY
    if text[0] not in "[(":
        _check(text)
        return Versions((_Range(text, text, True, True),))
    ranges = []
    rest = text
    while rest:
        if rest[0] not in "[(":
            raise ValueError(f"Only fully-qualified sets allowed in multiple set scenario: {text}")
        match = _RANGE.match(rest)
        if match is None:
            raise ValueError(f"Unbounded range: {text}")
        ranges.append(_range(match.group(1), match.group(2), match.group(3)))
        rest = rest[match.end() :].lstrip()
    return Versions(tuple(ranges))


def _range(opening: str, inner: str, closing: str) -> _Range:
    text = f"{opening}{inner}{closing}"
    bounds = [bound.strip() for bound in inner.split(",")]
    if len(bounds) > 2:
        raise ValueError(f"Only fully-qualified sets allowed in multiple set scenario: {text}")
    for bound in filter(None, bounds):
        _check(bound)
    if len(bounds) == 1:
        if not inner.strip() or text[0] != "[" or text[-1] != "]":
            raise ValueError(f"Single version must be surrounded by []: {text}")
        return _Range(bounds[0], bounds[0], True, True)
    least, most = bounds
    if least and most:
        if least == most:
            raise ValueError(f"Range cannot have identical boundaries: {text}")
        if comparable(most) < comparable(least):
            raise ValueError(f"Range defies version ordering: {text}")
    return _Range(least, most, opening == "[", closing == "]")


def _check(version: str) -> None:
    try:
        Version(version)
    except InvalidVersion:
        raise ValueError(f"{version} is no version: expected numbers with dots, such as 1.2.0") from None
