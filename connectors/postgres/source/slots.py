"""The replication slot: looked at, made, watched. It keeps the log from where we are on, however long we are away.

A slot that nobody reads keeps the log until the disk is full; `Guard` warns before it is, from a thread of its own: a
task is not polled while Kafka takes nothing, which is when the log grows.

Used by: changes.py, changes_connector.py.
Not here: which tables (publications.py).
Source: PostgreSQL's manual, "pg_replication_slots".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from msgspec import Struct

from connectors.postgres.config import Target, quoted
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.capturing import placeholder_of
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.pgoutput import lsn_of
from connectors.postgres.source.publications import (
    has_identity,
    no_identity,
    problems_of_publication,
    wanted_tables,
)
from connectors.postgres.source.relations import columns_of_types
from engine.api.errors import ConnectError, Problem

__all__ = [
    "Guard",
    "Slot",
    "find_slot",
    "make_slot",
    "problems_of",
    "title_of",
]

logger = logging.getLogger(__name__)

_SLOT = """
SELECT slot_type, plugin, database, active, COALESCE(wal_status, ''), safe_wal_size,
       confirmed_flush_lsn::text, pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
       )::bigint,
       COALESCE((SELECT application_name FROM pg_stat_activity a WHERE a.pid = s.active_pid), ''), current_database()
FROM pg_replication_slots s WHERE slot_name = %s
"""
#: Who may replicate on Amazon's servers has no such attribute, and is a member of a role.
_SERVER = """
SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int,
       (SELECT count(*) FROM pg_replication_slots)::int,
       COALESCE((SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), false)
           OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER')),
       current_user::text
"""
_MAY_READ = "SELECT COALESCE(has_table_privilege(to_regclass(%s), 'SELECT'), true)"
#: Columns that may be stored outside of their row; an old row of identity FULL has them all the same.
_LARGE = """
SELECT a.attname::text, a.atttypid::bigint, a.atttypmod FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.oid = to_regclass(%s) AND c.relkind = 'r' AND c.relreplident <> 'f' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' AND a.attstorage IN ('x', 'e')
ORDER BY a.attnum
"""
#: Of what the server may keep, so little left is too little.
SAFE_BYTES_MIN = 256 * 1024**2
#: How often it is looked, and how long a look may hold up a stop.
GUARD_SECONDS = 30.0
STOP_SECONDS = 2.0
MIB = 1024**2


class Slot(Struct, frozen=True):
    """A slot that is there."""

    kind: str
    plugin: str | None
    database: str | None
    is_active: bool
    wal_status: str  # empty: an old server does not say
    safe_bytes: int | None  # how much more log may be written before it is lost; None: no end
    confirmed: int
    kept_bytes: int  # of log
    user: str  # the application that reads it
    here: str  # the database of the connection

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty: it can."""
        if self.kind != "logical" or self.plugin != "pgoutput":
            return f"is a {self.kind} slot of {self.plugin or 'no plugin'}; expected a logical one of pgoutput"
        if self.database != self.here:
            return f"is of the database {self.database}; expected one of {self.here}"
        if self.wal_status == "lost":
            return (
                "has lost log that it needs (max_slot_wal_keep_size): changes are gone. Drop it by "
                "SELECT pg_drop_replication_slot(...), forget the connector's offsets, and begin anew"
            )
        return ""


def find_slot(session: PsycopgSession, name: str) -> Slot | None:
    """The slot as it is now."""
    found = session.rows(_SLOT, name)
    if not found:
        return None
    kind, plugin, database, active, status, safe, confirmed, kept, *rest = found[0]
    return Slot(kind, plugin, database, active, status, safe, lsn_of(confirmed) if confirmed else 0, kept or 0, *rest)


def make_slot(session: PsycopgSession, name: str, seconds: float) -> tuple[int, str]:
    """Make the slot; returns from where on it has changes, and the name of a snapshot of what was before.

    session: for replication; the snapshot is there until something else is done with it. Waits for transactions that
    run now, and raises RetriableError after `seconds`.
    """
    statement = f"CREATE_REPLICATION_SLOT {quoted(name)} LOGICAL pgoutput EXPORT_SNAPSHOT"
    ((_, start, snapshot, _),) = session.awaited(statement, seconds)
    return lsn_of(start or ""), snapshot or ""


