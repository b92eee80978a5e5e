"""What a table is, whether a mapping fits it, and how it is made from the schemas of records.

Used by: changes.py, plans.py, rights.py, sink.py, writer.py.
Not here: how its types are encoded (codecs.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from connectors.cassandra.codecs import Codec, UnsupportedTypeError, UserType, codec_of
from connectors.cassandra.columns import Shaped, fields_of, schema_at
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.link import LinkPort
from connectors.cassandra.mapping import Path, TableMapping
from engine.api.errors import DataError, Problem
from engine.api.schema import Schema

__all__ = [
    "Table",
    "add_column",
    "check_tables",
    "create_table",
    "has_keyspace",
    "misfits",
    "missing",
    "quoted",
    "read_table",
    "targets_for",
    "type_for",
    "views_of",
]

_COLUMNS = (
    "SELECT column_name, kind, position, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"
)
_TYPES = "SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = %s"
_TABLES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
_VIEW = "SELECT view_name FROM system_schema.views WHERE keyspace_name = %s AND view_name = %s"
_VIEWS = "SELECT view_name, base_table_name FROM system_schema.views WHERE keyspace_name = %s"
_KEYSPACE = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"
_NAMES_SHOWN_MAX = 20


class Table(Struct, frozen=True):
    """A table as it is now."""

    keyspace: str
    name: str
    columns: Mapping[str, str]  # their types as CQL has them
    partition_key: tuple[str, ...]
    clustering: tuple[str, ...]
    user_types: Mapping[str, UserType] = {}
    is_view: bool = False

    @property
    def place(self) -> str:
        """Its name in messages."""
        return f"{self.keyspace}.{self.name}"

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Its columns, the partition key first."""
        return self.partition_key + self.clustering

    @property
    def quoted(self) -> str:
        """Its name in CQL."""
        return f"{quoted(self.keyspace)}.{quoted(self.name)}"

    def codec(self, column: str) -> Codec:
        """How a column is written. Raises DataError where it cannot be."""
        cql = self.columns[column]
        try:
            if cql.startswith("list<"):
                raise UnsupportedTypeError(  # noqa: TRY301  told as the codec's own
                    f"it is a {cql}, of which Cassandra keeps the elements of a record that comes twice twice; "
                    f"make it a frozen<{cql}>, or a set"
                )
            return codec_of(cql, self.user_types)
        except UnsupportedTypeError as error:
            raise DataError(f"{self.keyspace}.{self.name}: column {column} cannot be written: {error}") from None


def quoted(name: str) -> str:
    """A name in CQL, exactly as it is."""
    return '"' + name.replace('"', '""') + '"'


def read_table(link: LinkPort, keyspace: str, name: str) -> Table | None:
    """A table as Cassandra describes it now; None: there is none."""
    found = link.rows(_COLUMNS, (keyspace, name))
    if not found:
        return None

    def of_kind(kind: str) -> tuple[str, ...]:
        return tuple(row[0] for row in sorted((row for row in found if row[1] == kind), key=lambda row: int(row[2])))

    user_types = {row[0]: UserType(tuple(row[1]), tuple(row[2])) for row in link.rows(_TYPES, (keyspace,))}
    columns = {row[0]: row[3] for row in found}
    is_view = bool(link.rows(_VIEW, (keyspace, name)))
    return Table(keyspace, name, columns, of_kind("partition_key"), of_kind("clustering"), user_types, is_view)


def check_tables(link: LinkPort, mappings: Sequence[TableMapping], settings: CassandraSinkConfig) -> list[Problem]:
    """What of the tables does not fit what is to be written into them."""
    problems = []
    for mapping in mappings:
        table = read_table(link, mapping.keyspace, mapping.table)
        if table is None:
            if not (settings.create_tables and has_keyspace(link, mapping.keyspace)):
                problems.append(Problem(mapping.key("mapping"), missing(link, mapping)))
            continue
        told = misfits(mapping, table, may_add=settings.add_columns)
        problems += [Problem(mapping.key("mapping"), reason) for reason in told]
    return problems


def views_of(link: LinkPort, keyspace: str, table: str) -> list[str]:
    """The materialized views that are made of a table."""
    return [row[0] for row in link.rows(_VIEWS, (keyspace,)) if row[1] == table]


def has_keyspace(link: LinkPort, name: str) -> bool:
    """Whether there is a keyspace of this name."""
    return bool(link.rows(_KEYSPACE, (name,)))


def missing(link: LinkPort, mapping: TableMapping) -> str:
    """That a table is not there, and what is."""
    if not has_keyspace(link, mapping.keyspace):
        return f"there is no keyspace {mapping.keyspace}; create it, or name another (names are as CQL shows them)"
    names = sorted(row[0] for row in link.rows(_TABLES, (mapping.keyspace,)))
    shown = ", ".join(names[:_NAMES_SHOWN_MAX]) or "none"
    return (
        f"keyspace {mapping.keyspace} has no table {mapping.table}; create it, or set create.tables=true where records "
        f"have schemas; there are: {shown}"
    )


