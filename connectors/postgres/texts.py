r"""Columns become the text that COPY reads: a text for each slot, with `\N` for null, and a line for each row.

    [1, None]  ──► ["1", "\\N"]         ["a\tb"] ──► ["a\\tb"]        [b"\x01"] ──► ["\\\\x01"]

A column is looked at as a whole: of which types it is, and whether its texts hold anything that has to be escaped.
Only what is odd is done value by value.

Text was chosen over COPY's binary form: the server reads it into whatever type the column has, a wrong value is an
error that names the column, and it is made by whole columns in C, where binary rows are made by a call for each value.

Used by: lines.py.
Not here: which column is of which kind (types.py).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence, ValuesView
from typing import Any

import msgspec
from msgspec import Struct

from connectors.postgres.types import Kind
from engine.api.column import Column, Repeat
from engine.api.errors import DataError
from engine.api.schema import Float32

__all__ = ["NULL", "block_of", "lines_of", "texts_of"]

NULL = r"\N"
_ESCAPED = ("\\", "\t", "\n", "\r")
_NUMBERS = frozenset({int, float, Float32})
#: What has nothing in it to be escaped.
_CLEAN = frozenset({*_NUMBERS, bool})
_BOOLS = {True: "true", False: "false"}
_BYTES = (bytes, bytearray, memoryview)
_EPOCH_JULIAN = 2_440_588  # 1970-01-01, as PostgreSQL reads `J2440588`
_DAY_MS = 86_400_000

_encoder = msgspec.json.Encoder(decimal_format="number")


def lines_of(columns: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, without its end. columns: of texts, at least one."""
    return [*map("\t".join, zip(*columns, strict=True))]


def block_of(lines: Iterable[str]) -> bytes:
    """What COPY reads. Raises DataError for text that is no UTF-8."""
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise DataError("a text holds half of a surrogate pair, which is no UTF-8") from error


def texts_of(column: Column, kind: Kind, logical: str | None = None) -> Sequence[str]:
    """COPY's text for each slot. logical: of the values' schema, or of their elements'. Raises DataError."""
    if isinstance(column, Repeat):
        return Repeat(texts_of([column.value], kind, logical)[0], len(column))
    column = column if isinstance(column, list | tuple) else [*column]
    types = {*map(type, column)}
    if type(None) not in types:
        return _present(column, types, kind, logical)
    types.discard(type(None))
    texts = iter(_present([value for value in column if value is not None], types, kind, logical))
    return [NULL if value is None else next(texts) for value in column]


def _present(values: Sequence[Any], types: set[type], kind: Kind, logical: str | None) -> Sequence[str]:
    if types <= _NUMBERS and not logical:
        return [*map(repr, values)]
    if types == {str}:
        return _escaped(values)
    if len(types) == 1:
        texts = [*map(_way_of(next(iter(types)), kind, logical), values)]
        return texts if types <= _CLEAN else _escaped(texts)
    return _escaped([_way_of(type(value), kind, logical)(value) for value in values])


def _escaped(texts: Sequence[str]) -> Sequence[str]:
    whole = "".join(texts)
    if not any(character in whole for character in _ESCAPED):
        return texts
    return [text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") for text in texts]


def _way_of(kind_of_value: type, kind: Kind, logical: str | None) -> Callable[[Any], str]:
    """How values of one type are written into columns of one kind; not escaped yet."""
    if issubclass(kind_of_value, str):
        return str
    if kind_of_value is bool:
        return _BOOLS.__getitem__
    if issubclass(kind_of_value, _BYTES):
        if kind == "bytes":
            return _bytes_text
        return _json_text if kind == "json" else _no_bytes
    if issubclass(kind_of_value, list | tuple):
        return (lambda value: _array_text(value, logical)) if kind == "array" else _json_text
    if issubclass(kind_of_value, dict | Struct):
        return _json_text
    if issubclass(kind_of_value, int) and logical in _BEYOND:
        return _BEYOND[logical]
    return repr if kind_of_value in _NUMBERS else str


def _bytes_text(value: Any) -> str:
    return "\\x" + bytes(value).hex()


def _no_bytes(value: Any) -> str:
    raise DataError(f"{len(value)} bytes are no value of a column that is not bytea", expected="a column of type bytea")


def _json_text(value: Any) -> str:
    try:
        text = _encoder.encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = ""  # keys that JSON has not, or what it has no word for
    try:
        text = text or _encoder.encode(_plain(value)).decode()
        if "null" in text:
            _check_numbers(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise DataError(f"it cannot be written as JSON: {error}") from error
    return text


def _check_numbers(value: Any) -> None:
    """Raises ValueError for one that would be written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number there")
    if isinstance(value, Struct):
        value = msgspec.structs.astuple(value)
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(inner, list | tuple | ValuesView):
        for one in inner:
            _check_numbers(one)


def _plain(value: Any) -> Any:
    """The same value with keys that JSON can have."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _json_text(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    if isinstance(value, Struct):
        fields = msgspec.structs.fields(value)
        return {one.encode_name: _plain(getattr(value, one.name)) for one in fields}
    if value is None or isinstance(value, str | int | float | bytes | datetime.date | datetime.time):
        return value
    return value if type(value).__name__ == "Decimal" else str(value)


def _array_text(value: Sequence[Any], logical: str | None) -> str:
    """An array as PostgreSQL reads it: `{1,NULL,"a b"}`."""
    elements = []
    for element in value:
        if element is None:
            elements.append("NULL")
            continue
        if isinstance(element, list | tuple):
            elements.append(_array_text(element, logical))
            continue
        kind: Kind = "bytes" if isinstance(element, _BYTES) else "plain"
        text = _way_of(type(element), kind, logical)(element)
        if type(element) not in _CLEAN:
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        elements.append(text)
    return "{" + ",".join(elements) + "}"


def _date_beyond(days: int) -> str:
    """A date that Python's cannot hold, by its number."""
    return f"J{_EPOCH_JULIAN + days}"


def _timestamp_beyond(milliseconds: int) -> str:
    days, rest = divmod(milliseconds, _DAY_MS)
    return f"{_date_beyond(days)} {_time_beyond(rest)}+00"


def _time_beyond(milliseconds: int) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:03}"


_BEYOND: dict[str | None, Callable[[int], str]] = {
    "Date": _date_beyond,
    "Timestamp": _timestamp_beyond,
    "Time": _time_beyond,
}
