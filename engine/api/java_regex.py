r"""A pattern as Java writes it, in the words of Python's `re`; and what Java puts in the place of a match.

    (?<site>\p{Alpha}+)-\Qa.b\E      ──►      (?P<site>[A-Za-z]+)\-a\.b
    ${site}.$2\$                     ──►      a function of the match

The translation needs no flags: where `(?i)` or `(?s)` hold, each piece is written accordingly. What has no equal in
Python is refused: `\G`, `\X`, `(?U)`, scripts and blocks of Unicode, a look behind whose width varies.

What is matched in Millrace are names of topics, which are ASCII; beyond it Python's tables of Unicode count.

Used by: engine.config, engine.transforms.
Source: the documentation of java.util.regex and of Python's re.
Not here: sets of characters (java_character_sets.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from engine.api.java_character_sets import LINE_ENDS, CharacterSet, named, shorthand

__all__ = ["compiled", "replacement", "translated"]

_FLAGS = "dimsux"
_CONTROLS: Mapping[str, str] = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_SPECIAL_GROUPS = ("?:", "?=", "?!", "?>", "?<=", "?<!")
_LINE_END = r"(?:\r\n|[\n\x0b\f\r\x85\u2028\u2029])"
_AT_LAST_LINE_END = r"(?:(?=(?:\r\n|[\r\x85\u2028\u2029])?\Z)|(?<!\r)(?=\n\Z))"
#: `^` and `$`, by whether every line counts and whether only \n ends one.
_BEGINS = {
    (False, False): "^",
    (False, True): "^",
    (True, False): r"(?:(?!\Z)(?:\A|(?<=[\n\x85\u2028\u2029])|(?<=\r)(?!\n)))",
    (True, True): r"(?:(?!\Z)(?:\A|(?<=\n)))",
}
_ENDS = {
    (False, False): _AT_LAST_LINE_END,
    (False, True): r"(?:(?=\n?\Z))",
    (True, False): r"(?:(?=[\r\x85\u2028\u2029]|\Z)|(?<!\r)(?=\n))",
    (True, True): r"(?:(?=\n|\Z))",
}
#: What Python says of what only Java can do, and what is to be written.
_JAVA_ALONE = {
    "look-behind requires fixed-width pattern": (
        "a look behind, (?<=...) or (?<!...), whose width varies is Java's alone; expected one of a fixed width"
    ),
    "nothing to repeat": "what has no width (^, $, \\b) is repeated, which is Java's alone; expected it once",
    "cannot refer to an open group": "a group that refers to itself is Java's alone; expected a group that ends before",
}


def translated(text: str) -> str:
    """The same pattern for Python's `re`, without flags. Raises ValueError, which says what is to be written."""
    pattern = _Translator(text).whole()
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        reason = getattr(error, "msg", str(error))
        raise ValueError(_JAVA_ALONE.get(reason, f"it is no pattern: {reason}")) from None
    return pattern


def compiled(text: str) -> re.Pattern[str]:
    """The same pattern, compiled. Raises ValueError, as `translated`."""
    return re.compile(translated(text))


