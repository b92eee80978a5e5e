"""A source's task bank: poll, transform, convert, write frames; hear what is stored.

    poll ──► transform ──► convert ──► frames ──► ring ──► (pump)
    commit, commit_record ◄── Stored, Acknowledged ◄── down

One `step` does a bounded piece of work and never waits for room: what did not fit is kept
and tried again first. So both banks can take turns in one process.

When the connector has no more, or a stop is asked, or a record is bad, one `End` follows
the last frame; the pump answers with the final `Stored`.

Used by: engine.task.main.
Not here: producing, storing (engine.pump.source).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from engine.api.batch import SourceBatch
from engine.api.errors import RecordTooLargeError, RetriableError
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.api.transform import Transform
from engine.bank import describe, note_act, noting_acts
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.ledger.source import TaskAccount
from engine.mending import failure_of_record
from engine.offsets.store import OffsetStore, encode_part
from engine.patience import Patience
from engine.shm import frame
from engine.shm.acts import Act
from engine.shm.board import Measure, Phase, Row, Stage, Target, Word
from engine.shm.channel import TaskSide
from engine.shm.frame import End, Headers, Payloads, SourceFrame, SourceOffset
from engine.shm.waits import Cause, Trouble
from engine.stages import convert, outgoing
from engine.stages.convert import Converters
from engine.stages.outgoing import Outgoing
from engine.stages.transform import RecordError, close_all, transform

__all__ = ["SourceTaskBank"]

logger = logging.getLogger("millrace.task")

#: Frames aim at this size, so that a ring holds many and the pump always has one.
FRAME_BYTES_AIM = 512 * 1024
#: Room in a frame for everything that is not keys and values, per record and in all.
OVERHEAD_BYTES = 4096
RECORD_OVERHEAD_BYTES = 48
HEADER_OVERHEAD_BYTES = 16
#: Offsets that go with the last records of a poll; more take frames of their own.
OFFSETS_BYTES_ALONG = 3072
OFFSET_OVERHEAD_BYTES = 16
#: The bell is rung for all that may end such a wait.
IDLE_SECONDS = 0.5
FULL_SECONDS = 0.01

Polled = SourceBatch | Sequence[SourceRecord]


class SourceTaskBank:
    """Steps a source task; also the `SourceContext` it sees."""

    def __init__(
        self,
        spec: LineSpec,
        task: SourceTask,
        chain: Sequence[Transform],
        converters: Converters,
        side: TaskSide,
        row: Row,
        clock: Clock,
        account: TaskAccount | None = None,
    ) -> None:
        """account: None: the ledger is switched off."""
        self._spec = spec
        self._account = account
        self._task = task
        self._chain = chain
        self._converters = converters
        self._side = side
        self._ring = side.data_writer(is_checked=account is not None)
        self._row = row
        self._clock = clock
        self._stored_offsets: dict[bytes, Mapping[str, Any] | None] = {}
        self._unsent: deque[bytes] = deque()
        self._polled_again: deque[Polled] = deque()  # batches of one poll that wait for their turn
        self._awaiting: deque[tuple[int, SourceRecord]] = deque()  # for commit_record
        self._sequence = 0
        self._polled = row.measured(Stage.POLL, Measure.RECORDS)
        self._complained: set[str] = set()  # calls of the connector that have failed and were logged
        self._has_ended = False
        self._end_is_sent = False
        self._retry_at_ns = 0
        self._patience = Patience(row, Word.TASK_WAIT, clock)
        self.failure: Exception | None = None
        self.is_over = False

    @property
    def is_bulk(self) -> bool:
        return self._spec.is_bulk

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._stored_offsets.get(encode_part(partition))

    def end(self) -> None:
        self._has_ended = True

    def wait(self, seconds: float) -> None:
        deadline = self._clock.monotonic_ns() + int(seconds * 1e9)
        while self._row.get(Word.TARGET) == Target.RUN and not self._is_stopping:
            left = (deadline - self._clock.monotonic_ns()) / 1e9
            if left <= 0:
                return
            self._side.bell.wait(min(left, IDLE_SECONDS))
            self._beat()

    _is_stopping = False

    def ask_to_stop(self) -> None:
        """End as soon as possible, whatever the target word says (TERM)."""
        self._is_stopping = True

    def fail(self, error: Exception) -> None:
        """Deliver what is published, then end with this reason."""
        note_act(error, self._row)
        self.failure = error
        self._has_ended = True
        self._polled_again.clear()

    def start(self) -> None:
        """Read the stored offsets and start the connector's task."""
        with self._patience.leaving(), noting_acts(self._row):
            if self._spec.store:
                store = OffsetStore(self._spec.store)
                self._stored_offsets = store.offsets(self._spec.connector)
                store.close()
            self._row.set(Word.TASK_ACT, Act.START)
            self._task.initialize(self)
            self._task.start(self._spec.task_config)
        self._patience.end(Cause.START, Cause.STORE)
        self._row.set(Word.POLL_MS, max(0, round(self._task.poll_seconds * 1000)))
        self._row.set(Word.TASK_PHASE, Phase.READY)

    def stop(self) -> None:
        """Give back what the task and its transforms took; once, whatever happened before."""
        self._row.set(Word.TASK_ACT, Act.STOP)
        try:
            self._task.stop()
        finally:
            close_all(self._chain)

    def step(self) -> float:
        """Do a piece of work; returns how long (seconds) nothing but the bell can give it more."""
        self._beat()
        self._hear()
        if self._is_stopping and not self._row.get(Word.PUMP_PID):
            self.is_over = True  # nobody is left to take anything or to answer
        if self.is_over:
            return 0.0
        if not self._send():
            return FULL_SECONDS
        if self._end_is_sent:
            return IDLE_SECONDS
        if self._polled_again:
            self._take(self._polled_again.popleft())
            return 0.0
        if self._has_ended or self._row.get(Word.TARGET) == Target.STOP or self._is_stopping:
            is_failed = self.failure is not None
            is_complete = self._has_ended and not is_failed
            self._unsent.append(frame.encode(End(self._polled, is_complete, is_failed, self._dropped())))
            self._end_is_sent = True
            self._row.set(Word.TASK_PHASE, Phase.ENDED)
            return 0.0
        if self._row.get(Word.TARGET) == Target.PAUSE:
            return IDLE_SECONDS
        if (now_ns := self._clock.monotonic_ns()) < self._retry_at_ns:
            self._patience.tick(now_ns)
            return FULL_SECONDS
        return self._poll()

    def _beat(self) -> None:
        self._row.set(Word.TASK_BEAT_NS, self._clock.monotonic_ns())

    def _poll(self) -> float:
        self._row.set(Word.TASK_ACT, Act.POLL)
        try:
            polled = self._task.poll()
        except RetriableError as error:
            self._row.count(Stage.POLL, 0, errors=1)
            self._patience.note(Trouble(Cause.POLL, describe(error)))
            self._retry_at_ns = self._clock.monotonic_ns() + int(self._spec.timing.retry_backoff * 1e9)
            return FULL_SECONDS
        self._patience.end(Cause.POLL)
        if not polled:
            return 0.0 if self._has_ended else FULL_SECONDS
        if isinstance(polled, SourceBatch) or isinstance(polled[0], SourceRecord):
            self._take(polled)  # type: ignore[arg-type]  # the first tells what all are
        else:
            self._polled_again.extend(polled)  # type: ignore[arg-type]  # as above
        return 0.0

    def _take(self, polled: Polled) -> None:
        polled = outgoing.with_declared(polled)
        count = len(polled)
        if not count:
            return
        if not self._polled:
            self._row.set(Word.FIRST_RECORD_NS, self._clock.monotonic_ns())
        self._polled += count
        self._row.count(Stage.POLL, count)
        offsets = outgoing.last_offsets(polled)
        going: Polled = polled
        origins: Sequence[int] = range(count)
        if self._chain:
            self._row.set(Word.TASK_ACT, Act.TRANSFORM)
            going, origins, failed = transform(self._chain, outgoing.records_of(polled))
            self._row.count(Stage.TRANSFORM, len(going), errors=int(failed is not None))
            if self._account is not None:
                self._account.transformed(polled, origins, len(going), count if failed is None else failed.index)
            if failed is not None:
                self._fail(failed, "transformed", polled, failed.index)
                offsets = _offsets_before(polled, failed.index)
        if self._spec.wants_commit_record:
            self._await(polled, origins)
        batches = outgoing.gather(going) if len(going) else []
        if self._account is not None:
            self._account.gathered(polled, len(going), sum(len(batch.values) for batch in batches))
        along = offsets if _offsets_size(offsets) <= OFFSETS_BYTES_ALONG else []
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            written = self._write(batch, along if is_last else [], polled, origins)
            if written < len(batch.values):
                self._write_offsets(_offsets_before(polled, origins[batch.first + written]))
                return
        if not batches or not along:
            # Everything was dropped, and the position moves all the same; or there are too many.
            self._write_offsets(offsets)

    def _write(self, batch: Outgoing, offsets: list[SourceOffset], polled: Polled, origins: Sequence[int]) -> int:
        """Queue the frames of a batch; returns how many records are in them: fewer when one failed, without offsets.

        origins: for each record that is left of the poll, its index in it.
        """
        self._row.set(Word.TASK_ACT, Act.CONVERT)
        columns = convert.encode(batch, self._converters)
        count = len(columns.values)
        if self._account is not None:
            expected = len(batch.values) if columns.failed is None else columns.failed.index
            self._account.converted(polled, origins[batch.first], expected, count)
        size = _size(columns.values, columns.keys)
        self._row.count(Stage.CONVERT, count, size, errors=int(columns.failed is not None))
        if columns.failed is not None:
            self._fail(columns.failed, "converted", polled, origins[batch.first + columns.failed.index])
            offsets = []
        partitions = None if batch.partitions is None else list(batch.partitions[:count])
        timestamps = None if batch.timestamps is None else list(batch.timestamps[:count])
        whole = (batch.topic, columns.values, columns.keys, partitions, timestamps, columns.headers)
        written = self._split(whole, size, _headers_size(columns.headers), offsets) if count else 0
        if self._account is not None and self.failure is None:
            self._account.framed(polled, origins[batch.first], count, written)
        return written

    def _write_offsets(self, offsets: list[SourceOffset]) -> None:
        """Queue offsets in frames without records: they are stored once Kafka has all that was queued before."""
        limit = min(self._ring.frame_bytes_max, FRAME_BYTES_AIM) - OVERHEAD_BYTES
        begin = size = 0
        for index, offset in enumerate(offsets):
            one = _offsets_size([offset])
            if size + one > limit and index > begin:
                self._write_slice(offsets[begin:index], is_last=False)
                begin, size = index, 0
            size += one
        if offsets:
            self._write_slice(offsets[begin:], is_last=True)

    def _write_slice(self, offsets: list[SourceOffset], *, is_last: bool) -> None:
        going = SourceFrame(
            "",
            0,
            0,
            self._polled,
            [],
            offsets=offsets,
            sequence=self._sequence,
            is_last=is_last,
            dropped=self._dropped(),
        )
        self._unsent.append(frame.encode(going))

    def _dropped(self) -> int:
        return 0 if self._account is None else self._account.dropped

    def _split(self, columns: tuple[Any, ...], size: int, headers_size: int, offsets: list[SourceOffset]) -> int:
        """Queue frames small enough for the ring; the offsets go with the last.

        size: bytes of keys and values. headers_size: what the headers take in a frame.
        Returns how many records are in the frames: all before one that is too large, if there is one.
        """
        topic, values, keys, partitions, timestamps, headers = columns
        count = len(values)
        limit = self._ring.frame_bytes_max
        bound = size + headers_size + OVERHEAD_BYTES + count * RECORD_OVERHEAD_BYTES
        fits_alone = count == 1 and bound <= limit and size + headers_size <= self._spec.record_bytes_max
        if bound <= min(limit, FRAME_BYTES_AIM) or fits_alone:
            whole = self._frame(topic, values, keys, partitions, timestamps, headers, offsets, size)
            self._unsent.append(frame.encode(whole))
            return count
        if count == 1:
            self.failure = RecordTooLargeError(
                f"a record of {size + headers_size} bytes for topic {topic} is larger than this task can carry "
                f"({self._spec.record_bytes_max} bytes): raise producer.override.max.request.size (the ring follows)"
            )
            self._has_ended = True
            self._polled_again.clear()
            return 0
        middle = count // 2
        written = 0
        for begin, end in ((0, middle), (middle, count)):
            piece = [column and column[begin:end] for column in (values, keys, partitions, timestamps, headers)]
            sizes = _size(piece[0], piece[1]), _headers_size(piece[4])
            written += self._split((topic, *piece), *sizes, offsets if end == count else [])
            if written < end:
                break
        return written

    def _frame(
        self,
        topic: str,
        values: Any,
        keys: Any,
        partitions: Any,
        timestamps: Any,
        headers: Any,
        offsets: list[SourceOffset],
        size: int,
    ) -> SourceFrame:
        sequence = self._sequence
        self._sequence += len(values)
        return SourceFrame(
            topic,
            len(values),
            size,
            self._polled,
            values,
            keys,
            partitions,
            timestamps,
            headers,
            offsets,
            sequence,
            dropped=self._dropped(),
        )

    def _send(self) -> bool:
        """Write what waits; False while the ring has no room for all of it."""
        wrote = False
        while self._unsent and self._ring.write(self._unsent[0]):
            self._unsent.popleft()
            wrote = True
        if wrote:
            self._side.pump_bell.ring()
        return not self._unsent

    def _hear(self) -> None:
        while (notice := self._side.down.read()) is not None:
            message = frame.decode_down(notice)
            self._side.down.release()
            if isinstance(message, frame.Stored):
                self.is_over = self.is_over or message.is_end
                self._tell("commit", self._task.commit)
            elif isinstance(message, frame.Acknowledged):
                self._acknowledge(message)

    def _await(self, polled: Polled, kept: Sequence[int]) -> None:
        """Remember the records, as they were polled, until they are acknowledged; dropped ones are done with."""
        records = list(outgoing.records_of(polled))
        self._awaiting.extend((self._sequence + number, records[index]) for number, index in enumerate(kept))
        for index in set(range(len(records))).difference(kept) if self.failure is None else ():
            self._tell("commit_record", self._task.commit_record, records[index], None)

    def _acknowledge(self, message: frame.Acknowledged) -> None:
        for sequence, partition, offset in message.records:
            number, record = self._awaiting.popleft()
            assert number == sequence, f"record {sequence} acknowledged, {number} expected"
            self._tell("commit_record", self._task.commit_record, record, Delivered(message.topic, partition, offset))

    def _tell(self, act: str, call: Callable[..., None], *about: Any) -> None:
        """Tell the connector of something that is done; what it raises then undoes nothing, and is logged once."""
        self._row.set(Word.TASK_ACT, Act.COMMIT)
        try:
            call(*about)
        except Exception as error:  # whatever a plugin raises; Kafka Connect goes on as well
            if act not in self._complained:
                self._complained.add(act)
                logger.warning("%s: %s failed, going on: %s", self._spec.title, act, describe(error), exc_info=error)

    def _fail(self, failed: RecordError, act: str, polled: Polled, index: int) -> None:
        record = next(islice(outgoing.records_of(polled), index, None))
        place = f"the record for topic {record.topic} at {record.source_partition} {record.source_offset}"
        self.failure = failure_of_record(f"{place} could not be {act}: {describe(failed.error)}", failed.error)
        self._has_ended = True
        self._polled_again.clear()


def _size(values: Payloads, keys: Payloads | None) -> int:
    return sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys or ())))


def _offsets_size(offsets: list[SourceOffset]) -> int:
    return sum(len(offset.partition) + len(offset.offset) + OFFSET_OVERHEAD_BYTES for offset in offsets)


def _headers_size(column: list[Headers] | None) -> int:
    return sum(
        len(key) + len(value or b"") + HEADER_OVERHEAD_BYTES for headers in column or () for key, value in headers
    )


def _offsets_before(polled: Polled, index: int) -> list[SourceOffset]:
    """Where to go on after the first `index` records."""
    if index == 0:
        return []
    if not isinstance(polled, SourceBatch):
        return outgoing.last_offsets(polled[:index])
    if polled.source_partition is None or not polled.source_offsets:
        return []
    return [SourceOffset(encode_part(polled.source_partition), encode_part(polled.source_offsets[index - 1]))]


class Delivered:
    """Where Kafka put a record (`RecordMetadata`)."""

    __slots__ = ("offset", "partition", "topic")

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
