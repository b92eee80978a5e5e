"""What a table is like, read from the catalog; tables and columns that are made from a schema.

Used by: lines.py, writing.py, checking.py, offsets.py.
Not here: types (types.py), what is written (writing.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from connectors.postgres.config import Target, literal, quoted
from connectors.postgres.session import Session
from connectors.postgres.types import Kind, default_sql, kind_of_type, sql_type
from engine.api.errors import ConnectError
from engine.api.schema import Schema

__all__ = ["Column", "Field", "Table", "add_columns", "create_table", "lock_sql", "read_table"]

Field = tuple[str, Schema | None]

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory, COALESCE(b.typname, t.typname),
       a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = NULLIF(t.typbasetype, 0)
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
#: Of each index that ON CONFLICT can go by.
_UNIQUE = """
SELECT array_agg(a.attname::text)
FROM pg_index i
JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) ON k.place <= i.indnkeyatts
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""


class Column(Struct, frozen=True):
    """A column of a table that is there."""

    name: str
    type: str  # as `format_type` writes it
    kind: Kind
    is_required: bool  # takes no null
    has_default: bool


class Table(Struct, frozen=True):
    """A table that is there."""

    target: Target
    columns: Mapping[str, Column]
    keys: tuple[frozenset[str], ...]  # the columns of each unique index

    def has_key(self, names: Collection[str]) -> bool:
        """Whether a row is told from all others by these columns, and the server sees to it."""
        return frozenset(names) in self.keys


def read_table(session: Session, target: Target) -> Table | None:
    """The table as it is now; None: there is none, or none that the user may see."""
    found = session.rows(_COLUMNS, target.sql)
    if not found:
        return None
    columns = {
        name: Column(name, type_name, kind_of_type(category, base), is_required, has_default)
        for name, type_name, category, base, is_required, has_default, is_generated in found
        if not is_generated
    }
    keys = tuple(frozenset(names) for (names,) in session.rows(_UNIQUE, target.sql))
    return Table(target, columns, keys)


def create_table(session: Session, target: Target, fields: Sequence[Field], keys: Sequence[str]) -> None:
    """Make a table with these columns, unless somebody else has just made it.

    Raises ConnectError where a field has no schema.
    """
    columns = [_column_sql(name, _schema_of(target, name, schema), name in keys) for name, schema in fields]
    if keys:
        columns.append(f"PRIMARY KEY ({', '.join(map(quoted, keys))})")
    session.run(f"{lock_sql(target)}; CREATE TABLE IF NOT EXISTS {target.sql} ({', '.join(columns)})")


def add_columns(session: Session, target: Target, fields: Sequence[Field]) -> None:
    """Add columns that are not there. Raises ConnectError for one that rows which are there could not have."""
    added = []
    for name, schema in fields:
        known = _schema_of(target, name, schema)
        if not known.optional and known.default is None:
            raise ConnectError(
                f"table {target}: column {name} cannot be added (auto.evolve): the field is neither optional nor has a "
                "default, and rows that are there have no value of it; add the column by hand"
            )
        added.append(f"ADD COLUMN IF NOT EXISTS {_column_sql(name, known, is_key=False)}")
    session.run(f"{lock_sql(target)}; ALTER TABLE {target.sql} {', '.join(added)}")


def lock_sql(target: Target) -> str:
    """Lets one session at a time make or change a table, to the end of its transaction: others wait here."""
    return f"SELECT pg_advisory_xact_lock(hashtext({literal(f'millrace {target}')}))"


def _schema_of(target: Target, name: str, schema: Schema | None) -> Schema:
    if schema is None:
        raise ConnectError(
            f"table {target}: column {name} cannot be made: the records have no schema, so its type is not known; make "
            "it by hand, or use a converter with schemas"
        )
    return schema


def _column_sql(name: str, schema: Schema, is_key: bool) -> str:
    default = default_sql(schema)
    is_required = is_key or not (schema.optional or default)
    return (
        f"{quoted(name)} {sql_type(schema)}{f' DEFAULT {default}' if default else ''}"
        f"{' NOT NULL' if is_required else ''}"
    )
