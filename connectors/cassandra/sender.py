"""Requests in flight: so many at a time, their answers heard by the driver's own thread.

    send ──► driver ──► Cassandra
      ▲ waits for room          │
    failed() ◄── what was refused, with why

Used by: writer.py.
Not here: what becomes of a request that failed (writer.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Protocol

from msgspec import Struct

from connectors.cassandra.plans import Rows, Statement
from engine.api.batch import SinkBatch

__all__ = ["Executing", "HostsOf", "Limits", "Request", "Sender", "requests_of"]

#: What names the hosts that keep a partition, by its key's parts.
HostsOf = Callable[[Sequence[bytes]], object]


class Request(Struct, frozen=True, eq=False):
    """Rows that are written together, or none of them."""

    statement: Statement
    rows: Sequence[tuple[Any, ...]]
    batch: SinkBatch
    indexes: Sequence[int]  # of their records in the batch

    def alone(self) -> Iterator[Request]:
        """Each row by itself."""
        for row, index in zip(self.rows, self.indexes, strict=True):
            yield Request(self.statement, [row], self.batch, [index])


class Executing(Protocol):
    """Who writes (`session.Link`)."""

    def execute_async(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> Any:
        """The driver's future."""


class Sender:
    """The requests of one connection."""

    def __init__(self, link: Executing, *, requests_max: int, wait_s: float) -> None:
        """wait_s: the longest that room or answers are waited for."""
        self._link = link
        self._requests_max = requests_max
        self._wait_s = wait_s
        self._condition = threading.Condition()  # the driver calls from a thread of its own
        self._pending: dict[int, Request] = {}
        self._failed: list[tuple[Request, Exception]] = []
        self._number = 0

    def send(self, request: Request) -> bool:
        """Whether it is on its way; False: there was no room for so long."""
        with self._condition:
            if not self._condition.wait_for(lambda: len(self._pending) < self._requests_max, self._wait_s):
                return False
            self._number += 1
            number = self._number
            self._pending[number] = request
        try:
            future = self._link.execute_async(request.statement, request.rows)
        except Exception as error:  # noqa: BLE001  whatever the driver raises, it is this request's
            self._fail(error, number)
            return True
        future.add_callbacks(self._end, self._fail, callback_args=(number,), errback_args=(number,))
        return True

    def drain(self) -> bool:
        """Whether all are answered; False: not within that time."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._pending, self._wait_s)

    def failed(self) -> list[tuple[Request, Exception]]:
        """Those that failed since the last call."""
        with self._condition:
            failed, self._failed = self._failed, []
            return failed

    def abandon(self) -> list[Request]:
        """All that were sent and are not known to be written; their answers are not waited for any more."""
        with self._condition:
            # Those that have failed since `failed` was asked are in neither of the caller's hands.
            left = [*self._pending.values(), *(request for request, _ in self._failed)]
            self._pending, self._failed = {}, []
            return left

    def _end(self, _: object, number: int) -> None:
        with self._condition:
            self._pending.pop(number, None)
            self._condition.notify_all()

    def _fail(self, error: Exception, number: int) -> None:
        with self._condition:
            request = self._pending.pop(number, None)
            if request is not None:
                self._failed.append((request, error))
            self._condition.notify_all()


class Limits(Struct, frozen=True):
    """Of one batch."""

    rows: int
    bytes: int


def requests_of(rows: Rows, batch: SinkBatch, limits: Limits, hosts_of: HostsOf | None = None) -> Iterator[Request]:
    """Rows divided into requests: those of a partition together, or, with `hosts_of`, those of the same hosts."""
    statement = rows.statement
    found = rows.rows
    if limits.rows == 1:
        for row, index in zip(found, rows.indexes, strict=True):
            yield Request(statement, [row], batch, [index])
        return
    key_of = itemgetter(*statement.partition_slots)
    groups: dict[Any, list[int]] = {}
    for at, key in enumerate(map(key_of, found)):
        groups.setdefault(key, []).append(at)
    if hosts_of is not None:
        groups = _by_hosts(groups, hosts_of)
    indexes = rows.indexes
    for group in groups.values():
        for ats in _cut(group, found, limits):
            yield Request(statement, [found[at] for at in ats], batch, [indexes[at] for at in ats])


def _by_hosts(groups: dict[Any, list[int]], hosts_of: HostsOf) -> dict[Any, list[int]]:
    joined: dict[Any, list[int]] = {}
    for key, ats in groups.items():
        joined.setdefault(hosts_of(key if isinstance(key, tuple) else (key,)), []).extend(ats)
    return joined


def _cut(group: list[int], rows: Sequence[tuple[Any, ...]], limits: Limits) -> Iterator[list[int]]:
    if len(group) == 1:
        yield group
        return
    ats: list[int] = []
    size = 0
    for at in group:
        of_row = sum([len(value) for value in rows[at] if value.__class__ is bytes])
        if ats and (len(ats) >= limits.rows or size + of_row > limits.bytes):
            yield ats
            ats, size = [], 0
        ats.append(at)
        size += of_row
    yield ats
