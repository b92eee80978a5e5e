"""Records of one shape into rows of one statement.

    Shaped ──► parts as columns ──► each encoded at once ──► rows: [(b"id", b"name", b"timestamp"), ...]

A record that is no row of the table costs itself: it is told with its column, and the others are rows.

Used by: sender.py, session.py, writer.py.
Not here: which columns there are (tables.py), how rows are sent (sender.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from connectors.cassandra.codecs import ENCODING_ERRORS, Codec, MisfitError, codec_of, encode_one, whole_number
from connectors.cassandra.columns import Odd, Shaped, column_of, lacks_any
from connectors.cassandra.mapping import TTL_SECONDS_MAX, Path, TableMapping, seconds_of
from connectors.cassandra.tables import Table, quoted, targets_for
from connectors.cassandra.times import Times
from engine.api.column import Column, Repeat, Utf8Column
from engine.api.errors import DataError

__all__ = ["Plan", "Rows", "Statement", "encoded_rows", "plan_of"]

#: Of a part of a primary key: Cassandra keeps its length in two bytes.
KEY_BYTES_MAX = 65_535
_BIGINT = codec_of("bigint", {})
_INT = codec_of("int", {})
_TEXT = codec_of("text", {})


class Statement(Struct, eq=False):
    """A statement of one table, as it is prepared."""

    cql: str
    table: Table  # as it was when rows were made for it
    partition_slots: tuple[int, ...]  # where in a row the columns of the partition key are
    consistency: str
    prepared: Any = None
    life: int = 0  # of the connection that has prepared it


class Plan(Struct, frozen=True, eq=False):
    """What records of a shape become."""

    mapping: TableMapping
    statement: Statement
    columns: tuple[tuple[str, Path, Codec], ...]  # in the statement's order
    key_columns: frozenset[str]
    strays: tuple[str, ...] = ()  # parts that have no column of their name
    is_delete: bool = False


class Rows(Struct, frozen=True):
    """Rows of one statement."""

    statement: Statement
    rows: Sequence[tuple[Any, ...]]
    indexes: Sequence[int]  # of their records in the batch
    failures: Sequence[tuple[int, DataError]]  # by index in the batch


def plan_of(mapping: TableMapping, records: Shaped, table: Table, consistency: str) -> Plan:
    """How records of this shape are written. Raises DataError where none of them can be."""
    targets = targets_for(mapping, records)
    strays = tuple(name for name in targets if name not in table.columns)
    key_columns = table.primary_key
    for name in key_columns:
        if name not in targets:
            raise DataError(
                f"{mapping.name}: nothing goes into column {name} of the primary key",
                expected=f"a part of the record, in {mapping.key('mapping')}",
            )
    if records.is_tombstone:
        for name in key_columns:
            if targets[name].root == "value":
                raise DataError(
                    f"{mapping.name}: a record without a value deletes a row, and column {name} of the primary key is "
                    f"taken from the value; take it from the key, or set {mapping.key('deletesEnabled')}=false"
                )
        names = list(key_columns)
        where = " AND ".join(f"{quoted(name)} = ?" for name in names)
        # The timestamp comes first here, as in the statement.
        cql = f"DELETE FROM {table.quoted} USING TIMESTAMP ? WHERE {where}"  # noqa: S608  names are quoted
        shift = 1
        strays = ()  # a delete needs the key alone
    else:
        names = [name for name in targets if name in table.columns]
        using = "TIMESTAMP ?" if mapping.ttl is None else "TIMESTAMP ? AND TTL ?"
        listed, slots = ", ".join(map(quoted, names)), ", ".join("?" * len(names))
        cql = f"INSERT INTO {table.quoted} ({listed}) VALUES ({slots}) USING {using}"  # noqa: S608  as above
        shift = 0
    partition_slots = tuple(names.index(name) + shift for name in table.partition_key)
    statement = Statement(cql, table, partition_slots, mapping.settings.consistencyLevel or consistency)
    columns = tuple((name, targets[name], table.codec(name)) for name in names)
    return Plan(mapping, statement, columns, frozenset(key_columns), strays, records.is_tombstone)


def encoded_rows(plan: Plan, records: Shaped, times: Times, unset: Any) -> Rows:
    """The rows of records. unset: what stands for a value that is not there and changes nothing.

    Raises DataError when none of them can be written.
    """
    mapping = plan.mapping
    bad: dict[int, DataError] = {}
    null = unset if mapping.settings.nullToUnset else None
    columns: list[Column] = []
    for name, path, codec in plan.columns:
        column = _column_of(records, path, mapping, name)
        is_key = name in plan.key_columns
        encoded = _encoded(column, codec, None if is_key else null, mapping.name, name, bad)
        columns.append(encoded)
        if is_key and codec.size is None:
            for at in [at for at, part in enumerate(encoded) if part and len(part) > KEY_BYTES_MAX]:
                bad.setdefault(at, _too_long(mapping, name, len(encoded[at])))
        if is_key and lacks_any(column):
            for at in [at for at, slot in enumerate(column) if slot is None]:
                bad.setdefault(at, _null_in_key(mapping, name, path))
    written = [*map(_BIGINT.encode, times.microseconds)]
    for at, error in times.failures.items():
        bad.setdefault(at, error)
    if plan.is_delete:
        columns.insert(0, written)
    else:
        columns.append(written)
        if mapping.ttl is not None:
            columns.append(_times_to_live(mapping, records, unset, bad))
    for name in plan.strays:
        _tell_strays(plan, records, name, bad)
    rows = [*zip(*columns, strict=True)]
    indexes = records.indexes
    if bad:
        rows = [row for at, row in enumerate(rows) if at not in bad]
        indexes = [index for at, index in enumerate(indexes) if at not in bad]
    failures = [(records.indexes[at], bad[at]) for at in sorted(bad)]
    return Rows(plan.statement, rows, indexes, failures)


def _null_in_key(mapping: TableMapping, name: str, path: Path) -> DataError:
    return DataError(
        f"{mapping.name}: column {name} of the primary key is null: the record has no {path}", expected="a value"
    )


def _too_long(mapping: TableMapping, name: str, size: int) -> DataError:
    return DataError(
        f"{mapping.name}: column {name} of the primary key has {size} bytes", expected=f"at most {KEY_BYTES_MAX}"
    )


def _column_of(records: Shaped, path: Path, mapping: TableMapping, name: str) -> Column:
    try:
        return column_of(records, path)
    except DataError as error:
        raise DataError(f"{mapping.name}: column {name} gets {path}: {error}", expected=error.expected) from None


def _encoded(column: Column, codec: Codec, null: Any, table: str, name: str, bad: dict[int, DataError]) -> Column:
    if isinstance(column, Repeat):
        if column.value is None:
            return Repeat(null, len(column))
        alone: dict[int, DataError] = {}
        made = _encoded([column.value], codec, null, table, name, alone)
        bad.update((at, alone[0]) for at in range(len(column)) if alone and at not in bad)
        return Repeat(made[0], len(column))
    if isinstance(column, Utf8Column) and codec.encode is _TEXT.encode and (found := _utf8(column, null)) is not None:
        return found
    encode = codec.encode
    try:
        if lacks_any(column):
            return [null if slot is None else encode(slot) for slot in column]
        return [*map(encode, column)]
    except ENCODING_ERRORS:
        pass  # one of them is another's to encode, or nobody's
    encoded: list[Any] = []
    for at, slot in enumerate(column):
        try:
            encoded.append(null if slot is None else encode_one(codec, slot))
        except ENCODING_ERRORS as error:
            encoded.append(null)
            bad.setdefault(at, _misfit(table, f"column {name}", codec, slot, error))
    return encoded


def _misfit(table: str, what: str, codec: Codec, slot: Any, error: Exception) -> DataError:
    """Why a value is not taken. The value itself stays out: messages are logged."""
    given = "" if isinstance(slot, Odd) else f"a {type(slot).__name__} that is no {codec.cql}"
    reason = str(error) if isinstance(error, MisfitError) else ""
    told = ": ".join(part for part in (given, reason) if part)
    return DataError(f"{table}: {what} gets {told}", expected=codec.expected)


def _utf8(column: Utf8Column, null: Any) -> Column | None:
    """Text as it came, if it is UTF-8, as Cassandra checks it."""
    encoded = column.encoded
    try:
        b"".join([slot for slot in encoded if slot is not None]).decode()
        # Halves of one letter in two slots would have passed together.
        if any(slot and (slot[0] & 0xC0 == 0x80) for slot in encoded):
            return None
    except UnicodeDecodeError:
        return None
    return [null if slot is None else slot for slot in encoded]


def _times_to_live(mapping: TableMapping, records: Shaped, unset: Any, bad: dict[int, DataError]) -> Column:
    if not isinstance(mapping.ttl, Path):
        return Repeat(_INT.encode(mapping.ttl), len(records))
    column = _column_of(records, mapping.ttl, mapping, "(ttl)")
    unit = mapping.settings.ttlTimeUnit

    encoded: list[Any] = []
    for at, slot in enumerate(column):
        try:
            encoded.append(unset if slot is None else _INT.encode(_seconds(slot, unit)))
        except ENCODING_ERRORS as error:
            encoded.append(unset)
            bad.setdefault(at, _misfit(mapping.name, "its time to live", _INT, slot, error))
    return encoded


def _seconds(value: Any, unit: str) -> int:
    found = seconds_of(whole_number(value), unit)
    if not 0 <= found <= TTL_SECONDS_MAX:
        raise MisfitError(f"it is not from 0 to {TTL_SECONDS_MAX} seconds")
    return found


def _tell_strays(plan: Plan, records: Shaped, name: str, bad: dict[int, DataError]) -> None:
    """Records that have a part for which the table has no column."""
    mapping = plan.mapping
    paths: Mapping[str, Path] = targets_for(mapping, records)
    column = _column_of(records, paths[name], mapping, name)
    has_schema = (records.value_schema if paths[name].root == "value" else records.key_schema) is not None
    for at, slot in enumerate(column):
        if has_schema or slot is not None:
            reason = f"{mapping.name} has no column {name}, for {paths[name]}"
            what = "add the column, or set add.columns=true where records have schemas"
            bad.setdefault(at, DataError(f"{reason}; {what}"))
