r"""A pattern of topics as Java writes it, in Python's words: `topics.regex`.

    (?<site>\p{Alpha}+)-\Qa.b\E      ──►      (?P<site>[a-zA-Z]+)\-a\.b

Names of topics are ASCII, so that what the two languages think of Unicode makes no difference. What has no equal, such
as the intersection of two classes, is refused.

Used by: engine.config.connector.
Source: the documentation of java.util.regex.Pattern and of Python's re.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["topic_pattern"]

#: Java's named classes, as what stands within brackets.
_CLASSES: Mapping[str, str] = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "XDigit": "0-9a-fA-F",
    "Space": r"\s",
    "ASCII": r"\x00-\x7f",
    "L": "a-zA-Z",
    "Lu": "A-Z",
    "Ll": "a-z",
    "N": "0-9",
    "Nd": "0-9",
    "IsAlphabetic": "a-zA-Z",
    "IsDigit": "0-9",
}
_ESCAPES: Mapping[str, str] = {"z": r"\Z", "Z": r"\Z", "h": r"[ \t]", "e": r"\x1b"}
_TOKEN = re.compile(
    r"""\\Q(?P<quoted>.*?)(?:\\E|\Z)
      | \\(?P<sign>[pP])(?:\{(?P<class>\w+)\}|(?P<letter>\w))
      | \\k<(?P<again>\w+)>
      | \\(?P<escaped>.)
      | \(\?<(?P<group>[A-Za-z]\w*)>
      | (?P<intersection>&&)
      | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def topic_pattern(text: str) -> str:
    """The same pattern for Python's `re`, matched against whole names. Raises ValueError that says what is wrong."""
    parts: list[str] = []
    members: int | None = None  # of the class that is open; a "]" that would be the first is one itself
    for token in _TOKEN.finditer(text):
        plain = token["plain"]
        parts.append(_translated(token, is_in_class=members is not None))
        if members is None:
            members = 0 if plain == "[" else None
        elif token["intersection"] or plain == "[":
            raise ValueError("classes within a class ([a[b]], [a&&b]) are Java's alone; expected one simple class")
        elif plain == "]" and members:
            members = None
        elif not (plain == "^" and parts[-2] == "["):
            members += 1
    pattern = "".join(parts)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no pattern: {error}") from None
    return pattern


def _translated(token: re.Match[str], *, is_in_class: bool) -> str:
    if token["quoted"] is not None:
        return re.escape(token["quoted"])
    if token["sign"] is not None:
        return _named_class(token, is_in_class=is_in_class)
    if token["again"] is not None:
        return f"(?P={token['again']})"
    if token["group"] is not None:
        return f"(?P<{token['group']}>"
    if token["escaped"] is not None:
        escaped = token["escaped"]
        if is_in_class and escaped == "h":
            return r" \t"
        return _ESCAPES.get(escaped, f"\\{escaped}")
    return token[0]


def _named_class(token: re.Match[str], *, is_in_class: bool) -> str:
    name = token["class"] or token["letter"]
    members = _CLASSES.get(name) or _CLASSES.get(name.removeprefix("Is"))
    if members is None:
        raise ValueError(f"class {token[0]} is not known; expected one of {', '.join(_CLASSES)}")
    if is_in_class:
        if token["sign"] == "P":
            raise ValueError(f"{token[0]} within a class; expected [^...] or {token[0].replace('P', 'p', 1)}")
        return members
    return f"[{'^' if token['sign'] == 'P' else ''}{members}]"
