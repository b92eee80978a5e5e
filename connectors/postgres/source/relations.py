"""What a table, a view or a query gives: its columns, how they are read, what tells its rows apart.

Used by: passes.py, polling.py, polling_connector.py, capturing.py, slots.py.
Not here: the tables of the sink (connectors.postgres.tables).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from connectors.postgres.config import Target
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.patterns import is_matched
from connectors.postgres.source.values import Reading, reading_of
from engine.api.errors import ConfigError, Problem
from engine.api.schema import Schema

__all__ = [
    "Column",
    "Relation",
    "columns_of_types",
    "key_places",
    "relation_of_query",
    "relation_of_table",
    "tables_like",
]

#: A domain is read as what it is made of.
_TYPES = """
WITH RECURSIVE base (place, oid, modifier) AS (
    SELECT * FROM unnest(%s::int[], %s::bigint[]::oid[], %s::int[])
    UNION ALL
    SELECT base.place, t.typbasetype, CASE WHEN t.typtypmod = -1 THEN base.modifier ELSE t.typtypmod END
    FROM base JOIN pg_type t ON t.oid = base.oid WHERE t.typtype = 'd'
)
SELECT base.place, format_type(base.oid, base.modifier)
FROM base JOIN pg_type t ON t.oid = base.oid WHERE t.typtype <> 'd'
"""
_TABLE = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind IN ('r', 'm') AND NOT c.relhassubclass
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""
_COLUMNS = """
SELECT a.attname::text, a.atttypid::bigint, a.atttypmod, a.attnotnull, COALESCE(
    (SELECT k.place FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
     WHERE i.indrelid = a.attrelid AND i.indisprimary AND k.attnum = a.attnum AND k.place <= i.indnkeyatts), 0),
    a.attidentity <> '' OR COALESCE(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%', false)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_LIKE = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = ANY(%s) AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%%'
ORDER BY 1, 2
"""


class Column(Struct, frozen=True):
    """A column, and how it is read."""

    name: str
    type: str  # as `format_type` writes it, of what a domain is made of
    reading: Reading
    is_required: bool = False  # holds no null
    key_place: int = 0  # in the primary key, from 1; 0: it is not in it
    counts_up: bool = False  # a new row gets the next number

    @property
    def schema(self) -> Schema:
        """Of its values."""
        return self.reading.schema if self.is_required else self.reading.schema.as_optional()


class Relation(Struct, frozen=True):
    """A table, view or query."""

    target: Target | None  # None: a query
    columns: tuple[Column, ...]
    schema: Schema  # of a row
    has_places: bool = False  # whether a row is told from all others by its ctid
    oid: int = 0

    @property
    def key(self) -> tuple[Column, ...]:
        """The primary key's columns, in its order."""
        found = [column for column in self.columns if column.key_place]
        return tuple(sorted(found, key=lambda column: column.key_place))

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)


def relation_of_table(session: PsycopgSession, target: Target, zone: str = "UTC") -> Relation | None:
    """The table or view as it is now; None: there is none. zone: as for `reading_of`."""
    found = session.rows(_TABLE, target.sql)
    if not found:
        return None
    oid, schema, name, has_places = found[0]
    rows = session.rows(_COLUMNS, oid)
    readings = columns_of_types(session, [row[1:3] for row in rows], zone)
    columns = tuple(
        Column(row[0], type_name, reading, *row[3:]) for row, (type_name, reading) in zip(rows, readings, strict=True)
    )
    return Relation(Target(schema, name), columns, _schema(columns, name), has_places, oid)


def relation_of_query(session: PsycopgSession, query: str, zone: str = "UTC") -> Relation:
    """What a query gives. Raises the errors of refusals.py for one that does not work."""
    described = session.described(query)
    readings = columns_of_types(session, [(oid, modifier) for _, oid, modifier in described], zone)
    names = [name for name, _, _ in described]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError([Problem("query", f"query gives two columns {twice}: expected a name of its own for each")])
    columns = tuple(
        Column(name, type_name, reading) for (name, _, _), (type_name, reading) in zip(described, readings, strict=True)
    )
    return Relation(None, columns, _schema(columns, None))


def columns_of_types(
    session: PsycopgSession, types: Sequence[tuple[int, int]], zone: str = "UTC"
) -> list[tuple[str, Reading]]:
    """The name of each type, given by number and modifier, and how it is read; one that is gone is read as text."""
    places = [*range(len(types))]
    names = dict(session.rows(_TYPES, places, [oid for oid, _ in types], [modifier for _, modifier in types]))
    return [(name, reading_of(name, zone)) for name in (names.get(place, "text") for place in places)]


def key_places(session: PsycopgSession, oid: int) -> dict[str, int]:
    """The columns of a table's primary key, with their places in it, from 1."""
    return {row[0]: row[4] for row in session.rows(_COLUMNS, oid) if row[4]}


def tables_like(
    session: PsycopgSession, included: Sequence[str], excluded: Sequence[str], kinds: Sequence[str]
) -> list[Target]:
    """Tables whose `schema.table` is matched wholly by one of the patterns `included`, and by none of `excluded`.

    kinds: letters of pg_class.relkind.
    """
    found = [Target(schema, name) for schema, name in session.rows(_LIKE, [*kinds])]
    return [target for target in found if is_matched(target, included, excluded)]


def _schema(columns: Sequence[Column], name: str | None) -> Schema:
    fields: dict[str, Any] = {column.name: column.schema for column in columns}
    return Schema.struct(fields, name=name)
