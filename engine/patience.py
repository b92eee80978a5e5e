"""How one bank bears what passes: what it waits for, since when, when it tries again, and when a person is told.

    note     librdkafka tries again by itself, or nothing is to be tried; heard of
    bear     a call has failed; it, or a question in its place, is due again after a pause
    end      what was waited for is there

    told:    a warning once it has lasted TELL_AFTER_NS, then every TELL_NS; one line when it is over

There is no end to patience: a wait costs a full ring and nothing else, and a person who mends the world should not
have to start the worker as well. A bank that ends for it (ExitCode.RETRY) leaves its word, and its next life goes on
with it.

Used by: engine.task, engine.pump, engine.both.
Not here: the causes (engine.shm.waits), when a line comes back (engine.supervisor.pacer).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from engine.api.errors import RetriableError, UnreachableError
from engine.clock import Clock
from engine.shm.board import Row, Word
from engine.shm.waits import KAFKA, Cause, Trouble, Wait, cause_of, pack, unpack

__all__ = ["Patience", "letter_seconds", "pause_seconds"]

logger = logging.getLogger("millrace.waits")

SECOND_NS = 1_000_000_000
#: What is over sooner is no news.
TELL_AFTER_NS = 1 * SECOND_NS
TELL_NS = 60 * SECOND_NS
#: Seconds between two tries: the first pause, which doubles, and the longest.
PAUSE_SECONDS = 0.25
PAUSE_SECONDS_MAX = 10.0
#: What a person has to mend is asked for less often from the start: each try is a login, or a refusal in Kafka's log.
SLOW = (Cause.CREDENTIALS, Cause.DENIED)
SLOW_PAUSE_SECONDS = 1.0
#: Seconds between two looks whether Kafka has a dead letter, for which no bell is rung; after so many its topic is
#: away, and it is looked for more seldom.
LETTER_SECONDS = 0.001
LETTER_LOOKS_MAX = 1_000
LETTER_SECONDS_AWAY = 0.01


def pause_seconds(cause: Cause, tries: int, chance: float) -> float:
    """The pause before try number `tries` (from 0): doubles up to a bound, and half of it is chance (0 to 1)."""
    first = SLOW_PAUSE_SECONDS if cause in SLOW else PAUSE_SECONDS
    # The exponent has a bound of its own: a wait may last for days.
    longest = min(first * (1 << min(tries, 16)), PAUSE_SECONDS_MAX)
    return longest * (0.5 + 0.5 * chance)


def letter_seconds(looks: int) -> float:
    """The pause after so many looks for a dead letter's answer."""
    return LETTER_SECONDS if looks < LETTER_LOOKS_MAX else LETTER_SECONDS_AWAY


class Patience:
    """One bank's; the only writer of its word."""

    def __init__(self, row: Row, word: Word, clock: Clock, random: Random | None = None) -> None:
        self._row = row
        self._word = word
        self._clock = clock
        # Its own for each bank, so that not all come at once; the same each time, so that a simulation can be repeated.
        self._random = random or Random(f"{row.identity} {word}")
        self._why = ""
        self._tries = 0
        self._due_ns = 0
        self._until_ns = 0  # a wait that nobody has noted again by then is over; 0: it has no such end
        self._told_ns: dict[Cause, int] = {}  # when each was told last
        self._is_told = False  # this one was
        wait = unpack(row.get(word))  # of the life before
        self._wait = wait if wait is not None and wait.cause != Cause.QUOTA else None
        self._row.set(word, pack(self._wait))

    @property
    def cause(self) -> Cause:
        """What is waited for now."""
        return Cause.NOTHING if self._wait is None else self._wait.cause

    @property
    def tries(self) -> int:
        """How often it was tried again since the wait began."""
        return self._tries

    def note(self, trouble: Trouble, lasts_seconds: float = 0.0) -> None:
        """It waits for this, unless it waits for what tells more; lasts_seconds: over by itself, 0: it is not."""
        now_ns = self._clock.monotonic_ns()
        if self._wait is None or trouble.cause < self._wait.cause:
            self._begin(trouble.cause, now_ns)
        if trouble.cause == self.cause:
            self._why = trouble.why
            self._until_ns = now_ns + int(lasts_seconds * SECOND_NS) if lasts_seconds else 0
        self.tick(now_ns)

    def note_error(self, error: Exception, other: Cause = Cause.START) -> bool:
        """It waits for what this error says, if that may pass; returns whether it may. other: where it does not say."""
        if not isinstance(error, RetriableError | UnreachableError):
            return False
        self.note(Trouble(cause_of(error, other), str(error)))
        return True

    def bear(self, error: RetriableError | UnreachableError) -> None:
        """A call has failed; the next is due after a pause."""
        self.note_error(error)
        self.later()

    def later(self, seconds: float | None = None) -> None:
        """It was tried in vain; the next try is due after a longer pause, or after so many seconds."""
        pause = pause_seconds(self.cause, self._tries, self._random.random()) if seconds is None else seconds
        self._tries += 1
        self._due_ns = self._clock.monotonic_ns() + int(pause * SECOND_NS)

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """What may pass and ends the bank within stays on the board, for as long as it is away."""
        try:
            yield
        except (RetriableError, UnreachableError) as error:
            self.bear(error)
            raise

    def is_due(self, now_ns: int) -> bool:
        """Whether what failed may be tried again."""
        return now_ns >= self._due_ns

    def end(self, *causes: Cause) -> None:
        """It does not wait for any of these any more."""
        if self._wait is not None and self._wait.cause in causes:
            wait, self._wait = self._wait, None
            self._row.set(self._word, 0)
            if self._is_told:
                seconds = wait.seconds(self._clock.monotonic_ns())
                logger.info("goes on after %.1f s: it waited because %s", seconds, wait.cause.sentence)

    def tick(self, now_ns: int) -> None:
        """Tell what is to be told; end what ends by itself."""
        wait = self._wait
        if wait is None:
            return
        if self._until_ns and now_ns >= self._until_ns:
            self.end(wait.cause)
            return
        last_ns = self._told_ns.get(wait.cause)
        is_news = last_ns is None or now_ns - last_ns >= TELL_NS
        if is_news and now_ns - wait.since_ns >= TELL_AFTER_NS:
            self._told_ns[wait.cause] = now_ns
            self._is_told = True
            why = f" ({self._why})" if self._why else ""
            logger.warning("waits for %.0f s: %s%s", wait.seconds(now_ns), wait.cause.sentence, why)

    def _begin(self, cause: Cause, now_ns: int) -> None:
        # What tells more of the same trouble has lasted as long.
        is_same = self._wait is not None and cause in KAFKA and self._wait.cause in KAFKA
        self._wait = Wait(cause, self._wait.since_ns if self._wait is not None and is_same else now_ns)
        self._row.set(self._word, pack(self._wait))
        self._tries = 0
        self._due_ns = now_ns
        self._is_told = False
