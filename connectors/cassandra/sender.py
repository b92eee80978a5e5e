"""Requests in flight: so many at a time, their answers heard by the driver's own thread.

    send ──► driver ──► Cassandra
      ▲ waits for room          │
    failed() ◄── what was refused, with why

Used by: writer.py.
Not here: what becomes of a request that failed (writer.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from msgspec import Struct, structs

from connectors.cassandra.link import HostsOf, LinkPort
from connectors.cassandra.plans import Rows, Statement
from engine.api.batch import SinkBatch

__all__ = ["Limits", "Request", "Sender", "requests_of"]

#: The longest that one call waits for room or for answers: its task has other things to do.
WAIT_S_MAX = 1.0
#: How often rows go together to a server that fails at them: one of them may be why.
TRIES_MAX = 3


class Request(Struct, frozen=True, eq=False):
    """Rows that are written together, or none of them."""

    statement: Statement
    rows: Sequence[tuple[Any, ...]]
    batch: SinkBatch
    indexes: Sequence[int]  # of their records in the batch
    tries: int = 0  # at which a server has failed

    def again(self) -> list[Request]:
        """The same once more, after a server has failed at it; at some point each row by itself."""
        if len(self.rows) > 1 and self.tries + 1 >= TRIES_MAX:
            return [*self.alone()]
        return [structs.replace(self, tries=self.tries + 1)]

    def alone(self) -> Iterator[Request]:
        """Each row by itself."""
        for row, index in zip(self.rows, self.indexes, strict=True):
            yield Request(self.statement, [row], self.batch, [index])


class Sender:
    """The requests of one connection."""

    def __init__(self, link: LinkPort, *, requests_max: int, silence_s: float) -> None:
        """silence_s: how long answers may be waited for, over several calls, before the connection counts as dead."""
        self._link = link
        self._requests_max = requests_max
        self._silence_s = silence_s
        self._wait_s = min(WAIT_S_MAX, silence_s)
        self._condition = threading.Condition()  # the driver calls from a thread of its own
        self._pending: dict[int, Request] = {}
        self._failed: list[tuple[Request, Exception]] = []
        self._number = 0
        self._heard_at = 0.0  # when the last answer came, or the first request went that waits for one

    @property
    def is_idle(self) -> bool:
        """Whether all are answered, and those that failed have been asked for."""
        with self._condition:
            return not self._pending and not self._failed

    @property
    def is_dead(self) -> bool:
        """Whether no answer has come for too long."""
        with self._condition:
            return bool(self._pending) and time.monotonic() - self._heard_at >= self._silence_s

    def send(self, request: Request) -> bool:
        """Whether it is on its way; False: there was no room for so long."""
        with self._condition:
            if not self._condition.wait_for(lambda: len(self._pending) < self._requests_max, self._wait_s):
                return False
            if not self._pending:
                self._heard_at = time.monotonic()
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
        """Whether all are answered; False: not yet."""
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
        self._answered(number)

    def _fail(self, error: Exception, number: int) -> None:
        self._answered(number, error)

    def _answered(self, number: int, error: Exception | None = None) -> None:
        with self._condition:
            request = self._pending.pop(number, None)
            if request is not None:
                self._heard_at = time.monotonic()
                if error is not None:
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
