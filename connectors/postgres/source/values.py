"""PostgreSQL's text becomes values of Connect, a column at a time.

    reading_of("numeric(10,2)").read([b"9.50", None])     [Decimal("9.50"), None], of the schema Decimal with scale 2

Types are those of connectors.postgres.types. Needs a session that writes as SESSION says. What a value of Connect
cannot hold is left as it is where a converter refuses it with its record: the NaN of a numeric, arrays in arrays.

Used by: relations.py, passes.py, polling.py, capturing.py, changes.py, snapshot.py.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from functools import lru_cache, partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connectors.postgres.source.decoding import days, each, floats, integers, moments
from connectors.postgres.types import schema_of_type
from engine.api.column import Column, Utf8Column
from engine.api.java_scalars import nearest_float32
from engine.api.schema import Schema

__all__ = ["SESSION", "Cells", "Reading", "columns_of_block", "columns_of_copy", "reading_of", "unescaped"]

#: How a session is to write values.
SESSION = (
    "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; "
    "SET extra_float_digits = 1"
)
#: Text of the server, one slot a row; None: null.
Cells = Sequence[bytes | None]

UTC = datetime.UTC
NULL = b"\\N"
DAY_MS = 86_400_000
EPOCH = datetime.date(1970, 1, 1).toordinal()
#: The calendar repeats itself after so many years, which have so many days.
CYCLE_YEARS, CYCLE_DAYS = 400, 146_097
#: `infinity` and `-infinity`: days as the largest and smallest, moments as PostgreSQL's JDBC driver has them.
_ENDLESS_DAYS = {b"infinity": 2**31 - 1, b"-infinity": -(2**31)}
_ENDLESS_MS = {b"infinity": 9_223_372_036_825_200_000, b"-infinity": -9_223_372_036_832_400_000}
_MOMENT = re.compile(rb"(\d+)-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,3})\d*)?(?:\+00)?)?( BC)?\Z")
#: As many as a numeric may have.
_ALL_DIGITS = Context(prec=150_000)
#: COPY's text writes these for characters that would end a row or column.
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
#: An element of an array's text: in quotes, or without, or the brackets around elements.
_ELEMENTS = {
    separator: re.compile(rb'"((?:[^"\\]|\\.)*)"|([^{}"' + separator + rb"]+)|([{}])", re.DOTALL)
    for separator in (b",", b";")
}


class Reading(NamedTuple):
    """What a column holds, and how it is read."""

    schema: Schema  # not optional
    read: Callable[[Cells], Column]


@lru_cache(maxsize=1024)
def reading_of(type_name: str, zone: str = "UTC") -> Reading:
    """type_name: as `format_type` writes it, of no domain. zone: of what `timestamp without time zone` means."""
    if type_name.endswith("[]"):
        inner = reading_of(type_name[:-2], zone)
        separator = b";" if type_name == "box[]" else b","
        schema = Schema.array(inner.schema.as_optional())
        return Reading(schema, _each(lambda cell: _elements(cell, inner.read, separator)))
    schema = schema_of_type(type_name)
    if schema.logical is None:
        return Reading(schema, _PLAIN.get(schema.type, _EXACTLY_TEXT))
    if schema.logical == "Decimal":
        return Reading(schema, _each(_decimal if schema.scale >= 0 else _scaled(schema.scale)))
    if schema.logical == "Timestamp" and type_name.startswith("timestamp") and "without" in type_name and zone != "UTC":
        return Reading(schema, _each(lambda cell: _in_zone(_moment(cell), ZoneInfo(zone))))
    return Reading(schema, _OF_TIME[schema.logical])


def unescaped(cells: Cells) -> Cells:
    """What COPY's text means."""
    return [cell if cell is None or b"\\" not in cell else _ESCAPED.sub(_meant, cell) for cell in cells]


def columns_of_copy(rows: Sequence[bytes | memoryview]) -> list[Cells]:
    """The columns of rows as COPY's text has them; at least one row."""
    return columns_of_block(b"".join(rows), len(rows))


def columns_of_block(block: bytes, count: int) -> list[Cells]:
    """The same of so many rows in one text."""
    cells = block.replace(b"\n", b"\t").split(b"\t")  # neither stands in a cell, and there is one more behind the last
    width = (len(cells) - 1) // count
    columns = [cells[at:-1:width] for at in range(width)]
    return [*map(_meaning, columns)] if b"\\" in block else [*columns]


