"""Several statements as one message, with rows for each COPY among them; the answer is fetched later.

    sent = Sent(pgconn, ["BEGIN", "UPDATE ...", "COPY t FROM STDIN", "COMMIT"], psycopg, fail)
    sent.copy([blocks], check)     ──► all statements; the first block is made meanwhile; check([-1, 1]) ──► blocks
    sent.answer(1.0)               ◄── [-1, 1, 3600, -1], or not within a second: it may be asked for again

The server goes from statement to statement by itself: nothing travels there and back between them, and who has sent all
has his hands free while it works. The first statement that fails ends the message; a transaction that was begun by then
waits for its ROLLBACK. psycopg knows no COPY amid others, and waits for each answer; so its `pq` is used, libpq's own
functions.

Used by: session.py.
Source: PostgreSQL's manual, "Multiple Statements in a Simple Query", "Asynchronous Command Processing".
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any

from engine.api.errors import ConnectError

__all__ = ["Check", "Sent"]

#: Is given how many rows each statement so far has changed; raises something where it is to end here.
Check = Callable[[Sequence[int]], object]

#: What the server is told of rows that will not come; nobody sees it.
GIVEN_UP = b"given up"


class Sent:
    """A message; nothing else is done with the connection until there is an answer, or an error.

    Methods raise what `fail` makes of psycopg's errors and the statement that has met one.
    """

    def __init__(
        self, pgconn: Any, statements: Sequence[str], psycopg: Any, fail: Callable[[Any, str], ConnectError]
    ) -> None:
        self._pgconn = pgconn
        self._statements = statements
        self._psycopg = psycopg
        self._status = psycopg.pq.ExecStatus
        self._fail = fail
        self._poll = select.poll()
        self._changed: list[int] = []

    def copy(self, rows: Sequence[Iterable[bytes]], check: Check) -> None:
        """Send the statements, and rows for each COPY; returns when all is on its way.

        rows: as blocks of lines. check: is asked before the first of them goes. What it raises, or the blocks raise,
        ends the message first.
        """
        try:
            self._pgconn.send_query("; ".join(self._statements).encode())
            self._flush()
            for number, blocks in enumerate(rows):
                self._copy(blocks, check if number == 0 else None)
        except self._psycopg.Error as error:
            raise self._failed(error) from error

    def answer(self, seconds: float) -> Sequence[int]:
        """Wait for the end; returns how many rows each statement has changed, -1 for those that change none.

        Raises TimeoutError after so many seconds; then it may be called again.
        """
        until = time.monotonic() + seconds
        try:
            while (result := self._result(until)) is not None:
                self._note(result)
        except self._psycopg.Error as error:
            raise self._failed(error) from error
        return self._changed

    def _copy(self, blocks: Iterable[bytes], check: Check | None) -> None:
        is_asked = False
        blocks = iter(blocks)
        try:
            first = [*islice(blocks, 1)]
            self._wait_for_copy()
            is_asked = True
            if check is not None:
                check(self._changed)
            for block in chain(first, blocks):
                self._put(block)
        except self._psycopg.Error:
            raise
        except BaseException:
            if not is_asked:
                self._wait_for_copy()
            self._end(GIVEN_UP)
            self._drain()
            raise
        self._end(None)

    def _put(self, block: bytes) -> None:
        """Send a block; libpq takes it whole, or not at all where it has no memory for it, and says so by a 0."""
        if not self._pgconn.put_copy_data(block):
            self._pgconn.finish()
            raise self._psycopg.OperationalError("libpq has no memory for the rows")
        self._flush()

    def _wait_for_copy(self) -> None:
        """Wait until the server asks for rows."""
        while True:
            result = self._result()
            assert result is not None, "fewer COPYs in the statements than there are rows for"
            if result.status == self._status.COPY_IN:
                return
            self._note(result)

    def _end(self, error: bytes | None) -> None:
        self._pgconn.put_copy_end(error)
        self._flush()

    def _note(self, result: Any) -> None:
        """Count what a statement has done. Raises the server's error, with nothing left to be read after it."""
        if result.status not in (self._status.COMMAND_OK, self._status.TUPLES_OK):
            self._drain()
            raise self._psycopg.errors.error_from_result(result, encoding="utf-8")
        changed = result.command_tuples
        self._changed.append(-1 if changed is None else changed)

    def _drain(self) -> None:
        while self._result() is not None:
            pass

    def _result(self, until: float | None = None) -> Any:
        """The next one; None: that was all."""
        while self._pgconn.is_busy():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("no answer yet")
            self._wait(select.POLLIN, left)
        return self._pgconn.get_result()

    def _flush(self) -> None:
        """Let all go out. What the server says meanwhile has to be taken, or it would not listen."""
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)

    def _wait(self, events: int, seconds: float | None = None) -> None:
        self._poll.register(self._pgconn.socket, events)
        found_all = self._poll.poll(None if seconds is None else seconds * 1000)
        if any(found & ~select.POLLOUT for _, found in found_all):
            self._pgconn.consume_input()

    def _failed(self, error: Any) -> ConnectError:
        at = min(len(self._changed), len(self._statements) - 1)
        return self._fail(error, self._statements[at])
