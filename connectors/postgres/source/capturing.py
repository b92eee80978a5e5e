"""Changes of one table become records, a batch at a time.

    row        insert, update: the row as it is; delete: its key, and null; a key that changes: null, then the row
    envelope   {before, after, source, op, ts_ms}; after a delete a null; a key that changes: d, null, then c

Changes are collected as rows of text (`Captured.add`) and read column by column (`Captured.batch`). The key is the
primary key, or else the columns of the replica identity.

Used by: changes.py.
Not here: what the server says (pgoutput.py), offsets (changes.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from connectors.postgres.config import Target
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import UNCHANGED, Change, RelationMessage, Row
from connectors.postgres.source.relations import Column, columns_of_types, key_places
from connectors.postgres.source.values import Cells
from engine.api.batch import SourceBatch
from engine.api.column import Repeat, StructColumn
from engine.api.errors import DataError
from engine.api.record import SourceRecord
from engine.api.schema import (
    INT64,
    OPTIONAL_INT64,
    OPTIONAL_STRING,
    STRING,
    Schema,
)

__all__ = ["Captured", "Moment", "Origin", "columns_of_relation", "placeholder_of", "records_of"]

logger = logging.getLogger(__name__)

INSERT, UPDATE, DELETE, TRUNCATE, READ = "c", "u", "d", "t", "r"
VERSION = "1"
#: What Kafka takes in no topic's name.
_NO_TOPIC = re.compile(r"[^a-zA-Z0-9._-]")
#: What ends a text within an array's text.
_TO_ESCAPE = re.compile(rb'["\\]')
#: Debezium's names for what has no use for its numbers of microseconds.
SOURCE = Schema.struct(
    {
        "version": STRING,
        "connector": STRING,
        "name": STRING,
        "ts_ms": INT64,
        "snapshot": OPTIONAL_STRING,
        "db": STRING,
        "schema": STRING,
        "table": STRING,
        "txId": OPTIONAL_INT64,
        "lsn": OPTIONAL_INT64,
    },
    name="io.debezium.connector.postgresql.Source",
)


class Moment(Struct, frozen=True):
    """When and where changes were made: their transaction."""

    commit_ms: int
    transaction: int | None
    lsn: int | None  # of the commit, of all its changes
    snapshot: str = "false"


class Origin(Struct, frozen=True):
    """Whose changes these are."""

    prefix: str
    database: str


class Captured:
    """A table as it is now, and those of its changes that are not records yet."""

    def __init__(
        self, message: RelationMessage, columns: Sequence[Column], settings: ChangesConfig, origin: Origin
    ) -> None:
        """columns: those of the message, in order, with what the catalog knows."""
        self._settings = settings
        self._origin = origin
        self.target = Target(message.schema, message.table)
        self.topic = _NO_TOPIC.sub("_", ".".join(filter(None, (settings.topic_prefix, *self.target))))
        self._key_places = _key_places(message, columns)
        keys = set(self._key_places)
        self._columns = columns
        # What an old server says of a row that is gone, or was not touched, has nulls in it; a key never has.
        fields = {
            column.name: column.reading.schema if at in keys else column.reading.schema.as_optional()
            for at, column in enumerate(columns)
        }
        if not _is_sure(message, columns):
            fields = {name: schema.as_optional() for name, schema in fields.items()}
        self.schema = Schema.struct(fields, name=f"{self.topic}.Value")
        key_fields = {columns[at].name: fields[columns[at].name] for at in self._key_places}
        self.key_schema = Schema.struct(key_fields, name=f"{self.topic}.Key") if key_fields else None
        row = self.schema.as_optional()
        self._envelope = Schema.struct(
            {"before": row, "after": row, "source": SOURCE, "op": STRING, "ts_ms": OPTIONAL_INT64},
            name=f"{self.topic}.Envelope",
        )
        self._skipped = set(settings.skipped)
        self._is_envelope = settings.is_envelope
        self._is_told = False
        self._clear()

    def __len__(self) -> int:
        return len(self._ops)

    def add(self, op: str, change: Change, moment: Moment) -> int:
        """Take a change; returns of how many records it is."""
        if op in self._skipped:
            return 0
        before = len(self._ops)
        old, new = change.old, change.new
        if op == UPDATE and old is not None and new is not None and self._key_of(old) != self._key_of(new):
            self._put(DELETE, old, None, moment)
            self._put(INSERT, None, new, moment)
        elif op == DELETE:
            self._put(DELETE, old, None, moment)
        else:
            self._put(op, old, new, moment)
        return len(self._ops) - before

    def truncated(self, moment: Moment, now_ms: int) -> SourceBatch | None:
        """The record of all rows being gone, if there is one. Nothing is collected before it is taken."""
        if TRUNCATE in self._skipped:
            return None
        if not self._is_envelope:
            logger.warning(
                "table %s was truncated, which no record of record.format=row can tell: those who read topic %s still "
                "have its rows", self.target, self.topic,
            )  # fmt: skip
            return None
        self._add(TRUNCATE, None, None, moment)
        values = self._envelopes(now_ms)
        self._clear()
        return SourceBatch(topic=self.topic, values=values, value_schema=self._envelope)

    @property
    def has_nulls(self) -> bool:
        """Whether some of the records have no value: those have no schema either."""
        return (None if self._is_envelope else DELETE) in self._ops

    def batch(self, now_ms: int) -> SourceBatch:
        """Everything that was taken, as records in order. Raises DataError for what cannot be read.

        If it `has_nulls`, only records can say that they have no schema: see `records_of`.
        """
        values = self._envelopes(now_ms) if self._is_envelope else self._rows(self._after, self._olds)
        nothing = None if self._is_envelope else DELETE
        if self.has_nulls:
            values = [None if op == nothing else value for op, value in zip(self._ops, values, strict=True)]
        batch = SourceBatch(
            topic=self.topic,
            values=values,
            value_schema=self._envelope if self._is_envelope else self.schema,
            keys=self._keys(),
            key_schema=self.key_schema,
        )
        self._clear()
        return batch

    def read(self, cells: Sequence[Cells], count: int, moment: Moment, now_ms: int) -> SourceBatch:
        """Rows that are there, as records: a column of text for each of the table's."""
        columns = [self._column(column, found) for column, found in zip(self._columns, cells, strict=True)]
        keys = None
        if self.key_schema is not None:
            keys = StructColumn(self.key_schema, [columns[at] for at in self._key_places], count)
        if not self._is_envelope:
            return SourceBatch(
                topic=self.topic,
                values=StructColumn(self.schema, columns, count),
                value_schema=self.schema,
                keys=keys,
                key_schema=self.key_schema,
            )
        rows = StructColumn(self.schema.as_optional(), columns, count)
        source = Repeat(self._source(moment), count)
        told = [Repeat(None, count), rows, source, Repeat(READ, count), Repeat(now_ms, count)]
        return SourceBatch(
            topic=self.topic,
            values=StructColumn(self._envelope, told, count),
            value_schema=self._envelope,
            keys=keys,
            key_schema=self.key_schema,
        )

    def _clear(self) -> None:
        self._ops: list[str | None] = []  # None: a null after a delete
        self._olds: list[Row | None] = []
        self._after: list[Row | None] = []
        self._moments: list[Moment] = []

    def _put(self, op: str, old: Row | None, new: Row | None, moment: Moment) -> None:
        self._add(op, old, new, moment)
        if op == DELETE and self._is_envelope and self._settings.has_tombstones:
            self._add(None, old, None, moment)

    def _add(self, op: str | None, old: Row | None, new: Row | None, moment: Moment) -> None:
        self._ops.append(op)
        self._olds.append(old)
        self._after.append(new)
        self._moments.append(moment)

    def _key_of(self, row: Row) -> list[bytes | None]:
        return [row[at] for at in self._key_places]

    def _rows(self, rows: Sequence[Row | None], others: Sequence[Row | None]) -> Any:
        """The values of rows; where there is none, of the one in its place, which nobody looks at."""
        whole = [row if row is not None else other for row, other in zip(rows, others, strict=True)]
        return StructColumn(self.schema, self._read(whole), len(whole))

    def _read(self, rows: Sequence[Row | None]) -> list[Any]:
        nothing: Row = [None] * len(self._columns)
        cells: Sequence[Cells] = [*zip(*[row or nothing for row in rows], strict=True)]
        return [self._column(column, found) for column, found in zip(self._columns, cells, strict=True)]

    def _column(self, column: Column, cells: Cells) -> Any:
        if UNCHANGED in cells:
            cells = self._instead(column, cells)
        try:
            return column.reading.read(cells)
        except ValueError as error:
            raise DataError(
                f"table {self.target}: column {column.name} ({column.type}) cannot be read: {error}"
            ) from error

    def _instead(self, column: Column, cells: Cells) -> Cells:
        """What stands for values that the server does not tell."""
        if not self._is_told:
            logger.warning(
                "table %s: the server does not tell large values that an update has not touched, column %s: records "
                "have unavailable.value.placeholder, or null, in their place; ALTER TABLE %s REPLICA IDENTITY FULL",
                self.target, column.name, self.target.sql,
            )  # fmt: skip
        self._is_told = True
        instead = placeholder_of(column.reading.schema, self._settings.placeholder)
        return [instead if cell == UNCHANGED else cell for cell in cells]

    def _keys(self) -> Any:
        if self.key_schema is None:
            return None
        rows = [new if new is not None else old for old, new in zip(self._olds, self._after, strict=True)]
        cells = [[None if row is None else row[at] for row in rows] for at in self._key_places]
        columns = [self._column(self._columns[at], found) for at, found in zip(self._key_places, cells, strict=True)]
        return StructColumn(self.key_schema, columns, len(rows))

    def _envelopes(self, now_ms: int) -> Any:
        count = len(self._ops)
        before, after = self._optional(self._olds), self._optional(self._after)
        sources = self._sources()
        columns = [before, after, sources, [op or DELETE for op in self._ops], [now_ms] * count]
        return StructColumn(self._envelope, columns, count)

    def _optional(self, rows: Sequence[Row | None]) -> Sequence[Any]:
        """Values of the rows that are there."""
        if all(row is None for row in rows):
            return [None] * len(rows)
        kind_schema = self.schema.as_optional()
        values = StructColumn(kind_schema, self._read(rows), len(rows))
        return [None if row is None else value for row, value in zip(rows, values, strict=True)]

    def _sources(self) -> list[Any]:
        """One for each transaction, shared by its changes."""
        made: dict[int, Any] = {}
        found = []
        for moment in self._moments:
            source = made.get(id(moment))
            if source is None:
                source = made[id(moment)] = self._source(moment)
            found.append(source)
        return found

    def _source(self, moment: Moment) -> Any:
        return SOURCE.struct_type(
            version=VERSION,
            connector="postgresql",
            name=self._origin.prefix,
            ts_ms=moment.commit_ms,
            snapshot=moment.snapshot,
            db=self._origin.database,
            schema=self.target.schema,
            table=self.target.table,
            txId=moment.transaction,
            lsn=moment.lsn,
        )


