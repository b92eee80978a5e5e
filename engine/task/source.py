"""A source's task bank: poll, transform, convert, write frames; hear what is stored.

    poll ──► transform ──► convert ──► frames ──► ring ──► (pump)
             └── here, or in stage processes: collected in order
    commit, commit_record ◄── Stored, Acknowledged ◄── down

One `step` does a bounded piece of work and never waits for room: what did not fit is kept
and tried again first. So both banks can take turns in one process.

When the connector has no more, or a stop is asked, or a record is bad, one `End` follows
the last frame; the pump answers with the final `Stored`.

Used by: engine.task.main.
Not here: who transforms and converts (dealing.py), frames that fit (framing.py), producing, storing
(engine.pump.source).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice, pairwise
from typing import Any

from engine.api.batch import SourceBatch
from engine.api.errors import RetriableError
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
from engine.shm.frame import SourceOffset
from engine.shm.waits import Cause, Trouble
from engine.stages import outgoing
from engine.stages.tolerate import kept_of, may_pass
from engine.stages.transform import RecordError
from engine.stages.work import Converted, Outbound, Stages
from engine.task import framing
from engine.task.crew import Crew
from engine.task.dealing import Dealing, Made, Polled
from engine.task.framing import Framing
from engine.task.outbox import Outbox
from engine.task.source_letters import SourceLetters
from engine.task.source_suspects import SourceSuspects
from engine.task.tolerance import Tolerance

__all__ = ["SourceTaskBank"]

logger = logging.getLogger("millrace.task")

#: The bell is rung for all that may end such a wait.
IDLE_SECONDS = 0.5
FULL_SECONDS = 0.01
Records = Sequence[SourceRecord]

#: A poll that has taken so long waits for its system: before the next one, all that is dealt is collected.
WAITING_NS = 5_000_000


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
        self._tolerance = Tolerance(spec, stages, row, clock)
        self._dealing = Dealing(stages, crew, self._note, self._tolerance.manner)
        self._is_waiting = False  # the connector has nothing just now
        self._side = side
        self._ring = side.data_writer(is_checked=account is not None)
        self._row = row
        self._clock = clock
        self._stored_offsets: dict[bytes, Mapping[str, Any] | None] | None = {}  # None: as they are in the store now
        self._polled_again: deque[Polled] = deque()  # batches of one poll that wait for their turn
        # For commit_record: the record of each number, as it was polled, and whether that is the number of its letter.
        # None: more that was made of it comes.
        self._awaiting: deque[tuple[int, SourceRecord | None, bool]] = deque()
        self._polled = row.measured(Stage.POLL, Measure.RECORDS)
        self._outbox = Outbox(self._ring, side.pump_bell)
        self._framing = Framing(self._outbox, self._ring.frame_bytes_max, spec.record_bytes_max, self._polled, account)
        has_letters = spec.errors.dead_letters is not None and self._tolerance.skips
        self._letters = SourceLetters(spec, self._framing, self._tolerance) if has_letters else None
        self._suspects = SourceSuspects(row, stages)
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
        if self._stored_offsets is None:
            self._stored_offsets = self._read_store()
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
        self._suspects.note_error(error)
        self.failure = error
        self._has_ended = True
        self._polled_again.clear()

    def start(self) -> None:
        """Read the stored offsets and start the connector's task."""
        with self._patience.leaving(), noting_acts(self._row):
            self._stored_offsets = self._read_store()
            self._row.set(Word.TASK_ACT, Act.START)
            self._task.initialize(self)
            self._task.start(self._spec.task_config)
        self._patience.end(Cause.START, Cause.STORE)
        self._row.set(Word.POLL_MS, max(0, round(self._task.poll_seconds * 1000)))
        self._row.set(Word.TASK_PHASE, Phase.READY)

    def _read_store(self) -> dict[bytes, Mapping[str, Any] | None]:
        """What is stored of the connector. Raises ConnectError."""
        if not self._spec.store:
            return {}
        with closing(OffsetStore(self._spec.store)) as store:
            return store.offsets(self._spec.connector)

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
        if not self._outbox.send():
            return FULL_SECONDS
        if self._end_is_sent:
            return IDLE_SECONDS
        if (idle := self._look_after()) is not None:
            return idle
        if self._suspects.waits(self._clock.monotonic_ns()) and not self._is_told_to_stop():
            return FULL_SECONDS
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

    def _look_after(self) -> float | None:
        """Collect what is done; returns None when more may be dealt, or nothing is under way any more."""
        if not self._dealing.is_under_way:
            return None
        if self._is_stopping or (self._waits_for_converter() and (self.failure is not None or self._is_told_to_stop())):
            self._let_go()
            return None
        if self._collect():
            return 0.0
        if self._dealing.is_full or self._waits_for_converter():
            return FULL_SECONDS
        if self._polled_again:
            return None
        if self._is_to_end():
            return IDLE_SECONDS
        return FULL_SECONDS if self._is_waiting else None

    def _waits_for_converter(self) -> bool:
        return self._patience.cause == Cause.CONVERT

    def _is_told_to_stop(self) -> bool:
        return self._is_stopping or self._row.get(Word.TARGET) == Target.STOP

    def _is_to_end(self) -> bool:
        return self._has_ended or self._is_told_to_stop()

    def _end(self) -> float:
        """Say that nothing comes any more."""
        is_failed = self.failure is not None
        self._framing.end(is_complete=self._has_ended and not is_failed, is_failed=is_failed)
        self._end_is_sent = True
        self._row.set(Word.TASK_PHASE, Phase.ENDED)
        return 0.0

    def _let_go(self) -> None:
        """What is dealt does not come back, or not in time: it is polled again next time, so this is not the end."""
        self._dealing.forget()
        self._polled_again.clear()
        self._has_ended = self.failure is not None

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
        if polled is None or _is_empty(polled):
            return 0.0 if self._has_ended else FULL_SECONDS
        is_one = isinstance(polled, SourceBatch) or isinstance(polled[0], SourceRecord)  # the first tells what all are
        batches: Sequence[Polled] = [polled] if is_one else polled  # type: ignore[list-item, assignment]  # as it says
        if self._suspects.part_records:
            batches = [part for batch in batches for part in self._suspects.split(batch)]
        self._polled_again.extend(batches)
        if is_one and self._polled_again:
            self._take(self._polled_again.popleft())
        return 0.0

    def _take(self, polled: Polled) -> None:
        if _is_empty(polled):
            return
        count = len(polled)
        if count and not self._polled:
            self._row.set(Word.FIRST_RECORD_NS, self._clock.monotonic_ns())
        self._polled += count
        if count:
            self._row.count(Stage.POLL, count)
        self._suspects.deal(polled)
        done = self._suspects.refused(polled, skips=self._tolerance.skips)
        is_here = self._suspects.part_records > 0
        self._dealing.deal(polled, self._polled, is_here=is_here, done=done)
        if is_here or self._dealing.is_full:
            self._collect()

    def _note(self, act: Act) -> None:
        self._row.set(Word.TASK_ACT, act)

    def _collect(self) -> bool:
        """Make frames of the next batch in turn, if it is done; returns whether it was."""
        now_ns = self._clock.monotonic_ns()
        self._patience.tick(now_ns)
        if self._waits_for_converter() and not self._patience.is_due(now_ns):
            return False
        self._suspects.take_up()
        try:
            made = self._dealing.collect()
            if made is None:
                return False
            self._patience.end(Cause.CONVERT)
            self._tolerance.passed(self._suspects.deaths)
            self._frame_all(made)
            if self.failure is None:  # else the next life fails at once, and does not begin to search again
                self._suspects.passed(made.polled, made.total, now_ns)
        except RetriableError as error:
            self._suspects.lay_down()
            self._row.count(Stage.CONVERT, 0, batches=0, errors=1)
            self._patience.note(Trouble(Cause.CONVERT, describe(error)))
            self._patience.later(self._tolerance.pause(error))
            return False
        except Exception:
            self._dealing.forget()  # nothing goes on past what does not add up
            raise
        return True

    def _frame_all(self, made: Made) -> None:
        """Queue the frames of a batch."""
        polled, self._framing.polled, done = made
        if self._tolerance.skips:
            done = self._framing.fitting(done)
        offsets = self._suspects.offsets(polled)
        failed = done.not_transformed
        skipped = done.all_skipped()
        self._report(skipped, polled)  # which counts them, before any frame says how many they are
        if self._stages.chain:
            self._row.count(Stage.TRANSFORM, done.left, errors=len(done.skipped) + (failed is not None))
            if self._account is not None:
                end = len(polled) if failed is None else failed.index
                self._account.transformed(polled, done.origins, done.left, end, len(done.skipped))
        if failed is not None:
            act = "converted" if failed.stage.endswith("_CONVERTER") else "transformed"
            self._fail(failed, act, polled, failed.index)
            offsets = self._suspects.offsets(polled, failed.index)
        if self._spec.wants_commit_record or (self._letters is not None and skipped):
            records = list(outgoing.records_of(polled))
            lettered: set[int] = set()
            if self._letters is not None:
                self._write_letters(self._letters, skipped, done, records)
                lettered = {one.index for one in skipped}
            if self._spec.wants_commit_record:
                self._await(records, done.going(), lettered)
        if self._account is not None:
            self._account.gathered(polled, done.left, done.gathered)
        assert done.gathered == done.left == len(done.origins), "transforms have left columns of other lengths"
        along = offsets if framing.is_along(offsets) else []
        is_told = False  # of the offsets
        for index, batch in enumerate(done.batches):
            is_told = bool(along) and index == len(done.batches) - 1 and bool(batch.columns.values)
            written = self._write(batch, along if is_told else [], polled, done.origins)
            if written < batch.expected - len(batch.columns.skipped):
                at = kept_of(batch.expected, batch.columns.skipped)[written]
                self._framing.offsets(self._suspects.offsets(polled, done.origins[batch.first + at]))
                return
        if not is_told:
            # Everything was dropped, and the position moves all the same; or there are too many.
            self._framing.offsets(offsets, is_urgent=not len(polled))

    def _write(self, batch: Converted, offsets: list[SourceOffset], polled: Polled, origins: Sequence[int]) -> int:
        """Queue the frames of a batch; returns how many records are in them: fewer when one failed, without offsets.

        origins: for each record that is left of the poll, its index in it.
        """
        columns = batch.columns
        count = len(columns.values)
        skipped = len(columns.skipped)
        if self._account is not None:
            expected = batch.expected - skipped if columns.failed is None else columns.failed.index
            self._account.converted(polled, origins[batch.first], expected, count)
        size = framing.payload_bytes(columns.values, columns.keys)
        self._row.count(Stage.CONVERT, count, size, errors=skipped + (columns.failed is not None))
        if columns.failed is not None:
            self._fail(columns.failed, "converted", polled, origins[batch.first + columns.failed.index])
            offsets = []
        whole = (batch.topic, columns.values, columns.keys, batch.partitions, batch.timestamps, columns.headers)
        written = self._framing.records(whole, size, offsets) if count else 0
        if self._framing.too_large is not None:
            self._give_up(self._framing.too_large)
        if self._account is not None and self.failure is None:
            self._account.framed(polled, origins[batch.first], count, written)
        return written

    def _hear(self) -> None:
        while (notice := self._side.down.read()) is not None:
            message = frame.decode_down(notice)
            self._side.down.release()
            if isinstance(message, frame.Stored):
                self.is_over = self.is_over or message.is_end
                self._suspects.stored(message.polled)
                self._stored_offsets = None  # read when somebody asks: most do not
                self._tell("commit", self._task.commit)
            elif isinstance(message, frame.Acknowledged):
                self._acknowledge(message)

    def _write_letters(
        self, letters: SourceLetters, skipped: Sequence[RecordError], done: Outbound, of: Records
    ) -> None:
        if self._spec.wants_commit_record:
            # A record is done with once Kafka has its letter; where something of it goes on, with the last of that.
            gone = {one.index: at for at, one in enumerate(skipped)}
            for index in set(done.going()):
                gone.pop(index, None)
            for at, one in enumerate(skipped):
                record = of[one.index] if gone.get(one.index) == at else None
                self._awaiting.append((self._framing.sequence + at, record, True))
        letters.write(skipped, of)

    def _await(self, records: Records, kept: Sequence[int], lettered: set[int]) -> None:
        """Remember the records, as they were polled, until they are acknowledged; dropped ones are done with."""
        for number, (index, following) in enumerate(pairwise([*kept, -1])):
            record = None if index == following else records[index]
            self._awaiting.append((self._framing.sequence + number, record, False))
        for index in set(range(len(records))).difference(kept, lettered) if self.failure is None else ():
            self._tell("commit_record", self._task.commit_record, records[index], None)

    def _acknowledge(self, message: frame.Acknowledged) -> None:
        for sequence, partition, offset in message.records:
            number, record, is_letter = self._awaiting.popleft()
            assert number == sequence, f"record {sequence} acknowledged, {number} expected"
            if record is not None:
                is_nowhere = is_letter or partition < 0  # which Kafka has refused
                delivered = None if is_nowhere else Delivered(message.topic, partition, offset)
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

    def _report(self, failures: Sequence[RecordError], polled: Polled) -> None:
        """Tell of records that have failed; their indexes are those of the poll."""
        if not failures:
            return
        records = list(outgoing.records_of(polled))
        for failure in failures:
            self._tolerance.report(failure, partial(_described, records[failure.index]))

    def _fail(self, failed: RecordError, act: str, polled: Polled, index: int) -> None:
        record = next(islice(outgoing.records_of(polled), index, None))
        if not may_pass(failed.error):  # else it comes again
            self._tolerance.report(failed, partial(_described, record))
        place = f"the record for topic {record.topic} at {record.source_partition} {record.source_offset}"
        self._give_up(failure_of_record(f"{place} could not be {act}: {describe(failed.error)}", failed.error))

    def _give_up(self, failure: Exception) -> None:
        """Nothing goes on past a record that has failed."""
        self.failure = failure
        self._has_ended = True
        self._polled_again.clear()
        self._dealing.forget()


def _is_empty(polled: Sequence[Any] | SourceBatch) -> bool:
    """Whether there is neither a record nor an offset without one."""
    return not (len(polled) or (isinstance(polled, SourceBatch) and polled.source_offsets))


def _described(record: SourceRecord) -> str:
    """Which record it is, with its values, as Kafka Connect's log has it."""
    return f", where source record is = {record}"


class Delivered:
    """Where Kafka put a record (`RecordMetadata`)."""

    __slots__ = ("offset", "partition", "topic")

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
