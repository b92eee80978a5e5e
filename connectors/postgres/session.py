"""One connection to PostgreSQL, and the errors of psycopg as ours.

    session.run("BEGIN; UPDATE ...; SAVEPOINT one")    one way there and back; the rows that each has changed
    session.rows("SELECT ... %s", name)                rows
    session.copy("COPY t (a, b) FROM STDIN", blocks)   rows in, as they are made
    session.send(["BEGIN", "COPY ...", "COMMIT"], [blocks], check)  in one message, whose answer is fetched later
    session.stream("COPY t (a, b) TO STDOUT")          rows out, as they come

psycopg is imported when it is needed, so that Millrace does without it where nobody has a PostgreSQL.

Used by: sink.py, checking.py, the modules of source/.
Not here: where to (addresses.py), what errors mean (refusals.py), transactions (sink.py).
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from connectors.postgres.addresses import libpq_parameters, read_credentials
from connectors.postgres.config import ConnectionConfig, PostgresSinkConfig
from connectors.postgres.copying import CopyStream
from connectors.postgres.refusals import is_connection_over, of_connecting, translated
from connectors.postgres.sending import Check, Sent
from engine.api.errors import ConfigError, ConnectError, RetriableError

__all__ = ["PsycopgSession", "Session", "connect", "connected", "driver"]

#: A transaction that is idle for so long is ended by the server, so that a task that was frozen holds nothing up.
IDLE_MS = 60_000
#: A peer that is gone without a word is noticed within half a minute, by either side: what a host that died had locked,
#: the server gives back then.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
_KEEPALIVE_OF_SERVER = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4; "
    "SET tcp_user_timeout = 30000"
)


class Session(Protocol):
    """What is done with a connection. Everything raises the errors of refusals.py."""

    @property
    def is_over(self) -> bool:
        """Whether another one is needed."""

    def run(self, statements: str) -> Sequence[int]:
        """How many rows each of them, separated by semicolons, has changed; -1 for those that change none."""

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, with `%s` for parameters, if it has any."""

    def copy(self, statement: str, blocks: Iterable[bytes]) -> int:
        """How many rows of `COPY ... FROM STDIN`'s text were taken: all, or none and an error.

        The server has each block while the next is made; what the blocks raise ends the statement.
        """

    def send(
        self, statements: Sequence[str], rows: Sequence[Iterable[bytes]], check: Check
    ) -> Callable[[float], Sequence[int]]:
        """Send statements, and rows for each COPY among them; returns what waits for the end, for so many seconds.

        That gives what `run` does, or raises: TimeoutError where it may be called again. Until it has given something
        else, nothing else is done with the session.
        check: is given as much of the statements before the first COPY. What it raises, or the rows raise, ends them.
        """

    def close(self) -> None:
        """Give it back; what was not committed is gone."""


def driver() -> Any:
    """psycopg. Raises ConfigError where it is not installed."""
    try:
        import psycopg  # noqa: PLC0415  an extra, for those who have a PostgreSQL
    except ImportError as error:
        raise ConfigError(
            f"PostgreSQL's connectors need the library psycopg ({error}): install millrace[postgres]"
        ) from error
    return psycopg


def connect(settings: PostgresSinkConfig, title: str) -> PsycopgSession:
    """A new connection to write by. Raises as `connected`."""
    setup = (
        f"SET statement_timeout = {settings.statement_ms}; SET idle_in_transaction_session_timeout = {IDLE_MS}; "
        f"{_KEEPALIVE_OF_SERVER}"
    )
    return connected(settings, title, setup, target_session_attrs="read-write")


def connected(settings: ConnectionConfig, title: str, setup: str, **more: Any) -> PsycopgSession:
    """A new connection, by the credentials as they are now.

    title: what the server shows in pg_stat_activity. setup: statements that are run first. more: parameters of libpq;
    those of the URL count before them. Raises RetriableError, RefusedError, ConfigError.
    """
    psycopg = driver()
    parameters: dict[str, Any] = {
        "application_name": title,
        **_KEEPALIVE,
        **more,
        **libpq_parameters(settings.url),
    }
    seconds = math.ceil(settings.connect_ms / 1000)
    # One of the URL may be shorter; none, or no end, it cannot say.
    asked = str(parameters.get("connect_timeout", ""))
    parameters["connect_timeout"] = min(seconds, int(asked)) if asked.isdecimal() and int(asked) else seconds
    user, password = settings.user, settings.password
    if settings.credentials_file is not None:
        found, password = read_credentials(settings.credentials_file)
        user = found or user
    if user is not None:
        parameters["user"] = user
    if password is not None:
        parameters["password"] = password.reveal()
    parameters["client_encoding"] = "UTF8"
    where = f"{parameters.get('host', 'the local socket')}, database {parameters.get('dbname', 'of the user')}"
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
    except psycopg.Error as error:
        raise of_connecting(error, where) from error
    session = PsycopgSession(connection, psycopg)
    session.run(setup)
    return session