def placeholder_of(schema: Schema, text: str) -> bytes | None:
    """What stands for a value that is not told, as the server would write it; None: nothing but null can."""
    if schema.type == "ARRAY" and schema.value_schema is not None:
        inner = placeholder_of(schema.value_schema, text) if schema.value_schema.type == "STRING" else None
        return None if inner is None else b'{"' + _TO_ESCAPE.sub(rb"\\\g<0>", inner) + b'"}'
    if schema.logical is not None:
        return None
    return {"STRING": text.encode(), "BYTES": b"\\x" + text.encode().hex().encode()}.get(schema.type)


def columns_of_relation(session: PsycopgSession, message: RelationMessage) -> list[Column]:
    """The columns that a table has by its changes, with the places in its primary key as it is now."""
    types = columns_of_types(session, [(column.oid, column.modifier) for column in message.columns])
    places = key_places(session, message.oid)
    return [
        Column(column.name, type_name, reading, key_place=places.get(column.name, 0))
        for column, (type_name, reading) in zip(message.columns, types, strict=True)
    ]


def records_of(batch: SourceBatch) -> Iterator[SourceRecord]:
    """The same as records: those without a value have no schema."""
    for record in batch.records():
        yield record if record.value is not None else replace(record, value_schema=None)


def _key_places(message: RelationMessage, columns: Sequence[Column]) -> list[int]:
    """Of what an old row is sure to have; with replica identity FULL, that is all."""
    places = {column.key_place: at for at, column in enumerate(columns) if column.key_place}
    if message.identity == "f" and places:
        return [places[place] for place in sorted(places)]
    return [at for at, column in enumerate(message.columns) if column.is_key]


def _is_sure(message: RelationMessage, columns: Sequence[Column]) -> bool:
    """Whether the key's columns are never null: with replica identity FULL and no primary key they may be."""
    return message.identity != "f" or any(column.key_place for column in columns)
