"""What the real server cannot be brought to do to a message with rows in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from connectors.postgres.sending import Sent
from engine.api.errors import ConnectError, RetriableError


class Full:
    """A connection of libpq's that has no memory for rows."""

    def __init__(self) -> None:
        self.is_finished = False

    def send_query(self, query: bytes) -> None:
        self.query = query

    def flush(self) -> int:
        return 0

    def is_busy(self) -> bool:
        return False

    def get_result(self) -> Any:
        return SimpleNamespace(status=psycopg.pq.ExecStatus.COPY_IN)

    def put_copy_data(self, block: bytes) -> int:
        return 0

    def finish(self) -> None:
        self.is_finished = True


def test_rows_that_libpq_has_no_memory_for_are_an_error() -> None:
    def fail(error: Any, statement: str) -> ConnectError:
        return RetriableError(f"{statement}: {error}")

    connection = Full()
    sent = Sent(connection, ["COPY orders FROM STDIN"], psycopg, fail)
    with pytest.raises(RetriableError, match="no memory for the rows"):
        sent.copy([[b"1\n"]], lambda changed: None)
    assert connection.is_finished
