"""A group becomes rows of its table, within the transaction of its batch.

    insert     lines ──► COPY into the table, which has the first of them while the next are made
    upsert     the last line of each key ──► COPY into the staging table ──► INSERT ... SELECT ... ON CONFLICT DO UPDATE
    deletes    lines, numbered, those to be deleted marked ──► COPY ──► DELETE, INSERT the last of each key
    refused    back to the savepoint ──► all lines, numbered, in halves (halving.py)

The staging table is temporary, of this session, one for each table: the same columns without constraints, emptied by
each commit. Keys are compared as text where that is enough; where two of them are one to the server (case, padding,
1 and 1.0), the server compares them (numbered lines).

Used by: sink.py.
Not here: columns (rows.py), text (texts.py), what a table has (tables.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress

from msgspec import Struct

from connectors.postgres.config import PostgresSinkConfig, Target, quoted
from connectors.postgres.halving import write_but_refused
from connectors.postgres.refusals import DUPLICATE_KEY_IN_BATCH, RowError, StaleError
from connectors.postgres.rows import Group
from connectors.postgres.session import Session
from connectors.postgres.tables import Field, Table, add_columns, create_table, read_table
from connectors.postgres.texts import block_of, lines_of, texts_of
from connectors.postgres.types import connect_words, schema_of_type
from engine.api.column import Column, Repeat, has_null
from engine.api.errors import ConnectError, DataError

__all__ = ["Refused", "Writer", "merge_sql", "numbered_sql"]

#: Columns of the staging table beside those of its table.
AT = "__millrace_at"
GONE = "__millrace_gone"
SAVEPOINT = "millrace"
#: So many rows become lines at a time.
PART = 1000


class Refused(Struct, frozen=True):
    """A record that is no row of its table."""

    index: int  # in the batch
    target: Target
    column: str  # empty: not known
    error: DataError
    expected: str = ""  # of the column


class _Lines(Struct):
    """The rows of a group as text."""

    rows: list[int] = []  # their numbers in the group
    texts: list[str] = []
    keys: list[tuple[str, ...]] = []  # of each; empty where the group has no key


class Writer:
    """Writes to the tables of one connection."""

    def __init__(self, session: Session, settings: PostgresSinkConfig) -> None:
        self.session = session
        self._settings = settings
        self._tables: dict[Target, Table] = {}
        self._staging: dict[Target, str] = {}
        self._made = 0  # staging tables
        self._used: set[str] = set()  # staging tables with rows of this transaction
        self._is_marked = False  # the savepoint stands where we are

    def forget_tables(self) -> None:
        """Look at every table again."""
        self._tables.clear()
        for target in [*self._staging]:
            self._drop_staging(target)

    def prepare(self, groups: Iterable[Group]) -> list[Group]:
        """Have the tables as the groups need them, before the transaction; returns what is to be written.

        That is the groups, with what is wrong with their records as their `error`; deletes that went with them go alone
        then.
        Raises ConnectError where no record could be written.
        """
        prepared = [one for group in groups for one in self._prepared(group)]
        for group in prepared:
            self._have_staging(group)  # now that no table is made or changed any more
        return prepared

    def _prepared(self, group: Group) -> list[Group]:
        if group.error is None:
            self._fit(group)
        if group.error is None or group.gone is None or group.is_delete or not group.names:
            return [group]
        rows, deletes = group.split()
        return [rows, *self._prepared(deletes)]

    def _fit(self, group: Group) -> None:
        """Have the table; what is wrong with the group's records is its `error`."""
        table = self._tables.get(group.target)
        if table is None or not table.columns.keys() >= {*group.names}:
            table = self._looked_at(group)
        if table is None or group.error is not None:
            return
        is_upsert = self._settings.insert_mode == "upsert"
        if is_upsert and not group.is_delete and not table.has_key(group.keys):
            keys = ", ".join(map(quoted, group.keys))
            raise ConnectError(
                f"table {group.target} has no primary key or unique index of exactly the columns {keys}, which "
                f"insert.mode=upsert needs: ALTER TABLE {group.target.sql} ADD PRIMARY KEY ({keys}), or other pk.fields"
            )

    def _is_merged(self, group: Group) -> bool:
        return self._settings.insert_mode == "upsert" or group.gone is not None

    def _have_staging(self, group: Group) -> None:
        target = group.target
        if (
            target in self._staging
            or target not in self._tables
            or group.error is not None
            or not self._is_merged(group)
        ):
            return
        self._made += 1
        name = quoted(f"millrace_staging_{self._made}")
        self.session.run(
            f"CREATE TEMPORARY TABLE {name} ON COMMIT DELETE ROWS AS "
            f"SELECT *, 0::bigint AS {AT}, false AS {GONE} FROM {target.sql} WITH NO DATA"
        )
        self._staging[target] = name

    def begin(self, advance: str, *, is_strict: bool = False) -> int:
        """Begin a transaction by a statement; returns how many rows that has changed.

        is_strict: what constraints have to say, they say at once, not at the commit.
        """
        strict = "SET CONSTRAINTS ALL IMMEDIATE; " if is_strict else ""
        self._used.clear()
        changed = self.session.run(f"BEGIN; {strict}{advance}; SAVEPOINT {SAVEPOINT}")[-2]
        self._is_marked = True
        return changed

    def check_constraints(self) -> None:
        """Have those that wait for the commit say now what they have to say. Raises RowError."""
        self.session.run("SET CONSTRAINTS ALL IMMEDIATE")

    def commit(self) -> None:
        """End it."""
        self.session.run("COMMIT")

    def roll_back(self) -> None:
        """End it as if it had not been; whatever that meets, the session is of no use then."""
        if self.session.is_over:
            return
        try:
            self.session.run("ROLLBACK")
        except ConnectError:
            self.session.close()

    def write(self, group: Group) -> list[Refused]:
        """Write a group that is prepared; returns which of its records are no rows."""
        if group.error is not None:
            return [Refused(index, group.target, "", group.error) for index in group.indexes]
        table = self._tables.get(group.target)
        if table is None:
            return []  # rows are to be deleted from a table that is not there yet
        refused: list[Refused] = []
        lines = _Lines()
        parts = _parts(group, table, lines, refused)
        for at, error in self._written(group, lines, parts):
            column = table.columns.get(error.column)
            expected = f"{column.type} ({connect_words(schema_of_type(column.type))})" if column is not None else ""
            refused.append(Refused(group.indexes[lines.rows[at]], group.target, error.column, error, expected))
        return refused

    def _written(self, group: Group, lines: _Lines, parts: Iterator[Sequence[str]]) -> list[tuple[int, RowError]]:
        if not self._is_merged(group):
            return self._inserted(group, lines, parts)
        deque(parts, maxlen=0)
        return self._merged(group, lines) if lines.texts else []

    def _inserted(self, group: Group, lines: _Lines, parts: Iterator[Sequence[str]]) -> list[tuple[int, RowError]]:
        copy = f"COPY {group.target.sql} ({_list(group.names)}) FROM STDIN"
        try:
            self._attempt(lambda: self._copy(copy, parts))
        except RowError as error:
            deque(parts, maxlen=0)  # those that were not asked for
            self._check_table(group.target)

            def insert(begin: int, end: int) -> None:
                self._attempt(lambda: self._copy(copy, [lines.texts[begin:end]]))

            return write_but_refused(len(lines.texts), insert, error)
        return []

    def _merged(self, group: Group, lines: _Lines) -> list[tuple[int, RowError]]:
        staging = self._staging[group.target]
        count = len(lines.texts)
        gone = ["f"] * count if group.gone is None else ["t" if group.gone[row] else "f" for row in lines.rows]
        copy = f"COPY {staging} ({_list(group.names)}, {AT}, {GONE}) FROM STDIN"
        merge = numbered_sql(group, staging)

        def numbered(begin: int, end: int) -> None:
            texts = [f"{text}\t{at}\t{gone[at]}" for at, text in enumerate(lines.texts[begin:end], begin)]
            self._attempt(lambda: self._stage(staging, copy, texts, merge))

        try:
            if group.gone is None:
                try:
                    self._upsert(group, staging, lines)
                    return []
                except RowError as error:
                    if error.code != DUPLICATE_KEY_IN_BATCH:
                        raise
            numbered(0, count)
        except RowError as error:
            self._check_table(group.target)
            return write_but_refused(count, numbered, error)
        return []

    def _check_table(self, target: Target) -> None:
        """Before any row is blamed. Raises StaleError where the table is not what it was."""
        if read_table(self.session, target) != self._tables[target]:
            raise StaleError(f"table {target} was changed while rows were written to it")

    def _upsert(self, group: Group, staging: str, lines: _Lines) -> None:
        last = dict(zip(lines.keys, range(len(lines.keys)), strict=True))
        texts = lines.texts if len(last) == len(lines.texts) else [lines.texts[at] for at in sorted(last.values())]
        copy = f"COPY {staging} ({_list(group.names)}) FROM STDIN"
        self._attempt(lambda: self._stage(staging, copy, texts, merge_sql(group, staging)))

    def _stage(self, staging: str, copy: str, texts: Sequence[str], merge: str) -> None:
        if staging in self._used:
            self.session.run(f"DELETE FROM {staging}")
        self._copy(copy, [texts])
        self.session.run(merge)
        self._used.add(staging)

    def _copy(self, statement: str, parts: Iterable[Sequence[str]]) -> None:
        self.session.copy(statement, map(_block, filter(None, parts)))

    def _attempt(self, call: Callable[[], None]) -> None:
        """Do it, or leave the transaction as it was before. Raises RowError."""
        if not self._is_marked:
            self.session.run(f"RELEASE SAVEPOINT {SAVEPOINT}; SAVEPOINT {SAVEPOINT}")
        self._is_marked = False
        try:
            call()
        except RowError:
            self.session.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            self._is_marked = True
            raise

    def _looked_at(self, group: Group) -> Table | None:
        """The table as it is now, or is made; None where there is nothing that rows could be deleted from."""
        target, settings = group.target, self._settings
        fields = [*zip(group.names, group.schemas, strict=True)]
        table = read_table(self.session, target)
        if table is None:
            if group.is_delete and settings.auto_create:
                return None
            if not settings.auto_create:
                raise ConnectError(
                    f"table {target} is not there, or not to be seen by the user: make it, set auto.create=true, or "
                    "name another (table.name.format, topic.to.table.map)"
                )
            create_table(self.session, target, fields, group.keys)
            table = read_table(self.session, target)
        elif (
            settings.auto_evolve and (missing := _missing(fields, table)) and all(one[1] is not None for one in missing)
        ):
            add_columns(self.session, target, missing)
            table = read_table(self.session, target)
        if table is None:
            raise ConnectError(f"table {target} was made and is gone again")
        if missing := _missing(fields, table):
            names = ", ".join(name for name, _ in missing)
            group.error = DataError(
                f"the table has no column {names}",
                expected="fields that are columns; auto.evolve=true adds them where "
                "records have schemas, fields.whitelist leaves them out",
            )
        if table != self._tables.get(target):
            self._drop_staging(target)
        self._tables[target] = table
        return table

    def _drop_staging(self, target: Target) -> None:
        name = self._staging.pop(target, None)
        if name is not None:
            self.session.run(f"DROP TABLE IF EXISTS {name}")


