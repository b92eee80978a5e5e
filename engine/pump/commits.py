"""Committing what a sink's task has flushed, and counting what may be done again.

    Flushed ──► due ──► commit ──► answer ──► counter follows: all that was put up to here is committed

The count errs on the safe side: what was given up without a commit, and what earlier lives of the line had put and not
committed, stays a difference between what was put and what is committed.

A commit that has no answer in time is given up, and may still be done: librdkafka sends it again when the coordinator
is back, even after a newer one. So until its answer is here, nothing is counted and no pump is complete. Whatever the
answer is, the group may have been set back to that commit, and what came after it is due again.

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
from engine.shm.waits import Cause, OutsideError, Trouble

__all__ = ["CommitPort", "Commits"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]

#: A commit is refused for the short while of a rebalance; every other reason passes as well, or is told again.
RETRY_NS = 200_000_000
#: How long an answer is waited for at a time, at the end.
ANSWER_SECONDS = 0.02
#: The log tells of failed commits at most so often.
TELL_NS = 30_000_000_000
#: An answer to a commit that was given up is not waited for any longer: librdkafka sends it three times, each for
#: `socket.timeout.ms`, a minute by default.
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
        first_letter: Callable[[Place], int],
    ) -> None:
        """fence: called before each commit; may raise Fenced.

        first_letter: the lowest offset of a partition whose dead letter is not in Kafka; -1: there is none. Nothing
        past it is committed.
        """
        self._first_letter = first_letter
        self._is_held = False  # a dead letter has kept something from being due
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
        self.opens = 0  # `Assigned` that the task had heard at the last of them

    def hear(self, fetch: Callable[[float, int], object], now_ns: int) -> bool:
        """Wait a little for the answer to a commit; returns whether it can still come in time.

        fetch: the consumer's, within which answers are heard; records that it brings are read again by the next life.
        """
        if self._going is None or now_ns >= self._going.late_at_ns:
            return False
        try:
            fetch(ANSWER_SECONDS, 1)
        except ConnectError:
            return False
        return self._going is not None

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
            self.opens = max(self.opens, message.opens)
            self._put = message.put

    def step(self, now_ns: int) -> None:
        """Commit what is due, if nothing is on its way."""
        going = self._going
        if going is not None and now_ns >= going.late_at_ns:
            text = f"no answer to a commit for {self._timeout_ns / 1e9:g} s"
            self._strays.append(going)
            self._fail(OutsideError(text, Cause.ACKNOWLEDGEMENTS), now_ns)
        while self._strays and now_ns >= self._strays[0].late_at_ns + STRAY_NS:
            self._end_stray(self._strays[0])
        if self._going is not None or now_ns < self._not_before_ns:
            return
        offsets = self._due()
        if offsets:
            self._fence()
            self._going = Going(offsets, self._parts.epochs(offsets), self._covered(), now_ns + self._timeout_ns)
            self._port.commit(offsets)
        else:
            if self._strays:
                self._patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, "of a commit that was given up and may be done"))
            else:
                self._patience.end(Cause.ACKNOWLEDGEMENTS)
            self._count(self._covered())

    def answered(self, offsets: Mapping[Place, int], error: ConnectError | None, now_ns: int) -> None:
        """The answer to a commit is here."""
        going = self._going
        if going is None or going.offsets != offsets:
            stray = next((stray for stray in self._strays if stray.offsets == offsets), None)
            if stray is not None:
                self._end_stray(stray)
            return
        if error is not None:
            self._fail(error, now_ns)
            return
        self._patience.end(*(cause for cause in MOVING if self.is_sure or cause != Cause.ACKNOWLEDGEMENTS))
        self._going = None
        self._done(offsets, going.epochs)
        self._count(going.put)

    def commit_now(self) -> None:
        """Commit all that is flushed, and wait for it; a failure costs repeats, and is told."""
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
        if self._going is None:  # else it may be done after this one
            self._count(self._covered())

    def give_up(self, places: Iterable[Place], *, is_flushed: bool) -> None:
        """Forget partitions, and count what may have been put of them without being committed.

        is_flushed: the task has let go of them, having flushed.
        """
        places = list(places)
        for out in (*self._strays, *filter(None, (self._going,))):
            self._parts.set_back({place: out.offsets[place] for place in places if place in out.offsets})
        lost = self._parts.drop(places, is_flushed=is_flushed and self._put >= 0)
        if lost:
            self._given_up += lost
            self._row.set(Word.GIVEN_UP, self._row.get(Word.GIVEN_UP) + lost)

    def _covered(self) -> int:
        """Records put that are committed with what is due; -1: that is not known."""
        return -1 if self._is_held else self._put

    def _due(self) -> dict[Place, int]:
        offsets = self._before_letters(self._parts.due())
        if self._account is not None:
            for place, offset in offsets.items():
                part = self._parts.get(place)
                assert part is not None, f"{place} is due and not assigned"
                self._account.committing(place, offset, part.flushed)
        return offsets

    def _before_letters(self, offsets: Mapping[Place, int]) -> dict[Place, int]:
        due = {}
        self._is_held = False
        for place, offset in offsets.items():
            letter = self._first_letter(place)
            part = self._parts.get(place)
            assert part is not None, f"{place} is due and not assigned"
            if 0 <= letter < offset:
                self._is_held = True
                if letter > max(part.committed, part.start):
                    due[place] = letter
            else:
                due[place] = offset
        return due

    def _done(self, offsets: Mapping[Place, int], epochs: Mapping[Place, int]) -> None:
        self._parts.commit(offsets, epochs)
        if self._account is not None:
            for place, offset in offsets.items():
                self._account.committed(place, offset)

    def _fail(self, error: ConnectError, now_ns: int) -> None:
        if self._going is not None:
            self._set_back(self._going)  # where a newer one has been waited for since
        self._going = None
        self._not_before_ns = now_ns + RETRY_NS
        self._row.count(Stage.COMMIT, 0, batches=0, errors=1)
        if self._patience.note_error(error, Cause.ACKNOWLEDGEMENTS):
            return  # which is told there
        if now_ns >= self._tell_at_ns:
            self._tell_at_ns = now_ns + TELL_NS
            logger.warning("%s; trying again", error)

    def _end_stray(self, stray: Going) -> None:
        # An error is one of a single partition, or a time that was over: the others may be done.
        self._strays.remove(stray)
        self._set_back(stray)

    def _set_back(self, out: Going) -> None:
        for place in self._parts.set_back(out.offsets):
            if self._account is not None:
                self._account.committed(place, out.offsets[place])

    def _count(self, put: int) -> None:
        if self._strays:
            return
        safe = put - self._row.get(Word.WRITTEN_OFF) - self._given_up
        done = self._row.measured(Stage.COMMIT, Measure.RECORDS)
        if safe > done:
            self._row.count(Stage.COMMIT, safe - done)
