"""Records of a source that Kafka refuses and that are left out (errors.tolerance=all): counted, and told.

Used by: engine.pump.main.
Not here: how they are found (delivery.py); a record's source offset, which only its task knows.
Source: the text of the log line is Kafka Connect's (its reference, section 9.6).
"""

from __future__ import annotations

import logging

from engine.api.errors import ConnectError
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.shm.board import Row, Word

__all__ = ["Refusals"]

logger = logging.getLogger("millrace.errors")

PRODUCER = "engine.kafka.producer.BatchProducer"


class Refusals:
    """One pump's."""

    def __init__(self, spec: LineSpec, row: Row, clock: Clock) -> None:
        self._errors = spec.errors
        self._title = f"{spec.connector}-{spec.task}"
        self._row = row
        self._clock = clock

    def note(self, refusal: ConnectError) -> None:
        """Kafka has refused a record."""
        self._count(Word.REFUSALS)
        self._row.set(Word.REFUSED_NS, self._clock.monotonic_ns())
        if self._errors.are_logged:
            self._count(Word.REFUSALS_LOGGED)
            which = f", where source record is {refusal}" if self._errors.logs_records else ""
            logger.error(
                "Error encountered in task %s. Executing stage 'KAFKA_PRODUCE' with class '%s'%s.",
                self._title,
                PRODUCER,
                which,
                exc_info=refusal,
            )

    def _count(self, word: Word) -> None:
        self._row.set(word, self._row.get(word) + 1)
