"""One value as another type, as Kafka Connect's Cast makes it.

    300.7 as int8  ──►  44          1e30 as int32  ──►  2147483647          "TRUE" as boolean  ──►  True

Whole numbers lose what does not fit, as Java's casts do. Text must be a number of that very type.

Used by: engine.transforms.cast.
Not here: Values, which casts otherwise (engine.api.value_casts).
"""

from __future__ import annotations

import base64
import datetime
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from engine.api.errors import DataError
from engine.api.java_dates import iso_text
from engine.api.java_scalars import double_text, epoch_days, epoch_ms, float_text, nearest_float32, round_to_float32
from engine.api.schema import Float32, Schema, schema_of
from engine.api.structs import INT_RANGES
from engine.api.validation import DAY_MS
from engine.transforms.requirements import class_of

__all__ = ["INPUTS", "OUTPUTS", "Caster", "caster"]

Caster = Callable[[Any], Any]

OUTPUTS = ("INT8", "INT16", "INT32", "INT64", "FLOAT32", "FLOAT64", "BOOLEAN", "STRING")
INPUTS = (*OUTPUTS, "BYTES")
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
#: What Java reads as a float; around it blanks are taken off, and a letter may say which kind it is.
_FLOAT = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<word>NaN|Infinity)|(?P<digits>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFdD]?"
    r"|0[xX](?P<hex>(?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+)[fFdD]?)\Z"
)
_BLANKS = "".join(map(chr, range(0x21)))  # what Java trims
_LONG_BITS = 64


def caster(schema: Schema | None, target: str) -> Caster:
    """Casts values that came with a schema, or without one, to a type of OUTPUTS; never called for a null.

    What it returns raises DataError for a value that cannot be cast; under a schema of another type it is every one.
    """
    if schema is None:
        return _schemaless(target)
    if schema.type not in INPUTS:
        error = _unsupported(schema.type)

        def refuse(value: Any) -> Any:
            raise DataError(error)

        return refuse
    if target == "STRING":
        return _printer(schema)
    cast = _CASTERS[target]
    if schema.logical in _INTERNAL:
        internal = _INTERNAL[schema.logical]
        return lambda value: cast(internal(value))
    return _quick(schema, target) or cast


def _schemaless(target: str) -> Caster:
    cast = _schemaless_text if target == "STRING" else _CASTERS[target]
    is_narrow = target == "FLOAT32"

    low, high = INT_RANGES["INT64"]

    def cast_any(value: Any) -> Any:
        if value.__class__ is not int or not low <= value <= high:
            found = _TYPES.get(value.__class__)
            if found is None:
                found = _type_of(value)
            if found is not _CASTABLE:
                raise DataError(_unsupported(found))
        return Float32(cast(value)) if is_narrow else cast(value)

    return cast_any


_CASTABLE = ""
#: Classes of values without a schema: castable, or the type of Kafka Connect that is not.
_TYPES: Mapping[type, str] = {
    **dict.fromkeys((bool, float, Float32, str, bytes, bytearray, memoryview), _CASTABLE),
    dict: "MAP",
    list: "ARRAY",
    tuple: "ARRAY",
}


def _type_of(value: Any) -> str:
    if isinstance(value, int) and INT_RANGES["INT64"][0] <= value <= INT_RANGES["INT64"][1]:
        return _CASTABLE
    for known, found in _TYPES.items():
        if isinstance(value, known):
            return found
    if schema_of(value) is not None:
        return "STRUCT"
    raise DataError(
        f"Cast transformation was passed a value of type class {class_of(value)} which is not supported by Connect's "
        "data API"
    )


def _unsupported(kind: str) -> str:
    return f"Cast transformation does not support casting from {kind}; supported types are [{', '.join(INPUTS)}]"


def _quick(schema: Schema, target: str) -> Caster | None:
    """A cast between types that are known, where one step does it."""
    if schema.logical or schema.type == "BYTES":
        return None
    if schema.type in INT_RANGES and target in INT_RANGES:
        low, high = INT_RANGES[target]
        if low <= INT_RANGES[schema.type][0]:
            return lambda value: value
        span = high - low + 1
        return lambda value: (value - low) % span + low
    if schema.type in INT_RANGES and target == "FLOAT64":
        return float
    return None


