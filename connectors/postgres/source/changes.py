"""The task that captures changes: what the slot tells becomes records; what Kafka has, the slot may forget.

    slot ──► B  I U D ...  C ──► collected by table ──► batches, each with where to go on
      ▲                                                     │
      └── confirm ◄── commit: what is stored ◄──────────────┘

An offset is the place behind the last transaction that is whole, and how far the next one is:

    {"lsn": "0/16B3748"}                                         begin with the next transaction
    {"lsn": "0/16B3748", "commit": "0/16B4000", "change": 3}     of the one that commits there, three are done

The server tells a transaction again from its beginning, and what is done of it is left out. Nothing is confirmed that
is not stored; when all that was given is stored, so is what lay between, and the slot goes on however quiet its tables
are.

Used by: changes_connector.py.
Not here: the protocol (replication.py, pgoutput.py), records (capturing.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, overload

from connectors.postgres.addresses import libpq_parameters
from connectors.postgres.config import Target
from connectors.postgres.refusals import StaleError
from connectors.postgres.session import PsycopgSession, connected, driver
from connectors.postgres.source import pgoutput, slots
from connectors.postgres.source.capturing import Captured, Moment, Origin, columns_of_relation, records_of
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import RelationMessage, lsn_of, lsn_text
from connectors.postgres.source.publications import Publication, is_wanted
from connectors.postgres.source.replication import AT, Changes
from connectors.postgres.source.snapshot import Place, Snapshot, place_of
from connectors.postgres.source.values import SESSION
from engine.api.batch import SourceBatch
from engine.api.errors import ConfigError, ConnectError, Problem, RetriableError
from engine.api.task import Polled, SourceTask

__all__ = ["PostgresSourceTask", "check_offset", "partition_of"]

LSN, COMMIT, CHANGE, SNAPSHOT = "lsn", "commit", "change", "snapshot"
Position = Mapping[str, Any]

WAIT_SECONDS = 0.5
BATCH_BYTES_MAX = 4 * 1024 * 1024
#: Making a slot waits for the transactions of others; then it is tried again.
STATEMENT_MS = 60_000
GUARD_NS = 30_000_000_000
#: What a role or database may have set, and what would end a snapshot or a stream.
_NO_LIMITS = """
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN (
    'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'
)
"""
_OPERATIONS = {pgoutput.INSERT: "c", pgoutput.UPDATE: "u", pgoutput.DELETE: "d"}
#: The end of a bulk run: what was committed before this is waited for.
_NOW = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
            ELSE pg_logical_emit_message(true, 'millrace', 'how far is it?') END::text
"""
#: How far the server's log goes; nothing behind it was ever told by this server.
_LOG_END = """
SELECT CASE WHEN pg_is_in_recovery() THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END::text
"""


def partition_of(settings: ChangesConfig) -> dict[str, str]:
    """The source partition."""
    return {"slot": settings.slot}


def check_offset(offset: Position) -> None:
    """Raises ConnectError for what this connector would not store."""
    is_good = {LSN} <= set(offset) <= {LSN, COMMIT, CHANGE, SNAPSHOT} and isinstance(offset.get(CHANGE, 0), int)
    try:
        places = [lsn_of(str(offset[name])) for name in (LSN, COMMIT) if name in offset]
        if SNAPSHOT in offset:
            place_of(offset[SNAPSHOT])
    except ValueError:
        places = []
    if not is_good or not places:
        raise ConnectError(
            f'offset {dict(offset)}: expected null or {{"lsn": "0/16B3748"}}, a place in the log as PostgreSQL writes '
            "it"
        )


