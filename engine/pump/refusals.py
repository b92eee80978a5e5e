"""Records of a source that Kafka refuses and that are left out (errors.tolerance=all): counted, told, as dead letters.

    frame, index, ConnectError ──► a line in the log
                               ──► Letter, until Kafka has it: what stands in the place of the record meanwhile

Used by: engine.pump.main, engine.pump.delivery.
Not here: how they are found, and sent (delivery.py); a record's source offset, which only its task knows.
Source: the text of the log line is Kafka Connect's (its reference, section 9.6).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from engine.api.errors import ConnectError, RecordTooLargeError
from engine.clock import Clock
from engine.config.line import DeadLetterSpec, LineSpec
from engine.kafka.producer import BatchProducer
from engine.letter_context import OURS, context_of, name_of
from engine.shm.board import Row, Word
from engine.shm.frame import Headers, SourceFrame

__all__ = ["Refusals", "RefusedLetter"]

logger = logging.getLogger("millrace.errors")


class RefusedLetter(NamedTuple):
    """A record that goes to the dead letter topic, as it would have gone to its own."""

    topic: str
    value: bytes | None
    key: bytes | None
    timestamp: int | None
    headers: Headers


class Refusals:
    """One pump's."""

    def __init__(self, spec: LineSpec, row: Row, clock: Clock) -> None:
        self._spec = spec
        self._errors = spec.errors
        self._row = row
        self._clock = clock
        #: By their records' numbers, those that Kafka has not.
        self.letters: dict[int, RefusedLetter] = {}

    def note(self, frame: SourceFrame, index: int, refusal: ConnectError) -> None:
        """Kafka has refused a record."""
        self._count(Word.REFUSALS)
        self._row.set(Word.REFUSED_NS, self._clock.monotonic_ns())
        if self._errors.are_logged:
            self._count(Word.REFUSALS_LOGGED)
            which = f", where source record is {refusal}" if self._errors.logs_records else ""
            logger.error(
                "Error encountered in task %s. Executing stage 'KAFKA_PRODUCE' with class '%s'%s.",
                f"{self._spec.connector}-{self._spec.task}",
                name_of(BatchProducer),
                which,
                exc_info=refusal,
            )
        if self._errors.dead_letters is not None:
            self._count(Word.LETTERS)
            self.letters[frame.sequence + index] = self._letter(self._errors.dead_letters, frame, index, refusal)

    def has_arrived(self, number: int) -> None:
        """Kafka has the letter of this record."""
        self.letters.pop(number, None)

    def letter_failed(self) -> None:
        """Kafka has refused a letter."""
        self._count(Word.LETTERS_FAILED)

    def _letter(self, dead: DeadLetterSpec, frame: SourceFrame, index: int, refusal: ConnectError) -> RefusedLetter:
        value = frame.values[index]
        headers: Headers = [] if frame.headers is None else [*frame.headers[index]]
        if dead.has_context:
            headers += context_of(self._spec, refusal, ("KAFKA_PRODUCE", BatchProducer), {"topic": frame.topic})
        if isinstance(refusal, RecordTooLargeError):  # its letter would be, too
            headers.append((f"{OURS}left.out", f"{len(value or b'')} bytes of value".encode()))
            value = None
        key = None if frame.keys is None else frame.keys[index]
        timestamp = None if frame.timestamps is None else frame.timestamps[index]
        return RefusedLetter(dead.topic, value, key, timestamp, headers)

    def _count(self, word: Word) -> None:
        self._row.set(word, self._row.get(word) + 1)