def _whole(bits: int) -> Caster:
    """Casts to whole numbers of so many bits; floats by way of an int or a long, as in Java."""
    low: int = -(1 << (bits - 1))
    span = 1 << bits
    least, most = INT_RANGES["INT64" if bits == _LONG_BITS else "INT32"]

    def cast(value: Any) -> int:
        if isinstance(value, int):  # a boolean is one
            return (value - low) % span + low
        if isinstance(value, float):
            if not math.isfinite(value):
                value = 0 if math.isnan(value) else least if value < 0 else most
            whole: int = min(max(int(value), least), most)
            return (whole - low) % span + low
        if isinstance(value, Decimal):
            return (_whole_decimal(value) - low) % span + low
        if isinstance(value, str):
            number = int(value) if _INTEGER.match(value) else None
            if number is None or not low <= number < low + span:
                raise _out_of_range(value)
            return number
        raise _unexpected(value)

    return cast


def _whole_decimal(value: Decimal) -> int:
    """Its lowest 64 bits at least, and not all the zeros of 1E+1000000."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return 0 if exponent >= _LONG_BITS or value.adjusted() < 0 else int(value)


def _as_float64(value: Any) -> float:
    if isinstance(value, str):
        return float(_number(value))
    if isinstance(value, int | float | Decimal):
        return float(value)
    raise _unexpected(value)


def _as_float32(value: Any) -> float:
    if isinstance(value, str):
        number = _number(value)
        return round_to_float32(number) if isinstance(number, float) else nearest_float32(number)
    if isinstance(value, float | bool):
        return round_to_float32(value)
    if isinstance(value, int | Decimal):
        return nearest_float32(Decimal(value))
    raise _unexpected(value)


def _number(text: str) -> Decimal | float:
    """What Java reads as a float: a decimal, or what no decimal is, as a minus zero."""
    found = _FLOAT.match(text.strip(_BLANKS))
    if found is None:
        raise _out_of_range(text)
    sign = found["sign"]
    if found["word"]:
        return float(sign + found["word"])
    if found["hex"]:
        return float.fromhex(f"{sign}0x{found['hex']}")
    number = Decimal(sign + found["digits"])
    return number or float(sign + "0")


def _as_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.lower() == "true"
    return bool(_CASTERS["INT64"](value))


_CASTERS: Mapping[str, Caster] = {
    **{f"INT{bits}": _whole(bits) for bits in (8, 16, 32, 64)},
    "FLOAT32": _as_float32,
    "FLOAT64": _as_float64,
    "BOOLEAN": _as_boolean,
}


def _printer(schema: Schema) -> Caster:
    if schema.logical in _INTERNAL:
        is_date = schema.logical == "Date"
        return lambda value: iso_text(value * DAY_MS if is_date and isinstance(value, int) else epoch_ms(value))
    if schema.type == "FLOAT32":
        return float_text
    if schema.type in INT_RANGES:
        return str
    return _schemaless_text


def _schemaless_text(value: Any) -> str:
    if value.__class__ is int:
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value) if isinstance(value, Float32) else double_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return str(value)


def _days(value: datetime.date | int) -> int:
    if isinstance(value, datetime.datetime):
        milliseconds = epoch_ms(value)
        if milliseconds % DAY_MS:
            raise DataError("Kafka Connect Date type should not have any time fields set to non-zero values.")
        return milliseconds // DAY_MS
    return epoch_days(value)


def _time(value: datetime.time | int) -> int:
    milliseconds = epoch_ms(value)
    if not 0 <= milliseconds <= DAY_MS:
        raise DataError("Kafka Connect Time type should not have any date fields set to non-zero values.")
    return milliseconds


#: The whole number that a temporal value is to Kafka Connect.
_INTERNAL: Mapping[str | None, Caster] = {"Date": _days, "Time": _time, "Timestamp": epoch_ms}


def _unexpected(value: Any) -> DataError:
    return DataError(f"Unexpected type in Cast transformation: class {class_of(value)}")


def _out_of_range(text: str) -> DataError:
    return DataError(f"Value ({text}) was out of range for requested data type")
