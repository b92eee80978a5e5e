"""The errant record reporter: how a connector says of a record that its own system does not take it.

    report(record, error) ──► log line, dead letter ──► Reported, which may be waited for inside `put`

A record of the frame that is being put, or that was put since the last flush, goes as it was read; any other is made
bytes again by the task's converters, as in Kafka Connect. Frames are kept for that only once somebody has asked for the
reporter.

What is waited for is a word of the board, never a message: those are heard between two puts.

A record that is reported once more before it is flushed, as by a put that was called again, is one record: it has one
letter and counts once.

Used by: engine.task.sink.
Not here: the letters (letters.py), what is tolerated (tolerance.py), what is counted (sink_counts.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from engine.api.errors import ConnectError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.task import SinkTask
from engine.clock import Clock
from engine.shm import frame
from engine.shm.board import Word
from engine.shm.frame import ArrivedSinkFrame, Headers
from engine.stages.transform import RecordError
from engine.stages.work import Stages
from engine.task.incoming import Coming
from engine.task.letters import Letters, Original, consumed, headers_of, originals
from engine.task.outbox import Outbox
from engine.task.sink_counts import SinkCounts
from engine.task.tolerance import Tolerance

__all__ = ["Reporter"]

#: Frames that were put since the last flush are kept up to so many bytes, the last one whatever its size.
KEPT_BYTES_MAX = 8 * 1024 * 1024
#: Records that were reported since the last flush, of all partitions; with more, one of them may have a second letter.
TOLD_MAX = 100_000
WAIT_SECONDS = 0.01


class Answer:
    """A `Reported`."""

    def __init__(self, number: int, reporter: Reporter) -> None:
        """number: of the letter; 0: there is none."""
        self._number = number
        self._reporter = reporter

    def done(self) -> bool:
        return self._reporter.has_acknowledged(self._number)

    def result(self, timeout: float | None = None) -> None:
        self._reporter.wait(self._number, timeout)


class Reporter:
    """One task's; an `ErrantRecordReporter`."""

    def __init__(
        self,
        task: SinkTask,
        stages: Stages,
        tolerance: Tolerance,
        letters: Letters | None,
        counts: SinkCounts,
        outbox: Outbox,
        clock: Clock,
        sleep: Callable[[float], object],
    ) -> None:
        """sleep: so long, or lets the pump go on where it is in the same process."""
        self._task = task
        self._converters = stages.converters
        self._tolerance = tolerance
        self._letters = letters
        self._counts = counts
        self._outbox = outbox
        self._row = counts.row
        self._clock = clock
        self.sleep = sleep
        self.is_wanted = False  # the connector has it
        self._last = 0  # letter that was written for the connector
        self._told: dict[tuple[str, int], set[int]] = {}  # by topic and partition, offsets of what was reported since
        self._told_count = 0
        self._coming: Coming | None = None  # that is being put
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._read: tuple[ArrivedSinkFrame, list[Headers] | None] | None = None  # the frame that was looked into last

    def begins(self, coming: Coming) -> None:
        """A frame is about to be put."""
        self._coming, self._read = coming, None

    def ends(self) -> None:
        """It is put; its memory goes back."""
        if self._coming is not None and self.is_wanted:
            self._kept.append(bytes(self._coming.raw))
            self._kept_bytes += len(self._kept[-1])
            while self._kept_bytes > KEPT_BYTES_MAX and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popleft())
        self._coming = self._read = None

    def flushed(self) -> None:
        """All that was put is safe."""
        self._kept.clear()
        self._kept_bytes = 0
        self._read = None
        if self._coming is None:  # else its put goes on
            self._forget_told()

    def begins_anew(self, places: Mapping[TopicPartition, int]) -> None:
        """These partitions were opened or sought: from these offsets on, others may come with the same offsets."""
        for (topic, partition), offset in places.items():
            told = self._told.get((topic, partition), set())
            gone = {one for one in told if one >= offset}
            told -= gone
            self._told_count -= len(gone)

    def report(self, record: SinkRecord, error: Exception) -> Answer:
        failure = RecordError(-1, error, stage="TASK_PUT", plugin=type(self._task))
        read = self._original(record)
        one = self._made(record) if read is None else read
        is_again = self._is_told(one)
        if self._letters is not None and (read is None or not is_again):
            tries = 1 if self._coming is None else self._coming.put_tries
            self._last = self._letters.write([(failure, one)], tries)
        self._outbox.send()
        self._tolerance.reported(failure, partial(consumed, one), is_again=is_again)
        if not is_again:
            self._counts.refused([one])
        return Answer(self._last, self)

    def has_acknowledged(self, number: int) -> bool:
        """Whether Kafka has this letter, and all before."""
        self._outbox.send()
        return self._row.get(Word.LETTERS_ACKNOWLEDGED) >= number

    def wait(self, number: int, seconds: float | None) -> None:
        """Return once Kafka has this letter, and all before. Raises TimeoutError, RetriableError."""
        began_ns = self._clock.monotonic_ns()
        while not self.has_acknowledged(number):
            now_ns = self._clock.monotonic_ns()
            self._row.set(Word.TASK_BEAT_NS, now_ns)
            if seconds is not None and now_ns - began_ns >= seconds * 1e9:
                raise TimeoutError(f"no answer to a dead letter for {seconds:g} s")
            if not self._row.get(Word.PUMP_PID):
                raise RetriableError("the pump, which writes dead letters, is gone")
            self.sleep(WAIT_SECONDS)

    def settle(self, seconds: float) -> None:
        """Wait for all letters, for so long: partitions go, and what lies behind one of them would come again."""
        with suppress(TimeoutError, ConnectError):  # that a letter is refused, the pump tells
            self.wait(self._last, seconds)

    def pause(self, until_ns: int) -> None:
        """Return at that time, and not at once."""
        while True:
            self._row.set(Word.TASK_BEAT_NS, self._clock.monotonic_ns())
            with suppress(ConnectError):
                self.sleep(WAIT_SECONDS)
            if self._clock.monotonic_ns() >= until_ns:
                return

    def _is_told(self, one: Original) -> bool:
        """Whether it was reported before; it is from now on."""
        place = one.topic, one.partition, one.offset
        coming = self._coming
        # A frame that was put back, as others of its partitions went, is put again; a flush may have passed meanwhile.
        if one.offset in self._told.get(place[:2], ()) or (coming is not None and place in coming.told):
            return True
        if self._told_count >= TOLD_MAX:
            self._forget_told()
        self._told.setdefault(place[:2], set()).add(one.offset)
        self._told_count += 1
        if coming is not None:
            coming.told.add(place)  # where its put fails for another one, that is searched for
        return False

    def _forget_told(self) -> None:
        self._told.clear()
        self._told_count = 0

    def _original(self, record: SinkRecord) -> Original | None:
        """As it was read; None: the connector has made it, or nobody has it any more."""
        for message, headers in self._frames():
            found = _found_in(message, headers, record)
            if found is not None:
                return found
        return None

    def _made(self, record: SinkRecord) -> Original:
        converters = self._converters
        topic = record.topic
        values = converters.value.from_connect(topic, [record.value], [record.value_schema])
        keys = converters.key.from_connect(topic, [record.key], [record.key_schema])
        for failure in (*keys.failures, *values.failures):
            raise failure.error
        return Original(
            record.original_topic or topic,
            record.partition if record.original_partition < 0 else record.original_partition,
            record.offset if record.original_offset < 0 else record.original_offset,
            values.payloads[0],
            keys.payloads[0],
            record.timestamp,
            record.timestamp_type,
            [(header.key, converters.header.from_connect_header(topic, header)) for header in record.headers],
        )

    def _frames(self) -> Iterator[tuple[ArrivedSinkFrame, list[Headers] | None]]:
        """Those that a record may be of; the one that was looked into last comes first, as it may have thousands."""
        if self._read is not None:
            yield self._read
        coming: list[bytes | memoryview] = [] if self._coming is None else [self._coming.raw]
        for raw in (*coming, *reversed(self._kept)):
            message = frame.decode_sink(raw)
            assert isinstance(message, ArrivedSinkFrame), "a frame of records"
            self._read = message, headers_of(message)
            yield self._read


def _found_in(message: ArrivedSinkFrame, headers: list[Headers] | None, record: SinkRecord) -> Original | None:
    at = 0
    for run in message.runs:
        if (run.topic, run.partition) == (record.original_topic, record.original_partition):
            offsets = run.offset_column()
            index = bisect_left(offsets, record.original_offset)
            if index < run.count and offsets[index] == record.original_offset:
                return originals(message, [at + index], headers)[0]
        at += run.count
    return None
