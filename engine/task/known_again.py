"""How a record of a source is known again in the next life: two numbers, the same for what is the same.

    place     source partition and offset
    content   topic, key, value and headers

Not the timestamp, which may be that of the poll, nor the times at which an envelope of Debezium says that it was read.
A value may be anything that a converter takes, a connector's own objects among it: of these counts what they hold. One
that tells nothing has the number of its class; `can_be_told` says so.

Used by: engine.task.source_suspects.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from engine.api.batch import SourceBatch
from engine.api.column import StructColumn
from engine.task.dealing import Polled

__all__ = ["can_be_told", "content_number", "name_of", "place_number", "place_of"]

#: When a change was read, which an envelope of Debezium tells, is another time in each life.
_CLOCKS = frozenset(("ts_ms", "ts_us", "ts_ns"))
_IN_ENVELOPES = frozenset(("op", "ts_ms", "source"))
#: What a `repr` tells whole; that of others may leave out what matters, or say where they lie in memory.
_TOLD_BY_REPR = (NoneType, bool, int, float, complex, range, Decimal, Fraction, date, time, timedelta, UUID)
#: So many of the things that an object holds, directly or not, are looked at: they may hold each other.
_PARTS_MAX = 10_000


class _UntoldError(ValueError):
    """Nothing can be said of an object."""


def place_of(polled: Polled, index: int) -> tuple[Any, Any]:
    """Source partition and offset of one of them."""
    if isinstance(polled, SourceBatch):
        return polled.source_partition, polled.source_offsets[index] if polled.source_offsets else None
    return polled[index].source_partition, polled[index].source_offset


def place_number(polled: Polled, index: int) -> int:
    """A number for source partition and offset."""
    partition, offset = place_of(polled, index)
    return _number(partition) << 31 ^ _number(offset)


def content_number(polled: Polled, index: int) -> int:
    """A number for topic, key, value and headers."""
    topic, key, value, headers = _content(polled, index)
    return (zlib.crc32(topic.encode()) ^ _number(key)) << 31 ^ _number(value) ^ (_number(headers) if headers else 0)


def name_of(polled: Polled, index: int) -> int:
    """One number for all of it; never 0."""
    place, content = place_number(polled, index), content_number(polled, index)
    return content ^ zlib.crc32(b"%d %d" % (place, content)) or 1


def can_be_told(polled: Polled, index: int) -> bool:
    """Whether its number is that of its content, and not of a class."""
    try:
        for part in (*place_of(polled, index), *_content(polled, index)[1:]):
            _bytes_of(part)
    except Exception:  # noqa: BLE001  whatever a connector's own objects raise
        return False
    return True


def _content(polled: Polled, index: int) -> tuple[str, Any, Any, Any]:
    if not isinstance(polled, SourceBatch):
        record = polled[index]
        return record.topic, record.key, record.value, record.headers
    key = None if polled.keys is None else _slot(polled.keys, index)
    return polled.topic, key, _slot(polled.values, index), polled.headers[index] if polled.headers else None


def _slot(column: Sequence[Any], index: int) -> Any:
    """One of a column; of a column of structs a slot makes those of all others, a slice of one does not."""
    return column[index : index + 1][0] if isinstance(column, StructColumn) else column[index]


def _number(value: Any) -> int:
    """The same in each process for what is the same; 0: nothing."""
    if value is None:
        return 0
    try:
        return zlib.crc32(_bytes_of(value))
    except Exception:  # noqa: BLE001  whatever a connector's own objects raise
        return zlib.crc32(type(value).__name__.encode())


def _bytes_of(value: Any) -> bytes:
    """What is the same for what is the same. Raises what a connector's own objects raise."""
    if isinstance(value, bytes):
        return value
    value = _lasting(value)
    try:
        return _ENCODER.encode(value)
    except Exception:  # noqa: BLE001  a text that no encoding takes, a key or an object that it does not know
        return _told(value)


def _lasting(value: Any) -> Any:
    """An envelope without the times at which it was read; any other value as it is."""
    parts = asdict(value) if isinstance(value, Struct) else value
    if not isinstance(parts, dict) or not parts.keys() >= _IN_ENVELOPES:
        return value
    source = asdict(parts["source"]) if isinstance(parts["source"], Struct) else parts["source"]
    if not isinstance(source, dict) or "ts_ms" not in source:
        return value
    lasting = {name: part for name, part in parts.items() if name not in _CLOCKS}
    lasting["source"] = {name: part for name, part in source.items() if name not in _CLOCKS}
    return lasting


def _told(value: Any) -> bytes:
    """Class and content of a value that has no form of its own. Raises _UntoldError."""
    return _text_of(value, iter(range(_PARTS_MAX))).encode("utf-8", "backslashreplace")


def _text_of(value: Any, left: Iterator[int]) -> str:
    """The same as a text. left: has one for each part that may still be looked at.

    Raises _UntoldError where there are more, or one of which nothing can be told.
    """
    if next(left, None) is None:
        raise _UntoldError
    told: Iterable[str]
    if isinstance(value, str | bytes):
        told = [repr(value)]
    elif isinstance(value, Mapping):
        told = sorted(f"{_text_of(key, left)}: {_text_of(part, left)}" for key, part in value.items())
    elif isinstance(value, AbstractSet):
        told = sorted(_text_of(part, left) for part in value)
    elif isinstance(value, list | tuple):
        told = [_text_of(part, left) for part in value]
    elif isinstance(value, _TOLD_BY_REPR):
        told = [repr(value)]
    else:
        held = {name: getattr(value, name) for name in _names_of(value) if hasattr(value, name)}
        if not held:
            raise _UntoldError
        told = [_text_of(held, left)]
    return f"{type(value).__qualname__}({', '.join(told)})"


def _names_of(value: Any) -> Iterable[str]:
    """What an object holds."""
    found = {*getattr(value, "__dict__", ())}
    for kind in type(value).__mro__:
        names = getattr(kind, "__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            is_private = name.startswith("__") and not name.endswith("__")
            found.add(f"_{kind.__name__.lstrip('_')}{name}" if is_private else name)
    return found


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_told, order="deterministic")
