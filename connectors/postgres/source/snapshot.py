"""What is in the tables when the slot is made: read by ranges of pages, each by COPY, before the first change.

    CREATE_REPLICATION_SLOT ... EXPORT_SNAPSHOT ──► this transaction sees exactly what the slot does not tell
    part a   pages 0-4095   4096-8191 ...           {"lsn": "0/16B3748",
    part b   ...                                     "snapshot": {"part": "public.a", "page": 4096, "file": 16385}}

A part is a table, or a leaf of one with partitions; parts come in the order of their names. After a crash the exported
snapshot is gone: what is left is read in a later one, and the changes between, which the slot tells all the same, come
twice. Rows that have moved meanwhile are among those changes; but a table that was written anew (VACUUM FULL) has moved
all of them without a word, and a change does not tell a large value that it has not touched: such a part is begun anew.

Used by: changes.py.
Source: PostgreSQL's manual, "Snapshot Synchronization Functions" and "CREATE_REPLICATION_SLOT".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectors.postgres.config import Target, literal, quoted
from connectors.postgres.refusals import StaleError
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.capturing import Captured, Origin, columns_of_relation
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import RelationColumn, RelationMessage
from connectors.postgres.source.publications import is_wanted
from connectors.postgres.source.transactions import Moment
from connectors.postgres.source.values import columns_of_copy
from engine.api.batch import SourceBatch

__all__ = ["Place", "Snapshot", "place_of"]

#: Of a range: 32 MiB of rows are what is read again after a crash.
RANGE_PAGES = 4096
BATCH_BYTES_MAX = 4 * 1024 * 1024

_BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: With the columns and rows that are told from version 15 on; null: all.
_PUBLISHED = """
SELECT schemaname::text, tablename::text, to_jsonb(t) -> 'attnames', to_jsonb(t) ->> 'rowfilter'
FROM pg_publication_tables t WHERE pubname = %s
"""
#: The leaves of a table with partitions, or the table itself; those of other servers have no pages here.
_LEAVES = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.oid IN (
    SELECT to_regclass(%s) UNION SELECT relid FROM pg_partition_tree(to_regclass(%s)) WHERE isleaf
)
"""
#: The columns of pg_class are as the snapshot sees them, what functions say is as it is now. Ranges of pages are found
#: without reading the others from version 14 on.
_PART = """
SELECT (pg_relation_size(c.oid) / current_setting('block_size')::int)::bigint,
       pg_relation_filenode(c.oid)::bigint,
       c.relfilenode = pg_relation_filenode(c.oid),
       c.relreplident <> 'f' AND COALESCE(pg_relation_size(NULLIF(c.reltoastrelid, 0)) > 0, false),
       current_setting('server_version_num')::int >= 140000
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
_TABLE = "SELECT oid::bigint, relreplident::text FROM pg_class WHERE oid = to_regclass(%s)"
#: As the slot tells a table: without columns that are computed from others.
_COLUMNS = """
SELECT a.attname::text, CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE EXISTS (
    SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
) END, a.atttypid::bigint, a.atttypmod
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.oid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""


class Place(NamedTuple):
    """How far it is: of this part the pages before this one are read."""

    part: str
    page: int | None  # None: all
    file: int = 0  # where the part's rows were: another one has them in other pages


def place_of(stored: object) -> Place:
    """A place as an offset has it. Raises ValueError for what is none."""
    match stored:
        case {"part": str(part), "page": int() | None as page, "file": int(file), **more} if not more:
            return Place(part, page, file)
    raise ValueError(f"{stored} is no place in a snapshot")


class _Told(NamedTuple):
    """What of a table the publication tells."""

    table: Target
    columns: Sequence[str] | None
    filter: str | None


class _Part(NamedTuple):
    told: _Told
    leaf: Target
    pages: int
    file: int
    is_as_seen: bool  # not written anew since the snapshot
    has_untold: bool  # large values that changes may leave out
    has_ranges: bool


