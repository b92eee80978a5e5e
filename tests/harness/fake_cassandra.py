"""A Cassandra in memory, as the sink's writer sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from connectors.cassandra.plans import Statement

__all__ = ["COLUMNS", "FakeFuture", "FakeLink"]

COLUMNS = [("id", "partition_key", 0, "int"), ("name", "regular", -1, "text")]


class FakeFuture:
    """What the driver gives for a request; it is answered before anybody asks, unless it is mute."""

    def __init__(self, error: Exception | None, *, is_mute: bool = False) -> None:
        self._error = error
        self._is_mute = is_mute

    def add_callbacks(self, callback: Any, errback: Any, *, callback_args: Any, errback_args: Any) -> None:
        self._errback, self._errback_args = errback, errback_args
        self._callback, self._callback_args = callback, callback_args
        if self._is_mute:
            return
        if self._error is None:
            callback(None, *callback_args)
        else:
            self.fail(self._error)

    def answer(self) -> None:
        """It is written."""
        self._callback(None, *self._callback_args)

    def fail(self, error: Exception) -> None:
        """Answer it so."""
        self._errback(error, *self._errback_args)


class FakeLink:
    """A `LinkPort` whose tables are one in memory, by its key; `fail` says what becomes of a request."""

    unset = None

    def __init__(self) -> None:
        self.written: dict[bytes, bytes] = {}
        self.requests: list[int] = []  # how many rows each had
        self.opened = 0
        self.asked = 0
        self.columns = COLUMNS
        self.fail: Callable[[Sequence[tuple[Any, ...]]], Exception | None] = lambda rows: None
        self.refuse_opening: Exception | None = None
        self.refuse_preparing: Exception | None = None
        self.is_open = False
        self.is_mute = False  # requests arrive nowhere, and are not answered
        self.unanswered: list[FakeFuture] = []

    def open(self) -> None:
        if self.refuse_opening is not None:
            raise self.refuse_opening
        self.opened += 1
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def rows(self, cql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.asked += 1
        return list(self.columns) if "system_schema.columns" in cql else []

    def change(self, cql: str) -> None:
        raise AssertionError(f"nobody may change the schema: {cql}")

    def prepare(self, statement: Statement) -> None:
        if self.refuse_preparing is not None:
            raise self.refuse_preparing

    def execute_async(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> FakeFuture:
        self.prepare(statement)
        if self.is_mute:
            self.unanswered.append(FakeFuture(None, is_mute=True))
            return self.unanswered[-1]
        return FakeFuture(self._write(rows))

    def hosts_of(self, keyspace: str) -> Callable[[Sequence[bytes]], object]:
        """The same for all."""
        return lambda key: None

    def _write(self, rows: Sequence[tuple[Any, ...]]) -> Exception | None:
        assert self.is_open, "nobody writes into a closed connection"
        self.requests.append(len(rows))
        error = self.fail(rows)
        if error is None:
            self.written.update((row[0], row[1]) for row in rows)
        return error