def _parts(group: Group, table: Table, lines: _Lines, refused: list[Refused]) -> Iterator[Sequence[str]]:
    """The lines of a group, part by part: once one is asked for, `lines` has it too, and `refused` its bad rows."""
    columns = [column if isinstance(column, Repeat | list | tuple) else [*column] for column in group.columns]
    for begin in range(0, len(group.indexes), PART):
        yield _part(group, [column[begin : begin + PART] for column in columns], begin, table, lines, refused)


def _part(
    group: Group, columns: Sequence[Column], begin: int, table: Table, lines: _Lines, refused: list[Refused]
) -> Sequence[str]:
    """The lines of rows from `begin` on, but for those that cannot be written as text, or have no key."""
    bad: dict[int, Refused] = {}
    for name, column in zip(group.keys, columns, strict=False):
        if has_null(column):
            error = DataError("null in a column of the key", expected="a value; a row is told by it")
            nulls = [row for row, value in enumerate(column) if value is None]
            bad |= {row: Refused(group.indexes[begin + row], group.target, name, error) for row in nulls}
    made: list[Sequence[str]] = []
    for name, column, schema in zip(group.names, columns, group.schemas, strict=True):
        kind = table.columns[name].kind
        inner = schema.value_schema if schema is not None and schema.type == "ARRAY" else schema
        logical = None if inner is None else inner.logical
        try:
            made.append(texts_of(column, kind, logical))
        except DataError:
            one_by_one: list[str] = []
            for row, value in enumerate(column):
                try:
                    one_by_one += texts_of([value], kind, logical)
                except DataError as error:
                    one_by_one.append("")
                    bad[row] = Refused(group.indexes[begin + row], group.target, name, error)
            made.append(one_by_one)
    texts = lines_of(made)
    keys = [*zip(*made[: len(group.keys)], strict=True)] if group.keys else []
    rows = [*range(begin, begin + len(texts))]
    if bad:
        refused += [bad[row] for row in sorted(bad)]
        good = [row not in bad for row in range(len(texts))]
        rows, texts, keys = ([*compress(found, good)] for found in (rows, texts, keys))
    lines.rows += rows
    lines.texts += texts
    lines.keys += keys
    return texts


