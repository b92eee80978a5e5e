"""Where we are in what the slot tells: behind which transaction, and how many changes of the next one are done.

    ... C   B  I  U  D ... C   B ...
         boundary  └ change 2 of the transaction that commits at `commit`

A transaction comes whole, after its commit; who goes on in the middle of one is told it again from its beginning, and
what was given before is left out.

Used by: changes.py, gathering.py.
Not here: what an offset looks like (positions.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from connectors.postgres.source import pgoutput
from connectors.postgres.source.pgoutput import BEGIN, COMMIT, DELETE, INSERT, TRUNCATE, UPDATE
from connectors.postgres.source.replication import AT

__all__ = ["CHANGES", "NOWHERE", "NO_MOMENT", "Mark", "Moment", "Progress", "kinds_of"]

#: What is counted.
CHANGES = bytes((INSERT, UPDATE, DELETE, TRUNCATE))
_IS_CHANGE = bytes(kind in CHANGES for kind in range(256))
_kind_of = itemgetter(AT)


class Mark(NamedTuple):
    """A place between changes."""

    boundary: int  # all transactions whose commit is before it are done
    commit: int  # of the transaction that is under way; 0: none is
    done: int  # of its changes


#: Before the first change of a batch.
NOWHERE = Mark(0, 0, 0)


class Moment(Struct, frozen=True):
    """When and where changes were made: their transaction."""

    commit_ms: int
    transaction: int | None
    lsn: int | None  # of the commit, of all its changes
    snapshot: str = "false"


NO_MOMENT = Moment(0, None, None)


class Progress:
    """How far the stream is."""

    def __init__(self, given: Mark) -> None:
        """given: what was given before."""
        self._boundary = given.boundary
        self._commit = 0
        self._count = 0
        self._given = given
        self.moment = NO_MOMENT  # of the last change, if all was taken by `step`

    @property
    def mark(self) -> Mark:
        """Where it is now."""
        return Mark(self._boundary, self._commit, self._count)

    @property
    def is_repeating(self) -> bool:
        """Whether changes may come that were given before."""
        return self._given.done > 0 and self._boundary <= self._given.commit

    @property
    def is_between(self) -> bool:
        """Whether no transaction is done in part."""
        return not self._commit and not self.is_repeating

    def copy(self) -> Progress:
        """Another one, which goes its own way from here."""
        return copy.copy(self)

    def step(self, message: bytes) -> bool:
        """Go on by one message; returns whether it is a change that was not given before."""
        kind = message[AT]
        if kind == BEGIN:
            self._commit, commit_ms, transaction = pgoutput.read_begin(message, AT)
            self._count = 0
            self.moment = Moment(commit_ms, transaction, self._commit)
        elif kind == COMMIT:
            self._boundary = pgoutput.read_commit(message, AT)
            self._commit = self._count = 0
        elif kind in CHANGES:
            self._count += 1
            return self._commit != self._given.commit or self._count > self._given.done
        return False

    def steps(self, messages: Sequence[bytes]) -> Iterator[bytes]:
        """Go on by each of these; the changes among them that were not given before."""
        return filter(self.step, messages)

    def jump(self, messages: Sequence[bytes], kinds: bytes) -> list[bytes]:
        """The same in one go, where it can be, and without moments. kinds: the letters of the messages."""
        if self.is_repeating:
            return [*self.steps(messages)]
        end = kinds.rfind(COMMIT)
        begin = kinds.rfind(BEGIN)
        if end >= 0:
            self._boundary = pgoutput.read_commit(messages[end], AT)
        if begin > end:
            self._commit, _, _ = pgoutput.read_begin(messages[begin], AT)
        elif end >= 0:
            self._commit = 0
        first = max(begin, end) + 1  # of the changes that are of the transaction that is under way now
        changed = sum(kinds.count(kind, first) for kind in CHANGES)
        self._count = changed + (0 if first else self._count)
        return [*compress(messages, kinds.translate(_IS_CHANGE))]


def kinds_of(messages: Sequence[bytes]) -> bytes:
    """The letter of each message."""
    return bytes(map(_kind_of, messages))