def problems_of(session: PsycopgSession, settings: ChangesConfig, connector: str) -> Iterator[Problem]:
    """What is wrong with the server, the slot, the publication and the tables."""
    level, slots_max, slots, may_replicate, user = session.rows(_SERVER)[0]
    if level != "logical":
        text = (
            f"wal_level of the server is {level}; expected logical: ALTER SYSTEM SET wal_level = logical, and a restart"
        )
        yield Problem("connection.url", text)
    if not may_replicate:
        yield Problem("connection.user", f"the user {user} may not replicate: ALTER ROLE {quoted(user)} REPLICATION")
    slot = find_slot(session, settings.slot)
    if slot is None and slots >= slots_max:
        text = f"there are {slots} replication slots of {slots_max}: drop one, or raise max_replication_slots"
        yield Problem("slot.name", text)
    elif slot is not None and slot.fault:
        yield Problem("slot.name", f"slot.name: {settings.slot} {slot.fault}")
    elif slot is not None and slot.is_active and slot.user != title_of(connector):
        text = (
            f"slot.name: {settings.slot} is in use by {slot.user or 'somebody'}: expected a slot of the connector's own"
        )
        yield Problem("slot.name", text)
    yield from problems_of_publication(session, settings)
    for target in wanted_tables(session, settings):
        yield from _table(session, settings, target)


def title_of(connector: str, use: str = "") -> str:
    """How a connector's connections are called; that of the changes has no use besides."""
    return " ".join(filter(None, (f"millrace {connector}"[:50], use)))


class Guard:
    """Warns of a slot that keeps much of the server's log, again when it is twice as much; has a thread, once started.

    fault: why the slot is of no use any more; empty: it is, or nobody knows.
    """

    def __init__(
        self,
        settings: ChangesConfig,
        connector: str,
        connect: Callable[[], PsycopgSession],
        seconds: float = GUARD_SECONDS,
    ) -> None:
        """connect: makes a connection for each look, of which none is kept. seconds: between two looks."""
        self._slot = settings.slot
        self._connector = connector
        self._connect = connect
        self._seconds = seconds
        self._first_bytes = settings.warn_bytes
        self._next_bytes = settings.warn_bytes
        self._is_told = False
        self._told_faults: set[type[Exception]] = set()  # of our own
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slot", daemon=True)
        self.fault = ""

    def start(self) -> None:
        """Look now, and again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                # A server that is away is told by the task, which waits for it.
                with suppress(ConnectError), closing(self._connect()) as session:
                    self._look(session)
            except Exception as error:  # nobody else looks: the next time may go well
                if type(error) not in self._told_faults:
                    self._told_faults.add(type(error))
                    text = "connector %s: slot %s cannot be looked at, to see how much log it keeps; tried again"
                    logger.warning(text, self._connector, self._slot, exc_info=True)
            self._stopped.wait(self._seconds)

    def _look(self, session: PsycopgSession) -> None:
        slot = find_slot(session, self._slot)
        if slot is None:
            return
        if slot.fault:
            if not self.fault:
                logger.warning("connector %s: slot %s %s", self._connector, self._slot, slot.fault)
            self.fault = slot.fault
            return
        is_short = slot.wal_status == "unreserved" or (slot.safe_bytes is not None and slot.safe_bytes < SAFE_BYTES_MIN)
        if is_short and not self._is_told:
            logger.warning(
                "connector %s: the server may soon drop log that slot %s needs: %d MiB are kept, %d MiB more may be "
                "written (max_slot_wal_keep_size): see why records are not taken",
                self._connector, self._slot, slot.kept_bytes // MIB, max(0, slot.safe_bytes or 0) // MIB,
            )  # fmt: skip
        self._is_told = is_short
        if self._first_bytes and slot.kept_bytes >= self._next_bytes:
            logger.warning(
                "connector %s: the server keeps %d MiB of its log for slot %s: its disk may fill; a transaction is "
                "long, or records are not taken",
                self._connector, slot.kept_bytes // MIB, self._slot,
            )  # fmt: skip
            self._next_bytes = 2 * slot.kept_bytes
        elif slot.kept_bytes < self._first_bytes:
            self._next_bytes = self._first_bytes


def _table(session: PsycopgSession, settings: ChangesConfig, target: Target) -> Iterator[Problem]:
    if settings.snapshot == "initial" and not session.rows(_MAY_READ, target.sql)[0][0]:
        yield Problem(
            "table.include.list",
            f"the user may not SELECT from table {target}: GRANT SELECT ON {target.sql} TO the user, or "
            "snapshot.mode=no_data",
        )
    if not has_identity(session, target):
        yield Problem("table.include.list", no_identity(target))
    if "u" not in settings.skipped:
        yield from _large(session, settings, target)


def _large(session: PsycopgSession, settings: ChangesConfig, target: Target) -> Iterator[Problem]:
    """Columns in which a null would stand for a value that is not told, as if it were one."""
    columns = session.rows(_LARGE, target.sql)
    types = columns_of_types(session, [column[1:] for column in columns]) if columns else []
    untold = [
        f"{column[0]} ({name})"
        for column, (name, reading) in zip(columns, types, strict=True)
        if placeholder_of(reading.schema, settings.placeholder) is None
    ]
    if untold:
        yield Problem(
            "table.include.list",
            f"table {target}: of a large value that an update has not touched the server does not tell what it is, and "
            f"nothing but null could stand for it in {', '.join(untold)}: ALTER TABLE {target.sql} REPLICA IDENTITY "
            "FULL, or skipped.operations=u",
        )