def _block(texts: Sequence[str]) -> bytes:
    try:
        return block_of(texts)
    except DataError as error:
        raise RowError(str(error)) from error


def _missing(fields: Sequence[Field], table: Table) -> list[Field]:
    return [field for field in fields if field[0] not in table.columns]


def merge_sql(group: Group, staging: str) -> str:
    """What makes rows of those in the staging table, of which no two have the same key."""
    names = _list(group.names)
    return f"INSERT INTO {group.target.sql} ({names}) SELECT {names} FROM {staging} {_on_conflict(group)}"


def numbered_sql(group: Group, staging: str) -> str:
    """The same for numbered lines: of each key the last counts, and may say that there is to be no row."""
    keys, names, target = _list(group.keys), _list(group.names), group.target.sql
    statements = []
    if group.gone is not None:
        same = " AND ".join(f"t.{quoted(key)} = s.{quoted(key)}" for key in group.keys)
        # Also where a row comes after it: of the old one nothing is left.
        statements.append(f"DELETE FROM {target} AS t USING {staging} AS s WHERE s.{GONE} AND {same}")
    if not group.is_delete:
        last = f"(SELECT DISTINCT ON ({keys}) * FROM {staging} ORDER BY {keys}, {AT} DESC) AS s"
        statements.append(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM {last} WHERE NOT s.{GONE} {_on_conflict(group)}"
        )
    return "; ".join(statements)


def _on_conflict(group: Group) -> str:
    others = [quoted(name) for name in group.names if name not in group.keys]
    update = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
    return f"ON CONFLICT ({_list(group.keys)}) DO {f'UPDATE SET {update}' if update else 'NOTHING'}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
