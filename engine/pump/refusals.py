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
from engine.letter_context import LEFT_OUT, context_of, name_of, without_own
from engine.shm.board import Row, Word
from engine.shm.frame import Headers, SourceFrame

__all__ = ["Refusals", "RefusedLetter"]

#: Without the timestamp and the headers of its own; then without the value, too.
REDUCTIONS_MAX = 2

logger = logging.getLogger("millrace.errors")


class RefusedLetter(NamedTuple):
    """A record that goes to the dead letter topic, as it would have gone to its own."""

    topic: str
    value: bytes | None
    key: bytes | None
    timestamp: int | None
    headers: Headers
    reduced: int = 0  # how often, to what is not refused for the same reason as the record


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
            self.letters[frame.sequence + index] = self._letter(self._errors.dead_letters, frame, index, refusal)

    def may_reduce(self, frame: SourceFrame, index: int) -> bool:
        """Kafka has refused a letter; returns whether it is tried again with less of its record.

        What that was refused for, such as a timestamp in the future, its letter may be, too.
        """
        number = frame.sequence + index
        known = self.letters.get(number)
        if known is None and frame.is_letter:
            headers = [] if frame.headers is None else frame.headers[index]
            key = None if frame.keys is None else frame.keys[index]
            known = RefusedLetter(frame.topic, frame.values[index], key, None, headers)
        is_all = known is not None and (known.reduced == REDUCTIONS_MAX or (known.reduced > 0 and known.value is None))
        if known is None or is_all:
            return False
        value, told = known.value, "timestamp, headers of its own"
        if known.reduced:
            value, told = None, f"{len(value or b'')} bytes of value, {told}"
        before = [text for name, text in known.headers if name == LEFT_OUT and text is not None and not known.reduced]
        context = [one for one in without_own(known.headers) if one[0] != LEFT_OUT]
        left_out = b", ".join([*before, told.encode()])
        self.letters[number] = RefusedLetter(
            known.topic, value, known.key, None, [*context, (LEFT_OUT, left_out)], known.reduced + 1
        )
        return True

    def has_arrived(self, number: int) -> None:
        """Kafka has the letter of this record."""
        self.letters.pop(number, None)

    def letter_failed(self) -> None:
        """Kafka has refused a letter for good."""
        self._count(Word.LETTERS_FAILED)

    def letter_sent(self) -> None:
        """A letter is handed to the client."""
        self._count(Word.LETTERS)

    def topics(self) -> set[str]:
        """Where letters are on their way to."""
        return {letter.topic for letter in self.letters.values()}

    def _letter(self, dead: DeadLetterSpec, frame: SourceFrame, index: int, refusal: ConnectError) -> RefusedLetter:
        value = frame.values[index]
        headers: Headers = [] if frame.headers is None else [*frame.headers[index]]
        if dead.has_context:
            headers += context_of(self._spec, refusal, ("KAFKA_PRODUCE", BatchProducer), {"topic": frame.topic})
        if isinstance(refusal, RecordTooLargeError):  # its letter would be, too
            headers.append((LEFT_OUT, f"{len(value or b'')} bytes of value".encode()))
            value = None
        key = None if frame.keys is None else frame.keys[index]
        timestamp = None if frame.timestamps is None else frame.timestamps[index]
        return RefusedLetter(dead.topic, value, key, timestamp, headers)

    def _count(self, word: Word) -> None:
        self._row.set(word, self._row.get(word) + 1)
