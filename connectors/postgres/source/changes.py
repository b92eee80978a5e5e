"""The task that captures changes: what the slot tells becomes records; what Kafka has, the slot may forget.

    slot ──► B  I U D ...  C ──► collected by table ──► batches, each with where to go on
      ▲                                                     │
      └── confirm ◄── commit: what is stored ◄──────────────┘

Offsets are in positions.py. The server tells a transaction again from its beginning, and what is done of it is left
out. Nothing is confirmed that is not stored. While tables are quiet, a batch without records says how far the server
has looked; so the slot goes on all the same, and one that has gone beyond the offset was moved by somebody else.

Used by: changes_connector.py.
Not here: the protocol (replication.py, pgoutput.py), records (gathering.py, capturing.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from connectors.postgres.addresses import libpq_parameters
from connectors.postgres.config import Target
from connectors.postgres.refusals import StaleError
from connectors.postgres.session import PsycopgSession, connected, driver
from connectors.postgres.source import pgoutput, slots
from connectors.postgres.source.capturing import Captured, Origin, columns_of_relation
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.gathering import Gathered, Offsets
from connectors.postgres.source.history import check_history, check_slot, identity_of
from connectors.postgres.source.pgoutput import RelationMessage, lsn_of
from connectors.postgres.source.positions import LSN, SNAPSHOT, Position, mark_of
from connectors.postgres.source.publications import Publication, is_wanted
from connectors.postgres.source.replication import AT, Changes
from connectors.postgres.source.snapshot import Place, Snapshot, place_of
from connectors.postgres.source.transactions import Mark, Progress, kinds_of
from connectors.postgres.source.values import SESSION
from engine.api.batch import SourceBatch
from engine.api.errors import ConfigError, ConnectError, Problem, RetriableError
from engine.api.task import Polled, SourceTask

__all__ = ["PostgresSourceTask", "partition_of"]

WAIT_SECONDS = 0.5
BATCH_BYTES_MAX = 4 * 1024 * 1024
#: Making a slot waits for the transactions of others; then it is tried again.
STATEMENT_MS = 60_000
GUARD_STATEMENT_MS = 10_000
TABLES_NS = 30_000_000_000
#: What a role or database may have set, and what would end a snapshot or a stream.
_NO_LIMITS = """
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN (
    'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'
)
"""
#: What is no change of rows, nor the beginning or end of a transaction.
_OTHER = re.compile(rb"[^BCIUD]")
#: The end of a bulk run: what was committed before this is waited for.
_NOW = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
            ELSE pg_logical_emit_message(true, 'millrace', 'how far is it?') END::text
"""


def partition_of(settings: ChangesConfig) -> dict[str, str]:
    """The source partition."""
    return {"slot": settings.slot}


