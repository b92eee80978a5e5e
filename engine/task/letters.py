"""Dead letters as a sink's task writes them: a record as it was read, and what happened to it.

    frame, RecordError ──► Original ──► Letter, encoded, in parts that fit the small ring ──► (pump)

They are made when there is room for them, so that a frame of nothing but bad records takes no memory twice.

Used by: engine.task.sink.
Not here: which records fail (engine.stages), the topic (engine.pump.letters).
Source: names and order of the headers are Kafka Connect's (its reference, section 9.6).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from engine import logs
from engine.api.errors import DataError
from engine.config.line import LineSpec
from engine.shm import frame
from engine.shm.board import Row, Word
from engine.shm.frame import ArrivedSinkFrame, Headers, Letter, LetterPiece
from engine.stages.convert import TIMESTAMP_TYPES
from engine.stages.tolerate import name_of
from engine.stages.transform import RecordError
from engine.task.outbox import Outbox

__all__ = ["Letters", "Original", "consumed", "headers_of", "originals"]

#: Of an encoded letter in one message of the small ring.
PART_BYTES = 32 * 1024
#: Of a stack of calls, its end; a record's headers are not to become larger than the record.
STACK_CHARACTERS_MAX = 8 * 1024
MESSAGE_CHARACTERS_MAX = 4 * 1024
_PREFIX = "__connect.errors."


class Original(NamedTuple):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None
    timestamp: int | None
    timestamp_type: str
    headers: Headers


class Letters:
    """Writes one task's dead letters; numbers them over all its lives."""

    def __init__(self, spec: LineSpec, row: Row, outbox: Outbox) -> None:
        self._spec = spec
        self._row = row
        self._outbox = outbox
        self._number = row.get(Word.LETTERS_ACKNOWLEDGED)

    def write(self, bad: Sequence[tuple[RecordError, Original]]) -> int:
        """Queue a letter for each of these; returns the number of the last one."""
        first = self._number + 1
        self._number += len(bad)
        self._outbox.say_all(self._encoded(first, bad))
        return self._number

    def _encoded(self, first: int, bad: Sequence[tuple[RecordError, Original]]) -> Iterator[bytes]:
        dead_letters = self._spec.errors.dead_letters
        assert dead_letters is not None, "there is a topic for them"
        for number, (failure, one) in enumerate(bad, first):
            headers = [*one.headers, *self._context(failure, one)] if dead_letters.has_context else one.headers
            whole = frame.encode(
                Letter(number, one.topic, one.partition, one.offset, one.value, one.key, one.timestamp, headers)
            )
            for at in range(0, len(whole), PART_BYTES):
                end = at + PART_BYTES
                yield frame.encode(LetterPiece(whole[at:end], end >= len(whole)))

    def _context(self, failure: RecordError, one: Original) -> Headers:
        error = failure.error
        message = self._clean(error.whole() if isinstance(error, DataError) else str(error))
        stack = self._clean("".join(traceback.format_exception(error)))
        told = {
            "topic": one.topic,
            "partition": str(one.partition),
            "offset": str(one.offset),
            "connector.name": self._spec.connector,
            "task.id": str(self._spec.task),
            "stage": failure.stage,
            "class.name": "" if failure.plugin is None else name_of(failure.plugin),
            "exception.class.name": name_of(error),
            "exception.message": message[:MESSAGE_CHARACTERS_MAX] or None,
            "exception.stacktrace": stack[-STACK_CHARACTERS_MAX:],
        }
        return [(_PREFIX + name, None if text is None else _bytes(text)) for name, text in told.items()]

    def _clean(self, text: str) -> str:
        return logs.masked(text, self._spec.secrets)


def headers_of(message: ArrivedSinkFrame) -> list[Headers] | None:
    """The headers of all records of a frame; None: they have none."""
    return frame.decode_headers(message.headers) if message.has_headers() else None


def originals(message: ArrivedSinkFrame, indexes: Sequence[int], headers: list[Headers] | None) -> list[Original]:
    """Records of a frame as they were read. indexes: growing. headers: of the frame."""
    ends = [*accumulate(run.count for run in message.runs)]
    found = []
    at = 0
    for index in indexes:
        while index >= ends[at]:
            at += 1
        run = message.runs[at]
        offset = run.offset_column()[index - ends[at] + run.count]
        timestamp = None if message.timestamps is None or not message.timestamp_type else message.timestamps[index]
        found.append(
            Original(
                run.topic,
                run.partition,
                offset,
                message.values[index],
                None if message.keys is None else message.keys[index],
                None if timestamp is None or timestamp < 0 else timestamp,
                TIMESTAMP_TYPES[message.timestamp_type],
                [] if headers is None else headers[index],
            )
        )
    return found


def consumed(one: Original) -> str:
    """Which record it is, as Kafka Connect's log has it."""
    told = f"topic='{one.topic}', partition={one.partition}, offset={one.offset}"
    if one.timestamp is not None:
        told += f", timestamp={one.timestamp}, timestampType={one.timestamp_type}"
    return f", where consumed record is {{{told}}}"


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