def _meaning(cells: Sequence[bytes]) -> Cells:
    """Cells of COPY's text, with their nulls and without what is escaped."""
    text = b"\t".join(cells)
    marks, nulls = text.count(b"\\"), text.count(NULL)
    found: Cells = [None if cell == NULL else cell for cell in cells] if nulls else cells
    return unescaped(found) if marks > nulls else found  # a text that reads as a null has two of them


def _meant(found: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(found[1], found[1])


def _each(change: Callable[[bytes], Any]) -> Callable[[Cells], Column]:
    """Reads cell by cell."""
    return partial(each, change)


def _decimal(cell: bytes) -> Decimal:
    return Decimal(cell.decode())


def _scaled(scale: int) -> Callable[[bytes], Decimal]:
    """Zeros before the point are none of the number's digits."""
    unit = Decimal(1).scaleb(-scale)

    def change(cell: bytes) -> Decimal:
        number = _decimal(cell)
        return number.quantize(unit, context=_ALL_DIGITS) if number.is_finite() else number

    return change


def _bytes(cell: bytes) -> bytes:
    return bytes.fromhex(cell[2:].decode())


def _truths(cells: Cells) -> Column:
    return [None if cell is None else cell == b"t" for cell in cells]


def _float32(cell: bytes) -> float:
    text = cell.decode()
    return nearest_float32(Decimal(text)) if text[-1].isdigit() else float(text)


def _day(cell: bytes) -> datetime.date | int:
    try:
        return datetime.date.fromisoformat(cell.decode())
    except ValueError:
        return _ENDLESS_DAYS[cell] if cell in _ENDLESS_DAYS else _beyond_ms(cell) // DAY_MS


def _clock(cell: bytes) -> datetime.time | int:
    text = cell[:12].decode()
    return DAY_MS if text.startswith("24") else datetime.time.fromisoformat(text)


def _moment(cell: bytes) -> datetime.datetime | int:
    """In whole milliseconds, the rest cut off."""
    if cell[-1:] != b"C":  # before Christ
        try:
            return datetime.datetime.fromisoformat((cell.removesuffix(b"+00")[:23] + b"+00").decode())
        except ValueError:
            pass
    return _ENDLESS_MS[cell] if cell in _ENDLESS_MS else _beyond_ms(cell)


def _beyond_ms(cell: bytes) -> int:
    """Of days and moments outside of the years 1 to 9999."""
    found = _MOMENT.match(cell)
    if found is None:
        raise ValueError(f"{cell.decode(errors='replace')} is no date as PostgreSQL writes it")
    year = 1 - int(found[1]) if found[8] else int(found[1])
    within = 2000 + year % CYCLE_YEARS
    cycles = (year - within) // CYCLE_YEARS
    days = datetime.date(within, int(found[2]), int(found[3])).toordinal() + cycles * CYCLE_DAYS - EPOCH
    hours, minutes, seconds = (int(found[at] or 0) for at in (4, 5, 6))
    return days * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1000 + int((found[7] or b"0").ljust(3, b"0"))


def _in_zone(moment: datetime.datetime | int, zone: ZoneInfo) -> datetime.datetime | int:
    if isinstance(moment, int):
        return moment
    try:
        return moment.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return moment


def _elements(cell: bytes, read: Callable[[Cells], Column], separator: bytes) -> Any:
    """The elements of an array; lists of them where it has several dimensions."""
    around: list[list[Any]] = []
    for found in _ELEMENTS[separator].finditer(cell, cell.index(b"{")):  # before it stand bounds, if they are odd ones
        quoted, bare, bracket = found.groups()
        if bracket == b"{":
            around.append([])
        elif bracket is None:
            around[-1].append(_ESCAPED.sub(rb"\1", quoted) if bare is None else None if bare == b"NULL" else bare)
        else:
            inner = around.pop()
            values = inner if inner and isinstance(inner[0], list) else list(read(inner))
            if not around:
                return values
            around[-1].append(values)
    raise ValueError("an array's text has no end")


_OF_TIME: dict[str, Callable[[Cells], Column]] = {
    "Date": partial(days, change=_day),
    "Time": _each(_clock),
    "Timestamp": partial(moments, change=_moment),
}
_PLAIN: dict[str, Callable[[Cells], Column]] = {
    **{f"INT{bits}": partial(integers, bits=bits) for bits in (16, 32, 64)},
    "FLOAT32": _each(_float32),
    "FLOAT64": floats,
    "BOOLEAN": _truths,
    "BYTES": _each(_bytes),
}
_EXACTLY_TEXT: Callable[[Cells], Column] = Utf8Column
