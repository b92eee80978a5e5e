"""Text to the value it looks like, as headers carry them (Kafka Connect's `Values.parseString`).

    parse("12")  ──►  12, INT8              parse("[1, 300]")  ──►  [1, 300], ARRAY of INT16
    parse("1.5") ──►  1.5, FLOAT32          parse("12 34")     ──►  "12 34", STRING

What looks like nothing else is text, so parsing fails for nothing but depth. A map with both `true` and `1` for keys
stays text: to a dict they are one.

Used by: converters.simple_header.
Source: the behaviour of Kafka Connect's Values (its reference, section 6.8).
Not here: the three forms of dates (java_dates.py), values to text (value_text.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from engine.api.errors import DataError
from engine.api.java_dates import Moment, carried, iso_text, parse_iso
from engine.api.java_scalars import nearest_float32, round_to_float32
from engine.api.map_keys import as_key
from engine.api.schema import (
    BOOLEAN,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    SCHEMA_DEPTH_MAX,
    STRING,
    Float32,
    Schema,
)
from engine.api.structs import INT_RANGES
from engine.api.validation import DAY_MS

__all__ = ["parse"]

Parsed = tuple[Any, Schema | None]

NULL: Parsed = (None, None)
_LITERALS: dict[str, Parsed] = {"null": NULL, "true": (True, BOOLEAN), "false": (False, BOOLEAN)}
_BLANKS = "".join(map(chr, range(0x21)))  # what Java trims
_TOKENS = re.compile(r'[:,{}\[\]"]|(?:\\.|[^:,{}\[\]"\\])+\\?|\\', re.DOTALL)  # a backslash belongs to its token
_TIME_TOKENS = 4  # a time falls into five tokens, because a colon ends one
_PLAIN_INT = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?\Z")
_WIDTHS = {schema.type: width for width, schema in enumerate((INT8, INT16, INT32, INT64, FLOAT32, FLOAT64))}
_INT32 = INT_RANGES["INT32"]
_INT64 = INT_RANGES["INT64"]
_INT64_DIGITS = 19


def parse(text: str | None) -> Parsed:
    """The value that a text stands for, and its schema; a null has none.

    Raises RecursionError for a text that is nested deeper than SCHEMA_DEPTH_MAX levels.
    """
    if text is None:
        return NULL
    first = text[:1]
    if first > " " and first not in "[{+-" and not _is_digit(first):
        # Most headers: no token that begins so can be anything but a literal or text.
        literal = _LITERALS.get(text.strip(_BLANKS)) if first in "tfn" else None
        return (text, STRING) if literal is None else literal
    if not text:
        return text, STRING
    if _PLAIN_INT.match(text):
        number = int(text)
        return number, _schema_of_int(number)
    value, schema = _Parser(text).value(is_embedded=False)
    if isinstance(value, Moment):
        return carried(value, schema), schema
    return (float(value), schema) if isinstance(value, Float32) else (value, schema)


class _Parser:
    """One text, cut into tokens, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKENS.findall(text)
        self._at = 0
        self._depth = 0

    def value(self, *, is_embedded: bool) -> Parsed:
        """The next value. Raises DataError within a list or map for what is none."""
        if not self._has_next():
            return NULL
        if is_embedded and self._takes('"'):
            return self._quoted()
        for word, literal in _LITERALS.items():
            start = self._at
            if self._takes(word) and (is_embedded or not self._has_next()):
                return literal
            self._at = start
        start = self._at
        try:
            if self._takes("["):
                return self._nested(self._array)
            if self._takes("{"):
                return self._nested(self._map)
        except DataError:
            self._at = start
        token = self._next()
        trimmed = token.strip(_BLANKS)
        if not trimmed:
            return token, STRING
        return self._scalar(trimmed, is_embedded=is_embedded)

    def _scalar(self, token: str, *, is_embedded: bool) -> Parsed:
        is_digit = _is_digit(token[0])
        if is_digit:
            rest = self._tokens[self._at : self._at + _TIME_TOKENS]
            if len(rest) == _TIME_TOKENS:
                moment = parse_iso(token + "".join(rest))
                if moment is not None:
                    self._at += _TIME_TOKENS
                    return moment
            moment = parse_iso(token)
            if moment is not None:
                return moment
        if is_digit or token[0] in "+-":
            number = _number(token)
            if number is not None:
                return number
        if is_embedded:
            raise DataError(f"Failed to parse embedded value: {token}")
        return self._text, STRING

    def _quoted(self) -> Parsed:
        """What is in quotes, without the tokens that are blank: `[", "]` holds a comma alone, as in Java."""
        pieces: list[str] = []
        while self._has_next():
            if self._takes('"'):
                content = "".join(pieces)
                return parse_iso(content) or (content, STRING)
            pieces.append(self._next())
        raise DataError(f"A text has no closing quote: {self._text}")

    def _nested(self, read: Callable[[], Parsed]) -> Parsed:
        if self._depth == SCHEMA_DEPTH_MAX:
            raise RecursionError(f"A text is nested deeper than {SCHEMA_DEPTH_MAX} levels")
        self._depth += 1
        found = read()
        self._depth -= 1
        return found

    def _array(self) -> Parsed:
        elements: list[Any] = []
        schemas: list[Schema | None] = []
        while self._has_next():
            if self._takes("]"):
                common = _common(schemas)
                return _aligned(elements, common), Schema("ARRAY", value_schema=common)
            if self._takes(","):
                raise DataError(f"An element is empty: {self._text}")
            element, schema = self.value(is_embedded=True)
            elements.append(element)
            schemas.append(schema)
            start = self._at
            if self._takes("]"):
                self._at = start
            elif not self._takes(","):
                raise DataError(f"There is no comma between two elements: {self._text}")
        raise DataError(f"A list has no end: {self._text}")

    def _map(self) -> Parsed:
        entries: list[tuple[Any, Any]] = []
        key_schemas: list[Schema | None] = []
        value_schemas: list[Schema | None] = []
        while self._has_next():
            if self._takes("}"):
                return _map_of(entries, _common(key_schemas), _common(value_schemas))
            if self._takes(","):
                raise DataError(f"An entry has neither key nor value: {self._text}")
            key, schema = self.value(is_embedded=True)
            if key is None:
                raise DataError(f"An entry has no key: {self._text}")
            if not self._takes(":"):
                raise DataError(f"There is no colon after a key: {self._text}")
            key_schemas.append(schema)
            value, schema = self.value(is_embedded=True)
            value_schemas.append(schema)
            entries.append((key, value))
            self._takes(",")
        raise DataError(f"A map has no end: {self._text}")

    def _has_next(self) -> bool:
        return self._at < len(self._tokens)

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def _takes(self, expected: str) -> bool:
        """Whether the next token but for blank ones is `expected`; then it is read. Blank ones are, in any case."""
        tokens = self._tokens
        last = len(tokens) - 1
        while self._at < last and not tokens[self._at].strip(_BLANKS):
            self._at += 1
        if self._at > last or tokens[self._at].strip(_BLANKS) != expected:
            return False
        self._at += 1
        return True


