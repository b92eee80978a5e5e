"""The rows of a group become lines, part by part: whoever sends one has the next made meanwhile.

    group ──► good_parts ──► texts, texts, ...      a row that is no line: RowError
          ──► parts_of   ──► the same, and `Lines`  such rows are left out, and told

Used by: writing.py, sink.py.
Not here: text of values (texts.py), columns (rows.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

from msgspec import Struct

from connectors.postgres.config import Target
from connectors.postgres.refusals import RowError
from connectors.postgres.rows import Group
from connectors.postgres.tables import Table
from connectors.postgres.texts import block_of, lines_of, texts_of
from engine.api.column import Column, Repeat, has_null
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["Lines", "Refused", "block", "good_parts", "last_of_each_key", "numbered_lines", "parts_of"]

#: So many rows become lines at a time.
PART = 1000


class Refused(Struct, frozen=True):
    """A record that is no row of its table."""

    index: int  # in the batch
    target: Target
    column: str  # empty: not known
    error: DataError
    expected: str = ""  # of the column


class Lines(Struct):
    """The rows of a group as text."""

    rows: list[int] = []  # their numbers in the group
    texts: list[str] = []


def parts_of(group: Group, table: Table, lines: Lines, refused: list[Refused]) -> Iterator[Sequence[str]]:
    """The lines of a group, part by part: once one is asked for, `lines` has it too, and `refused` its bad rows."""
    columns = [column if isinstance(column, Repeat | list | tuple) else [*column] for column in group.columns]
    for begin in range(0, len(group.indexes), PART):
        yield _part(group, [column[begin : begin + PART] for column in columns], begin, table, lines, refused)


def _part(
    group: Group, columns: Sequence[Column], begin: int, table: Table, lines: Lines, refused: list[Refused]
) -> Sequence[str]:
    """The lines of rows from `begin` on, but for those that cannot be written as text, or have no key."""
    bad: dict[int, Refused] = {}
    for name, column in zip(group.keys, columns, strict=False):
        if has_null(column):
            error = DataError("null in a column of the key", expected="a value; a row is told by it")
            nulls = [row for row, value in enumerate(column) if value is None]
            bad |= {row: Refused(group.indexes[begin + row], group.target, name, error) for row in nulls}
    made: list[Sequence[str]] = []
    for name, column, schema in zip(group.names, columns, group.schemas, strict=True):
        kind = table.columns[name].kind
        logical = _logical(schema)
        try:
            made.append(texts_of(column, kind, logical))
        except DataError:
            one_by_one: list[str] = []
            for row, value in enumerate(column):
                try:
                    one_by_one += texts_of([value], kind, logical)
                except DataError as error:
                    one_by_one.append("")
                    bad[row] = Refused(group.indexes[begin + row], group.target, name, error)
            made.append(one_by_one)
    texts = lines_of(made)
    rows: Sequence[int] = range(begin, begin + len(texts))
    if bad:
        refused += [bad[row] for row in sorted(bad)]
        good = [row not in bad for row in range(len(texts))]
        rows, texts = [*compress(rows, good)], [*compress(texts, good)]
    lines.rows += rows
    lines.texts += texts
    return texts


def _logical(schema: Schema | None) -> str | None:
    """Of a column's values, or of their elements."""
    inner = schema.value_schema if schema is not None and schema.type == "ARRAY" else schema
    return None if inner is None else inner.logical


def good_parts(group: Group, table: Table) -> Iterator[Sequence[str]]:
    """The lines of a group, part by part. Raises RowError for a row that has none, or no key."""
    refused: list[Refused] = []
    for texts in parts_of(group, table, Lines(), refused):
        if refused:
            raise RowError(str(refused[0].error))
        yield texts


def numbered_lines(parts: Iterable[Sequence[str]], gone: Sequence[bool], begin: int = 0) -> Iterator[Sequence[str]]:
    """The lines with their numbers, and whether they are to be deleted."""
    for texts in parts:
        end = begin + len(texts)
        yield [
            f"{text}\t{at}\t{'t' if is_gone else 'f'}"
            for at, (text, is_gone) in enumerate(zip(texts, gone[begin:end], strict=True), begin)
        ]
        begin = end


def last_of_each_key(group: Group, table: Table) -> Group:
    """The group without rows that a later one replaces.

    Raises DataError for a key that is no text, RowError where one that is replaced is no row: it is bad all the same.
    """
    columns = group.columns[: len(group.keys)]
    if _are_distinct(columns):
        return group
    texts = [
        texts_of(column, table.columns[name].kind, _logical(schema))
        for name, column, schema in zip(group.keys, columns, group.schemas, strict=False)
    ]
    last = dict(zip(zip(*texts, strict=True), range(len(group.indexes)), strict=True))
    if len(last) == len(group.indexes):
        return group
    kept = {*last.values()}
    replaced = [row for row in range(len(group.indexes)) if row not in kept]
    for texts_of_part in good_parts(group.picked(replaced), table):
        block(texts_of_part)
    return group.picked(sorted(kept))


def _are_distinct(columns: Sequence[Column]) -> bool:
    """Whether no two keys are one to Python; the server may think otherwise, and says so."""
    try:
        return len({*(columns[0] if len(columns) == 1 else zip(*columns, strict=True))}) == len(columns[0])
    except TypeError:
        return False


def block(texts: Sequence[str]) -> bytes:
    """Lines as COPY reads them. Raises RowError for text that is no UTF-8."""
    try:
        return block_of(texts)
    except DataError as error:
        raise RowError(str(error)) from error
