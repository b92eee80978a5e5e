"""Dead letters of a source: a record as it was polled, and what happened to it, as a record ahead of its poll.

    SourceRecord, RecordError ──► Letter, when there is room for it ──► a frame before those of the poll ──► (pump)

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
from engine.letter_context import LEFT_OUT, context_of
from engine.shm.frame import Headers
from engine.stages.transform import RecordError
from engine.task.framing import Framing, Letter, record_bytes
from engine.task.tolerance import Tolerance

__all__ = ["SourceLetters", "payload"]


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
        if failures:
            attempts = self._tolerance.attempts
            made = (self._letter(failure, records[failure.index], attempts) for failure in failures)
            self._framing.letters(self._dead.topic, made, len(failures))

    def _letter(self, failure: RecordError, record: SourceRecord, attempts: int) -> Letter:
        own: Headers = [(header.key, payload(header.value)) for header in record.headers or ()]
        context = self._context(failure, record, attempts) if self._dead.has_context else []
        value, key = payload(record.value), payload(record.key)
        whole = [*own, *context]
        if self._framing.fits(record_bytes(value, key, whole)):
            return value, key, record.timestamp, whole
        # The letter of a record that is too large tells of it; else it would be too large itself.
        told: Headers = [(LEFT_OUT, f"{len(value or b'')} bytes of value".encode())]
        whole += told
        if self._framing.fits(record_bytes(None, key, whole)):
            return None, key, record.timestamp, whole
        told = [(LEFT_OUT, f"{len(value or b'')} bytes of value, {len(key or b'')} of key, headers".encode())]
        whole = [*context, *told]
        return None, None, record.timestamp, whole if self._framing.fits(record_bytes(None, None, whole)) else told

    def _context(self, failure: RecordError, record: SourceRecord, attempts: int) -> Headers:
        ours = {
            name: (payload(place) or b"").decode(errors="replace")
            for name, place in (("source.partition", record.source_partition), ("source.offset", record.source_offset))
        }
        at = failure.stage, failure.plugin
        return context_of(self._spec, failure.error, at, {"topic": record.topic}, attempts, ours)


def payload(value: Any) -> bytes | None:
    """A value as a letter has it: bytes and texts as they are, others as JSON, or as Python shows them."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode(errors="replace")
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except Exception:  # noqa: BLE001  a connector's own objects: what nobody can convert has a letter all the same
        return f"a {type(value).__name__} that cannot be shown as JSON".encode()