class PsycopgSession:
    """A `Session`, and what sources need besides."""

    def __init__(self, connection: Any, psycopg: Any) -> None:
        self._connection = connection
        self._psycopg = psycopg
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over or bool(self._connection.closed)

    def run(self, statements: str) -> Sequence[int]:
        with self._errors(statements):
            cursor = self._connection.execute(statements.encode())
            counts = [cursor.rowcount]
            while cursor.nextset():
                counts.append(cursor.rowcount)
            return counts

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._errors(statement):
            found: list[tuple[Any, ...]] = self._connection.execute(statement, parameters or None).fetchall()
            return found

    def copy(self, statement: str, blocks: Iterable[bytes]) -> int:
        with self._errors(statement), self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for block in blocks:
                    copy.write(block)
            return int(cursor.rowcount)

    def send(
        self, statements: Sequence[str], rows: Sequence[Iterable[bytes]], check: Check
    ) -> Callable[[float], Sequence[int]]:
        if self.is_over:
            raise RetriableError("the connection to PostgreSQL is lost")
        sent = Sent(self._connection.pgconn, statements, self._psycopg, self._failed)
        sent.copy(rows, check)
        return sent.answer

    def described(self, query: str) -> list[tuple[str, int, int]]:
        """Name, type and the type's modifier of each column that a query gives, which is not run."""
        with self._errors(query):
            cursor = self._connection.execute(f"SELECT * FROM ({query}\n) AS given LIMIT 0".encode())
            found = cursor.pgresult
            return [(found.fname(at).decode(), found.ftype(at), found.fmod(at)) for at in range(found.nfields)]

    def awaited(self, statement: str, seconds: float) -> list[tuple[str | None, ...]]:
        """The rows of a statement that knows no timeout of the server. Raises RetriableError after `seconds`."""
        pq, pgconn = self._psycopg.pq, self._connection.pgconn
        with self._errors(statement):
            pgconn.send_query(statement.encode())
            pgconn.flush()
            answer = select.poll()
            answer.register(pgconn.socket, select.POLLIN)
            deadline = time.monotonic() + seconds
            while pgconn.is_busy():
                left = deadline - time.monotonic()
                if left <= 0:
                    self.close()
                    raise RetriableError(f"PostgreSQL has not answered to {_doing(statement)} for {seconds:g} s")
                if answer.poll(left * 1000):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise self._psycopg.errors.error_from_result(result, encoding="utf-8")
            while pgconn.get_result() is not None:
                pass
            cells = [[result.get_value(row, at) for at in range(result.nfields)] for row in range(result.ntuples)]
            return [tuple(None if cell is None else cell.decode() for cell in row) for row in cells]

    def stream(self, statement: str) -> CopyStream:
        """Rows of `COPY ... TO STDOUT`, or changes. Nothing else is done with the session until they are over."""
        return CopyStream(
            self._connection.pgconn, statement, self._psycopg, lambda error: self._failed(error, statement)
        )

    def close(self) -> None:
        self._is_over = True
        with suppress(Exception):  # it may be broken in any way, and nobody needs it any more
            self._connection.close()

    @contextmanager
    def _errors(self, statement: str) -> Iterator[None]:
        if self.is_over:
            raise RetriableError("the connection to PostgreSQL is lost")
        try:
            yield
        except self._psycopg.Error as error:
            raise self._failed(error, statement) from error

    def _failed(self, error: Any, statement: str) -> ConnectError:
        self._is_over = self._is_over or is_connection_over(error)
        return translated(error, _doing(statement))


def _doing(statement: str) -> str:
    """The beginning of a statement, which names its table."""
    words = statement.split(";", maxsplit=1)[0].split()
    return " ".join(words[:3]).partition("(")[0].strip()
