"""Changes of one table become records, a batch at a time.

    row        insert, update: the row as it is; delete: its key, and null; a key that changes: null, then the row
    envelope   {before, after, source, op, ts_ms}; after a delete a null; a key that changes: d, null, then c

Changes are collected as they were told (`Captured.add`), and read all at once, column by column (`Captured.recorded`).
The key is the primary key, or else the columns of the replica identity.

Used by: changes.py, gathering.py, snapshot.py.
Not here: what the server says (pgoutput.py, tuples.py), offsets (gathering.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import Struct

from connectors.postgres.config import Target
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source import pgoutput
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import NEW, NULL, UNCHANGED, RelationMessage, Row
from connectors.postgres.source.relations import Column, columns_of_types, key_places
from connectors.postgres.source.replication import AT
from connectors.postgres.source.transactions import NO_MOMENT, Moment, kinds_of
from connectors.postgres.source.tuples import Texts, read_columns, read_rows, read_updates
from connectors.postgres.source.values import Cells
from engine.api.batch import SourceBatch
from engine.api.column import Repeat, StructColumn
from engine.api.errors import DataError
from engine.api.schema import (
    INT64,
    OPTIONAL_INT64,
    OPTIONAL_STRING,
    STRING,
    Schema,
)

__all__ = ["Captured", "Origin", "Recorded", "columns_of_relation", "placeholder_of"]

logger = logging.getLogger(__name__)

INSERT, UPDATE, DELETE, TRUNCATE, READ = "c", "u", "d", "t", "r"
_OPERATIONS = {pgoutput.INSERT: INSERT, pgoutput.UPDATE: UPDATE, pgoutput.DELETE: DELETE}
#: Where in a change it says what the row is that comes first, and where that begins.
FORM_AT, ROW_AT = AT + 5, AT + 6
_form_of = itemgetter(FORM_AT)
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


class Origin(Struct, frozen=True):
    """Whose changes these are."""

    prefix: str
    database: str


class Recorded(NamedTuple):
    """What became of changes."""

    oid: int  # of their table
    batch: SourceBatch
    counts: Sequence[int] | None  # of how many records each change is; None: of one


class _Rows(NamedTuple):
    """Records to be, as rows of text."""

    ops: Sequence[str | None]  # None: a null after a delete
    wholes: Sequence[Texts]  # the columns of rows as they are, or as they were before they went
    olds: Sequence[Row | None] | None  # None: nobody asks for them
    news: Sequence[Row | None] | None  # None: all are there
    moments: Sequence[Moment]
    counts: Sequence[int] | None


class Captured:
    """A table as it is now, and those of its changes that are not records yet."""

    def __init__(
        self, message: RelationMessage, columns: Sequence[Column], settings: ChangesConfig, origin: Origin
    ) -> None:
        """columns: those of the message, in order, with what the catalog knows."""
        self._settings = settings
        self._origin = origin
        self.oid = message.oid
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
        self._skipped = bytes(kind for kind, op in _OPERATIONS.items() if op in settings.skipped)
        self._is_envelope = settings.is_envelope
        self._is_told = False
        self._changes: list[bytes] = []
        self._moments: list[Moment] = []

    def add(self, changes: Sequence[bytes], moments: Sequence[Moment]) -> None:
        """Take inserts, updates and deletes as they were told. moments: of each; nobody looks at those of rows."""
        self._changes += changes
        self._moments += moments

    def truncated(self, moment: Moment, now_ms: int) -> SourceBatch | None:
        """The record of all rows being gone, if there is one. Nothing is collected before it is taken."""
        if TRUNCATE in self._settings.skipped:
            return None
        if not self._is_envelope:
            logger.warning(
                "table %s was truncated, which no record of record.format=row can tell: those who read topic %s still "
                "have its rows", self.target, self.topic,
            )  # fmt: skip
            return None
        values = self._envelopes(_Rows([TRUNCATE], [], None, [None], [moment], None), [], now_ms)
        return SourceBatch(topic=self.topic, values=values, value_schema=self._envelope)

    def recorded(self, now_ms: int) -> Recorded:
        """Everything that was taken, as records in order. Raises DataError for what cannot be read."""
        rows = self._rows(self._changes, self._moments)
        self._changes, self._moments = [], []
        columns = self._read(rows.wholes)
        values: Any = StructColumn(self.schema, columns, len(rows.ops))
        schemas: list[Schema | None] | None = None
        schema, nothing = self.schema, DELETE if not self._is_envelope else None
        if self._is_envelope:
            schema = self._envelope
            values = self._envelopes(rows, columns, now_ms)
        if nothing in rows.ops:
            values = [None if op == nothing else value for op, value in zip(rows.ops, values, strict=True)]
            schemas = [None if op == nothing else schema for op in rows.ops]
        return Recorded(self.oid, self._batch(values, columns, schemas), rows.counts)

    def read(self, cells: Sequence[Cells], count: int, moment: Moment, now_ms: int) -> SourceBatch:
        """Rows that are there, as records: a column of text for each of the table's."""
        columns = [self._column(column, found) for column, found in zip(self._columns, cells, strict=True)]
        if not self._is_envelope:
            return self._batch(StructColumn(self.schema, columns, count), columns)
        rows = StructColumn(self.schema.as_optional(), columns, count)
        source = Repeat(self._source(moment), count)
        told = [Repeat(None, count), rows, source, Repeat(READ, count), Repeat(now_ms, count)]
        return self._batch(StructColumn(self._envelope, told, count), columns)

    def _batch(
        self, values: Sequence[Any], columns: Sequence[Any], schemas: Sequence[Schema | None] | None = None
    ) -> SourceBatch:
        """columns: of the rows, which have the keys. schemas: of the values; None: all have one."""
        keys = None
        if self.key_schema is not None:
            keys = StructColumn(self.key_schema, [columns[at] for at in self._key_places], len(values))
        return SourceBatch(
            topic=self.topic,
            values=values,
            value_schema=self._envelope if self._is_envelope else self.schema,
            keys=keys,
            key_schema=self.key_schema,
            value_schemas=schemas,
        )

    def _rows(self, changes: Sequence[bytes], moments: Sequence[Moment]) -> _Rows:
        """The rows of changes, those that are skipped left out."""
        kinds = kinds_of(changes)
        forms = bytes(map(_form_of, changes))
        # A record each, of one row: the new one, or the one that is gone.
        if all(
            kind not in self._skipped and (form == NEW or (kind == pgoutput.DELETE and not self._is_envelope))
            for kind, form in {*zip(kinds, forms, strict=True)}
        ):
            each_op = [*map(_OPERATIONS.__getitem__, kinds)]
            return _Rows(each_op, read_columns(changes, ROW_AT), None, None, moments, None)
        made: list[tuple[str | None, Row | None, Row | None, Moment]] = []
        counts = []
        each = zip(kinds, _told(changes, kinds, forms), moments or repeat(NO_MOMENT), strict=False)
        for kind, (old, new), moment in each:
            before = len(made)
            if kind not in self._skipped:
                made += [(*one, moment) for one in self._records(_OPERATIONS[kind], old, new)]
            counts.append(len(made) - before)
        ops, olds, news, times = zip(*made, strict=True) if made else ((), (), (), ())
        wholes = [old if new is None else new for old, new in zip(olds, news, strict=True)]
        return _Rows(ops, self._columns_of(wholes), olds, news, times, counts)

    def _records(
        self, op: str, old: Row | None, new: Row | None
    ) -> Iterable[tuple[str | None, Row | None, Row | None]]:
        """The records of a change."""
        gone: list[tuple[str | None, Row | None, Row | None]] = [(DELETE, old, None)]
        if self._is_envelope and self._settings.has_tombstones:
            gone.append((None, old, None))
        if op == DELETE:
            return gone
        if old is not None and new is not None and self._key_of(old) != self._key_of(new):
            return [*gone, (INSERT, None, new)]
        return [(op, old, new)]

    def _key_of(self, row: Row) -> list[bytes | int]:
        return [row[at] for at in self._key_places]

    def _columns_of(self, rows: Sequence[Row | None]) -> Sequence[Texts]:
        """The columns of rows; of one that is None, nulls."""
        if not rows:
            return [[] for _ in self._columns]
        nothing: Row = [NULL] * len(self._columns)
        return [*zip(*[nothing if row is None else row for row in rows], strict=True)]

    def _read(self, texts: Sequence[Texts]) -> list[Any]:
        return [
            self._column(column, self._cells(column, found)) for column, found in zip(self._columns, texts, strict=True)
        ]

    def _cells(self, column: Column, texts: Texts) -> Any:
        """What the column is read from: without letters in the place of texts."""
        if set(map(type, texts)) == {bytes}:
            return texts
        instead: dict[int, bytes | None] = {NULL: None}
        if UNCHANGED in texts:
            instead[UNCHANGED] = self._instead(column)
        return [instead[text] if isinstance(text, int) else text for text in texts]

    def _column(self, column: Column, cells: Cells) -> Any:
        try:
            return column.reading.read(cells)
        except ValueError as error:
            raise DataError(
                f"table {self.target}: column {column.name} ({column.type}) cannot be read: {error}"
            ) from error

    def _instead(self, column: Column) -> bytes | None:
        """What stands for values that the server does not tell."""
        if not self._is_told:
            logger.warning(
                "table %s: the server does not tell large values that an update has not touched, column %s: records "
                "have unavailable.value.placeholder, or null, in their place; ALTER TABLE %s REPLICA IDENTITY FULL",
                self.target, column.name, self.target.sql,
            )  # fmt: skip
        self._is_told = True
        return placeholder_of(column.reading.schema, self._settings.placeholder)

    def _envelopes(self, rows: _Rows, wholes: list[Any], now_ms: int) -> Any:
        """wholes: the columns of `rows.wholes`."""
        count = len(rows.ops)
        columns = [
            Repeat(None, count)
            if rows.olds is None
            else self._optional(rows.olds, self._read(self._columns_of(rows.olds)), count),
            self._optional(rows.news, wholes, count),
            self._sources(rows.moments),
            [op or DELETE for op in rows.ops],
            Repeat(now_ms, count),
        ]
        return StructColumn(self._envelope, columns, count)

    def _optional(self, rows: Sequence[Row | None] | None, columns: list[Any], count: int) -> Sequence[Any]:
        """Values of the rows that are there; None: all are. columns: theirs."""
        values = StructColumn(self.schema.as_optional(), columns, count)
        if rows is None:
            return values
        if all(row is None for row in rows):
            return Repeat(None, count)
        return [None if row is None else value for row, value in zip(rows, values, strict=True)]

    def _sources(self, moments: Iterable[Moment]) -> list[Any]:
        """One for each transaction, shared by its changes."""
        made: dict[int, Any] = {}
        found = []
        for moment in moments:
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


