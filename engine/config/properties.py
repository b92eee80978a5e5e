"""Java's `.properties` format, read as `java.util.Properties` reads it.

    # a comment, as is a line that begins with !
    key = value          key:value          key value
    long = first,\\
           second        a backslash at the end joins lines; leading blanks of the next go
    tab = \\t \\u00e9       escapes, in keys too

Text is UTF-8 here (Java's own reader takes Latin-1, where ASCII and escapes mean the same).

Used by: files, providers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["PropertiesSyntaxError", "parse_properties"]

_BLANKS = " \t\f"
_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.?)", re.DOTALL)
_KEY = re.compile(r"(?:[^\\=: \t\f]|\\.?)*", re.DOTALL)
_SEPARATOR = re.compile(r"[ \t\f]*[=:]?[ \t\f]*")
_TRAILING_BACKSLASHES = re.compile(r"\\*\Z")
_NAMED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PropertiesSyntaxError(ValueError):
    """The one mistake the format knows: a \\u that four hexadecimal digits do not follow."""


class _LogicalLine(NamedTuple):
    number: int  # of its first natural line, from 1
    text: str


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values in the order of first mention; of a key given twice, the last value.

    Raises PropertiesSyntaxError, with line and column.
    """
    properties = {}
    for line in _logical_lines(text):
        key = _KEY.match(line.text)
        assert key is not None, "the pattern matches the empty text"
        separator = _SEPARATOR.match(line.text, key.end())
        assert separator is not None, "the pattern matches the empty text"
        value_at = separator.end()
        properties[_unescape(key[0], line.number, 1)] = _unescape(line.text[value_at:], line.number, value_at + 1)
    return properties


def _logical_lines(text: str) -> Iterator[_LogicalLine]:
    joined = ""  # what the lines before, that ended in a backslash, have said
    first = 0
    is_joining = False
    naturals = _LINE_END.split(text)
    if not naturals[-1]:
        naturals.pop()  # what follows the last line end is no line
    for number, natural in enumerate(naturals, start=1):
        line = natural.lstrip(_BLANKS)
        if not joined:
            if not line or line[0] in "#!":
                is_joining = False
                continue
            first = number
        is_joining = _count_trailing_backslashes(line) % 2 == 1
        joined += line[:-1] if is_joining else line
        if not is_joining:
            yield _LogicalLine(first, joined)
            joined = ""
    if is_joining:  # even of nothing: Java reads a last line of one backslash as an empty key
        yield _LogicalLine(first, joined)


def _count_trailing_backslashes(line: str) -> int:
    found = _TRAILING_BACKSLASHES.search(line)
    return 0 if found is None else len(found[0])


def _unescape(text: str, line: int, column: int) -> str:
    if "\\" not in text:
        return text

    def plain(escape: re.Match[str]) -> str:
        body = escape[1]
        if len(body) == 5:
            return chr(int(body[1:], 16))
        if body == "u":
            raise PropertiesSyntaxError(
                f"line {line}, column {column + escape.start()}: expected four hexadecimal digits after \\u"
            )
        return _NAMED.get(body, body)

    unescaped = _ESCAPE.sub(plain, text)
    # Two escapes may be the halves of one character; half a one alone is no text.
    return unescaped.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
