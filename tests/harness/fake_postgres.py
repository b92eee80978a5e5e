"""A PostgreSQL in memory, as far as the sink inserts into it: transactions, savepoints, COPY, the table of offsets.

    postgres = FakePostgres({'"orders"': {"id": "bigint", "note": "text"}})
    task = PostgresSinkTask(postgres.connect)
    postgres.rows['"orders"']          [["1", "one"], ...] as COPY's text, committed

Lines that `refuses` names a code for are refused, with all that are copied together with them. `breaks` holds, for the
beginning of a statement, what happens instead of it, once; `loses` those of which the answer is lost, once; `late` says
how often the answer to a message is not there in time.

Used by: tests/unit/connectors.
Not here: upserts, which only the real server can judge (tests/postgres).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from connectors.postgres.config import PostgresSinkConfig
from connectors.postgres.refusals import RowError
from engine.api.errors import ConnectError, RetriableError

__all__ = ["FakePostgres", "FakeSession"]

CLAIMED = re.compile(r"\(E'(\w+)', E'(\w+)', (\d+), 1\)")
ADVANCED = re.compile(r"\(E'(\w+)', (\d+), (\d+)::bigint, (\d+)::bigint, (\w+)::bigint\)")
CONNECTOR = re.compile(r"connector = E'(\w+)'")
COPIED = re.compile(r"COPY (\S+) \((.*)\) FROM STDIN")
Key = tuple[str, str, int]


class State:
    """What a transaction changes."""

    def __init__(self, tables: Mapping[str, Mapping[str, str]]) -> None:
        self.rows: dict[str, list[list[str]]] = {table: [] for table in tables}
        self.offsets: dict[Key, tuple[int | None, int]] = {}  # next offset, epoch


class FakePostgres:
    """The server."""

    def __init__(self, tables: Mapping[str, Mapping[str, str]]) -> None:
        """tables: by their names as SQL has them, the types of their columns."""
        self.tables = {table: dict(columns) for table, columns in tables.items()}
        self.state = State(tables)
        self.refuses: Callable[[str], str | None] = lambda line: None
        self.breaks: dict[str, Exception] = {}
        self.loses: set[str] = set()
        self.copied: list[int] = []  # lines of each COPY, refused ones too
        self.connections = 0
        self.late = 0

    @property
    def rows(self) -> dict[str, list[list[str]]]:
        """What is committed."""
        return self.state.rows

    def connect(self, settings: PostgresSinkConfig, title: str) -> FakeSession:
        """A session."""
        self.connections += 1
        self._break("CONNECT")
        return FakeSession(self)

    def next_offset(self, topic: str = "topic", partition: int = 0, connector: str = "orders") -> int | None:
        """What is stored for a partition."""
        return self.state.offsets[connector, topic, partition][0]

    def _break(self, statement: str) -> None:
        for beginning in [*self.breaks]:
            if statement.startswith(beginning):
                raise self.breaks.pop(beginning)


class FakeSession:
    """A `Session`; a connection error ends it."""

    def __init__(self, server: FakePostgres) -> None:
        self._server = server
        self._is_over = False
        self._state: State | None = None  # of the transaction
        self._saved: State | None = None

    @property
    def is_over(self) -> bool:
        return self._is_over

    def run(self, statements: str) -> Sequence[int]:
        return [self._run(statement) for statement in statements.split("; ")]

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self._may_break(statement)
        if "format_type" in statement:
            columns = self._server.tables.get(parameters[0], {})
            return [(name, type_name, "S", type_name, False, False, False) for name, type_name in columns.items()]
        if "pg_index" in statement:
            return []
        if "to_regclass" in statement:
            return [(False,)]
        offsets = self._server.state.offsets
        if statement.startswith("INSERT"):
            for connector, topic, partition in CLAIMED.findall(statement):
                next_offset, epoch = offsets.get((connector, topic, int(partition)), (None, 0))
                offsets[connector, topic, int(partition)] = (next_offset, epoch + 1)
        return [(topic, partition, *stored) for (_, topic, partition), stored in offsets.items()]

    def copy(self, statement: str, blocks: Iterable[bytes]) -> int:
        self._may_break(statement)
        found = COPIED.match(statement)
        assert found is not None
        assert self._state is not None
        lines = b"".join(blocks).decode().splitlines()
        self._server.copied.append(len(lines))
        for line in lines:
            code = self._server.refuses(line)
            if code is not None:
                raise RowError("no such thing", code=code, column="note")
        names = [name.strip('"') for name in found[2].split(", ")]
        columns = self._server.tables[found[1]]
        for line in lines:
            values = dict(zip(names, line.split("\t"), strict=True))
            self._state.rows[found[1]].append([values.get(name, "\\N") for name in columns])
        return len(lines)

    def send(
        self, statements: Sequence[str], rows: Sequence[Iterable[bytes]], check: Callable[[Sequence[int]], object]
    ) -> Callable[[float], Sequence[int]]:
        """What goes wrong after `check` is told by the answer, as a server's word that comes later."""
        changed: list[int] = []
        blocks = iter(rows)
        is_checked = False
        for statement in statements:
            try:
                if not statement.startswith("COPY"):
                    changed.append(self._run(statement))
                    continue
                if not is_checked:
                    check(changed)
                is_checked = True
                changed.append(self.copy(statement, next(blocks)))
            except ConnectError as error:
                if not is_checked:
                    raise
                return partial(_fail, error)
        return partial(self._answer, changed)

    def _answer(self, changed: Sequence[int], seconds: float) -> Sequence[int]:
        if self._server.late:
            self._server.late -= 1
            raise TimeoutError(f"no answer for {seconds} s")
        return changed

    def close(self) -> None:
        self._is_over = True
        self._state = None

    def _run(self, statement: str) -> int:
        self._may_break(statement)
        server = self._server
        if statement == "BEGIN":
            assert self._state is None
            self._state = copy.deepcopy(server.state)
        elif statement == "COMMIT":
            assert self._state is not None
            server.state, self._state = self._state, None
        elif statement == "ROLLBACK":
            self._state = None
        elif statement.startswith("SAVEPOINT"):
            self._saved = copy.deepcopy(self._state)
        elif statement.startswith("ROLLBACK TO"):
            self._state = copy.deepcopy(self._saved)
        elif statement.startswith("UPDATE"):
            return self._advance(statement)
        for beginning in [*server.loses]:
            if statement.startswith(beginning):
                server.loses.remove(beginning)
                self.close()
                raise RetriableError("the connection to PostgreSQL is lost")
        return -1

    def _advance(self, statement: str) -> int:
        assert self._state is not None
        (connector,) = CONNECTOR.findall(statement)
        changed = 0
        for topic, partition, offset, epoch, before in ADVANCED.findall(statement):
            key = (connector, topic, int(partition))
            if self._state.offsets.get(key) == (None if before == "NULL" else int(before), int(epoch)):
                self._state.offsets[key] = (int(offset), int(epoch))
                changed += 1
        return changed

    def _may_break(self, statement: str) -> None:
        if self._is_over:
            raise RetriableError("the connection to PostgreSQL is lost")
        try:
            self._server._break(statement)
        except ConnectError as error:
            if isinstance(error, RetriableError):
                self.close()
            raise


def _fail(error: Exception, seconds: float) -> NoReturn:
    raise error
