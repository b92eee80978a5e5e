"""The headers of a record as a multimap: in order, a key as often as one likes.

    headers = Headers(record.headers)                a copy; the record's own stay as they are
    headers.add_string("origin", "shop")
    headers.last("origin").value                     "shop"
    headers.retain_latest()                          of each key only the last

It is a list of `Header`, so it goes wherever headers go: `SourceRecord(headers=headers)`.

Source: the behaviour of Kafka Connect's ConnectHeaders (its reference, section 6.7).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

from msgspec import Struct

from engine.api.errors import DataError
from engine.api.record import Header
from engine.api.schema import (
    BOOLEAN,
    BYTES,
    DATE,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    OPTIONAL_BYTES,
    OPTIONAL_STRING,
    STRING,
    TIME,
    TIMESTAMP,
    Schema,
    schema_of,
)

__all__ = ["Headers"]


class Headers(list[Header]):
    """Headers in order. Methods that change them return the headers, so that calls can follow each other."""

    __slots__ = ()

    def __init__(self, headers: Iterable[Header] = ()) -> None:
        super().__init__(headers)

    def add(self, key: str, value: Any, schema: Schema | None = None) -> Self:
        """Append a header. Raises DataError for no key, and for a value that is none of the schema."""
        if not isinstance(key, str):
            raise DataError("Null header names are not permitted", expected="a text")
        if schema is not None:
            _check(key, value, schema)
        self.append(Header(key, value, schema))
        return self

    def all(self, key: str) -> list[Header]:
        """All with this key, in order."""
        return [header for header in self if header.key == key]

    def last(self, key: str) -> Header | None:
        """The last with this key; None: there is none."""
        return next((header for header in reversed(self) if header.key == key), None)

    def without(self, key: str) -> Self:
        """Take out all with this key."""
        self[:] = [header for header in self if header.key != key]
        return self

    def retain_latest(self, key: str | None = None) -> Self:
        """Keep only the last with this key, or of each key; the order stays."""
        seen: set[str] = set()
        kept = []
        for header in reversed(self):
            if (key is None or header.key == key) and header.key in seen:
                continue
            seen.add(header.key)
            kept.append(header)
        self[:] = reversed(kept)
        return self

    def apply(self, change: Callable[[Header], Header | None], key: str | None = None) -> Self:
        """Replace each header, or each with this key, by what `change` makes of it; None takes it out.

        Raises DataError, as `add`, for what is no header; then nothing is changed.
        """
        result = Headers()
        for header in self:
            changed = change(header) if key is None or header.key == key else header
            if changed is not header and changed is not None:
                result.add(changed.key, changed.value, changed.schema)
            elif changed is not None:
                result.append(changed)
        self[:] = result
        return self

    def copy(self) -> Headers:
        """Headers of their own."""
        return Headers(self)

    # Typed ones. A null has no value to be of a type: text and bytes are optional then, lists and the like bare.

    def add_boolean(self, key: str, value: bool) -> Self:
        """Append a BOOLEAN."""
        return self.add(key, value, BOOLEAN)

    def add_int8(self, key: str, value: int) -> Self:
        """Append an INT8."""
        return self.add(key, value, INT8)

    def add_int16(self, key: str, value: int) -> Self:
        """Append an INT16."""
        return self.add(key, value, INT16)

    def add_int32(self, key: str, value: int) -> Self:
        """Append an INT32."""
        return self.add(key, value, INT32)

    def add_int64(self, key: str, value: int) -> Self:
        """Append an INT64."""
        return self.add(key, value, INT64)

    def add_float32(self, key: str, value: float) -> Self:
        """Append a FLOAT32."""
        return self.add(key, value, FLOAT32)

    def add_float64(self, key: str, value: float) -> Self:
        """Append a FLOAT64."""
        return self.add(key, value, FLOAT64)

    def add_string(self, key: str, value: str | None) -> Self:
        """Append a STRING."""
        return self.add(key, value, OPTIONAL_STRING if value is None else STRING)

    def add_bytes(self, key: str, value: bytes | None) -> Self:
        """Append BYTES."""
        return self.add(key, value, OPTIONAL_BYTES if value is None else BYTES)

    def add_decimal(self, key: str, value: Decimal | None) -> Self:
        """Append a Decimal, with the scale that it has."""
        if value is None:
            return self.add(key, None)
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise DataError(f"Invalid value for Decimal: {value}", expected="a finite number")
        return self.add(key, value, Schema.decimal(-exponent))

    def add_date(self, key: str, value: datetime.date) -> Self:
        """Append a Date."""
        return self.add(key, value, DATE)

    def add_time(self, key: str, value: datetime.time) -> Self:
        """Append a Time."""
        return self.add(key, value, TIME)

    def add_timestamp(self, key: str, value: datetime.datetime) -> Self:
        """Append a Timestamp."""
        return self.add(key, value, TIMESTAMP)

    def add_list(self, key: str, value: Sequence[Any] | None, schema: Schema) -> Self:
        """Append an ARRAY of this schema."""
        return self.add(key, value, None if value is None else schema)

    def add_map(self, key: str, value: Mapping[Any, Any] | None, schema: Schema) -> Self:
        """Append a MAP of this schema."""
        return self.add(key, value, None if value is None else schema)

    def add_struct(self, key: str, value: Struct | None) -> Self:
        """Append a STRUCT of its own schema."""
        return self.add(key, value, None if value is None else schema_of(value))


def _check(key: str, value: Any, schema: Schema) -> None:
    try:
        schema.validate(value)
    except DataError as error:
        problem = DataError(f'header "{key}": {error}', expected=error.expected)
        raise problem from error