class Snapshot:
    """Rows as they were, in a transaction of their own."""

    def __init__(
        self, session: PsycopgSession, settings: ChangesConfig, origin: Origin, place: Place, name: str | None = None
    ) -> None:
        """session: for nothing else until it is over. name: of a snapshot that was exported."""
        self._session = session
        self._settings = settings
        self._origin = origin
        self.place = place
        session.run(_BEGIN)
        if name is not None:
            session.run(f"SET TRANSACTION SNAPSHOT {literal(name)}")
        self._parts = iter([*self._find()])  # all at once: each of them is locked from here on
        self._part: _Part | None = None
        self._table: Captured | None = None
        self._stream: Any = None
        self._range_end = 0
        self.is_over = False

    def take(self, count: int, seconds: float, now_ms: int) -> SourceBatch | None:
        """The next rows, without offsets; None: none has come within `seconds`, or it is over."""
        if self._stream is None and not self._begin():
            self.is_over = True
            self._session.run("COMMIT")
            return None
        assert self._table is not None
        assert self._part is not None
        rows = self._stream.take(count, BATCH_BYTES_MAX, seconds)
        if self._stream.is_over:
            self._stream = None
            is_read = self._range_end >= self._part.pages
            self.place = Place(str(self._part.leaf), None if is_read else self._range_end, self._part.file)
        if not rows:
            return None
        moment = Moment(now_ms, None, None, snapshot="true")
        return self._table.read(columns_of_copy(rows), len(rows), moment, now_ms)

    def _begin(self) -> bool:
        """Begin with the next range; False: there is none."""
        while self._part is None or self._range_end >= self._part.pages:
            part = next(self._parts, None)
            if part is None:
                return False
            leaf = str(part.leaf)
            if leaf < self.place.part or (leaf == self.place.part and self.place.page is None):
                continue
            goes_on = leaf == self.place.part and part.file == self.place.file and not part.has_untold
            self._range_end = self.place.page or 0 if goes_on else 0
            self._part = part
            if self._range_end < part.pages:
                self._table = self._captured(part.told)
        assert self._table is not None
        start = self._range_end
        self._range_end = min(start + RANGE_PAGES, self._part.pages) if self._part.has_ranges else self._part.pages
        columns = ", ".join(quoted(column.name) for column in self._message.columns)
        # The last range has no end: what is behind it is empty, but costs no more.
        end = f" AND ctid < '({self._range_end},0)'" if self._range_end < self._part.pages else ""
        range_sql = f"ctid >= '({start},0)'{end}" if self._part.has_ranges else "true"
        where = f" WHERE ({self._part.told.filter or 'true'}) AND {range_sql}"
        self._stream = self._session.stream(f"COPY (SELECT {columns} FROM ONLY {self._part.leaf.sql}{where}) TO STDOUT")
        return True

    def _find(self) -> Iterator[_Part]:
        """The parts in order; nobody writes one of them anew until the transaction ends."""
        published = self._session.rows(_PUBLISHED, self._settings.publication)
        found = [
            (told, Target(*row))
            for told in (_Told(Target(schema, name), *rest) for schema, name, *rest in published)
            if is_wanted(self._settings, told.table)
            for row in self._session.rows(_LEAVES, told.table.sql, told.table.sql)
        ]
        if found:
            names = ", ".join(f"ONLY {leaf.sql}" for _, leaf in found)
            self._session.run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        for told, leaf in sorted(found, key=lambda pair: str(pair[1])):
            rows = self._session.rows(_PART, leaf.sql)
            if not rows or not rows[0][2]:
                raise StaleError(f"table {leaf} was written anew")
            yield _Part(told, leaf, *rows[0])

    def _captured(self, told: _Told) -> Captured:
        """The table, as the slot would tell it."""
        table = told.table
        found = self._session.rows(_TABLE, table.sql)
        if not found:
            raise StaleError(f"table {table} is gone")
        oid, identity = found[0]
        rows = self._session.rows(_COLUMNS, table.sql)
        columns = tuple(RelationColumn(*row) for row in rows if told.columns is None or row[0] in told.columns)
        self._message = RelationMessage(oid, table.schema or "", table.table, identity, columns)
        return Captured(self._message, columns_of_relation(self._session, self._message), self._settings, self._origin)
