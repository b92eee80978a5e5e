"""Columns: sequences with one slot a record, some of which store less than their slots or make them late.

    Repeat        the same value in all slots: a topic, a schema, None
    Utf8Column    text that is still the bytes it came as
    DigitColumn   whole numbers that are still the text they came as
    MapColumn     maps that have the same keys, a column for each
    StructColumn  structs of one schema, a column for each field
    range, list   offsets that follow each other; anything else

Each reads as the list of its slots does. Who knows one of them takes what it stores, and is faster by it.

Used by: engine.api.batch and everything that works on batches.
Not here: which columns a batch has (batch.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, overload

import msgspec

from engine.api.schema import Schema

__all__ = [
    "Column",
    "DigitColumn",
    "MapColumn",
    "Repeat",
    "StructColumn",
    "Utf8Column",
    "decode_utf8",
    "fields_of",
    "has_null",
    "listed",
    "mapped",
    "pick",
    "rows_of",
    "structs_of",
    "uniform",
]

Column = Sequence[Any]

_NUMBERS = msgspec.json.Decoder(list[int])


class Repeat(Sequence[Any]):
    """A column with the same value in each of its slots."""

    __slots__ = ("_length", "value")

    def __init__(self, value: Any, length: int) -> None:
        self.value = value
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Repeat: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Repeat(self.value, len(range(*index.indices(self._length))))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self.value

    def __iter__(self) -> Iterator[Any]:
        value = self.value
        return iter([value] * self._length)

    def picked(self, indexes: Sequence[int]) -> Repeat:
        """The slots at these indexes."""
        return Repeat(self.value, len(indexes))

    def __repr__(self) -> str:
        return f"Repeat({self.value!r}, {self._length})"


class Utf8Column(Sequence[Any]):
    """A column of text that is still the UTF-8 bytes it came as; a slot is decoded when it is looked at.

    A connector that moves text and never looks into it (a file, a socket) takes `encoded` as it is: nothing
    is decoded and encoded again. Bytes that are no UTF-8 read as U+FFFD, as Java's decoder writes it.
    """

    __slots__ = ("encoded",)

    def __init__(self, encoded: Sequence[bytes | None]) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, index: int) -> str | None: ...
    @overload
    def __getitem__(self, index: slice) -> Utf8Column: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Utf8Column(self.encoded[index])
        return decode_utf8(self.encoded[index])

    def __iter__(self) -> Iterator[str | None]:
        encoded = self.encoded
        if None not in encoded:
            with suppress(UnicodeDecodeError):  # without a call of Python's for each slot
                return iter([*map(bytes.decode, encoded)])  # type: ignore[arg-type]  # none is None
        return map(decode_utf8, encoded)

    def picked(self, indexes: Sequence[int]) -> Utf8Column:
        """The slots at these indexes, still encoded."""
        encoded = self.encoded
        return Utf8Column([encoded[index] for index in indexes])

    def __repr__(self) -> str:
        return f"Utf8Column(<{len(self.encoded)}>)"


class DigitColumn(Sequence[Any]):
    """A column of whole numbers, none of which is null, that are still the text they came as.

    The numbers are read when one is looked at, all at once. Who writes them as text again takes `encoded` as it is.
    """

    __slots__ = ("_numbers", "bits", "encoded")

    def __init__(self, encoded: Sequence[bytes], bits: int) -> None:
        """encoded: as JSON writes them: no sign but a minus, no zeros in front. bits: what each fits in, signed."""
        self.encoded = encoded
        self.bits = bits
        self._numbers: list[int] | None = None

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> DigitColumn: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return DigitColumn(self.encoded[index], self.bits)
        return self._read()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._read())

    def __contains__(self, value: object) -> bool:
        return value is not None and value in self._read()

    def picked(self, indexes: Sequence[int]) -> DigitColumn:
        """The slots at these indexes, still as text."""
        encoded = self.encoded
        return DigitColumn([encoded[index] for index in indexes], self.bits)

    def __repr__(self) -> str:
        return f"DigitColumn(<{len(self.encoded)}>)"

    def _read(self) -> list[int]:
        if self._numbers is None:
            self._numbers = _NUMBERS.decode(b"[" + b",".join(self.encoded) + b"]")
        return self._numbers


class MapColumn(Sequence[Any]):
    """A column of maps, none of which is null and which all have the same keys: stored as a column for each key.

    A slot's map is made anew when it is looked at. A transform or a connector that knows this class takes `columns`,
    and nobody makes a map: a chain of transforms that insert, rename and drop fields costs a batch what it would
    cost a record. (Arrow's table and a data frame store rows in this way.)
    """

    __slots__ = ("_length", "columns")

    def __init__(self, columns: Mapping[str, Column], length: int) -> None:
        """columns: by key, each of `length` slots; never changed afterwards."""
        self.columns = columns
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> MapColumn: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            length = len(range(*index.indices(self._length)))
            return MapColumn({name: column[index] for name, column in self.columns.items()}, length)
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return {name: column[index] for name, column in self.columns.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.columns:
            return iter([{} for _ in range(self._length)])
        return iter(_maps_of(tuple(self.columns))(self.columns.values()))

    def picked(self, indexes: Sequence[int]) -> MapColumn:
        """The slots at these indexes, still as columns."""
        return MapColumn({name: pick(column, indexes) for name, column in self.columns.items()}, len(indexes))

    def __repr__(self) -> str:
        return f"MapColumn({[*self.columns]!r}, {self._length})"


class StructColumn(Sequence[Any]):
    """A column of structs of one schema, none of which is null: stored as a column for each field.

    The structs are made when one is looked at, all at once. As with `MapColumn`, who knows this class takes `columns`.
    """

    __slots__ = ("_length", "_rows", "columns", "schema")

    def __init__(self, schema: Schema, columns: Sequence[Column], length: int) -> None:
        """columns: for each of the schema's fields, in order, of `length` slots; never changed afterwards."""
        self.schema = schema
        self.columns = columns
        self._length = length
        self._rows: list[Any] | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> StructColumn: ...
    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return self._structs()[index]
        length = len(range(*index.indices(self._length)))
        return StructColumn(self.schema, [column[index] for column in self.columns], length)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._structs())

    def __contains__(self, value: object) -> bool:
        return value is not None and value in self._structs()

    def picked(self, indexes: Sequence[int]) -> StructColumn:
        """The slots at these indexes, still as columns."""
        return StructColumn(self.schema, [pick(column, indexes) for column in self.columns], len(indexes))

    def __repr__(self) -> str:
        return f"StructColumn({self.schema.name!r}, {self._length})"

    def _structs(self) -> list[Any]:
        if self._rows is None:
            kind = self.schema.struct_type
            self._rows = structs_of(kind)(self.columns) if self.columns else [kind() for _ in range(self._length)]
        return self._rows


