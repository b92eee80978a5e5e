"""The publication says which tables' changes are told, and how: looked at, made, kept up with tables that appear.

    publication = Publication(settings, connector)
    publication.see_to(session, is_begun=True)     made, or given the tables that it lacks

A change is told by the publication as it was at the change: one of a table that it lacked then never is.

Used by: changes.py, snapshot.py (what is wanted), slots.py (what is wrong).
Source: PostgreSQL's manual, "CREATE PUBLICATION" and "pg_publication".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from connectors.postgres.config import Target, quoted
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.patterns import is_matched
from connectors.postgres.source.relations import tables_like
from engine.api.errors import ConnectError, Problem, RefusedError

__all__ = ["Publication", "has_identity", "is_wanted", "no_identity", "problems_of_publication", "wanted_tables"]

logger = logging.getLogger(__name__)

#: Tables that have rows of their own, or parts that have.
KINDS = ("r", "p")
_FOUND = "SELECT puballtables, pubinsert, pubupdate, pubdelete FROM pg_publication WHERE pubname = %s"
#: In place of an empty list of patterns.
ALL = (".*",)
#: A table with parts is named itself, or its parts are.
_PUBLISHED = """
SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = %s
UNION SELECT n.nspname::text, c.relname::text
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s
"""
#: Parts that are told by their own names, with the table that they are parts of. Not by `to_regclass`: the server may
#: ask that of all tables before it knows which, and it fails for those in schemas that the user may not look into.
_BY_PARTS = """
SELECT t.schemaname::text, t.tablename::text, n.nspname::text, c.relname::text
FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname
JOIN pg_namespace own ON own.nspname = t.schemaname
JOIN pg_class part ON part.relnamespace = own.oid AND part.relname = t.tablename AND part.relispartition
JOIN pg_class c ON c.oid = pg_partition_root(part.oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s AND NOT p.pubviaroot
"""
_IDENTITY = """
SELECT CASE c.relreplident WHEN 'd' THEN EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
       ELSE c.relreplident <> 'n' END
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
_USER = """
SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_database()), quote_ident(current_user)
"""
#: Or is a member of the role that does.
_OWNS_PUBLICATION = "SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = %s"
_OWNS_TABLE = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)"
#: Rows of a table with parts are told as the table's.
_AS_WHOLE = "WITH (publish_via_partition_root = true)"
_OPERATIONS = {"c": "inserts", "u": "updates", "d": "deletes"}


class Publication:
    """The publication of one connector."""

    def __init__(self, settings: ChangesConfig, connector: str) -> None:
        self._settings = settings
        self._connector = connector
        self._told: set[Target] = set()  # tables that are left out, and were warned of
        self._refused: set[Target] = set()  # tables that appeared, and that the user may not add
        self._is_seen = False

    def see_to(self, session: PsycopgSession, *, is_begun: bool) -> None:
        """See to it that it is there and has the tables. Raises ConnectError with what to do by hand.

        is_begun: something was read before, so that what is there of a table that it gets is not.
        """
        settings = self._settings
        found = session.rows(_FOUND, settings.publication)
        name = quoted(settings.publication)
        if not found and settings.autocreate == "disabled":
            raise ConnectError(_no_publication(settings))
        if not found and settings.autocreate == "all_tables":
            session.run(_for_all_tables(name))
        elif settings.autocreate == "filtered" and not (found and found[0][0]):
            self._complete(session, name, is_there=bool(found), is_begun=is_begun)
        for fault in _faults(session, settings):
            raise ConnectError(fault)
        self._is_seen = True

    def _complete(self, session: PsycopgSession, name: str, *, is_there: bool, is_begun: bool) -> None:
        """Make it, or add what it lacks."""
        candidates = [target for target in _lacking(session, self._settings) if target not in self._refused]
        lacking = self._without_harm(session, candidates)
        tables = ", ".join(target.sql for target in lacking)
        if not is_there and not lacking:
            raise ConnectError(_no_tables(self._settings))
        if not is_there:
            session.run(f"CREATE PUBLICATION {name} FOR TABLE {tables} {_AS_WHOLE}")
        elif lacking:
            try:
                session.run(f"ALTER PUBLICATION {name} ADD TABLE {tables}")
            except RefusedError as error:
                if not self._is_seen:
                    raise
                self._refused.update(lacking)  # somebody else's new table is no reason to stop
                logger.warning(
                    "connector %s does not capture %s: %s", self._connector, ", ".join(map(str, lacking)), error
                )
                return
            if is_begun:
                logger.warning(
                    "connector %s: publication %s has got the tables %s: their changes are captured from now on; rows "
                    "that are there and what has changed until now are not read",
                    self._connector, self._settings.publication, ", ".join(map(str, lacking)),
                )  # fmt: skip

    def _without_harm(self, session: PsycopgSession, tables: Sequence[Target]) -> Sequence[Target]:
        """Those whose updates and deletes PostgreSQL does not refuse once they are published."""
        good = []
        for target in tables:
            if has_identity(session, target):
                good.append(target)
            elif target not in self._told:
                self._told.add(target)
                logger.warning("connector %s leaves out: %s", self._connector, no_identity(target))
        return good


def is_wanted(settings: ChangesConfig, table: Target) -> bool:
    """Whether a table's changes become records."""
    return is_matched(table, settings.included or ALL, settings.excluded)


def wanted_tables(session: PsycopgSession, settings: ChangesConfig) -> Sequence[Target]:
    """The tables that are captured, or would be once they are published."""
    if not settings.included and settings.autocreate == "disabled":
        return [target for target in _published(session, settings) if is_wanted(settings, target)]
    return tables_like(session, settings.included or ALL, settings.excluded, KINDS)