class PostgresSourceTask(SourceTask):
    """Captures the changes of one slot."""

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, time_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._time_ns = time_ns
        self._changes: Changes | None = None
        self._replication: PsycopgSession | None = None
        self._queries: PsycopgSession | None = None
        self._copying: PsycopgSession | None = None
        self._snapshot: Snapshot | None = None
        self._given: Position | None = None  # where to go on after what was given; None: not known yet
        self._emitted: Position | None = None  # of the last record: when it is stored, all is
        self._stored: Position | None = None
        self._end_lsn: int | None = None  # of a bulk run

    def start(self, config: Mapping[str, str]) -> None:
        driver()
        settings = self._settings = ChangesConfig.parse(config)
        self._name = config.get("name", "postgres")
        self.poll_seconds = 2 * settings.connect_ms / 1000 + STATEMENT_MS / 1000 + 2 * WAIT_SECONDS
        self._partition = partition_of(settings)
        self._guard = slots.Guard(settings, self._name)
        self._publication = Publication(settings, self._name)
        self._status_ns = self._guard_ns = 0
        self._given = self._emitted = self._stored = self.context.offset(self._partition)
        self._forget()

    def poll(self) -> Polled:
        try:
            if self._changes is None and self._snapshot is None:
                self._open()
            self._watch()
            if self._snapshot is not None:
                return self._copy(self._snapshot)
            assert self._changes is not None
            self._tend(self._changes)
            return self._take(self._changes)  # last: what was taken is given, whatever happens then
        except StaleError as error:
            self._close()
            raise RetriableError(f"a table has just changed, and is read anew: {error}") from error
        except BaseException:
            self._close()
            raise

    def commit(self) -> None:
        stored = self.context.offset(self._partition)
        if stored is not None:
            self._stored = stored

    def stop(self) -> None:
        changes = self._changes
        with suppress(ConnectError):  # then the slot keeps a little more than it has to
            if changes is not None and changes.is_under_way:
                self._confirm(changes)
        self._close()

    def _forget(self) -> None:
        """Nothing is known of the stream that begins: it tells all tables again."""
        self._tables: dict[int, Captured | None] = {}  # by number; None: changes are left out
        self._messages: dict[int, RelationMessage] = {}
        self._boundary = 0  # all that was committed before it was given
        self._commit = 0  # of the transaction that is told now
        self._count = 0  # of its changes
        self._skip = (0, 0)  # of the transaction that commits there, so many were given before
        self._moment = Moment(0, None, None)

    def _open(self) -> None:
        """Begin with the snapshot, or go on with it, or else with the changes."""
        settings = self._settings
        session = self._query()
        self._origin = Origin(settings.topic_prefix, session.rows("SELECT current_database()::text")[0][0])
        self._publication.see_to(session, is_begun=self._given is not None)
        slot = slots.find_slot(session, settings.slot)
        exported = None
        if slot is None:
            exported = self._make_slot()
        elif slot.fault:
            raise ConfigError([Problem("slot.name", f"slot.name: {settings.slot} {slot.fault}")])
        elif not slot.confirmed:
            raise RetriableError(f"slot {settings.slot} is just being made: it waits for transactions that run now")
        elif self._given is None:
            self._begin_at(slot.confirmed)
        assert self._given is not None
        self._refuse_another_history(session, self._given)
        if self.context.is_bulk and self._end_lsn is None:
            session.run("SET synchronous_commit = on")
            self._end_lsn = lsn_of(session.rows(_NOW)[0][0])
        if SNAPSHOT in self._given:
            place = place_of(self._given[SNAPSHOT])
            self._copying = self._connected("copy", setup=f"{SESSION}; SET lock_timeout = {STATEMENT_MS}; {_NO_LIMITS}")
            self._snapshot = Snapshot(self._copying, settings, self._origin, place, exported)
        else:
            self._stream(self._given)

    def _refuse_another_history(self, session: PsycopgSession, given: Position) -> None:
        """The server would leave out without a word what is before a place that it has not reached."""
        end = session.rows(_LOG_END)[0][0]
        if end is not None and lsn_of(given[LSN]) > lsn_of(end):
            raise ConnectError(
                f"connector {self._name}: the offset {given[LSN]} is behind the end of the server's log, {end}: it is "
                "of another history (a backup, a failover that has lost transactions), and changes would be left out: "
                "forget the connector's offsets to begin anew"
            )

    def _make_slot(self) -> str:
        """Make the slot, and begin at it; returns the name of the snapshot of what was before."""
        if self._given is not None:
            raise ConnectError(
                f"connector {self._name}: the slot {self._settings.slot} is gone, and with it the changes since "
                f"{self._given[LSN]}: forget the connector's offsets to begin anew with a new slot"
            )
        self._replication = self._for_replication()
        start, exported = slots.make_slot(self._replication, self._settings.slot, STATEMENT_MS / 1000)
        self._begin_at(start)
        return exported

    def _begin_at(self, lsn: int) -> None:
        first: dict[str, Any] = {LSN: lsn_text(lsn)}
        if self._settings.snapshot == "initial":
            first[SNAPSHOT] = Place("", 0)._asdict()
        self._given = self._emitted = self._stored = first

    def _stream(self, given: Position) -> None:
        self._forget()
        self._boundary = lsn_of(given[LSN])
        self._skip = (lsn_of(given.get(COMMIT, "0/0")), given.get(CHANGE, 0))
        if self._replication is None or self._replication.is_over:
            self._replication = self._for_replication()
        self._changes = Changes(self._replication, self._settings.slot, self._settings.publication, self._boundary)

    def _copy(self, snapshot: Snapshot) -> Polled:
        """The next rows of the snapshot."""
        before = self._given
        assert before is not None
        batch = snapshot.take(self._settings.batch_changes, WAIT_SECONDS, self._time_ns() // 1_000_000)
        if snapshot.is_over:
            self._given = {LSN: before[LSN]}
            self._close()
            return None
        after = {LSN: before[LSN], SNAPSHOT: snapshot.place._asdict()}
        self._given = after
        if batch is None:
            return None
        batch.source_partition = self._partition
        batch.source_offsets = _Offsets(before, after, len(batch), None)
        self._emitted = after
        return batch

    def _take(self, changes: Changes) -> Polled:
        before = self._given
        messages = changes.take(self._settings.batch_changes, BATCH_BYTES_MAX, WAIT_SECONDS)
        gathered = _Gathered(self._time_ns() // 1_000_000)
        for message in messages:
            self._hear(message, gathered)
        polled = gathered.polled(self._partition, before, self._position())
        if polled is not None:
            self._given = self._emitted = self._position()
        elif changes.is_over:
            raise RetriableError("the server has ended the stream of changes")
        if self._end_lsn is not None:
            if max(self._boundary, changes.looked) >= self._end_lsn:
                self.context.end()  # others may write for ever
            elif not messages and changes.is_under_way:
                changes.confirm(0, wants_answer=True)
        return polled

    def _hear(self, message: bytes, gathered: _Gathered) -> None:
        kind = message[AT]
        operation = _OPERATIONS.get(kind)
        if operation is not None:
            self._count += 1
            if self._count <= self._skip[1] and self._commit == self._skip[0]:
                return
            change = pgoutput.read_change(message, AT)
            table = self._tables[change.oid]
            if table is not None:
                gathered.add(table, table.add(operation, change, self._moment), self._place)
        elif kind == pgoutput.BEGIN:
            self._commit, commit_ms, transaction = pgoutput.read_begin(message, AT)
            self._count = 0
            self._moment = Moment(commit_ms, transaction, self._commit)
        elif kind == pgoutput.COMMIT:
            self._boundary = pgoutput.read_commit(message, AT)
            self._commit = self._count = 0
        elif kind == pgoutput.RELATION:
            self._learn(pgoutput.read_relation(message, AT))
        elif kind == pgoutput.TRUNCATE:
            self._count += 1
            if self._count <= self._skip[1] and self._commit == self._skip[0]:
                return
            emptied = [self._tables[oid] for oid in pgoutput.read_truncate(message, AT)]
            gathered.truncate([table for table in emptied if table is not None], self._moment)

    def _learn(self, message: RelationMessage) -> None:
        """Note what a table is like from here on."""
        if self._messages.get(message.oid) == message:
            return
        self._messages[message.oid] = message
        if not is_wanted(self._settings, Target(message.schema, message.table)):
            self._tables[message.oid] = None
            return
        columns = columns_of_relation(self._query(), message)
        self._tables[message.oid] = Captured(message, columns, self._settings, self._origin)

    @property
    def _place(self) -> tuple[int, int, int]:
        return self._boundary, self._commit, self._count

    def _position(self) -> Position:
        return position_of(self._place)

    def _tend(self, changes: Changes) -> None:
        """Tell the server how far it may forget."""
        now_ns = self._monotonic_ns()
        if changes.is_under_way and (changes.is_asked or now_ns >= self._status_ns):
            self._confirm(changes)
            self._status_ns = now_ns + self._settings.status_ms * 1_000_000

    def _watch(self) -> None:
        """Look at how much the server keeps, and for tables that have appeared, from time to time."""
        now_ns = self._monotonic_ns()
        if now_ns >= self._guard_ns:
            self._guard_ns = now_ns + GUARD_NS
            self._guard.look(self._query())
            self._publication.see_to(self._query(), is_begun=True)

    def _confirm(self, changes: Changes) -> None:
        if self._stored == self._emitted:
            changes.confirm(max(self._boundary, changes.looked))
        else:
            changes.confirm(lsn_of(self._stored[LSN]) if self._stored is not None else 0)

    def _query(self) -> PsycopgSession:
        """A session for everything but rows and changes."""
        if self._queries is None or self._queries.is_over:
            self._queries = self._connected("queries", setup=f"{SESSION}; SET statement_timeout = {STATEMENT_MS}")
        return self._queries

    def _for_replication(self) -> PsycopgSession:
        return self._connected("", setup=f"{SESSION}; {_NO_LIMITS}", replication="database")

    def _connected(self, use: str, *, setup: str, **more: Any) -> PsycopgSession:
        if "," in libpq_parameters(self._settings.url).get("host", ""):
            more["target_session_attrs"] = "read-write"  # the one that is primary now; the URL may say otherwise
        return connected(self._settings, slots.title_of(self._name, use), setup, **more)

    def _close(self) -> None:
        for session in (self._replication, self._queries, self._copying):
            if session is not None:
                session.close()
        self._changes = self._replication = self._queries = self._snapshot = self._copying = None


Mark = tuple[int, int, int]


def position_of(place: Mark) -> Position:
    """The offset of a place: behind which transaction, which one follows, how many of its changes are done."""
    boundary, commit, count = place
    if not count:
        return {LSN: lsn_text(boundary)}
    return {LSN: lsn_text(boundary), COMMIT: lsn_text(commit), CHANGE: count}


class _Gathered:
    """The records of one poll: by table, since those of one topic alone have an order that anybody sees."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._tables: dict[int, Captured] = {}  # those with records, in the order of their first
        self._places: list[Mark] = []  # of each record
        self._last: Mark | None = None
        self._batches: list[SourceBatch] = []
        self._has_nulls = False

    def add(self, table: Captured, count: int, place: Mark) -> None:
        """So many records of a change were added to a table."""
        if not count:
            return
        self._tables.setdefault(id(table), table)
        # A change of two records is done with the second.
        self._places += [self._last or _NOWHERE] * (count - 1)
        self._places.append(place)
        self._last = place

    def truncate(self, tables: Sequence[Captured], moment: Moment) -> None:
        """What was gathered comes first."""
        self._finish()
        self._batches += filter(None, (table.truncated(moment, self._now_ms) for table in tables))

    def polled(self, partition: Mapping[str, Any], before: Position | None, after: Position) -> Polled:
        """Everything, with offsets: of each record where there is one table, else of the last one alone."""
        self._finish()
        if not self._batches:
            return None
        last = self._batches[-1]
        last.source_partition = partition
        places = self._places if len(self._batches) == 1 and len(self._places) == len(last) else None
        last.source_offsets = _Offsets(before, after, len(last), places)
        if not self._has_nulls:
            return self._batches
        return [record for batch in self._batches for record in records_of(batch)]

    def _finish(self) -> None:
        for table in self._tables.values():
            self._has_nulls = self._has_nulls or table.has_nulls
            self._batches.append(table.batch(self._now_ms))
        self._tables.clear()


#: Before the first change of a batch.
_NOWHERE: Mark = (0, 0, 0)


class _Offsets(Sequence["Position | None"]):
    """Where to go on after each record, made when it is looked at."""

    def __init__(self, before: Position | None, after: Position, count: int, places: Sequence[Mark] | None) -> None:
        """places: of each record; None: only what is before the first and after the last is known."""
        self._before = before
        self._after = after
        self._count = count
        self._places = places

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Position | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Position | None]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        if index in (-1, self._count - 1):
            return self._after
        if self._places is None or self._places[index] is _NOWHERE:
            return self._before
        return position_of(self._places[index])
