"""Dead letters of a source: a record as it was polled, and what happened to it, as a record ahead of its poll.

    SourceRecord, RecordError ──► columns for the dead letter topic ──► frames before those of the poll ──► (pump)

They go the way of all records: offsets are stored once all that is in the frames before them is in Kafka, so nothing is
stored past a letter that is not there.

Used by: engine.task.source.
Not here: letters of records that Kafka refuses (engine.pump.refusals), those of sinks (letters.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.api.record import SourceRecord
from engine.config.line import LineSpec
from engine.letter_context import OURS, context_of
from engine.shm.frame import Headers
from engine.stages.transform import RecordError
from engine.task.framing import Framing, record_bytes
from engine.task.tolerance import Tolerance

__all__ = ["SourceLetters"]


class SourceLetters:
    """Makes one task's."""

    def __init__(self, spec: LineSpec, framing: Framing, tolerance: Tolerance) -> None:
        """spec: of a line that has a dead letter topic."""
        assert spec.errors.dead_letters is not None, "there is a topic for them"
        self._spec = spec
        self._dead = spec.errors.dead_letters
        self._framing = framing
        self._tolerance = tolerance

    def write(self, failures: Sequence[RecordError], records: Sequence[SourceRecord]) -> None:
        """Queue a letter for each of these. The index of a failure is that of its record."""
        letters = [self._letter(failure, records[failure.index]) for failure in failures]
        for letter in letters:  # one a frame: each has a size of its own, and they are few
            value, key, timestamp, headers = letter
            columns = (self._dead.topic, [value], [key], None, None if timestamp is None else [timestamp], [headers])
            self._framing.letter(columns)

    def _letter(self, failure: RecordError, record: SourceRecord) -> tuple[Any, Any, int | None, Headers]:
        own: Headers = [(header.key, payload(header.value)) for header in record.headers]
        context = self._context(failure, record)
        value, key = payload(record.value), payload(record.key)
        if self._framing.fits(record_bytes(value, key, [*own, *context])):
            return value, key, record.timestamp, [*own, *context]
        # The letter of a record that is too large tells of it; else it would be too large itself.
        left_out: Headers = [(f"{OURS}left.out", f"{len(value or b'')} bytes of value".encode())]
        if not self._framing.fits(record_bytes(None, key, [*own, *context, *left_out])):
            key, own = None, []
        return None, key, record.timestamp, [*own, *context, *left_out]

    def _context(self, failure: RecordError, record: SourceRecord) -> Headers:
        if not self._dead.has_context:
            return []
        source: Headers = [
            (f"{OURS}source.partition", payload(record.source_partition)),
            (f"{OURS}source.offset", payload(record.source_offset)),
        ]
        told = context_of(
            self._spec,
            failure.error,
            (failure.stage, failure.plugin),
            {"topic": record.topic},
            self._tolerance.attempts,
        )
        return [*told, *source]


def payload(value: Any) -> bytes | None:
    """A value as a letter has it: bytes and texts as they are, others as JSON, or as Python shows them."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode(errors="replace")
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, OverflowError, RecursionError):  # what nobody can convert has a letter all the same
        return repr(value).encode(errors="replace")
