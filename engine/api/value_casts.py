"""One value as another type, as Kafka Connect's `Values.convertTo...` casts.

    as_int8(300)          ──►  44              as_list("[1, 2]")      ──►  [1, 2]
    as_int64("1.9")       ──►  1               as_date("2024-01-31")  ──►  date(2024, 1, 31)
    as_boolean("true")    ──►  True            as_timestamp(0)        ──►  datetime(1970, 1, 1)

Whole numbers lose what does not fit, as Java's casts do; text is read as a number, and for the other types as
`parse` reads it. None stays None where the result is a number or boolean; for lists, dates and the like it is an error.

Every function takes the value and the schema it came with; None if it had none. The schema tells what a date stands
for, and the width of a number in messages. All raise DataError.

Source: the behaviour of Kafka Connect's Values (its reference, section 6.9).
Not here: values to text (value_text.py), text to values (values.py).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine.api.errors import DataError, SchemaBuilderError
from engine.api.java_dates import Moment, carried
from engine.api.java_scalars import double_text, epoch_ms, round_to_float32
from engine.api.java_text import text
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIME,
    TIMESTAMP,
    Float32,
    Schema,
    schema_of,
)
from engine.api.validation import DAY_MS, is_beyond_python, java_class
from engine.api.values import parse

__all__ = [
    "as_boolean",
    "as_date",
    "as_decimal",
    "as_float32",
    "as_float64",
    "as_int8",
    "as_int16",
    "as_int32",
    "as_int64",
    "as_list",
    "as_map",
    "as_struct",
    "as_time",
    "as_timestamp",
    "infer_schema",
]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,10})?\Z")
_INT64_MAX = 2**63 - 1
_BLANKS = "".join(map(chr, range(0x21)))  # what Java trims
_TEMPORALS = ("Date", "Time", "Timestamp")
_NULL = "Unable to convert a null value to a schema that requires a value"


def as_boolean(value: Any, schema: Schema | None = None) -> bool | None:
    """True of each number but 0, and of the text `true`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip(_BLANKS) in ("true", "false"):
        return value.strip(_BLANKS) == "true"
    return _long(value, schema) != 0


def as_int8(value: Any, schema: Schema | None = None) -> int | None:
    """The lowest 8 bits of the whole number."""
    return _whole(value, schema, 8)


def as_int16(value: Any, schema: Schema | None = None) -> int | None:
    """The lowest 16 bits of the whole number."""
    return _whole(value, schema, 16)


def as_int32(value: Any, schema: Schema | None = None) -> int | None:
    """The lowest 32 bits of the whole number."""
    return _whole(value, schema, 32)


def as_int64(value: Any, schema: Schema | None = None) -> int | None:
    """The lowest 64 bits of the whole number."""
    return _whole(value, schema, 64)


def as_float32(value: Any, schema: Schema | None = None) -> float | None:
    """The nearest 32-bit float."""
    return None if value is None else round_to_float32(_double(value, schema))


def as_float64(value: Any, schema: Schema | None = None) -> float | None:
    """The nearest 64-bit float."""
    return None if value is None else _double(value, schema)


def as_list(value: Any, schema: Schema | None = None) -> list[Any]:
    """A list, or the one that a text reads as."""
    found, found_schema = _parsed(value, schema)
    if isinstance(found, list | tuple):
        return [*found] if isinstance(found, tuple) else found
    raise _refused(found, found_schema, "Schema{ARRAY}")


def as_map(value: Any, schema: Schema | None = None) -> dict[Any, Any]:
    """A map, or the one that a text reads as."""
    found, found_schema = _parsed(value, schema)
    if isinstance(found, dict):
        return found
    raise _refused(found, found_schema, "Schema{MAP}")


def as_struct(value: Any, schema: Schema | None = None) -> Struct:
    """A struct; nothing else becomes one."""
    if value is None:
        raise DataError(_NULL)
    if schema_of(value) is not None:
        return value  # type: ignore[no-any-return]  # what has a schema of its own is a struct
    raise _refused(value, schema, "Schema{STRUCT}")