def decode_utf8(encoded: bytes | None) -> str | None:
    """Text of UTF-8 bytes; what is no UTF-8 becomes U+FFFD as often as Java's decoder writes it."""
    if encoded is None:
        return None
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return _decode_like_java(encoded)


def _decode_like_java(encoded: bytes) -> str:
    # Java takes a surrogate's three bytes (ED A0..BF xx) for one malformed unit, Python for three.
    pieces = []
    at = 0
    while at < len(encoded):
        try:
            pieces.append(encoded[at:].decode())
            break
        except UnicodeDecodeError as error:
            bad = at + error.start
            pieces.append(encoded[at:bad].decode())
            pieces.append("\ufffd")
            unit = encoded[bad : bad + 3]
            is_surrogate = len(unit) == 3 and unit[0] == 0xED and 0xA0 <= unit[1] <= 0xBF and 0x80 <= unit[2] <= 0xBF
            at = bad + 3 if is_surrogate else at + error.end
    return "".join(pieces)


def pick(column: Sequence[Any], indexes: Sequence[int]) -> Sequence[Any]:
    """The slots of a column at these indexes; one that stores less than its slots, or decodes them late, still does."""
    picked = getattr(column, "picked", None)
    if picked is not None:
        found: Sequence[Any] = picked(indexes)
        return found
    return [column[index] for index in indexes]


def uniform(column: Sequence[Any]) -> Sequence[Any]:
    """The same column, as a `Repeat` if all its slots hold one and the same object: a schema, None, a topic."""
    if isinstance(column, Repeat) or not column:
        return column
    first = column[0]
    return Repeat(first, len(column)) if all(slot is first for slot in column) else column


def has_null(column: Column) -> bool:
    """Whether a slot holds None."""
    if isinstance(column, Repeat):
        return column.value is None and len(column) > 0
    return not isinstance(column, MapColumn | StructColumn) and bool([None for slot in column if slot is None])


def listed(column: Column) -> Column:
    """The column, with its slots made if each look would make them anew: for who looks at them more than once."""
    return [*column] if isinstance(column, MapColumn) else column


def mapped(change: Callable[[Any], Any], column: Column) -> Column:
    """What becomes of each slot. change: makes what nobody changes, since a `Repeat` is asked for once."""
    return Repeat(change(column.value), len(column)) if isinstance(column, Repeat) else [*map(change, column)]


def rows_of(row: str, count: int, names: Mapping[str, Any]) -> Callable[[Iterable[Column]], list[Any]]:
    """A function that makes a row of each slot of `count` columns, which are at least one.

    row: an expression of v0, v1, ... and the names. It is compiled, so what comes from outside goes into `names`.
    """
    slots = "".join(f"v{at}, " for at in range(count))
    made: Callable[[Iterable[Column]], list[Any]] = eval(  # noqa: S307
        f"lambda columns: [{row} for {slots} in zip(*columns, strict=True)]", {**names, "zip": zip}
    )
    return made


@lru_cache(maxsize=256)
def structs_of(kind: type[Any]) -> Callable[[Iterable[Column]], list[Any]]:
    """Makes structs of columns. Their constructor takes names only; to call it with a dict costs four times this."""
    names = kind.__struct_fields__
    given = ", ".join(f"{name}=v{at}" for at, name in enumerate(names))
    return rows_of(f"make({given})", len(names), {"make": kind})


@lru_cache(maxsize=256)
def fields_of(kind: type[Any], only: frozenset[int] | None = None) -> Callable[[Sequence[Any]], list[Column]]:
    """Takes structs of one class apart: a column for each of its fields, in order.

    only: the numbers of those that are wanted, from 0; the others are empty.
    """
    # bench/micro/test_java_text.py::structs: half the time of `zip(*map(astuple, rows))`
    columns = ", ".join(
        f"[row.{name} for row in rows]" if only is None or at in only else "[]"
        for at, name in enumerate(kind.__struct_fields__)
    )
    made: Callable[[Sequence[Any]], list[Column]] = eval(f"lambda rows: [{columns}]")  # noqa: S307
    return made


@lru_cache(maxsize=256)
def _maps_of(names: tuple[str, ...]) -> Callable[[Iterable[Column]], list[dict[str, Any]]]:
    keys = {f"k{at}": name for at, name in enumerate(names)}
    return rows_of("{" + ", ".join(f"k{at}: v{at}" for at in range(len(names))) + "}", len(names), keys)