def has_identity(session: PsycopgSession, target: Target) -> bool:
    """Whether a published table may still be updated; one that is gone is no trouble."""
    found = session.rows(_IDENTITY, target.sql)
    return not found or bool(found[0][0])


def no_identity(target: Target) -> str:
    """What to do about a table without."""
    return (
        f"table {target} has no primary key, and PostgreSQL refuses updates and deletes of a published table without: "
        f"ALTER TABLE {target.sql} REPLICA IDENTITY FULL, or give it a key"
    )


def problems_of_publication(session: PsycopgSession, settings: ChangesConfig) -> Iterator[Problem]:
    """What is wrong with it."""
    found = session.rows(_FOUND, settings.publication)
    if settings.included and not wanted_tables(session, settings):
        yield Problem("table.include.list", _no_tables(settings))
    if not found and settings.autocreate == "disabled":
        yield Problem("publication.name", _no_publication(settings))
    if found and settings.autocreate != "filtered" and settings.included and not found[0][0]:
        for target in _lacking(session, settings):
            yield Problem(
                "publication.name",
                f"publication {settings.publication} lacks table {target}: ALTER PUBLICATION "
                f"{quoted(settings.publication)} ADD TABLE {target.sql}, or publication.autocreate.mode=filtered",
            )
    for fault in _faults(session, settings):
        yield Problem("publication.name", fault)
    for lack in _lacking_rights(session, settings):
        yield Problem("publication.autocreate.mode", lack)


def _lacking_rights(session: PsycopgSession, settings: ChangesConfig) -> Iterator[str]:
    """What `see_to` would be refused."""
    found = session.rows(_FOUND, settings.publication)
    may_create, database, user = session.rows(_USER)[0]
    name, mode = quoted(settings.publication), settings.autocreate
    by_others = "and publication.autocreate.mode=disabled"
    if mode == "all_tables" and not found and not _may_make(session, _for_all_tables(name)):
        yield (
            f"the user {user} may not make publication {settings.publication} of all tables, which takes a superuser "
            f"(on managed servers a role of theirs): let one {_for_all_tables(name)}"
        )
    if mode != "filtered" or (found and found[0][0]):
        return
    lacking = [target for target in _lacking(session, settings) if has_identity(session, target)]
    if not found and not may_create:
        yield (
            f"the user {user} may not make publication {settings.publication}: GRANT CREATE ON DATABASE {database} TO "
            f"{user}; or let somebody else make it, {by_others}"
        )
    if found and lacking and not session.rows(_OWNS_PUBLICATION, settings.publication)[0][0]:
        yield (
            f"publication {settings.publication} lacks {', '.join(map(str, lacking))}, and {user} does not own it: "
            f"ALTER PUBLICATION {name} OWNER TO {user}; or let its owner add them, {by_others}"
        )
    for target in lacking:
        if session.rows(_OWNS_TABLE, target.sql) == [(False,)]:
            yield (
                f"the user {user} does not own table {target}, as who publishes it has to: GRANT its owner TO {user}; "
                f"or let somebody else publish it, {by_others}"
            )


def _for_all_tables(name: str) -> str:
    return f"CREATE PUBLICATION {name} FOR ALL TABLES {_AS_WHOLE}"


def _may_make(session: PsycopgSession, statement: str) -> bool:
    """Whether the server lets the user do this, which is undone: managed servers let others than superusers.

    What else keeps it from being done is no right, and told by the task if it is still in the way then.
    """
    session.run("BEGIN")
    try:
        session.run(statement)
    except RefusedError:
        return False
    except ConnectError:
        return True
    finally:
        if not session.is_over:
            session.run("ROLLBACK")
    return True


def _faults(session: PsycopgSession, settings: ChangesConfig) -> Iterator[str]:
    """Changes that somebody else's publication would keep from us without a word."""
    for _, *does in session.rows(_FOUND, settings.publication):
        untold = [
            op for op, is_told in zip(_OPERATIONS, does, strict=True) if not is_told and op not in settings.skipped
        ]
        if untold:
            yield (
                f"publication {settings.publication} does not tell {' and '.join(_OPERATIONS[op] for op in untold)}: "
                f"ALTER PUBLICATION {quoted(settings.publication)} SET (publish = 'insert, update, delete, truncate'), "
                f"or skipped.operations={','.join(untold)}"
            )
    parts = [(Target(*row[:2]), Target(*row[2:])) for row in session.rows(_BY_PARTS, settings.publication)]
    lost = sorted({str(root) for part, root in parts if is_wanted(settings, root) and not is_wanted(settings, part)})
    if lost:
        yield (
            f"publication {settings.publication} tells changes of {', '.join(lost)} by the names of its partitions, "
            f"which table.include.list leaves out: ALTER PUBLICATION {quoted(settings.publication)} SET "
            "(publish_via_partition_root = true)"
        )


def _published(session: PsycopgSession, settings: ChangesConfig) -> set[Target]:
    return {Target(*row) for row in session.rows(_PUBLISHED, settings.publication, settings.publication)}


def _lacking(session: PsycopgSession, settings: ChangesConfig) -> Sequence[Target]:
    published = _published(session, settings)
    return [target for target in wanted_tables(session, settings) if target not in published]


def _no_publication(settings: ChangesConfig) -> str:
    return (
        f"publication {settings.publication} is not there: CREATE PUBLICATION {quoted(settings.publication)} FOR TABLE "
        "..., or publication.autocreate.mode=filtered"
    )


def _no_tables(settings: ChangesConfig) -> str:
    return f"no table matches {','.join(settings.included)} (table.include.list): expected patterns of schema.table"