def as_date(value: Any, schema: Schema | None = None) -> datetime.date | int:
    """The day of a timestamp or number of days; a moment without a schema, or in a text, is not cut to its day."""
    found, own = _parsed(value, schema)
    if _is_moment(found, own):
        milliseconds = _milliseconds(found, own)
        logical = schema and schema.logical
        if logical == "Timestamp":
            # Java divides towards zero: the day before the epoch becomes the epoch's.
            days = milliseconds // DAY_MS if milliseconds >= 0 else -(-milliseconds // DAY_MS)
            return _date(days * DAY_MS)
        if logical == "Date" or _tells_all(value, schema):
            return _date(milliseconds)
    return _date(_cut(_long(found, schema), 32) * DAY_MS)


def as_time(value: Any, schema: Schema | None = None) -> datetime.time | int:
    """The time of day of a timestamp, or of a number of milliseconds; others as in `as_date`."""
    found, own = _parsed(value, schema)
    if _is_moment(found, own):
        milliseconds = _milliseconds(found, own)
        logical = schema and schema.logical
        if logical == "Timestamp":
            return _time(milliseconds % DAY_MS)
        if logical == "Time" or _tells_all(value, schema):
            return _time(milliseconds)
    milliseconds = _cut(_long(found, schema), 32)
    if not 0 <= milliseconds <= DAY_MS:
        raise DataError("Time values must use number of milliseconds greater than 0 and less than 86400000")
    return _time(milliseconds)


def as_timestamp(value: Any, schema: Schema | None = None) -> datetime.datetime | int:
    """A moment, or the one that a number of milliseconds is; of a date its beginning."""
    found, own = _parsed(value, schema)
    if _is_moment(found, own) and (_tells_all(value, schema) or (schema and schema.logical in _TEMPORALS)):
        return _timestamp(_milliseconds(found, own))
    return _timestamp(_long(found, schema))


