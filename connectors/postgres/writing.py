"""A group becomes rows of its table, within the transaction of its batch.

    insert     lines ──► COPY into the table, which has the first of them while the next are made
    upsert     the last line of each key ──► COPY into the staging table ──► INSERT ... SELECT ... ON CONFLICT DO UPDATE
    deletes    lines, numbered, those to be deleted marked ──► COPY ──► DELETE, INSERT the last of each key
    refused    back to the savepoint ──► all lines, numbered, in halves (halving.py)

All of a batch is sent as one message (`send`), from BEGIN to COMMIT, which does or does nothing. Where something is
refused, it is done statement by statement (`begin`, `write`, `commit`), with a savepoint to go back to.

The staging table is temporary, of this session, one for each table: the same columns without constraints, emptied by
each commit. Which line is the last of its key is seen by the text of keys; where two of them are one to the server all
the same (case, padding, 1 and 1.0), it refuses the message, and is asked by numbered lines.

Used by: sink.py.
Not here: columns (rows.py), lines (lines.py), what a table has (tables.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from connectors.postgres.config import PostgresSinkConfig, Target, quoted
from connectors.postgres.halving import write_but_refused
from connectors.postgres.lines import (
    Lines,
    Refused,
    block,
    good_parts,
    last_of_each_key,
    numbered_lines,
    parts_of,
)
from connectors.postgres.refusals import RowError, StaleError
from connectors.postgres.rows import Group
from connectors.postgres.sending import Check
from connectors.postgres.session import Session
from connectors.postgres.tables import Field, Table, add_columns, create_table, read_table
from connectors.postgres.types import connect_words, schema_of_type
from engine.api.errors import ConnectError, DataError

__all__ = ["Writer", "merge_sql", "numbered_sql"]

#: Columns of the staging table beside those of its table.
AT = "__millrace_at"
GONE = "__millrace_gone"
SAVEPOINT = "millrace"


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

    def send(self, advance: str, groups: Sequence[Group], check: Check) -> Callable[[float], Sequence[int]] | None:
        """Send a transaction that writes these groups, which are prepared; returns what waits for its end.

        None: there is something to be refused; nothing was sent. Raises RowError for what shows later: then the
        transaction is to be rolled back. check: is given what BEGIN and `advance` have changed.
        """
        if not groups or any(group.error is not None or group.target not in self._tables for group in groups):
            return None
        statements, rows = ["BEGIN", advance], []
        self._used.clear()
        for group in groups:
            blocks = self._message(group, statements)
            if blocks is None:
                return None
            rows.append(blocks)
        return self.session.send([*statements, "COMMIT"], rows, check)

    def _message(self, group: Group, statements: list[str]) -> Iterator[bytes] | None:
        """The rows of a group; the statements that take them are added. None: there is something to be refused."""
        table = self._tables[group.target]
        if not self._is_merged(group):
            statements.append(_copy_sql(group.target.sql, group.names))
            return map(block, good_parts(group, table))
        staging = self._staging[group.target]
        if staging in self._used:
            statements.append(f"DELETE FROM {staging}")
        self._used.add(staging)
        if group.gone is not None:
            statements += [_copy_sql(staging, (*group.names, AT, GONE)), *numbered_sql(group, staging)]
            return map(block, numbered_lines(good_parts(group, table), group.gone))
        try:
            group = last_of_each_key(group, table)
        except DataError:
            return None
        statements += [_copy_sql(staging, group.names), merge_sql(group, staging)]
        return map(block, good_parts(group, table))

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
        lines = Lines()
        parts = parts_of(group, table, lines, refused)
        for at, error in self._written(group, lines, parts):
            column = table.columns.get(error.column)
            expected = f"{column.type} ({connect_words(schema_of_type(column.type))})" if column is not None else ""
            refused.append(Refused(group.indexes[lines.rows[at]], group.target, error.column, error, expected))
        return refused

    def _written(self, group: Group, lines: Lines, parts: Iterator[Sequence[str]]) -> list[tuple[int, RowError]]:
        if not self._is_merged(group):
            return self._inserted(group, lines, parts)
        deque(parts, maxlen=0)
        return self._merged(group, lines) if lines.texts else []

    def _inserted(self, group: Group, lines: Lines, parts: Iterator[Sequence[str]]) -> list[tuple[int, RowError]]:
        copy = _copy_sql(group.target.sql, group.names)
        try:
            self._attempt(lambda: self._copy(copy, parts))
        except RowError as error:
            deque(parts, maxlen=0)  # those that were not asked for
            self._check_table(group.target)

            def insert(begin: int, end: int) -> None:
                self._attempt(lambda: self._copy(copy, [lines.texts[begin:end]]))

            return write_but_refused(len(lines.texts), insert, error)
        return []

    def _merged(self, group: Group, lines: Lines) -> list[tuple[int, RowError]]:
        staging = self._staging[group.target]
        count = len(lines.texts)
        gone = [False] * count if group.gone is None else [group.gone[row] for row in lines.rows]
        copy = _copy_sql(staging, (*group.names, AT, GONE))
        merge = "; ".join(numbered_sql(group, staging))

        def numbered(begin: int, end: int) -> None:
            texts = numbered_lines([lines.texts[begin:end]], gone, begin)
            self._attempt(lambda: self._stage(staging, copy, texts, merge))

        try:
            numbered(0, count)
        except RowError as error:
            self._check_table(group.target)
            return write_but_refused(count, numbered, error)
        return []

    def _check_table(self, target: Target) -> None:
        """Before any row is blamed. Raises StaleError where the table is not what it was."""
        if read_table(self.session, target) != self._tables[target]:
            raise StaleError(f"table {target} was changed while rows were written to it")

    def _stage(self, staging: str, copy: str, parts: Iterable[Sequence[str]], merge: str) -> None:
        if staging in self._used:
            self.session.run(f"DELETE FROM {staging}")
        self._copy(copy, parts)
        self.session.run(merge)
        self._used.add(staging)

    def _copy(self, statement: str, parts: Iterable[Sequence[str]]) -> None:
        self.session.copy(statement, map(block, filter(None, parts)))

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


def _missing(fields: Sequence[Field], table: Table) -> list[Field]:
    return [field for field in fields if field[0] not in table.columns]


def merge_sql(group: Group, staging: str) -> str:
    """What makes rows of those in the staging table, of which no two have the same key."""
    names = _list(group.names)
    return f"INSERT INTO {group.target.sql} ({names}) SELECT {names} FROM {staging} {_on_conflict(group)}"


def numbered_sql(group: Group, staging: str) -> list[str]:
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
    return statements


def _copy_sql(table: str, names: Sequence[str]) -> str:
    return f"COPY {table} ({_list(names)}) FROM STDIN"


def _on_conflict(group: Group) -> str:
    others = [quoted(name) for name in group.names if name not in group.keys]
    update = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
    return f"ON CONFLICT ({_list(group.keys)}) DO {f'UPDATE SET {update}' if update else 'NOTHING'}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