def misfits(mapping: TableMapping, table: Table, *, may_add: bool) -> list[str]:
    """What of a mapping does not fit its table. may_add: a column that is missing can be added."""
    if table.is_view:
        return [f"{mapping.name} is a materialized view, into which nobody writes; expected the table it is made of"]
    told = []
    columns = [entry.column for entry in mapping.entries]
    for name in columns:
        if name not in table.columns:
            if not may_add:
                shown = ", ".join(table.columns)
                told.append(f"{mapping.name} has no column {name}; expected one of {shown}, or add.columns=true")
            continue
        try:
            table.codec(name)
        except DataError as error:
            told.append(str(error))
    counters = [name for name, cql in table.columns.items() if cql == "counter" and name not in columns]
    if counters:
        told.append(
            f"{mapping.name} is a table of counters ({', '.join(counters)}), which add: a record that comes twice "
            "would count twice"
        )
    if not mapping.stars:
        told += [
            f"{mapping.name}: nothing goes into column {name} of the primary key ({', '.join(table.primary_key)})"
            for name in table.primary_key
            if name not in columns
        ]
    return told


def targets_for(mapping: TableMapping, records: Shaped) -> dict[str, Path]:
    """Which column is to get what, of records of this shape; whether a table has it or not."""
    found = {entry.column: entry.path for entry in mapping.entries}
    for root in mapping.stars:
        for name in fields_of(records, root):
            found.setdefault(name, Path(root, (name,)))
    return found


def create_table(mapping: TableMapping, targets: Mapping[str, Path], records: Shaped) -> str:
    """The statement that makes a table for records of this shape. Raises DataError."""
    key = mapping.primary_key
    partition = key.partition if key else tuple(name for name, path in targets.items() if path.root == "key")
    clustering = key.clustering if key else ()
    for name in (*partition, *clustering):
        if name not in targets:
            raise DataError(f"{mapping.key('primaryKey')} names {name}, into which nothing goes")
    if not partition:
        raise DataError(
            f"{mapping.name} cannot be made: nothing is taken from the key", expected=mapping.key("primaryKey")
        )
    columns = [f"{quoted(name)} {_type_at(mapping, name, path, records)}" for name, path in targets.items()]
    of_key = [f"({', '.join(map(quoted, partition))})", *map(quoted, clustering)]
    place = f"{quoted(mapping.keyspace)}.{quoted(mapping.table)}"
    return f"CREATE TABLE IF NOT EXISTS {place} ({', '.join(columns)}, PRIMARY KEY ({', '.join(of_key)}))"


def add_column(mapping: TableMapping, name: str, path: Path, records: Shaped) -> str:
    """The statement that adds a column for a part of records. Raises DataError."""
    place = f"{quoted(mapping.keyspace)}.{quoted(mapping.table)}"
    return f"ALTER TABLE {place} ADD {quoted(name)} {_type_at(mapping, name, path, records)}"


_ALONE = {"timestamp": "timestamp", "topic": "text", "partition": "int", "offset": "bigint"}
_TYPES_OF = {
    "INT8": "tinyint",
    "INT16": "smallint",
    "INT32": "int",
    "INT64": "bigint",
    "FLOAT32": "float",
    "FLOAT64": "double",
    "BOOLEAN": "boolean",
    "STRING": "text",
    "BYTES": "blob",
}


def _type_at(mapping: TableMapping, name: str, path: Path, records: Shaped) -> str:
    if path.root in _ALONE:
        return _ALONE[path.root]
    schema = schema_at(records, path)
    if schema is None:
        raise DataError(
            f"{mapping.name} has no column {name}, and {path} has no schema that tells its type; add the column"
        )
    try:
        return type_for(schema)
    except DataError as error:
        raise DataError(f"{mapping.name}: column {name} for {path} cannot be made: {error}") from None


def type_for(schema: Schema) -> str:
    """The type of CQL for values of a schema. Raises DataError where there is none."""
    if schema.logical is not None:
        return schema.logical.lower()  # decimal, date, time, timestamp: they are called the same
    if schema.type == "ARRAY" and schema.value_schema is not None:
        return f"frozen<list<{type_for(schema.value_schema)}>>"
    if schema.type == "MAP" and schema.value_schema is not None and schema.key_schema is not None:
        return f"frozen<map<{type_for(schema.key_schema)}, {type_for(schema.value_schema)}>>"
    found = _TYPES_OF.get(schema.type)
    if found is None:
        raise DataError(f"there is no type of CQL for a {schema.type}; make the type and the column yourself")
    return found
