"""Dead letters as a sink's task writes them: a record as it was read, and what happened to it.

    frame, RecordError ──► Original ──► Letter, encoded, in parts that fit the small ring ──► (pump)

They are made when there is room for them, so that a frame of nothing but bad records takes no memory twice.

Used by: engine.task.sink.
Not here: which records fail (engine.stages), the topic (engine.pump.letters), those of sources (source_letters.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from engine.api.record import TopicPartition
from engine.config.line import LineSpec
from engine.letter_context import context_of
from engine.shm import frame
from engine.shm.board import Row, Word
from engine.shm.frame import ArrivedSinkFrame, Headers, Letter, LetterPiece
from engine.stages.convert import TIMESTAMP_TYPES
from engine.stages.transform import RecordError
from engine.task.outbox import Outbox
from engine.task.parts import Part

__all__ = ["Letters", "Original", "consumed", "headers_of", "originals"]

#: Of an encoded letter in one message of the small ring.
PART_BYTES = 32 * 1024


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
        self.number = row.get(Word.LETTERS_ACKNOWLEDGED)  # of the last one that was written
        # What was written together, until Kafka has it: the last number, and of each partition the lowest offset.
        self._out: deque[tuple[int, Mapping[TopicPartition, int]]] = deque()

    def write(self, bad: Sequence[tuple[RecordError, Original]], tries: int) -> int:
        """Queue a letter for each of these; returns the number of the last one. tries: how often what failed was."""
        first = self.number + 1
        self.number += len(bad)
        lowest: dict[TopicPartition, int] = {}
        for _, one in bad:
            place = TopicPartition(one.topic, one.partition)
            lowest[place] = min(one.offset, lowest.get(place, one.offset))
        self._forget()
        self._out.append((self.number, lowest))
        self._outbox.say_all(self._encoded(first, bad, tries))
        return self.number

    def out(self, parts: Mapping[TopicPartition, Part]) -> Mapping[TopicPartition, int]:
        """The lowest offset of each of these partitions whose letter Kafka has not yet.

        One of before what is safe holds nothing up: from when the partition was here the last time, or of a record that
        was reported late. A task that has sought past a record has not made it safe.
        """
        self._forget()
        lowest: dict[TopicPartition, int] = {}
        for number, offsets in self._out:
            for place, offset in offsets.items():
                part = parts.get(place)
                if part is not None and number > part.letters_before and offset >= part.told:
                    lowest[place] = min(offset, lowest.get(place, offset))
        return lowest

    def _forget(self) -> None:
        while self._out and self._out[0][0] <= self._row.get(Word.LETTERS_ACKNOWLEDGED):
            self._out.popleft()

    def _encoded(self, first: int, bad: Sequence[tuple[RecordError, Original]], tries: int) -> Iterator[bytes]:
        dead_letters = self._spec.errors.dead_letters
        assert dead_letters is not None, "there is a topic for them"
        for number, (failure, one) in enumerate(bad, first):
            place = {"topic": one.topic, "partition": str(one.partition), "offset": str(one.offset)}
            context = (
                context_of(self._spec, failure.error, (failure.stage, failure.plugin), place, tries)
                if dead_letters.has_context
                else []
            )
            headers = [*one.headers, *context]
            whole = frame.encode(
                Letter(number, one.topic, one.partition, one.offset, one.value, one.key, one.timestamp, headers)
            )
            for at in range(0, len(whole), PART_BYTES):
                end = at + PART_BYTES
                yield frame.encode(LetterPiece(whole[at:end], end >= len(whole)))


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
