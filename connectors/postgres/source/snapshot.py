"""What is in the tables when the slot is made: read by ranges of pages, each by COPY, before the first change.

    CREATE_REPLICATION_SLOT ... EXPORT_SNAPSHOT ──► these transactions see exactly what the slot does not tell
    part a   pages 0-4095   4096-8191 ...           {"lsn": "0/16B3748",
    part b   ...                                     "snapshot": {"part": "public.a", "page": 4096, "file": 16385}}

A part is a table, or a leaf of one with partitions; parts come in the order of their names. Several ranges are read at
once, each by a connection of its own that sees the same: rows are taken of the first as long as it has any ready, and
else of the next. Nothing is read ahead here: what is not taken yet, sockets and server hold.

The offset says which range is the first that is not read wholly. After a crash the exported snapshot is gone: what is
left is read in a later one, and the changes between, which the slot tells all the same, come twice. Rows that have
moved meanwhile are among those changes; but a table that was written anew (VACUUM FULL) has moved all of them without a
word, a change does not tell a large value that it has not touched, and some changes may not be told at all
(`skipped.operations`): such a part is begun anew.

Used by: changes.py.
Source: PostgreSQL's manual, "Snapshot Synchronization Functions" and "CREATE_REPLICATION_SLOT".
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from connectors.postgres.config import Target, literal, quoted
from connectors.postgres.copying import CopyStream
from connectors.postgres.refusals import StaleError
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.capturing import Captured, Origin, columns_of_relation
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import RelationColumn, RelationMessage
from connectors.postgres.source.publications import is_wanted
from connectors.postgres.source.transactions import Moment
from connectors.postgres.source.values import columns_of_block
from engine.api.batch import SourceBatch

__all__ = ["Place", "Snapshot", "place_of"]

#: Of a range: 32 MiB of rows are what is read again after a crash.
RANGE_PAGES = 4096
BATCH_BYTES_MAX = 4 * 1024 * 1024
#: So long each range is asked for rows before the next is.
ASK_SECONDS = 0.001

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
       current_setting('server_version_num')::int >= 140000,
       c.relispartition
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
    is_leaf: bool  # of a table with partitions, among which rows move


class _Range(NamedTuple):
    """Pages of a part."""

    part: _Part
    start: int
    end: int

    @property
    def place(self) -> Place:
        """When it is read."""
        return Place(str(self.part.leaf), None if self.end >= self.part.pages else self.end, self.part.file)

    def copy_sql(self, columns: str) -> str:
        """The statement that reads it."""
        where = f" WHERE ({self.part.told.filter or 'true'})"
        if self.part.has_ranges:
            # The last range has no end: what is behind it is empty, but costs no more.
            end = f" AND ctid < '({self.end},0)'" if self.end < self.part.pages else ""
            where += f" AND ctid >= '({self.start},0)'{end}"
        return f"COPY (SELECT {columns} FROM ONLY {self.part.leaf.sql}{where}) TO STDOUT"


class _Table(NamedTuple):
    captured: Captured
    columns: str  # as SQL names them


class _Reading(Struct):
    """A range that is being read, or is read while one before it is not."""

    range: _Range
    table: _Table
    session: PsycopgSession
    stream: CopyStream
    is_returned: bool = False  # the session, which may read another range by now


class Snapshot:
    """Rows as they were, in transactions of their own."""

    def __init__(
        self,
        connect: Callable[[], PsycopgSession],
        settings: ChangesConfig,
        origin: Origin,
        place: Place,
        name: str | None = None,
    ) -> None:
        """connect: makes the connections, which are closed with it. name: of a snapshot that was exported."""
        self._settings = settings
        self._origin = origin
        self._sessions: list[PsycopgSession] = []
        self._idle: list[PsycopgSession] = []
        self._tables: dict[Target, _Table] = {}
        self._readings: deque[_Reading] = deque()  # in the order of their ranges
        self.place = place
        self.is_over = False
        try:
            self._open(connect, place, name)
        except BaseException:
            self.close()
            raise

    def take(self, count: int, seconds: float, now_ms: int) -> SourceBatch | None:
        """The next rows, without offsets; None: none has come within `seconds`, or it is over."""
        deadline = time.monotonic() + seconds
        while self._begin():
            for reading in self._readings:
                found = 0
                if not reading.stream.is_over:
                    block, found = reading.stream.take_block(count, BATCH_BYTES_MAX, ASK_SECONDS)
                if reading.stream.is_over and not reading.is_returned:
                    reading.is_returned = True
                    self._idle.append(reading.session)
                if found:
                    self._advance()
                    moment = Moment(now_ms, None, None, snapshot="true")
                    return reading.table.captured.read(columns_of_block(block, found), found, moment, now_ms)
            if not self._advance() and not self._wait(deadline - time.monotonic()):
                return None
        self.is_over = True
        return None

    def close(self) -> None:
        """Give the connections back."""
        for session in self._sessions:
            session.close()

    def _open(self, connect: Callable[[], PsycopgSession], place: Place, name: str | None) -> None:
        """Begin the transactions: no more of them than there are ranges."""
        first = self._join(connect(), name)
        parts = [*self._find(first)]  # all at once: each of them is locked from here on
        ranges = [*_ranges(parts, place, self._settings.skipped)]
        self._left = iter(ranges)
        wanted = min(self._settings.snapshot_threads, len(ranges)) - 1
        if wanted > 0:
            name = first.rows("SELECT pg_export_snapshot()")[0][0]
        for _ in range(wanted):
            _lock(self._join(connect(), name), [part.leaf for part in parts])

    def _join(self, session: PsycopgSession, name: str | None) -> PsycopgSession:
        self._sessions.append(session)
        self._idle.append(session)
        session.run(_BEGIN)
        if name is not None:
            session.run(f"SET TRANSACTION SNAPSHOT {literal(name)}")
        return session

    def _begin(self) -> bool:
        """Begin with the next ranges, as many as there are connections; False: all are read."""
        while self._idle and len(self._readings) < len(self._sessions) and (found := next(self._left, None)):
            session = self._idle.pop()
            told = found.part.told
            table = self._tables.get(told.table)
            if table is None:
                table = self._tables[told.table] = self._captured(session, told)
            self._readings.append(_Reading(found, table, session, session.stream(found.copy_sql(table.columns))))
        return bool(self._readings)

    def _advance(self) -> bool:
        """Note what is read of the first ranges; whether there is more of it."""
        is_further = False
        while self._readings and self._readings[0].stream.is_over:
            self.place = self._readings.popleft().range.place
            is_further = True
        return is_further

    def _wait(self, seconds: float) -> bool:
        """Wait for any of the streams; whether there is one."""
        if seconds <= 0:
            return False
        sockets = select.poll()
        for reading in self._readings:
            if not reading.stream.is_over:
                sockets.register(reading.stream.socket, select.POLLIN)
        return bool(sockets.poll(seconds * 1000))

    def _find(self, session: PsycopgSession) -> Iterator[_Part]:
        """The parts in order; nobody writes one of them anew until the transaction ends."""
        published = session.rows(_PUBLISHED, self._settings.publication)
        found = [
            (told, Target(*row))
            for told in (_Told(Target(schema, name), *rest) for schema, name, *rest in published)
            if is_wanted(self._settings, told.table)
            for row in session.rows(_LEAVES, told.table.sql, told.table.sql)
        ]
        if found:
            _lock(session, [leaf for _, leaf in found])
        for told, leaf in sorted(found, key=lambda pair: str(pair[1])):
            rows = session.rows(_PART, leaf.sql)
            if not rows or not rows[0][2]:
                raise StaleError(f"table {leaf} was written anew")
            yield _Part(told, leaf, *rows[0])

    def _captured(self, session: PsycopgSession, told: _Told) -> _Table:
        """The table, as the slot would tell it."""
        table = told.table
        found = session.rows(_TABLE, table.sql)
        if not found:
            raise StaleError(f"table {table} is gone")
        oid, identity = found[0]
        rows = session.rows(_COLUMNS, table.sql)
        columns = tuple(RelationColumn(*row) for row in rows if told.columns is None or row[0] in told.columns)
        message = RelationMessage(oid, table.schema or "", table.table, identity, columns)
        captured = Captured(message, columns_of_relation(session, message), self._settings, self._origin)
        return _Table(captured, ", ".join(quoted(column.name) for column in columns))


def _ranges(parts: Sequence[_Part], place: Place, skipped: Collection[str]) -> Iterator[_Range]:
    """What is left to be read, in order. skipped: kinds of changes, so that rows may have moved without a word."""
    is_begun = bool(place.part)
    for part in parts:
        leaf = str(part.leaf)
        is_anew = is_begun and part.is_leaf and "c" in skipped  # one that moves to another leaf is inserted there
        if not is_anew and (leaf < place.part or (leaf == place.part and place.page is None)):
            continue
        has_moved = is_anew or part.has_untold or "u" in skipped
        goes_on = leaf == place.part and part.file == place.file and not has_moved
        start = place.page or 0 if goes_on else 0
        for begin in range(start, part.pages, RANGE_PAGES if part.has_ranges else max(1, part.pages)):
            yield _Range(part, begin, min(begin + RANGE_PAGES, part.pages) if part.has_ranges else part.pages)


def _lock(session: PsycopgSession, leaves: Sequence[Target]) -> None:
    """Nobody changes tables, or writes them anew, until the transaction ends."""
    names = ", ".join(f"ONLY {leaf.sql}" for leaf in leaves)
    session.run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
