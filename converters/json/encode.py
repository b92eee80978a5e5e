"""Columns of values to JSON, with and without the envelope.

    values ──► wire (what to encode) ──► one encoding of all ──► lines ──► {"schema":...,"payload": line }
    columns of structs ──► rows.py ──────────────────────────────────────► the same

Kafka Connect escapes some characters that the encoder leaves (outside the basic plane) or writes in lower case
(`\\u001f`); the few lines that have one are mended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from converters.json.escapes import mended
from converters.json.locating import located
from converters.json.rows import RowWriter, needs_mending
from converters.json.schemas import tree_of
from converters.json.wire import Wire
from engine.api.column import Repeat
from engine.api.converter import Encoded, Failure
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["JsonEncoder"]

_REFUSED = "Converting Kafka Connect data to byte[] failed due to serialization error: "


class _Run(NamedTuple):
    start: int
    end: int
    schema: Schema | None


class JsonEncoder:
    """One converter's way out."""

    def __init__(self, *, has_envelope: bool, replace_null: bool, is_decimal_numeric: bool, cache_size: int) -> None:
        self._has_envelope = has_envelope
        self._wire = Wire(replace_null=replace_null, is_decimal_numeric=is_decimal_numeric)
        self._escaping = Wire(replace_null=replace_null, is_decimal_numeric=is_decimal_numeric, escape=True)
        self._encoder = msgspec.json.Encoder()
        self._row_writer = RowWriter(self._wire, self._encoder)
        self._prefixes: dict[Schema | None, bytes] = {}
        self._prefixes_max = max(cache_size, 1)

    def encode(self, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        """n values in, n payloads out; a value that cannot be converted costs itself."""
        payloads: list[bytes | None] = []
        failures: list[Failure] = []
        for run in _runs(values, schemas):
            part = values if run.end - run.start == len(values) else values[run.start : run.end]
            payloads += self._encoded(part, run, failures)
        return Encoded(payloads, failures)

    def encode_one(self, value: Any, schema: Schema | None) -> bytes | None:
        """The payload of one value. Raises DataError."""
        if value is None and schema is None:
            return None
        try:
            line = self._line(value, schema)
            return self._prefix(schema) + line + b"}" if self._has_envelope else line
        except RecursionError as error:
            raise DataError(_REFUSED, expected="a value that is not nested so deep") from error
        except UnicodeEncodeError as error:
            raise DataError(_REFUSED, expected="text that has a form in UTF-8") from error

    def _encoded(self, values: Sequence[Any], run: _Run, failures: list[Failure]) -> Sequence[bytes | None]:
        if run.schema is None and None in values:
            return self._one_by_one(values, run, failures)
        try:
            before, behind = (self._prefix(run.schema), b"}") if self._has_envelope else (b"", b"")
            rows = self._row_writer.rows(run.schema, values, before, behind)
            if rows is not None:
                return rows
            lines = self._lines(values, run.schema, self._wire)
            return [before + line + behind for line in lines] if self._has_envelope else lines
        except (DataError, UnicodeEncodeError, RecursionError):
            return self._one_by_one(values, run, failures)

    def _one_by_one(self, values: Sequence[Any], run: _Run, failures: list[Failure]) -> Sequence[bytes | None]:
        payloads: list[bytes | None] = []
        for index, value in enumerate(values, run.start):
            try:
                payloads.append(self.encode_one(value, run.schema))
            except DataError as error:
                payloads.append(None)
                failures.append(Failure(index, self._located(run.schema, value, error)))
        return payloads

    def _located(self, schema: Schema | None, value: Any, error: DataError) -> DataError:
        try:
            return located(self._wire, schema, value, error)
        except RecursionError:
            return error  # too deep to be looked into

    def _lines(self, values: Sequence[Any], schema: Schema | None, wire: Wire) -> list[bytes]:
        column = wire.column(schema, values)
        lines = _plain_lines(column) if schema is None else None
        if lines is None:
            block = self._encoder.encode_lines(column)
            lines = block.split(b"\n")
            lines.pop()
        else:
            block = b"".join(lines)
        return [*map(mended, lines)] if needs_mending(block) else lines

    def _line(self, value: Any, schema: Schema | None) -> bytes:
        try:
            return self._lines([value], schema, self._wire)[0]
        except UnicodeEncodeError:
            return self._lines([value], schema, self._escaping)[0]

    def _prefix(self, schema: Schema | None) -> bytes:
        found = self._prefixes.get(schema)
        if found is None:
            tree = b"null" if schema is None else self._tree(schema)
            found = b'{"schema":' + mended(tree) + b',"payload":'
            if len(self._prefixes) >= self._prefixes_max:
                self._prefixes.pop(next(iter(self._prefixes)))  # the oldest
            self._prefixes[schema] = found
        return found

    def _tree(self, schema: Schema) -> bytes:
        try:
            return self._encoder.encode(tree_of(schema, self._wire))
        except UnicodeEncodeError:
            return self._encoder.encode(tree_of(schema, self._escaping))


def _plain_lines(column: Sequence[Any]) -> list[bytes] | None:
    """Each value as JSON; None where one is more than JSON's own classes, such as bytes or a number of Java's text."""
    try:
        # bench/micro/test_converters.py::schemaless_out: half the time of one text that is split
        return [*map(orjson.dumps, column)]
    except TypeError:
        return None


def _runs(values: Sequence[Any], schemas: Sequence[Schema | None]) -> list[_Run]:
    """Neighbours with one schema."""
    if not len(values):
        return []
    if isinstance(schemas, Repeat):
        return [_Run(0, len(values), schemas.value)]
    runs = []
    start = 0
    for index in range(1, len(values)):
        if schemas[index] is not schemas[start] and schemas[index] != schemas[start]:
            runs.append(_Run(start, index, schemas[start]))
            start = index
    return [*runs, _Run(start, len(values), schemas[start])]