def _is_digit(character: str) -> bool:
    return character.isdecimal() and character <= "\uffff"  # Java looks at half of a pair


def _number(token: str) -> Parsed | None:
    found = _NUMBER.match(token)
    if found is None or not (token.isascii() or max(token) <= "\uffff"):
        return None
    if found[1] and not _INT32[0] <= int(found[1]) <= _INT32[1]:
        return None
    number = Decimal(token)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if not _INT32[0] <= -exponent <= _INT32[1]:
        return None
    whole = 0 if not number else int(number) if 0 <= number.adjusted() < _INT64_DIGITS else None
    if whole is not None and whole == number and _INT64[0] <= whole <= _INT64[1]:
        return whole, _schema_of_int(whole)
    narrow = nearest_float32(number)
    if exponent and math.isfinite(narrow):
        return Float32(narrow), FLOAT32
    if exponent and math.isfinite(float(number)):
        return float(number), FLOAT64
    return number, Schema.decimal(-exponent)


def _schema_of_int(number: int) -> Schema:
    """The narrowest that holds a number of at most 64 bits."""
    bits = (number if number >= 0 else ~number).bit_length()
    return INT8 if bits < 8 else INT16 if bits < 16 else INT32 if bits < 32 else INT64


def _common(schemas: Iterable[Schema | None]) -> Schema | None:
    """The schema that all elements can be read under; None: there is none, or nothing but nulls."""
    common: Schema | None = None
    for schema in schemas:
        if schema is None:
            continue
        if common is None or common.type == schema.type:
            common = schema
        elif common.type not in _WIDTHS or schema.type not in _WIDTHS:
            return None
        elif _WIDTHS[schema.type] > _WIDTHS[common.type]:
            common = schema
    return common


def _aligned(column: Sequence[Any], schema: Schema | None) -> list[Any]:
    """The elements under their common schema. Raises DataError for one that cannot be."""
    if schema is None:
        return [carried(element, None) if isinstance(element, Moment) else element for element in column]
    return [_converted(element, schema) for element in column]


def _converted(value: Any, schema: Schema) -> Any:
    if value is None:
        raise DataError("Unable to convert a null value to a schema that requires a value")
    if schema.logical in ("Date", "Time", "Timestamp"):
        if isinstance(value, Moment):
            return carried(value, schema)
        if schema.logical == "Time" and not 0 <= value <= DAY_MS:
            raise DataError("Time values must use number of milliseconds greater than 0 and less than 86400000")
        return carried(Moment(value * DAY_MS if schema.logical == "Date" else value), schema)
    if isinstance(value, Moment):
        raise DataError(f"Unable to convert {iso_text(value.milliseconds)} (class java.util.Date) to a number")
    if schema.type == "FLOAT32":
        return Float32(round_to_float32(float(value)))  # around it may be a list whose elements have no schema
    return float(value) if schema.type == "FLOAT64" else value


def _map_of(entries: Sequence[tuple[Any, Any]], keys: Schema | None, values: Schema | None) -> Parsed:
    if keys is None:
        values = None
    key_column = [*map(as_key, _aligned([key for key, _ in entries], keys))]
    value_column = _aligned([value for _, value in entries], values)
    result = dict(zip(key_column, value_column, strict=True))
    if len(result) != len({(type(key), key) for key in key_column}):
        raise DataError("true and 1 are one key of a dict")
    return result, Schema("MAP", key_schema=keys, value_schema=values)
