"""What is copied out is taken whole and in order, one message at a time or as one text, however it comes."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.copying import JOINED, CopyStream
from engine.api.errors import ConnectError

COPY_OUT, COMMAND_OK = 3, 1
LARGE = 1 << 30
MESSAGES = [b"%d\tx\n" % number for number in range(3 * JOINED)]


class _Connection:
    """libpq's, as far as a stream knows it: messages come in parts, each with one look at the socket."""

    socket = 0

    def __init__(self, parts: list[list[bytes]]) -> None:
        self._parts = deque(parts)
        self._here: deque[bytes] = deque()
        self._results: deque[Any] = deque([SimpleNamespace(status=COPY_OUT)])

    def send_query(self, statement: bytes) -> None:
        pass

    def flush(self) -> int:
        return 0

    def is_busy(self) -> bool:
        return False

    def consume_input(self) -> None:
        if self._parts:
            self._here += self._parts.popleft()

    def get_copy_data(self, _: int) -> tuple[int, Any]:
        if self._here:
            message = self._here.popleft()
            return len(message), memoryview(message)
        if self._parts:
            return 0, b""
        self._results.append(SimpleNamespace(status=COMMAND_OK))
        return -1, b""

    def get_result(self) -> Any:
        return self._results.popleft() if self._results else None


def _stream(parts: list[list[bytes]]) -> CopyStream:
    class Status(int):
        COPY_OUT, COPY_BOTH, COMMAND_OK, TUPLES_OK = COPY_OUT, -1, COMMAND_OK, -2

    psycopg = SimpleNamespace(Error=RuntimeError, pq=SimpleNamespace(ExecStatus=Status))
    return CopyStream(_Connection(parts), "COPY t TO STDOUT", psycopg, ConnectError)


@given(
    sizes=st.lists(st.integers(0, JOINED + 2), max_size=6),
    count=st.sampled_from([1, 2, JOINED - 1, JOINED, JOINED + 1, 2 * JOINED]),
    bytes_max=st.sampled_from([1, 9, 700, LARGE]),
)
def test_blocks_hold_what_is_taken_one_by_one(sizes: list[int], count: int, bytes_max: int) -> None:
    left = iter(MESSAGES * 3)
    parts = [[next(left) for _ in range(size)] for size in sizes]
    all_messages = [message for part in parts for message in part]
    one_by_one, together = _stream(parts), _stream([*parts])
    found: list[bytes] = []
    while not one_by_one.is_over:
        taken = one_by_one.take(count, bytes_max, 0.0)
        assert len(taken) <= count
        assert sum(map(len, taken[:-1])) < bytes_max
        found += map(bytes, taken)
        one_by_one._pgconn.consume_input()
    assert found == all_messages
    at = 0
    while not together.is_over:
        block, number = together.take_block(count, bytes_max, 0.0)
        assert number <= count
        assert block == b"".join(all_messages[at : at + number])
        at += number
        together._pgconn.consume_input()
    assert at == len(all_messages)