def as_decimal(value: Any, schema: Schema | None = None, *, scale: int = 0) -> Decimal:
    """A decimal as it is, a number by its digits as Java prints them, a text by its own; `scale` is for bytes only."""
    if value is None:
        raise DataError(_NULL)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return _decimal_of_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        if not len(value):
            raise DataError("Zero length bytes are no decimal")
        return Decimal(f"{int.from_bytes(value, 'big', signed=True)}E{-scale}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _is_moment(value, schema):
        return _decimal_of_text(double_text(float(value)))
    raise _refused(value, schema, "Schema{org.apache.kafka.connect.data.Decimal:BYTES}")


def infer_schema(value: Any) -> Schema | None:
    """The schema of a value without one; None where there is none, as of an empty list or one of several types.

    An int is INT64, as JSON without schemas reads it. Raises SchemaBuilderError for a list or map of nothing but nulls.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple):
        elements = _common(value)
        return None if elements is None else Schema.array(elements)
    if isinstance(value, dict):
        keys, values = _common([*value]), _common([*value.values()])
        return None if keys is None or values is None else Schema.map(keys, values)
    own = schema_of(value)
    if own is not None:
        return own
    for kind, schema in (
        (bool, BOOLEAN),
        (str, STRING),
        (int, INT64),
        (Float32, FLOAT32),
        (float, FLOAT64),
        (bytes | bytearray | memoryview, BYTES),
    ):
        if isinstance(value, kind):
            return schema
    return None


def _common(elements: Sequence[Any]) -> Schema | None:
    """The bare type that all elements have, optional if one is null."""
    found: set[Schema | None] = {infer_schema(element) for element in elements if element is not None}
    if elements and not found:
        raise SchemaBuilderError("type cannot be null")
    if len(found) != 1:
        return None
    (schema,) = found
    has_null = any(element is None for element in elements)
    return schema.replaced(optional=True) if schema is not None and has_null else schema


def _whole(value: Any, schema: Schema | None, bits: int) -> int | None:
    return None if value is None else _cut(_long(value, schema), bits)


def _cut(number: int, bits: int) -> int:
    """The lowest `bits`, in two's complement."""
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half


def _long(value: Any, schema: Schema | None) -> int:
    """A 64-bit number: Java's `Number.longValue`, of a date what encodes it."""
    if _is_moment(value, schema):
        if schema is not None and schema.logical in _TEMPORALS:
            milliseconds = _milliseconds(value, schema)
            return milliseconds // DAY_MS if schema.logical == "Date" else milliseconds
    elif isinstance(value, float):
        if math.isnan(value):
            return 0
        return int(value) if abs(value) < 2**63 else _INT64_MAX if value > 0 else -_INT64_MAX - 1
    elif isinstance(value, int) and not isinstance(value, bool):
        return _cut(value, 64)
    elif isinstance(value, Decimal) and value.is_finite():
        return _long_of_decimal(value)
    elif isinstance(value, str) and _NUMBER.match(value):
        return _long_of_decimal(_decimal_of_text(value))
    raise _refused(value, schema, "a number" if schema is None else _shown(schema))


def _long_of_decimal(number: Decimal) -> int:
    if number.adjusted() < 0 or number.adjusted() > 400:
        return 0  # a fraction; or so many zeros at the end that none of its lowest 64 bits is set
    return _cut(int(number), 64)


def _double(value: Any, schema: Schema | None) -> float:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and not _is_moment(value, schema):
        return _float(value)
    if isinstance(value, str) and _NUMBER.match(value):
        return float(value)
    return float(_long(value, schema))


def _float(number: float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:  # an int with more than 308 digits
        return math.inf if number > 0 else -math.inf


def _decimal_of_text(digits: str) -> Decimal:
    if not _NUMBER.match(digits):
        raise DataError(f"Unable to convert {digits} (class java.lang.String) to a decimal")
    return Decimal(digits)


def _parsed(value: Any, schema: Schema | None) -> tuple[Any, Schema | None]:
    """A value, or what a text reads as."""
    if value is None:
        raise DataError(_NULL)
    if not isinstance(value, str):
        return value, schema
    try:
        found = parse(value)
    except RecursionError as error:
        raise DataError(str(error)) from error
    if found[0] is None:
        raise DataError(_NULL)
    return found


def _is_moment(value: Any, schema: Schema | None) -> bool:
    """Whether Java would have a `java.util.Date` here."""
    if isinstance(value, datetime.date | datetime.time):
        return True
    return schema is not None and schema.logical is not None and is_beyond_python(schema.logical, value)


def _milliseconds(moment: Any, schema: Schema | None) -> int:
    """What a `java.util.Date` would hold."""
    is_days = isinstance(moment, int) and schema is not None and schema.logical == "Date"
    return moment * DAY_MS if is_days else epoch_ms(moment)


def _tells_all(value: Any, schema: Schema | None) -> bool:
    """Whether a moment is taken as it is, because there is no schema that says what it stands for."""
    return schema is None or isinstance(value, str)


def _date(milliseconds: int) -> datetime.date | int:
    return carried(Moment(milliseconds), DATE)  # type: ignore[return-value]  # what it is, the schema says


def _time(milliseconds: int) -> datetime.time | int:
    return carried(Moment(milliseconds), TIME)  # type: ignore[return-value]  # as above


def _timestamp(milliseconds: int) -> datetime.datetime | int:
    return carried(Moment(milliseconds), TIMESTAMP)  # type: ignore[return-value]  # as above


def _shown(schema: Schema) -> str:
    return f"Schema{{{schema.name}:{schema.type}}}" if schema.name else f"Schema{{{schema.type}}}"


def _refused(value: Any, schema: Schema | None, target: str) -> DataError:
    return DataError(f"Unable to convert {text(value, schema)} (class {java_class(value, schema)}) to {target}")
