"""What can be found out before a task starts: whether tables are there, and whether the user may do what it will do.

A server that is away is told within seconds: who writes a configuration hears that its address may be wrong. Where the
connector is known to be good, its task waits for the server (docs/plugin-guide.md, `validate`).

Used by: sink.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from connectors.postgres.addresses import libpq_parameters
from connectors.postgres.config import KAFKA_COLUMNS, PostgresSinkConfig, Target, quoted
from connectors.postgres.session import Session, connect
from connectors.postgres.tables import Table, read_table
from engine.api.errors import ConfigError, Problem, RefusedError

__all__ = ["look", "problems_of"]

#: For all hosts together; libpq gives none of them less than two seconds.
CONNECT_MS_MAX = 8_000
STATEMENT_MS_MAX = 5_000
#: Rights may be granted for columns, but for DELETE.
_TABLE_RIGHTS = """
SELECT CASE r WHEN 'DELETE' THEN has_table_privilege(t, r) ELSE has_any_column_privilege(t, r) END
FROM (SELECT to_regclass(%s)::oid AS t, %s::text AS r) AS asked
"""
_TEMPORARY = "SELECT has_database_privilege(current_database(), 'TEMPORARY'), current_database()"
_OWNED = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)"
_SCHEMA_RIGHTS = """
SELECT n.name, COALESCE(has_schema_privilege(to_regnamespace(quote_ident(n.name)), 'CREATE'), false)
FROM (SELECT COALESCE(%s, current_schema()::text) AS name) AS n
"""


def look(settings: PostgresSinkConfig, topics: Sequence[str]) -> list[Problem]:
    """What is wrong. topics: as tables are named after them; none where that is not known.

    Raises RetriableError for a server that is away, RefusedError for a password of a file, which may hold another soon.
    """
    hosts = libpq_parameters(settings.url).get("host", "").count(",") + 1
    hurried = replace(
        settings,
        connect_ms=min(settings.connect_ms, CONNECT_MS_MAX // hosts),
        statement_ms=min(settings.statement_ms, STATEMENT_MS_MAX),
    )
    try:
        session = connect(hurried, "millrace validation")
    except RefusedError as error:
        if settings.credentials_file is not None:
            raise
        return [Problem("connection.user", str(error))]
    except ConfigError as error:
        return [*error.problems]
    try:
        return [*problems_of(session, settings, topics)]
    finally:
        session.close()


def problems_of(session: Session, settings: PostgresSinkConfig, topics: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with tables and rights."""
    yield from _offsets(session, settings)
    may, database = session.rows(_TEMPORARY)[0]
    if settings.is_ordered and not may:
        yield Problem(
            "connection.user",
            f"the user may not make temporary tables, which upserts and deletes go by: GRANT TEMPORARY ON DATABASE "
            f"{quoted(database)} TO the user",
        )
    for topic in topics:
        yield from _table(session, settings, topic)


def _offsets(session: Session, settings: PostgresSinkConfig) -> Iterator[Problem]:
    target = settings.offsets
    if read_table(session, target) is None:
        yield from _may_create(session, target, "offsets.table")
        return
    for right in ("SELECT", "INSERT", "UPDATE"):
        yield from _may(session, target, right, "offsets.table")


def _table(session: Session, settings: PostgresSinkConfig, topic: str) -> Iterator[Problem]:
    try:
        target = settings.target(topic)
    except ConfigError as error:
        yield Problem("table.name.format", f"topic {topic}: {error}")
        return
    table = read_table(session, target)
    if table is None:
        if settings.auto_create:
            yield from _may_create(session, target, "auto.create")
            return
        text = f"table {target} of topic {topic} is not there; expected it, or auto.create=true, or another name"
        yield Problem("table.name.format", text)
        return
    is_upsert = settings.insert_mode == "upsert"
    rights = ["INSERT", *(["SELECT", "UPDATE"] if is_upsert else [])]
    if settings.delete_enabled:
        rights += ["SELECT", "DELETE"]
    for right in dict.fromkeys(rights):
        yield from _may(session, target, right, "connection.user")
    if settings.auto_evolve and not session.rows(_OWNED, target.sql)[0][0]:
        yield Problem("auto.evolve", f"the user may not add columns to table {target}: expected its owner, or a member")
    yield from _key(settings, topic, table)


def _key(settings: PostgresSinkConfig, topic: str, table: Table) -> Iterator[Problem]:
    target, is_upsert = table.target, settings.insert_mode == "upsert"
    keys = settings.pk_fields or (KAFKA_COLUMNS if settings.pk_mode == "kafka" else ())
    missing = [name for name in keys if name not in table.columns]
    if missing and not settings.auto_evolve:
        text = f"table {target} of topic {topic} has no column {', '.join(missing)}; it has {', '.join(table.columns)}"
        yield Problem("pk.fields", text)
    elif is_upsert and keys and not missing and not table.has_key(keys):
        named = ", ".join(keys)
        text = (
            f"table {target} of topic {topic} has no primary key or unique index of exactly the columns {named}, which "
            "insert.mode=upsert needs"
        )
        yield Problem("pk.fields", text)


def _may(session: Session, target: Target, right: str, key: str) -> Iterator[Problem]:
    if not session.rows(_TABLE_RIGHTS, target.sql, right)[0][0]:
        yield Problem(key, f"the user may not {right} on table {target}: GRANT {right} ON {target.sql} TO the user")


def _may_create(session: Session, target: Target, key: str) -> Iterator[Problem]:
    schema, may = session.rows(_SCHEMA_RIGHTS, target.schema)[0]
    if not may:
        text = f"table {target} is not there, nor may the user make it: expected the right CREATE on schema {schema}"
        yield Problem(key, text)
