"""Committing what a sink's task has flushed, and counting what may be done again.

    Flushed ──► due ──► commit ──► answer ──► counter follows: all that was put up to here is committed

The count errs on the safe side: what was given up without a commit, and what earlier lives of the line had put and not
committed, stays a difference between what was put and what is committed.

A commit that has no answer in time is given up, and may still be done: librdkafka sends it again when the coordinator
is back, even after a newer one. So until its answer is here, nothing is counted and no pump is complete; then what it
has set back is due again.

Used by: engine.pump.sink.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from engine.api.errors import ConnectError
from engine.config.line import Timing
from engine.ledger.sink import PumpAccount
from engine.patience import Patience
from engine.pump.outside import MOVING
from engine.pump.partitions import Partitions
from engine.shm.board import Measure, Row, Stage, Word
from engine.shm.frame import Flushed
from engine.shm.waits import Cause, OutsideError

__all__ = ["CommitPort", "Commits"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]

#: A commit is refused for the short while of a rebalance; every other reason passes as well, or is told again.
RETRY_NS = 200_000_000
#: The log tells of failed commits at most so often.
TELL_NS = 30_000_000_000
#: A commit that was given up is done or refused by then: librdkafka sends it three times, each for a minute at most.
STRAY_NS = 300_000_000_000


class CommitPort(Protocol):
    """Who commits (`engine.kafka.consumer.GroupConsumer`)."""

    def commit(self, offsets: Mapping[Place, int]) -> None: ...
    def commit_now(self, offsets: Mapping[Place, int]) -> None: ...


class Going(Struct):
    """A commit that is on its way."""

    offsets: dict[Place, int]
    epochs: dict[Place, int]
    put: int  # records put that it covers, with all that was committed before
    late_at_ns: int


class Commits:
    """One commit at a time; what fails is asked for again, with what has been flushed since."""

    def __init__(
        self,
        port: CommitPort,
        parts: Partitions,
        row: Row,
        timing: Timing,
        patience: Patience,
        account: PumpAccount | None,
        fence: Callable[[], None],
    ) -> None:
        """fence: called before each commit; may raise Fenced."""
        self._port = port
        self._patience = patience
        self._account = account
        self._fence = fence
        self._parts = parts
        self._row = row
        self._timeout_ns = int(timing.commit_timeout * 1e9)
        self._going: Going | None = None
        self._strays: list[Going] = []  # given up without an answer, the oldest first
        self._not_before_ns = 0  # after a failure
        self._tell_at_ns = 0
        self._put = 0  # records put, as of the last flush; -1: it did not cover them all
        self._given_up = 0  # records, by this life of the line
        self.flushes = 0  # heard of

    @property
    def is_sure(self) -> bool:
        """Whether nothing that was given up can still change what the group has."""
        return not self._strays

    def heard(self, message: Flushed) -> None:
        """The task has flushed."""
        for position in message.positions:
            part = self._parts.get((position.topic, position.partition))
            if self._account is not None and part is not None and part.epoch == position.epoch:
                place = position.topic, position.partition
                self._account.flushed(place, position.next_offset, part.position)
            self._parts.flush(position)
        if message.is_last:
            self.flushes += 1
            self._put = message.put

    def step(self, now_ns: int) -> None:
        """Commit what is due, if nothing is on its way."""
        going = self._going
        if going is not None and now_ns >= going.late_at_ns:
            text = f"no answer to a commit for {self._timeout_ns / 1e9:g} s"
            self._strays.append(going)
            self._fail(OutsideError(text, Cause.ACKNOWLEDGEMENTS), now_ns)
        while self._strays and now_ns >= self._strays[0].late_at_ns + STRAY_NS:
            self._answer_stray(self._strays[0], is_done=True)
        if self._going is not None or now_ns < self._not_before_ns:
            return
        offsets = self._due()
        if offsets:
            self._fence()
            self._going = Going(offsets, self._parts.epochs(offsets), self._put, now_ns + self._timeout_ns)
            self._port.commit(offsets)
        else:
            self._patience.end(Cause.ACKNOWLEDGEMENTS)
            self._count(self._put)

    def answered(self, offsets: Mapping[Place, int], error: ConnectError | None, now_ns: int) -> None:
        """The answer to a commit is here."""
        going = self._going
        if going is None or going.offsets != offsets:
            stray = next((stray for stray in self._strays if stray.offsets == offsets), None)
            if stray is not None:
                self._answer_stray(stray, is_done=error is None)
            return
        if error is not None:
            self._fail(error, now_ns)
            return
        self._patience.end(*MOVING)
        self._going = None
        self._done(offsets, going.epochs)
        self._count(going.put)

    def commit_now(self) -> None:
        """Commit all that is flushed, and wait for it; a failure costs repeats, and is told."""
        if self._going is not None:
            self._strays.append(self._going)  # its answer is not waited for, and it may be done after this one
            self._going = None
        offsets = self._due()
        if offsets:
            self._fence()
            try:
                self._port.commit_now(offsets)
            except ConnectError as error:
                self._row.count(Stage.COMMIT, 0, batches=0, errors=1)
                logger.warning("%s; what was put since the last commit may be done again", error)
                return
            self._done(offsets, self._parts.epochs(offsets))
        self._count(self._put)

    def give_up(self, places: Iterable[Place], *, is_flushed: bool) -> None:
        """Forget partitions, and count what may have been put of them without being committed.

        is_flushed: the task has let go of them, having flushed.
        """
        for stray in reversed(self._strays):  # the oldest counts: it may be done last
            self._parts.commit(stray.offsets, stray.epochs)
        lost = self._parts.drop(places, is_flushed=is_flushed and self._put >= 0)
        if lost:
            self._given_up += lost
            self._row.set(Word.GIVEN_UP, self._row.get(Word.GIVEN_UP) + lost)

    def _due(self) -> dict[Place, int]:
        offsets = self._parts.due()
        if self._account is not None:
            for place, offset in offsets.items():
                part = self._parts.get(place)
                assert part is not None, f"{place} is due and not assigned"
                self._account.committing(place, offset, part.flushed)
        return offsets

    def _done(self, offsets: Mapping[Place, int], epochs: Mapping[Place, int]) -> None:
        self._parts.commit(offsets, epochs)
        if self._account is not None:
            for place, offset in offsets.items():
                self._account.committed(place, offset)

    def _fail(self, error: ConnectError, now_ns: int) -> None:
        self._going = None
        self._not_before_ns = now_ns + RETRY_NS
        self._row.count(Stage.COMMIT, 0, batches=0, errors=1)
        if self._patience.note_error(error, Cause.ACKNOWLEDGEMENTS):
            return  # which is told there
        if now_ns >= self._tell_at_ns:
            self._tell_at_ns = now_ns + TELL_NS
            logger.warning("%s; trying again", error)

    def _answer_stray(self, stray: Going, *, is_done: bool) -> None:
        self._strays.remove(stray)
        if is_done:
            self._done(stray.offsets, stray.epochs)

    def _count(self, put: int) -> None:
        if self._strays:
            return
        safe = put - self._row.get(Word.WRITTEN_OFF) - self._given_up
        done = self._row.measured(Stage.COMMIT, Measure.RECORDS)
        if safe > done:
            self._row.count(Stage.COMMIT, safe - done)
