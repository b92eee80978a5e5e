"""What the server copies out, row by row or change by change, as it comes: nobody waits for the end.

    stream = session.stream("COPY t TO STDOUT")
    stream.take(2000, bytes_max, seconds)     up to 2,000 messages: b"1\tone\n", b"2\ttwo\n", ..., in libpq's memory
    stream.take_block(2000, bytes_max, seconds)   the same as one text, and how many messages are in it
    stream.is_over                            all were taken

psycopg waits for each row by itself, and knows nothing of streams that go both ways; so its `pq` is used, libpq's own
functions. Whoever stops in the middle closes the connection: the server then ends the statement.

Used by: session.py, the modules of source/.
Source: PostgreSQL's manual, "Functions Associated with the COPY Command".
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from engine.api.errors import ConnectError

__all__ = ["CopyStream"]

#: Who has taken something lets more come, so that not each message costs a call: in pauses, until one brings nothing or
#: all of them together are so long.
PAUSE_SECONDS = 0.001
GATHER_SECONDS = 0.02
#: Of a block so many messages are joined at a time, while the processor still has them at hand: each takes five times
#: its text until it is.
JOINED = 128

Put = Callable[[list[memoryview]], object]


class CopyStream:
    """A statement that copies out, under way. `take` raises what `fail` makes of psycopg's errors."""

    def __init__(self, pgconn: Any, statement: str, psycopg: Any, fail: Callable[[Any], ConnectError]) -> None:
        self._pgconn = pgconn
        self._psycopg = psycopg
        self._fail = fail
        self._is_copying = False
        self._is_over = False
        try:
            pgconn.send_query(statement.encode())
            self.flush()
        except psycopg.Error as error:
            raise fail(error) from error
        self.socket: int = pgconn.socket  # for who waits for several streams
        self._socket = select.poll()
        self._socket.register(pgconn.socket, select.POLLIN)

    @property
    def is_under_way(self) -> bool:
        """Whether the server has begun and not ended."""
        return self._is_copying and not self._is_over

    @property
    def is_over(self) -> bool:
        """Whether all messages were taken."""
        return self._is_over

    def take(self, count: int, bytes_max: int, seconds: float) -> list[memoryview]:
        """Up to `count` messages, and no more once they have `bytes_max`; after `seconds` without any, none."""
        taken: list[memoryview] = []
        self._take(count, bytes_max, seconds, count, taken.extend)
        return taken

    def take_block(self, count: int, bytes_max: int, seconds: float) -> tuple[bytes, int]:
        """As `take`: the messages as one text, and how many they are."""
        blocks: list[bytes] = []
        number = self._take(count, bytes_max, seconds, JOINED, lambda taken: blocks.append(b"".join(taken)))
        return b"".join(blocks), number

    def send(self, message: bytes) -> None:
        """Answer the server, in a stream that goes both ways."""
        try:
            self._pgconn.put_copy_data(message)
            self.flush()
        except self._psycopg.Error as error:
            raise self._fail(error) from error

    def flush(self) -> None:
        """Let what was sent go out; messages are small, and the server reads them."""
        while self._pgconn.flush():
            select.select([], [self._pgconn.socket], [], 1.0)

    def _begin(self, seconds: float) -> bool:
        """Whether the server has begun to copy."""
        deadline = time.monotonic() + seconds
        while self._pgconn.is_busy():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._read(left)
        result = self._pgconn.get_result()
        status = self._psycopg.pq.ExecStatus(result.status)
        self._is_copying = status in (self._psycopg.pq.ExecStatus.COPY_OUT, self._psycopg.pq.ExecStatus.COPY_BOTH)
        if not self._is_copying:
            self._end(result)
        return True

    def _take(self, count: int, bytes_max: int, seconds: float, at_once: int, put: Put) -> int:
        """As `take`: `put` is given up to `at_once` of them at a time; returns how many they are."""
        try:
            if not (self._is_copying or self._is_over) and not self._begin(seconds):
                return 0
            return self._put_all(count, bytes_max, seconds, at_once, put)
        except self._psycopg.Error as error:
            raise self._fail(error) from error

    def _put_all(self, count: int, bytes_max: int, seconds: float, at_once: int, put: Put) -> int:
        number = size = 0
        deadline = time.monotonic() + seconds
        has_paused = False
        while not self._is_over:
            wanted = min(count - number, at_once)
            taken, found = self._drain(wanted, bytes_max - size)
            if taken:
                put(taken)
            number += len(taken)
            size += found
            if number >= count or size >= bytes_max:
                break
            if len(taken) == wanted:
                continue
            now = time.monotonic()
            if found:
                deadline = min(deadline, now + GATHER_SECONDS)
                has_paused = False
                self._pgconn.consume_input()
            elif now >= deadline or has_paused:
                break
            elif number:
                has_paused = True
                time.sleep(PAUSE_SECONDS)
                self._pgconn.consume_input()
            else:
                self._read(deadline - now)
        return number

    def _drain(self, count: int, bytes_max: int) -> tuple[list[memoryview], int]:
        """What has come, until these are `count` and so many bytes, and how many bytes they are."""
        taken: list[memoryview] = []
        size = 0
        for length, data in map(self._pgconn.get_copy_data, repeat(1, count)):
            if length <= 0:
                if length < 0:
                    self._end(self._pgconn.get_result())
                break
            taken.append(data)  # whoever joins them copies them once
            size += length
            if size >= bytes_max:
                break
        return taken, size

    def _read(self, seconds: float) -> bool:
        """Wait for the server's word; whether there was one."""
        found = bool(self._socket.poll(seconds * 1000))
        if found:
            self._pgconn.consume_input()
        return found

    def _end(self, result: Any) -> None:
        """Take what comes after the last message. Raises psycopg's error when that is one."""
        self._is_over = True
        while result is not None:
            if result.status not in (self._psycopg.pq.ExecStatus.COMMAND_OK, self._psycopg.pq.ExecStatus.TUPLES_OK):
                raise self._psycopg.errors.error_from_result(result, encoding="utf-8")
            result = self._pgconn.get_result()
