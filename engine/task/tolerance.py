"""How a task bears records that fail: how long what may pass is tried again, and who hears of what is given up.

    AgainError ──► pause ──► the same batch, later ──► time is over: as any other failure
    failure    ──► counted, logged, as a dead letter to the pump; the record is skipped, or ends the task

A batch is tried again between two steps of the bank, so that nothing waits in here: heartbeats, revocations and flushes
go on meanwhile. The time for retries begins with a batch's first failure.

Used by: engine.task.sink, engine.task.source.
Not here: which records fail (engine.stages), the letters themselves (letters.py).
Source: Kafka Connect's operator for errors (its reference, section 9.6): pauses, names, the text of the log line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random

from engine.api.errors import ConnectError, RetriableError
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.letter_context import name_of
from engine.shm.board import Row, Word
from engine.stages.tolerate import AgainError, Manner, reads_headers
from engine.stages.transform import RecordError
from engine.stages.work import Stages

__all__ = ["Tolerance"]

logger = logging.getLogger("millrace.errors")

MS_NS = 1_000_000
#: The first pause; it doubles.
PAUSE_MS = 300
#: The exponent has a bound of its own.
DOUBLINGS_MAX = 32


class Tolerance:
    """One task's."""

    def __init__(self, spec: LineSpec, stages: Stages, row: Row, clock: Clock, random: Random | None = None) -> None:
        self._errors = spec.errors
        self._title = f"{spec.connector}-{spec.task}"
        self._row = row
        self._clock = clock
        self._random = random or Random(f"{spec.title} errors")
        self._deadline_ns = 0  # for retries of the batch in hand; 0: it has not failed
        self._tries = 0
        self.attempts = 1  # to convert the last batch that is through
        errors = spec.errors
        has_time = errors.retry_ms != 0
        has_all = reads_headers(errors, stages.converters.header)
        # Without a time of its own a converter is waited for, unless what fails is to be skipped.
        self._patient = Manner(errors.is_tolerant, has_time or not errors.is_tolerant, has_time, has_all)
        self._last = Manner(errors.is_tolerant, False, False, has_all)

    @property
    def skips(self) -> bool:
        """Whether a record that fails costs itself only."""
        return self._errors.is_tolerant

    def manner(self) -> Manner:
        """Of the next attempt."""
        is_late = 0 < self._deadline_ns <= self._clock.monotonic_ns()
        return self._last if is_late else self._patient

    def pause(self, error: RetriableError) -> float | None:
        """An attempt has failed and may pass: seconds until the next one; None: whatever the caller has for that."""
        records = error.records if isinstance(error, AgainError) else 1
        self._count(Word.FAILURES, records)
        retry_ms = self._errors.retry_ms
        if retry_ms == 0:
            return None
        self._count(Word.RETRIES, records)
        now_ns = self._clock.monotonic_ns()
        if retry_ms > 0 and not self._deadline_ns:
            self._deadline_ns = now_ns + retry_ms * MS_NS
        pause_ms = float(PAUSE_MS << min(self._tries, DOUBLINGS_MAX))
        self._tries += 1
        longest_ms = max(0, self._errors.retry_pause_ms_max)
        if pause_ms > longest_ms:
            pause_ms = self._random.random() * longest_ms
        if self._deadline_ns:
            pause_ms = min(pause_ms, (self._deadline_ns - now_ns) / MS_NS)
        return max(0.0, pause_ms / 1000)

    def passed(self, deaths: int = 0) -> int:
        """The batch in hand is through; returns its attempts. deaths: of processes that have tried it instead."""
        self.attempts = deaths or self._tries + 1
        self._deadline_ns = self._tries = 0
        return self.attempts

    def report(self, bad: RecordError, which: Callable[[], str]) -> None:
        """A record has failed for good. which: it is, as the log line tells after the class."""
        self._count(Word.FAILURES)
        self._count(Word.FAILED)
        self._row.set(Word.LAST_ERROR_NS, self._clock.monotonic_ns())
        if self._errors.is_tolerant:
            self._count(Word.SKIPPED)
        self.log(bad, which)

    def reported(self, bad: RecordError, which: Callable[[], str], *, is_again: bool = False) -> None:
        """The connector says so itself. is_again: it has said so of this record before.

        Raises ConnectError where nothing is tolerated.
        """
        self._count(Word.FAILURES)
        self._row.set(Word.LAST_ERROR_NS, self._clock.monotonic_ns())
        self.log(bad, which)
        if not self._errors.is_tolerant:
            self._count(Word.FAILED)
            raise ConnectError(f"Tolerance exceeded in error handler: {bad.error}") from bad.error
        if not is_again:
            self._count(Word.SKIPPED)

    def log(self, bad: RecordError, which: Callable[[], str]) -> None:
        """A line for this record, if there is to be one."""
        if not self._errors.are_logged:
            return
        self._count(Word.ERRORS_LOGGED)
        plugin = "null" if bad.plugin is None else name_of(bad.plugin)
        record = which() if self._errors.logs_records else ""
        logger.error(
            "Error encountered in task %s. Executing stage '%s' with class '%s'%s.",
            self._title,
            bad.stage,
            plugin,
            record,
            exc_info=bad.error,
        )

    def _count(self, word: Word, more: int = 1) -> None:
        self._row.set(word, self._row.get(word) + more)