def replacement(template: str, pattern: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    r"""What Java's `replaceFirst` puts in the place of a match: `$1`, `${name}`, `\$`.

    A group that has not taken part is empty. Raises ValueError for a template that is none, or names no group.
    """
    parts: list[str | int] = []
    at = 0
    while at < len(template):
        character = template[at]
        at += 1
        if character == "\\":
            if at == len(template):
                raise ValueError("character to be escaped is missing")
            parts.append(template[at])
            at += 1
        elif character == "$":
            group, at = _group(template, at, pattern)
            parts.append(group)
        else:
            parts.append(character)
    if not any(isinstance(part, int) for part in parts):
        text = "".join(map(str, parts))
        return lambda match: text
    return lambda match: "".join([part if isinstance(part, str) else match[part] or "" for part in parts])


def _group(template: str, at: int, pattern: re.Pattern[str]) -> tuple[int, int]:
    """The group that is named after a `$`, and where the template goes on."""
    if at == len(template):
        raise ValueError("Illegal group reference: group index is missing")
    if template[at] == "{":
        end = template.find("}", at)
        name = template[at + 1 : end]
        if end < 0 or not _NAME.match(name):
            raise ValueError(f"{template[at - 1 :]} is no group; expected ${{name}}, letters and digits")
        if name not in pattern.groupindex:
            raise ValueError(f"No group with name {{{name}}}")
        return pattern.groupindex[name], end + 1
    if not _is_digit(template[at]):
        raise ValueError(r"Illegal group reference; expected $1, ${name}, or \$ for a dollar sign")
    group = int(template[at])
    if group > pattern.groups:
        raise ValueError(f"No group {group}")
    at += 1
    while at < len(template) and _is_digit(template[at]) and group * 10 + int(template[at]) <= pattern.groups:
        group = group * 10 + int(template[at])
        at += 1
    return group, at


def _is_digit(character: str) -> bool:
    return "0" <= character <= "9"


class _Token(NamedTuple):
    character: str
    is_quoted: bool  # between \Q and \E: it stands for itself


class _Translator:
    """One pattern, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self._tokens = [*_unquoted(text)]
        self._at = 0
        self._groups = 0
        self._names: set[str] = set()

    def whole(self) -> str:
        """The whole pattern."""
        pattern = self._alternatives(frozenset())
        if self._at < len(self._tokens):
            raise ValueError("it is no pattern: Unmatched closing ')'")
        return pattern

    def _peek(self, ahead: int = 0) -> str:
        """The character that comes next, empty at the end. A quoted one that means something unquoted is a NUL."""
        at = self._at + ahead
        if at >= len(self._tokens):
            return ""
        token = self._tokens[at]
        return "\0" if token.is_quoted else token.character

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise ValueError("it is no pattern: it ends too early")
        self._at += 1
        return self._tokens[self._at - 1].character

    def _takes(self, expected: str) -> bool:
        """Whether these characters come next, none of them quoted; then they are read."""
        if any(self._peek(ahead) != character for ahead, character in enumerate(expected)):
            return False
        self._at += len(expected)
        return True

    def _until(self, end: str) -> str:
        found = ""
        while not self._takes(end):
            found += self._next()
        return found

    def _skip_comments(self, flags: frozenset[str]) -> None:
        if "x" not in flags:
            return
        while (character := self._peek()) and (character in " \t\n\x0b\f\r" or character == "#"):
            self._at += 1
            while character == "#" and self._peek() and not self._takes("\n"):
                self._at += 1

    def _alternatives(self, flags: frozenset[str]) -> str:
        """All up to the end of the group. Flags that are set on the way hold up to there."""
        parts: list[str] = []
        while True:
            self._skip_comments(flags)
            character = self._peek()
            if character in ("", ")"):
                return "".join(parts)
            if self._takes("|"):
                parts.append("|")
            elif self._peek() == "(" and self._peek(1) == "?" and self._peek(2) in tuple(f"{_FLAGS}-U"):
                self._takes("(?")
                changed = self._flags(flags)
                if self._takes(")"):
                    flags = changed
                else:
                    self._next()  # the colon
                    parts.append(self._quantified(f"(?:{self._group_body(changed)})", flags))
            else:
                parts.append(self._quantified(self._atom(flags), flags))

    def _flags(self, flags: frozenset[str]) -> frozenset[str]:
        sign = True
        while self._peek() not in (")", ":"):
            flag = self._next()
            if flag == "-" and sign:
                sign = False
            elif flag in _FLAGS:
                flags = flags | {flag} if sign else flags - {flag}
            elif flag == "U":
                raise ValueError(r"flag (?U) is Java's alone; expected classes such as \p{IsAlphabetic} in its place")
            else:
                raise ValueError(f"it is no pattern: Unknown inline modifier {flag}")
        return flags

    def _group_body(self, flags: frozenset[str]) -> str:
        body = self._alternatives(flags)
        if not self._takes(")"):
            raise ValueError("it is no pattern: Unclosed group")
        return body

    def _quantified(self, atom: str, flags: frozenset[str]) -> str:
        self._skip_comments(flags)
        quantifier = self._quantifier()
        if not quantifier:
            return atom
        self._skip_comments(flags)
        kind = self._next() if self._peek() in ("?", "+") else ""
        return f"{atom}{quantifier}{kind}"

    def _quantifier(self) -> str:
        if self._peek() in ("*", "+", "?"):
            return self._next()
        if not self._takes("{"):
            return ""
        bounds = self._until("}")
        if not re.fullmatch(r"[0-9]+(,[0-9]*)?", bounds):
            raise ValueError(f"it is no pattern: Illegal repetition {{{bounds}}}; expected {{n}}, {{n,}} or {{n,m}}")
        return f"{{{bounds}}}"

    def _atom(self, flags: frozenset[str]) -> str:
        character = self._peek()
        lines = ("m" in flags, "d" in flags)
        if character == "(":
            return self._group(flags)
        if character == "[":
            return self._class(flags).pattern()
        if character == "\\":
            return self._escape(flags)
        if character in ("*", "+", "?"):
            raise ValueError(f"it is no pattern: Dangling meta character '{character}'")
        if character == "{":
            raise ValueError(r"it is no pattern: Illegal repetition; expected \{ for a brace")
        token = self._next()
        if character == ".":
            ends = CharacterSet() if "s" in flags else CharacterSet.of("\n") if "d" in flags else LINE_ENDS
            return (~ends).pattern()
        if character == "^":
            return _BEGINS[lines]
        return _ENDS[lines] if character == "$" else _literal(token, flags)

    def _group(self, flags: frozenset[str]) -> str:
        self._next()
        for kind in _SPECIAL_GROUPS:
            if self._takes(kind):
                return f"({kind}{self._group_body(flags)})"
        if self._takes("?<"):
            name = self._until(">")
            if not _NAME.match(name):
                raise ValueError(f"it is no pattern: ?<{name}>; expected a name of letters and digits")
            if name in self._names:
                raise ValueError(f"it is no pattern: Named capturing group <{name}> is already defined")
            self._names.add(name)
            self._groups += 1
            return f"(?P<{name}>{self._group_body(flags)})"
        if self._takes("?"):
            raise ValueError(f"it is no pattern: Unknown group type (?{self._peek()}")
        self._groups += 1
        return f"({self._group_body(flags)})"

    def _escape(self, flags: frozenset[str]) -> str:
        self._next()
        letter = self._peek()
        if letter in ("k", "1", "2", "3", "4", "5", "6", "7", "8", "9") and letter:
            return self._reference(flags)
        anchors = {"A": r"\A", "z": r"\Z", "b": r"\b", "B": r"(?!\b)", "R": _LINE_END, "Z": _AT_LAST_LINE_END}
        if letter == "Z" and "d" in flags:
            anchors["Z"] = _ENDS[False, True]
        if letter in anchors and letter:
            self._next()
            if letter == "b" and self._peek() == "{":
                raise ValueError(r"\b{g} is Java's alone; expected \b")
            return anchors[letter]
        found = self._set(flags)
        return _literal(found, flags) if isinstance(found, str) else found.pattern()

    def _reference(self, flags: frozenset[str]) -> str:
        if self._takes("k<"):
            name = self._until(">")
            if name not in self._names:
                raise ValueError(f"it is no pattern: named capturing group <{name}> does not exist")
            group = f"(?P={name})"
        else:
            number = int(self._next())
            while self._peek().isdecimal() and number * 10 + int(self._peek()) <= self._groups:
                number = number * 10 + int(self._next())
            if number > self._groups:
                raise ValueError(rf"\{number} stands for a group that does not begin before it, of {self._groups}")
            group = rf"\{number}"
        if "i" not in flags:
            return f"(?:{group})"
        return f"(?{'i' if 'u' in flags else 'ai'}:{group})"

    def _class(self, flags: frozenset[str]) -> CharacterSet:
        """A class in brackets, whose members may be classes: `[a-z&&[^b]]`."""
        self._next()
        is_negated = self._takes("^")
        parts: list[CharacterSet] = []  # between them stands &&
        members: CharacterSet | None = None
        while True:
            self._skip_comments(flags)
            if not self._peek():
                raise ValueError("it is no pattern: Unclosed character class")
            if self._takes("&&"):
                if self._peek() == "&":
                    raise ValueError(r"three & in a class; expected \& for one that stands for itself")
                parts.append(_operand(members))
                members = None
            elif self._peek() == "]" and (members is not None or parts):
                self._next()
                break
            else:
                found = self._class(flags) if self._peek() == "[" else self._members(flags)
                members = found if members is None else members | found
        whole = _operand(members)
        for part in parts:
            whole = whole & part
        return ~whole if is_negated else whole

    def _members(self, flags: frozenset[str]) -> CharacterSet:
        """A character, a range, or what an escape stands for."""
        first = self._member(flags)
        if isinstance(first, CharacterSet):
            return first
        last = first
        if self._peek() == "-" and self._peek(1) not in ("", "]", "["):
            self._next()
            found = self._member(flags)
            if isinstance(found, CharacterSet) or found < first:
                raise ValueError(f"it is no pattern: Illegal character range near {first}-")
            last = found
        members = CharacterSet([(ord(first), ord(last))])
        return members.in_any_case(is_unicode="u" in flags) if "i" in flags else members

    def _member(self, flags: frozenset[str]) -> str | CharacterSet:
        if self._peek() != "\\":
            return self._next()
        self._next()
        return self._set(flags)

    def _set(self, flags: frozenset[str]) -> str | CharacterSet:
        """The character or the set that follows a backslash, within a class or not."""
        letter = self._next()
        if letter in ("p", "P"):
            name = self._until("}") if self._takes("{") else self._next()
            found = named(name, ignores_case="i" in flags)
            return ~found if letter == "P" else found
        known = shorthand(letter)
        if known is not None:
            return known
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "c":
            return chr(ord(self._next()) ^ 64)
        if letter in ("x", "u", "0", "N"):
            return self._coded(letter)
        if letter.isascii() and letter.isalnum():
            raise ValueError(rf"it is no pattern: \{letter} stands for nothing that Python's patterns can do")
        return letter

    def _coded(self, letter: str) -> str:
        r"""A character by its code: \x41, \x{41}, \u0041, \0101, or by its name: \N{LATIN SMALL LETTER A}."""
        if letter == "N":
            self._takes("{")
            name = self._until("}")
            try:
                return unicodedata.lookup(name)
            except KeyError:
                raise ValueError(f"it is no pattern: there is no character {name}") from None
        if letter == "0":
            digits = ""
            while self._peek() in tuple("01234567") and len(digits) < (3 if digits[:1] in ("", *"0123") else 2):
                digits += self._next()
            return _character(digits, 8)
        if letter == "x":
            return _character(self._until("}") if self._takes("{") else self._next() + self._next(), 16)
        code = _character("".join(self._next() for _ in range(4)), 16)
        if "\ud800" <= code <= "\udbff" and self._takes("\\u"):
            code += _character("".join(self._next() for _ in range(4)), 16)
            code = code.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return code


def _character(digits: str, base: int) -> str:
    if not _HEX.match(digits):
        raise ValueError(f"it is no pattern: {digits or 'nothing'} where the code of a character was expected")
    code = int(digits, base)
    if code > 0x10FFFF:
        raise ValueError(f"it is no pattern: there is no character {digits}")
    return chr(code)


def _operand(members: CharacterSet | None) -> CharacterSet:
    if members is None:
        raise ValueError("it is no pattern: Bad class syntax: nothing stands beside &&")
    return members


def _literal(character: str, flags: frozenset[str]) -> str:
    if "i" not in flags or character.lower() == character.upper():
        return re.escape(character)
    if "u" in flags:
        return f"(?i:{character})"
    return CharacterSet.of(character).in_any_case(is_unicode=False).pattern()


def _unquoted(text: str) -> list[_Token]:
    r"""The characters of a pattern, those between \Q and \E marked."""
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        if text.startswith("\\Q", at):
            end = text.find("\\E", at + 2)
            quoted = text[at + 2 :] if end < 0 else text[at + 2 : end]
            tokens += [_Token(character, is_quoted=True) for character in quoted]
            at = len(text) if end < 0 else end + 2
        else:
            width = 2 if text[at] == "\\" else 1
            tokens += [_Token(character, is_quoted=False) for character in text[at : at + width]]
            at += width
    return tokens
