"""Types of CQL: a value of Python to the bytes that Cassandra stores.

    codec_of("list<frozen<address>>", {...}).encode([...])  ──►  bytes

Each codec has a quick `encode`, which takes the value that a column of such a type usually gets, and a `convert`,
which makes one of what means the same: text of a number, a whole number that came as a float, a moment as text. A
column is encoded by the first; what it does not take goes through the second, slot by slot.

Used by: plans.py, tables.py, times.py.
Source: the encodings of CQL's native protocol (versions 3 to 5), section 6 of its specification.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import re
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from connectors.cassandra.columns import Odd
from engine.api.schema import schema_of

__all__ = [
    "ENCODING_ERRORS",
    "Codec",
    "MisfitError",
    "UnsupportedTypeError",
    "UserType",
    "codec_of",
    "encode_one",
    "whole_number",
]

#: What an encoding may fail with; each says that the value is no value of the type.
ENCODING_ERRORS = (ValueError, TypeError, OverflowError, AttributeError, InvalidOperation, struct.error)

_WORDS = re.compile(r'\s*("(?:[^"]|"")*"|\'[^\']*\'|\w+|[<>,])')
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_DAY_ZERO = 2**31  # a date is the days since the epoch, and so much, without a sign
_DECIMAL_DIGITS_MAX = 10_000  # an exponent of text can be larger than memory

_int8, _int16, _int32, _int64 = (struct.Struct(f">{letter}").pack for letter in "bhiq")
_uint32, _float32, _float64 = (struct.Struct(f">{letter}").pack for letter in "Ifd")


class UnsupportedTypeError(ValueError):
    """A column of this type cannot be written; says why."""


class MisfitError(ValueError):
    """A value is none of a type; says why, and nothing of the value itself."""


class UserType(NamedTuple):
    """A user-defined type: its fields and their types as CQL has them."""

    names: tuple[str, ...]
    types: tuple[str, ...]


class Codec(Struct, frozen=True):
    """How a type of CQL is written."""

    cql: str
    expected: str
    encode: Callable[[Any], bytes]
    convert: Callable[[Any], Any] = lambda value: value
    size: int | None = None  # of all its values, in a vector


def encode_one(codec: Codec, value: Any) -> bytes:
    """A value that is not None, whatever way leads to the type. Raises one of ENCODING_ERRORS."""
    if isinstance(value, Odd):
        raise MisfitError(value.reason)
    try:
        return codec.encode(value)
    except ENCODING_ERRORS:
        return codec.encode(codec.convert(value))


def codec_of(cql: str, user_types: Mapping[str, UserType]) -> Codec:
    """The codec of a type as `system_schema` writes it. Raises UnsupportedTypeError."""
    words = iter([*_WORDS.findall(cql), ""])
    return _Parsing(words, user_types).type()


def whole_number(value: Any) -> int:
    """A whole number, of text perhaps. Raises one of ENCODING_ERRORS."""
    if isinstance(value, Odd):
        raise MisfitError(value.reason)
    if isinstance(value, bool):
        raise TypeError(value)
    return value if isinstance(value, int) else _as_int(value)


class _Parsing:
    def __init__(self, words: Iterator[str], user_types: Mapping[str, UserType]) -> None:
        self._words = words
        self._user_types = user_types
        self._next = next(words)

    def type(self) -> Codec:
        name = self._take()
        if self._next != "<":
            return self._simple(name)
        self._take()
        if name == "vector":
            return self._vector()
        inner = [self.type()]
        while self._take() == ",":
            inner.append(self.type())
        if name == "frozen":
            return inner[0]
        shown = f"{name}<{', '.join(codec.cql for codec in inner)}>"
        if name in ("list", "set"):
            encode = partial(_encode_list if name == "list" else _encode_set, inner[0])
            return Codec(shown, f"a list of {inner[0].expected}", encode, _as_list)
        if name == "map":
            encode = partial(_encode_map, inner[0], inner[1])
            return Codec(shown, f"a map from {inner[0].expected} to {inner[1].expected}", encode)
        if name == "tuple":
            return Codec(shown, f"a list of {len(inner)} elements", partial(_encode_tuple, tuple(inner)))
        raise UnsupportedTypeError(f"its type {shown} is not known here")

    def _take(self) -> str:
        word, self._next = self._next, next(self._words, "")
        return word

    def _vector(self) -> Codec:
        element = self.type()
        self._take()
        count = int(self._take())
        self._take()
        if element.size is None:
            raise UnsupportedTypeError(f"vectors of {element.cql} are not written; expected float, int or the like")
        encode = partial(_encode_vector, element, count)
        shown = f"vector<{element.cql}, {count}>"
        return Codec(shown, f"a list of {count} times {element.expected}", encode, size=element.size * count)

    def _simple(self, name: str) -> Codec:
        found = _SIMPLE.get(name)
        if found is not None:
            return found
        if name in _UNSUPPORTED:
            raise UnsupportedTypeError(_UNSUPPORTED[name])
        plain = name[1:-1].replace('""', '"') if name.startswith('"') else name
        user_type = self._user_types.get(plain)
        if user_type is None:
            raise UnsupportedTypeError(f"its type {name} is not known here")
        fields = [(field, codec_of(cql, self._user_types)) for field, cql in zip(*user_type, strict=True)]
        encode = partial(_encode_user_type, name, fields)
        return Codec(name, f"a struct or map with fields of {', '.join(user_type.names)}", encode)


_UNSUPPORTED = {
    "counter": "it is a counter, which adds: a record that comes twice would count twice; count where each record is "
    "seen once, or keep a row for each record and count those",
    "duration": "durations are not written; write months, days and nanoseconds into columns of their own",
}


def _encode_varint(number: int) -> bytes:
    if not isinstance(number, int):
        raise TypeError(number)
    # The shortest that holds it, as Java writes it: keys are hashed by their bytes.
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)


def _encode_decimal(number: Decimal) -> bytes:
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise MisfitError("it is no number")
    unscaled = int("".join(map(str, digits)))
    return _int32(-exponent) + _encode_varint(-unscaled if sign else unscaled)


def _encode_blob(value: Any) -> bytes:
    return bytes(memoryview(value))


def _encode_boolean(value: bool) -> bytes:
    if value is True:
        return b"\1"
    if value is False:
        return b"\0"
    raise TypeError(value)


def _encode_timestamp(moment: datetime.datetime) -> bytes:
    return _int64((moment - _EPOCH) // _MILLISECOND)


def _encode_date(day: datetime.date) -> bytes:
    return _uint32(day.toordinal() - _EPOCH_ORDINAL + _DAY_ZERO)


def _encode_time(time: datetime.time) -> bytes:
    return _int64(((time.hour * 60 + time.minute) * 60 + time.second) * 10**9 + time.microsecond * 1000)


def _encode_uuid(value: uuid.UUID) -> bytes:
    return value.bytes


def _encode_timeuuid(value: uuid.UUID) -> bytes:
    if value.version != 1:
        raise MisfitError("it is a UUID of another version")
    return value.bytes


def _encode_inet(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed


def _ascii(text: str) -> bytes:
    return text.encode("ascii")


def _sized(encoded: bytes) -> bytes:
    return _int32(len(encoded)) + encoded


def _element(codec: Codec, value: Any) -> bytes:
    if value is None:
        raise MisfitError("null is no element")
    return encode_one(codec, value)


def _as_list(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    raise TypeError(value)


def _encode_list(element: Codec, values: list[Any]) -> bytes:
    if not isinstance(values, list | tuple):
        raise TypeError(values)
    return _int32(len(values)) + b"".join([_sized(_element(element, value)) for value in values])


def _encode_set(element: Codec, values: list[Any]) -> bytes:
    if not isinstance(values, list | tuple):
        raise TypeError(values)
    encoded = sorted({_element(element, value) for value in values})
    return _int32(len(encoded)) + b"".join(map(_sized, encoded))


def _encode_map(key: Codec, element: Codec, values: Mapping[Any, Any]) -> bytes:
    pairs = [_sized(_element(key, _spelled(name))) + _sized(_element(element, value)) for name, value in values.items()]
    return _int32(len(pairs)) + b"".join(pairs)


def _spelled(name: Any) -> Any:
    return list(name) if isinstance(name, tuple) else name  # a list that is a key


def _encode_tuple(elements: tuple[Codec, ...], values: Any) -> bytes:
    if not isinstance(values, list | tuple) or len(values) != len(elements):
        raise TypeError(values)
    return b"".join(
        _NULL if value is None else _sized(encode_one(element, value))
        for element, value in zip(elements, values, strict=True)
    )


def _encode_vector(element: Codec, count: int, values: Any) -> bytes:
    if not isinstance(values, list | tuple) or len(values) != count:
        raise TypeError(values)
    return b"".join(_element(element, value) for value in values)


def _encode_user_type(name: str, fields: list[tuple[str, Codec]], value: Any) -> bytes:
    if isinstance(value, Mapping):
        members = value
    else:
        schema = schema_of(value)
        if schema is None:
            raise TypeError(value)
        members = {field.name: schema.get(value, field.name) for field in schema.fields}
    unknown = [member for member in members if member not in {field for field, _ in fields}]
    if unknown:
        raise MisfitError(f"type {name} has no field {unknown[0]}")
    parts = []
    for field, codec in fields:
        member = members.get(field)
        try:
            parts.append(_NULL if member is None else _sized(encode_one(codec, member)))
        except ENCODING_ERRORS as error:
            raise MisfitError(f"in its field {field} is no value of {codec.cql}") from error
    return b"".join(parts)


_NULL = _int32(-1)


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return int(value.strip())
    number = int(value)
    if number != value:
        raise MisfitError("it is not whole")
    return number


def _as_decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError(value)
    number = Decimal(repr(float(value)) if isinstance(value, float) else value)
    if abs(number.adjusted()) > _DECIMAL_DIGITS_MAX:
        raise MisfitError("it has too many digits")
    return number


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(value)


def _as_boolean(value: Any) -> bool:
    found = {"true": True, "false": False}.get(value.strip().lower())
    if found is None:
        raise TypeError(value)
    return found


def _as_blob(value: Any) -> bytes:
    return base64.b64decode(value, validate=True)


def _as_moment(value: Any) -> datetime.datetime:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.strip())
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    raise TypeError(value)


def _encode_any_timestamp(value: Any) -> bytes:
    """Milliseconds or a moment."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _int64(value)
    return _encode_timestamp(value)