class PostgresSourceTask(SourceTask):
    """Captures the changes of one slot."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        time_ns: Callable[[], int] = time.time_ns,
        guard_seconds: float = slots.GUARD_SECONDS,
    ) -> None:
        """guard_seconds: between two looks at how much log the slot keeps."""
        self._monotonic_ns = monotonic_ns
        self._time_ns = time_ns
        self._guard_seconds = guard_seconds
        self._guard: slots.Guard | None = None
        self._changes: Changes | None = None
        self._replication: PsycopgSession | None = None
        self._queries: PsycopgSession | None = None
        self._snapshot: Snapshot | None = None
        self._given: Position | None = None  # where to go on after what was given; None: not known yet
        self._stored: Position | None = None
        self._is_stored_anew = False  # since the server was told
        self._is_due = False  # how far the server has looked is worth an offset
        self._end_lsn: int | None = None  # of a bulk run

    def start(self, config: Mapping[str, str]) -> None:
        driver()
        settings = self._settings = ChangesConfig.parse(config)
        self._name = config.get("name", "postgres")
        self.poll_seconds = 2 * settings.connect_ms / 1000 + STATEMENT_MS / 1000 + 2 * WAIT_SECONDS
        self._partition = partition_of(settings)
        self._publication = Publication(settings, self._name)
        self._status_ns = self._tables_ns = 0
        self._given = self._stored = self.context.offset(self._partition)
        self._forget()
        connect = partial(self._connected, "guard", setup=f"SET statement_timeout = {GUARD_STATEMENT_MS}")
        self._guard = slots.Guard(settings, self._name, connect, self._guard_seconds)
        self._guard.start()

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
            self._is_stored_anew = stored != self._stored
            self._stored = stored

    def stop(self) -> None:
        if self._guard is not None:
            self._guard.stop()
        changes = self._changes
        with suppress(ConnectError):  # then the slot keeps a little more than it has to
            if changes is not None and changes.is_under_way and self._stored is not None:
                changes.confirm(lsn_of(self._stored[LSN]))
        self._close()

    def _forget(self) -> None:
        """Nothing is known of the stream that begins: it tells all tables again."""
        self._tables: dict[int, Captured | None] = {}  # by number; None: changes are left out
        self._messages: dict[int, RelationMessage] = {}
        self._progress = Progress(mark_of(self._given))

    def _open(self) -> None:
        """Begin with the snapshot, or go on with it, or else with the changes."""
        settings = self._settings
        session = self._query()
        self._origin = Origin(settings.topic_prefix, session.rows("SELECT current_database()::text")[0][0])
        replication = self._replication = self._connected("", setup=f"{SESSION}; {_NO_LIMITS}", replication="database")
        self._identity = identity_of(replication)
        if self._given is not None:
            check_history(session, replication, self._identity, self._given, self._name)
        self._publication.see_to(session, is_begun=self._given is not None)
        slot = slots.find_slot(session, settings.slot)
        exported = None
        if slot is None:
            exported = self._make_slot(replication)
        elif slot.fault:
            raise ConfigError([Problem("slot.name", f"slot.name: {settings.slot} {slot.fault}")])
        elif not slot.confirmed:
            raise RetriableError(f"slot {settings.slot} is just being made: it waits for transactions that run now")
        elif self._given is None:
            self._begin_at(slot.confirmed)
        else:
            check_slot(slot, settings.slot, self._given, self._name)
        assert self._given is not None
        if self.context.is_bulk and self._end_lsn is None:
            session.run("SET synchronous_commit = on")
            self._end_lsn = lsn_of(session.rows(_NOW)[0][0])
        if SNAPSHOT in self._given:
            place = place_of(self._given[SNAPSHOT])
            setup = f"{SESSION}; SET lock_timeout = {STATEMENT_MS}; {_NO_LIMITS}"
            connect = partial(self._connected, "copy", setup=setup)
            self._snapshot = Snapshot(connect, settings, self._origin, place, exported)
        else:
            self._forget()
            confirmed = 0 if slot is None else slot.confirmed
            self._changes = Changes(
                replication, settings.slot, settings.publication, lsn_of(self._given[LSN]), confirmed
            )

    def _make_slot(self, replication: PsycopgSession) -> str:
        """Make the slot, and begin at it; returns the name of the snapshot of what was before."""
        if self._given is not None:
            raise ConnectError(
                f"connector {self._name}: the slot {self._settings.slot} is gone, and with it the changes since "
                f"{self._given[LSN]}: forget the connector's offsets to begin anew with a new slot"
            )
        start, exported = slots.make_slot(replication, self._settings.slot, STATEMENT_MS / 1000)
        self._begin_at(start)
        return exported

    def _begin_at(self, lsn: int) -> None:
        self._given = self._identity.position_of(Mark(lsn, 0, 0))
        if self._settings.snapshot == "initial":
            self._given = {**self._given, SNAPSHOT: Place("", 0)._asdict()}

    def _copy(self, snapshot: Snapshot) -> Polled:
        """The next rows of the snapshot."""
        before = self._given
        assert before is not None
        batch = snapshot.take(self._settings.batch_changes, WAIT_SECONDS, self._time_ns() // 1_000_000)
        start = self._identity.position_of(mark_of(before))
        if snapshot.is_over:
            self._given = start
            self._close()
            return None
        after = self._given = {**start, SNAPSHOT: snapshot.place._asdict()}
        if batch is None:
            return None
        batch.source_partition = self._partition
        batch.source_offsets = Offsets(before, after, len(batch))
        return batch

    def _take(self, changes: Changes) -> Polled:
        before = self._given
        messages = changes.take(self._settings.batch_changes, BATCH_BYTES_MAX, WAIT_SECONDS)
        gathered = Gathered(self._time_ns() // 1_000_000, self._progress)
        self._hear(messages, gathered)
        polled = gathered.polled(self._partition, before, self._progress.mark, self._identity)
        if polled is not None:
            self._given = self._identity.position_of(self._progress.mark)
        elif changes.is_over:
            raise RetriableError("the server has ended the stream of changes")
        if self._end_lsn is not None and max(self._progress.mark.boundary, changes.looked) >= self._end_lsn:
            self.context.end()  # others may write for ever
            self._is_due = True
        elif self._end_lsn is not None and not messages and changes.is_under_way:
            changes.confirm(0, wants_answer=True)
        return self._looked(changes) if polled is None and self._is_due else polled

    def _looked(self, changes: Changes) -> Polled:
        """How far the server has looked and had nothing for us: an offset without a record."""
        assert self._given is not None
        self._is_due = False
        place = max(self._progress.mark.boundary, changes.looked)
        if not self._progress.is_between or place <= lsn_of(self._given[LSN]):
            return None
        mark = Mark(place, 0, 0)
        self._progress = Progress(mark)  # else the next offset would be before this one, and before what is confirmed
        self._given = self._identity.position_of(mark)
        return SourceBatch(topic="", values=[], source_partition=self._partition, source_offsets=[self._given])

    def _hear(self, messages: Sequence[bytes], gathered: Gathered) -> None:
        gathered.hear(messages)
        kinds = kinds_of(messages)
        begin = 0
        for other in _OTHER.finditer(kinds):
            self._hear_rows(messages[begin : other.start()], kinds[begin : other.start()], gathered)
            begin = other.end()
            self._hear_other(messages[other.start()], gathered)
        self._hear_rows(messages[begin:], kinds[begin:], gathered)

    def _hear_rows(self, messages: Sequence[bytes], kinds: bytes, gathered: Gathered) -> None:
        if not self._settings.is_envelope:
            gathered.add(self._tables, self._progress.jump(messages, kinds), ())
            return
        pairs = [(message, self._progress.moment) for message in self._progress.steps(messages)]
        gathered.add(self._tables, [message for message, _ in pairs], [moment for _, moment in pairs])

    def _hear_other(self, message: bytes, gathered: Gathered) -> None:
        is_new = self._progress.step(message)
        if message[AT] == pgoutput.RELATION:
            self._learn(pgoutput.read_relation(message, AT))
        elif message[AT] == pgoutput.TRUNCATE and is_new:
            emptied = [self._tables[oid] for oid in pgoutput.read_truncate(message, AT)]
            gathered.truncate([table for table in emptied if table is not None], self._progress.moment)

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

    def _tend(self, changes: Changes) -> None:
        """Tell the server how far it may forget: what is stored, and nothing else."""
        if not changes.is_under_way:
            return
        now_ns = self._monotonic_ns()
        if changes.is_asked or now_ns >= self._status_ns:
            self._is_due = True
        elif not self._is_stored_anew:
            return
        self._is_stored_anew = False
        self._status_ns = now_ns + self._settings.status_ms * 1_000_000
        changes.confirm(0 if self._stored is None else lsn_of(self._stored[LSN]))

    def _watch(self) -> None:
        """Look for tables that have appeared, from time to time. Raises ConnectError for a slot whose log is lost."""
        if self._guard is not None and self._guard.fault:
            raise ConnectError(f"slot {self._settings.slot} {self._guard.fault}")
        now_ns = self._monotonic_ns()
        if now_ns >= self._tables_ns:
            self._tables_ns = now_ns + TABLES_NS
            self._publication.see_to(self._query(), is_begun=True)

    def _query(self) -> PsycopgSession:
        """A session for everything but rows and changes."""
        if self._queries is None or self._queries.is_over:
            self._queries = self._connected("queries", setup=f"{SESSION}; SET statement_timeout = {STATEMENT_MS}")
        return self._queries

    def _connected(self, use: str, *, setup: str, **more: Any) -> PsycopgSession:
        if "," in libpq_parameters(self._settings.url).get("host", ""):
            more["target_session_attrs"] = "read-write"  # the one that is primary now; the URL may say otherwise
        return connected(self._settings, slots.title_of(self._name, use), setup, **more)

    def _close(self) -> None:
        for one in (self._replication, self._queries, self._snapshot):
            if one is not None:
                one.close()
        self._changes = self._replication = self._queries = self._snapshot = None