def _told(changes: Sequence[bytes], kinds: bytes, forms: bytes) -> Iterator[tuple[Row | None, Row | None]]:
    """The old and the new row of each change, None for what is not told."""
    # Of one form, all are read at once.
    shapes = bytes(
        0 if form == NEW else 1 if kind == pgoutput.DELETE else 2 for kind, form in zip(kinds, forms, strict=True)
    )
    news = iter(read_rows(_of(changes, shapes, 0), ROW_AT))
    olds = iter(read_rows(_of(changes, shapes, 1), ROW_AT))
    both = iter(read_updates(_of(changes, shapes, 2), ROW_AT))
    for shape in shapes:
        if shape == 0:
            yield None, next(news)
        elif shape == 1:
            yield next(olds), None
        else:
            old, new = next(both)
            if UNCHANGED in new:
                new = [was if text == UNCHANGED and was != NULL else text for was, text in zip(old, new, strict=True)]
            yield old, new


def _of(changes: Sequence[bytes], shapes: bytes, shape: int) -> list[bytes]:
    return [*compress(changes, map(shape.__eq__, shapes))]


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


def _key_places(message: RelationMessage, columns: Sequence[Column]) -> list[int]:
    """Of what an old row is sure to have; with replica identity FULL, that is all."""
    places = {column.key_place: at for at, column in enumerate(columns) if column.key_place}
    if message.identity == "f" and places:
        return [places[place] for place in sorted(places)]
    return [at for at, column in enumerate(message.columns) if column.is_key]


def _is_sure(message: RelationMessage, columns: Sequence[Column]) -> bool:
    """Whether the key's columns are never null: with replica identity FULL and no primary key they may be."""
    return message.identity != "f" or any(column.key_place for column in columns)