def _encode_any_date(value: Any) -> bytes:
    """Days since the epoch or a date."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _uint32(value + _DAY_ZERO)
    return _encode_date(value)


def _as_date(value: Any) -> datetime.date:
    return datetime.date.fromisoformat(value.strip())


def _as_time(value: Any) -> datetime.time:
    return datetime.time.fromisoformat(value.strip())


def _as_uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(value)


def _as_inet(value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(value)
    return ipaddress.ip_address(value.strip())


def _whole(bits: int) -> str:
    return f"a whole number from {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"


_UUID = "a UUID as text"
_SIMPLE: Mapping[str, Codec] = {
    codec.cql: codec
    for codec in (
        Codec("tinyint", _whole(8), _int8, _as_int, 1),
        Codec("smallint", _whole(16), _int16, _as_int, 2),
        Codec("int", _whole(32), _int32, _as_int, 4),
        Codec("bigint", _whole(64), _int64, _as_int, 8),
        Codec("varint", "a whole number", _encode_varint, _as_int),
        Codec("float", "a number", _float32, float, 4),
        Codec("double", "a number", _float64, float, 8),
        Codec("decimal", "a number", _encode_decimal, _as_decimal),
        Codec("boolean", "true or false", _encode_boolean, _as_boolean, 1),
        Codec("text", "text", str.encode, _as_text),
        Codec("varchar", "text", str.encode, _as_text),
        Codec("ascii", "text of ASCII characters", _ascii, _as_text),
        Codec("blob", "bytes, or text in Base64", _encode_blob, _as_blob),
        Codec("timestamp", "a timestamp, milliseconds or text in ISO 8601", _encode_any_timestamp, _as_moment, 8),
        Codec("date", "a date, days since 1970-01-01 or text in ISO 8601", _encode_any_date, _as_date),
        Codec("time", "a time of the day, or its text in ISO 8601", _encode_time, _as_time),
        Codec("uuid", _UUID, _encode_uuid, _as_uuid, 16),
        Codec("timeuuid", f"{_UUID}, of version 1", _encode_timeuuid, _as_uuid, 16),
        Codec("inet", "an address as text", _encode_inet, _as_inet),
    )
}
