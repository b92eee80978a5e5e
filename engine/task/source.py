"""A source's task bank: poll, transform, convert, write frames; hear what is stored.

    poll ──► transform ──► convert ──► frames ──► ring ──► (pump)
              └── here, or dealt to stage processes and collected in order
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
from itertools import islice, pairwise
from typing import Any

from engine.api.batch import SourceBatch
from engine.api.errors import RecordTooLargeError, RetriableError
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
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
from engine.shm.frame import End, SourceFrame, SourceOffset
from engine.shm.waits import Cause, Trouble
from engine.stages import outgoing
from engine.stages.transform import RecordError
from engine.stages.work import Converted, Outbound, Stages, outbound
from engine.task import sizes
from engine.task.crew import Crew
from engine.task.dealing import Dealing

__all__ = ["SourceTaskBank"]

logger = logging.getLogger("millrace.task")

#: Frames aim at this size, so that a ring holds many and the pump always has one.
FRAME_BYTES_AIM = 512 * 1024
#: Room in a frame for everything that is not keys and values, per record and in all.
OVERHEAD_BYTES = 4096
RECORD_OVERHEAD_BYTES = 48
#: Offsets that go with the last records of a poll; more take frames of their own.
OFFSETS_BYTES_ALONG = 3072
IDLE_SECONDS = 0.1
FULL_SECONDS = 0.01
#: A poll that has taken so long waits for its system: before the next one, all that is dealt is collected.
WAITING_NS = 5_000_000

Polled = SourceBatch | Sequence[SourceRecord]


class SourceTaskBank:
    """Steps a source task; also the `SourceContext` it sees."""

    def __init__(
        self,
        spec: LineSpec,
        task: SourceTask,
        stages: Stages,
        side: TaskSide,
        row: Row,
        clock: Clock,
        account: TaskAccount | None = None,
        crew: Crew | None = None,
    ) -> None:
        """account: None: the ledger is switched off. crew: None: the stages run here."""
        self._spec = spec
        self._account = account
        self._task = task
        self._stages = stages
        self._dealing = None if crew is None else Dealing(crew, has_chain=bool(stages.chain))
        self._is_waiting = False  # the connector has nothing just now
        self._side = side
        self._ring = side.data_writer(is_checked=account is not None)
        self._row = row
        self._clock = clock
        self._stored_offsets: dict[bytes, Mapping[str, Any] | None] = {}
        self._unsent: deque[bytes] = deque()
        self._polled_again: deque[Polled] = deque()  # batches of one poll that wait for their turn
        # For commit_record: the record of each number, as it was polled; None: more that was made of it comes.
        self._awaiting: deque[tuple[int, SourceRecord | None]] = deque()
        self._sequence = 0
        self._polled = row.measured(Stage.POLL, Measure.RECORDS)
        self._framed = self._polled  # of these, up to the batch that frames were made of last
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
            self._stages.close()

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
        if self._dealing is not None and (idle := self._look_after(self._dealing)) is not None:
            return idle
        if self._polled_again:
            self._take(self._polled_again.popleft())
            return 0.0
        if self._is_to_end():
            return self._end()
        if self._row.get(Word.TARGET) == Target.PAUSE:
            return IDLE_SECONDS
        if (now_ns := self._clock.monotonic_ns()) < self._retry_at_ns:
            self._patience.tick(now_ns)
            return FULL_SECONDS
        return self._poll()

    def _look_after(self, dealing: Dealing) -> float | None:
        """Collect what is done; returns None when more may be dealt, or nothing is under way any more."""
        if not dealing.is_under_way:
            return None
        if self._is_stopping:
            self._let_go(dealing)
            return None
        if self._collect(dealing):
            return 0.0
        if dealing.is_full:
            return FULL_SECONDS
        if self._polled_again:
            return None
        if self._is_to_end():
            return IDLE_SECONDS
        return FULL_SECONDS if self._is_waiting else None

    def _is_to_end(self) -> bool:
        return self._has_ended or self._is_stopping or self._row.get(Word.TARGET) == Target.STOP

    def _end(self) -> float:
        """Say that nothing comes any more."""
        is_failed = self.failure is not None
        is_complete = self._has_ended and not is_failed
        self._unsent.append(frame.encode(End(self._framed, is_complete, is_failed, *self._dropped_and_added())))
        self._end_is_sent = True
        self._row.set(Word.TASK_PHASE, Phase.ENDED)
        return 0.0

    def _let_go(self, dealing: Dealing) -> None:
        """What is dealt does not come back, or not in time: it is polled again next time, so this is not the end."""
        dealing.forget()
        self._polled_again.clear()
        self._has_ended = False

    def _beat(self) -> None:
        self._row.set(Word.TASK_BEAT_NS, self._clock.monotonic_ns())

    def _poll(self) -> float:
        self._row.set(Word.TASK_ACT, Act.POLL)
        begun_ns = self._clock.monotonic_ns()
        try:
            polled = self._task.poll()
        except RetriableError as error:
            self._row.count(Stage.POLL, 0, errors=1)
            self._patience.note(Trouble(Cause.POLL, describe(error)))
            self._retry_at_ns = self._clock.monotonic_ns() + int(self._spec.timing.retry_backoff * 1e9)
            return FULL_SECONDS
        self._patience.end(Cause.POLL)
        self._is_waiting = not polled or self._clock.monotonic_ns() - begun_ns > WAITING_NS
        if not polled:
            return 0.0 if self._has_ended else FULL_SECONDS
        if isinstance(polled, SourceBatch) or isinstance(polled[0], SourceRecord):
            self._take(polled)  # type: ignore[arg-type]  # the first tells what all are
        else:
            self._polled_again.extend(polled)  # type: ignore[arg-type]  # as above
        return 0.0

    def _take(self, polled: Polled) -> None:
        count = len(polled)
        if not count:
            return
        if not self._polled:
            self._row.set(Word.FIRST_RECORD_NS, self._clock.monotonic_ns())
        self._polled += count
        self._row.count(Stage.POLL, count)
        columns = outgoing.columns_of(polled)
        if self._dealing is None:
            self._frame_all(polled, self._polled, outbound(columns, self._stages, self._note))
        else:
            self._dealing.deal(polled, self._polled, columns)

    def _note(self, act: Act) -> None:
        self._row.set(Word.TASK_ACT, act)

    def _collect(self, dealing: Dealing) -> bool:
        """Make frames of the next batch in turn, if it is done; returns whether it was."""
        failure = self.failure
        try:
            made = dealing.collect()
            if made is None:
                return False
            self._frame_all(made.polled, made.total, made.done, made.bad)
        except Exception:
            dealing.forget()  # nothing goes on past what does not add up
            raise
        if self.failure is not failure:
            dealing.forget()  # nor past a record that has failed
        return True

    def _frame_all(self, polled: Polled, total: int, done: Outbound, bad: RecordError | None = None) -> None:
        """Queue the frames of a batch. total: records polled up to its end. bad: the record it ended before."""
        self._framed = total
        offsets = outgoing.last_offsets(polled)
        failed = done.not_transformed or bad
        if self._stages.chain:
            self._row.count(Stage.TRANSFORM, done.left, errors=int(done.not_transformed is not None))
            if self._account is not None:
                end = len(polled) if failed is None else failed.index
                self._account.transformed(polled, done.origins, done.left, end)
        if failed is not None:
            self._fail(failed, "transformed" if self._stages.chain else "converted", polled, failed.index)
            offsets = _offsets_before(polled, failed.index)
        if self._spec.wants_commit_record:
            self._await(polled, done.origins)
        if self._account is not None:
            self._account.gathered(polled, done.left, done.gathered)
        assert done.gathered == done.left == len(done.origins), "transforms have left columns of other lengths"
        along = offsets if sizes.offsets(offsets) <= OFFSETS_BYTES_ALONG else []
        for index, batch in enumerate(done.batches):
            is_last = index == len(done.batches) - 1
            written = self._write(batch, along if is_last else [], polled, done.origins)
            if written < batch.expected:
                self._write_offsets(_offsets_before(polled, done.origins[batch.first + written]))
                return
        if not done.batches or not along:
            # Everything was dropped, and the position moves all the same; or there are too many.
            self._write_offsets(offsets)

    def _write(self, batch: Converted, offsets: list[SourceOffset], polled: Polled, origins: Sequence[int]) -> int:
        """Queue the frames of a batch; returns how many records are in them: fewer when one failed, without offsets.

        origins: for each record that is left of the poll, its index in it.
        """
        columns = batch.columns
        count = len(columns.values)
        if self._account is not None:
            expected = batch.expected if columns.failed is None else columns.failed.index
            self._account.converted(polled, origins[batch.first], expected, count)
        size = sizes.payloads(columns.values, columns.keys)
        self._row.count(Stage.CONVERT, count, size, errors=int(columns.failed is not None))
        if columns.failed is not None:
            self._fail(columns.failed, "converted", polled, origins[batch.first + columns.failed.index])
            offsets = []
        whole = (batch.topic, columns.values, columns.keys, batch.partitions, batch.timestamps, columns.headers)
        written = self._split(whole, size, sizes.headers(columns.headers), offsets) if count else 0
        if self._account is not None and self.failure is None:
            self._account.framed(polled, origins[batch.first], count, written)
        return written

    def _write_offsets(self, offsets: list[SourceOffset]) -> None:
        """Queue offsets in frames without records: they are stored once Kafka has all that was queued before."""
        limit = min(self._ring.frame_bytes_max, FRAME_BYTES_AIM) - OVERHEAD_BYTES
        begin = size = 0
        for index, offset in enumerate(offsets):
            one = sizes.offsets([offset])
            if size + one > limit and index > begin:
                self._write_slice(offsets[begin:index], is_last=False)
                begin, size = index, 0
            size += one
        if offsets:
            self._write_slice(offsets[begin:], is_last=True)

    def _write_slice(self, offsets: list[SourceOffset], *, is_last: bool) -> None:
        dropped, added = self._dropped_and_added()
        going = SourceFrame(
            "",
            0,
            0,
            self._framed,
            [],
            offsets=offsets,
            sequence=self._sequence,
            is_last=is_last,
            dropped=dropped,
            added=added,
        )
        self._unsent.append(frame.encode(going))

    def _dropped_and_added(self) -> tuple[int, int]:
        return (0, 0) if self._account is None else (self._account.dropped, self._account.added)

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
            of_piece = sizes.payloads(piece[0], piece[1]), sizes.headers(piece[4])
            written += self._split((topic, *piece), *of_piece, offsets if end == count else [])
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
        dropped, added = self._dropped_and_added()
        return SourceFrame(
            topic,
            len(values),
            size,
            self._framed,
            values,
            keys,
            partitions,
            timestamps,
            headers,
            offsets,
            sequence,
            dropped=dropped,
            added=added,
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
        for number, (index, following) in enumerate(pairwise([*kept, -1])):
            self._awaiting.append((self._sequence + number, None if index == following else records[index]))
        for index in set(range(len(records))).difference(kept) if self.failure is None else ():
            self._tell("commit_record", self._task.commit_record, records[index], None)

    def _acknowledge(self, message: frame.Acknowledged) -> None:
        for sequence, partition, offset in message.records:
            number, record = self._awaiting.popleft()
            assert number == sequence, f"record {sequence} acknowledged, {number} expected"
            if record is not None:
                delivered = Delivered(message.topic, partition, offset)
                self._tell("commit_record", self._task.commit_record, record, delivered)

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
