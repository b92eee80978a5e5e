"""A sink's task bank: read frames, convert, transform, put; flush, and say how far it is safe.

    (pump) ──► ring ──► frames ──► convert ──► transform ──► put
                                   └── here, or dealt to stage processes and collected in order
    Flushed, Seek, Pause, Resume ──► up ──► (pump)
    Revoke ──► down, seen between puts

A frame is released when `put` has returned. A position moves over everything that was put or dropped, and is sent
after `flush` only. Positions of partitions whose epoch is over are ignored on the other bank, records of one here.

Used by: engine.task.main.
Not here: consuming, committing (engine.pump.sink).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from engine.api.batch import Run
from engine.api.errors import DataError, RetriableError
from engine.api.record import TopicPartition
from engine.api.task import ErrantRecordReporter, SinkTask
from engine.bank import describe, note_act, noting_acts
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.ledger.sink import TaskAccount
from engine.mending import Kind, kind_of
from engine.patience import Patience, letter_seconds
from engine.shm import frame
from engine.shm.acts import Act
from engine.shm.board import Measure, Phase, Row, Stage, Target, Word
from engine.shm.channel import TaskSide
from engine.shm.frame import ArrivedSinkFrame, Assigned, Flushed, PassingSinkFrame, Pause, Resume, Revoke, Revoked, Tail
from engine.shm.lease import Lease
from engine.shm.waits import Cause, Trouble
from engine.stages.work import Inbound, Stages, inbound
from engine.task.crew import Crew
from engine.task.errant import Reporter
from engine.task.incoming import Coming, Incoming, without_foreign
from engine.task.letters import Letters
from engine.task.outbox import Outbox
from engine.task.parts import POSITIONS_MAX, Part, flushed, messages_of, reached
from engine.task.putting import Putting
from engine.task.sink_counts import SinkCounts
from engine.task.sink_suspects import SinkSuspects
from engine.task.tolerance import Tolerance

__all__ = ["SinkTaskBank"]

IDLE_SECONDS = 0.5
BRIEF_NS = 10_000_000  # after more what was known before is old


class SinkTaskBank:
    """Steps a sink task; also the `SinkContext` it sees."""

    def __init__(
        self,
        spec: LineSpec,
        task: SinkTask,
        stages: Stages,
        side: TaskSide,
        row: Row,
        clock: Clock,
        account: TaskAccount | None = None,
        crew: Crew | None = None,
    ) -> None:
        """account: None: the ledger is switched off. crew: None: the stages run here."""
        self._spec = spec
        self._fence = Lease(row, spec.timing.lease, clock).check
        self._counts = SinkCounts(row, clock, account)
        self._task = task
        self._stages = stages
        self._side = side
        self._ring = side.data_reader(is_checked=account is not None)
        self._incoming = Incoming(self._ring, crew, stages.converters.header)
        self._row = row
        self._clock = clock
        self._parts: dict[TopicPartition, Part] = {}
        self._gone: dict[TopicPartition, int] = {}  # epochs up to which a partition was revoked
        self._opens = 0  # `Assigned` heard, by this life
        self._outbox = Outbox(side.up, side.pump_bell)
        self._tolerance = Tolerance(spec, stages, row, clock)
        self._letters = None if spec.errors.dead_letters is None else Letters(spec, row, self._outbox)
        self.reporter = Reporter(
            task, stages, self._tolerance, self._letters, self._counts, self._outbox, clock, side.bell.wait
        )
        self._suspects = SinkSuspects(row)
        self._retry: Putting | None = None
        self._retry_backoff = spec.timing.retry_backoff
        self._flush_at_ns = clock.monotonic_ns() + int(spec.timing.commit_interval * 1e9)
        self._flush_is_wanted = False
        # Records whose put has returned. The counter is ahead by those that were handed over: a put may be cut short.
        self._put_done = row.measured(Stage.PUT, Measure.RECORDS)
        self._patience = Patience(row, Word.TASK_WAIT, clock)
        self._is_stopping = False
        self._is_closed = False
        self.failure: Exception | None = None
        self.is_over = False

    @property
    def is_bulk(self) -> bool:
        return self._spec.is_bulk

    def assignment(self) -> Collection[TopicPartition]:
        return frozenset(self._parts)

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place, offset in offsets.items():
            part = self._part(place)
            self._outbox.say(frame.Seek(place.topic, place.partition, part.epoch, offset))
            part.epoch += 1  # of the deliveries to come; what is in the ring has the old one
            part.next_offset = part.flushed = offset
            part.told = min(part.told, offset)
            part.skipped_from = -1  # what was skipped before is not what comes next
        self.reporter.begins_anew(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            self._part(place).is_paused = True
        self._say_of(Pause, partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            part = self._part(place)
            part.is_paused = False
            if part.skipped_from >= 0:
                self.seek({place: part.skipped_from})
        self._say_of(Resume, partitions)

    def request_commit(self) -> None:
        self._flush_is_wanted = True

    def is_more_waiting(self) -> bool:
        return self._incoming.has_more()

    def retry_after(self, milliseconds: int) -> None:
        self._retry_backoff = milliseconds / 1000

    def errant_record_reporter(self) -> ErrantRecordReporter | None:
        self.reporter.is_wanted = self._spec.errors.are_told
        return self.reporter if self.reporter.is_wanted else None

    def ask_to_stop(self) -> None:
        """End as soon as possible, whatever the target word says (TERM)."""
        self._is_stopping = True

    def fail(self, error: Exception) -> None:
        """Flush what was put, then end with this reason."""
        note_act(error, self._row)
        self._suspects.note_error(error)
        self.failure = error

    def start(self) -> None:
        """Start the connector's task."""
        with self._patience.leaving(), noting_acts(self._row):
            self._row.set(Word.TASK_ACT, Act.START)
            self._task.initialize(self)
            self._task.start(self._spec.task_config)
        self._patience.end(Cause.START)
        self._row.set(Word.TASK_PHASE, Phase.READY)

    def stop(self) -> None:
        """Give back what the task and its transforms took; once, whatever happened before."""
        self._suspects.lay_down()
        try:
            if self._parts and not self._is_closed:
                self._close()
            self._row.set(Word.TASK_ACT, Act.STOP)
            self._task.stop()
        finally:
            self._stages.close()

    def step(self) -> float:
        """Do a piece of work; returns how long (seconds) nothing but the bell can give it more."""
        now_ns = self._clock.monotonic_ns()
        self._row.set(Word.TASK_BEAT_NS, now_ns)
        self._patience.tick(now_ns)
        self._hear()
        if not self._outbox.send():
            # Where the pump is gone there will never be room.
            self.is_over = self.is_over or (self._is_stopping and not self._row.get(Word.PUMP_PID))
            return 0.01
        if self.is_over:
            return 0.0
        if self.failure or self._is_to_stop():
            self._finish()
            return 0.0
        if self._flush_is_wanted or now_ns >= self._flush_at_ns:
            self._flush()
            return 0.0
        if self._retry is not None and not all(self._current(run) for run in self._retry.message.runs):
            self._forget_retry()  # the task has sought since: what it is to have next comes from there
        if self._retry is not None:
            if now_ns < self._retry.at_ns:
                return 0.01
            if self._waits_for_letters(self._retry):
                return letter_seconds(self._retry.looks)
            self._fence()
            self._suspects.take(self._retry.message.runs)
            self._put(self._retry)
            return 0.0
        if self._suspects.waits(now_ns) or (
            self._patience.cause == Cause.CONVERT and not self._patience.is_due(now_ns)
        ):
            return 0.01
        return self._turn(now_ns)

    def _turn(self, now_ns: int) -> float:
        """What is next in the ring, if it is there, and done."""
        coming = self._incoming.head(self._suspects.split, is_here=self._suspects.part_records > 0)
        idle = min(IDLE_SECONDS, max(0.0, (self._flush_at_ns - now_ns) / 1e9))
        if coming is None:
            return idle
        message = coming.message
        if isinstance(message, (Assigned, Tail)):  # a union of types would be made each time
            self._incoming.drop()
            self._hear_in_band(message)
            return 0.0
        is_back = self._incoming.is_back(coming)
        if is_back:
            self._incoming.drop()
        self._suspects.deal(self._incoming.dealt())
        if not is_back:
            return idle
        done, coming.done = coming.done, None
        if done is not None and all(self._is_wanted(run) for run in message.runs):
            self._suspects.take(message.runs)
            self._deliver(coming, message, done)
        else:
            self._deliver_here(coming)
        if self._retry is not None or self._flush_is_wanted or self.failure is not None or not self._outbox.is_empty:
            return 0.0
        has_heard = self.reporter.is_wanted or self._clock.monotonic_ns() - now_ns > BRIEF_NS  # the bell, perhaps
        return 0.0 if has_heard or self._incoming.has_more() else idle

    def _hear_in_band(self, message: Assigned | Tail) -> None:
        self._release()
        if isinstance(message, Assigned):
            self._hear()  # partitions that come again were taken first, which may have been said since the last look
            self._open(message)
        else:
            self._flush()

    def _open(self, message: Assigned) -> None:
        """Take partitions, but for those that were revoked before the news of them came through the ring."""
        self._opens += 1
        places = []
        for topic, partition, epoch, offset in message.partitions:
            place = TopicPartition(topic, partition)
            if epoch > self._gone.get(place, -1):
                letters = 0 if self._letters is None else self._letters.number
                self._parts[place] = Part(epoch, offset, flushed=offset, letters_before=letters, told=offset)
                places.append(place)
        if places:
            self._counts.opened(places)
            self.reporter.begins_anew(dict.fromkeys(places, 0))
            self._row.set(Word.TASK_ACT, Act.OPEN)
            self._task.open(places)

    def _note(self, act: Act) -> None:
        self._row.set(Word.TASK_ACT, act)

    def _deliver_here(self, coming: Coming) -> None:
        """Work on a frame beside the connector, but for what is not wanted any more, and put it."""
        message = without_foreign(coming.whole(), self._is_wanted)
        if not message.values:
            self._tolerance.passed()
            self._patience.end(Cause.CONVERT)
            self._release(coming)
            return
        self._suspects.take(message.runs)
        try:
            done = self._suspects.refused(skips=self._tolerance.skips)
            if done is None:
                done = inbound(message, self._stages, self._note, self._tolerance.manner())
            elif done.skipped and not self._suspects.was_refused:
                self._counts.refused_late(message.runs)
        except RetriableError as error:
            self._suspects.lay_down()
            self._row.count(Stage.CONVERT, 0, batches=0, errors=1)
            self._patience.note(Trouble(Cause.CONVERT, describe(error)))
            self._patience.later(self._tolerance.pause(error))
            self._incoming.put_back(coming)  # it is worked on anew, without what was given up meanwhile
            return
        coming.tries = self._tolerance.passed(self._suspects.deaths)
        self._deliver(coming, message, done)

    def _deliver(self, coming: Coming, message: ArrivedSinkFrame | PassingSinkFrame, done: Inbound) -> None:
        """Put what became of a frame. message: of it, what is wanted."""
        self._patience.end(Cause.CONVERT)
        bad = done.not_converted
        act = "put" if bad is not None and bad.stage == "TASK_PUT" else "converted"
        going = Putting(coming, message, done.batch, bad, act, done.skipped, done.origins)
        self._counts.converted(going, done)
        if self._stages.chain:
            if done.not_transformed is not None:
                going.bad, going.act = done.not_transformed, "transformed"
            self._counts.transformed(going, done)
        going.tell(going.skipped, self._tolerance, self._letters)
        if not self._waits_for_letters(going):
            self._put(going)

    def _waits_for_letters(self, going: Putting) -> bool:
        """Whether letters of what lies before the next part are on their way; nobody dies of it meanwhile."""
        if not going.coming.letter or self.reporter.has_acknowledged(going.coming.letter):
            self._patience.end(Cause.ACKNOWLEDGEMENTS)
            going.looks = 0
            return False
        self._suspects.lay_down()
        self._patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, "of dead letters"))
        going.looks += 1
        going.at_ns, self._retry = 0, going
        return True

    def _put(self, going: Putting) -> None:
        if not going.has_begun:
            going.has_begun = True
            self._fence()
            self._counts.begins(going)
        self._row.set(Word.TASK_ACT, Act.PUT)
        batch = going.part()
        try:
            if len(batch):
                self.reporter.begins(going.coming)
                self._task.put(batch)
                self._suspects.put_has_returned()
        except RetriableError as error:
            self._suspects.lay_down()
            self._row.count(Stage.PUT, 0, batches=0, errors=1)
            going.coming.put_tries += 1
            self._patience.note(Trouble(Cause.PUT, describe(error)))
            going.at_ns, self._retry = self._retry_at_ns(), going
            return
        except Exception as error:
            if not (self._task.put_is_atomic and self._tolerance.skips and kind_of(error) == Kind.RECORD):
                error.add_note(f"in put of {going.described()}")
                raise
            going.failed(error)
        else:
            going.passed()
        self._counts.refused(going.tell_found(type(self._task), self._tolerance, self._letters))
        if not going.is_put() or self._waits_for_letters(going):
            going.at_ns, self._retry = 0, going  # between two calls all else has its turn
            return
        self.reporter.ends()
        self._retry = None
        self._patience.end(Cause.PUT)
        self._counts.ends(going)
        for run in going.done():
            self._put_done += run.count
            if (part := self._current(run)) is not None:
                part.next_offset = run.last_offset + 1
        self.failure = going.end(self._tolerance, self._letters) or self.failure
        self._flush_is_wanted = self._flush_is_wanted or self._suspects.part_records > 0
        if self.failure is None:  # else the next life fails at once, and does not begin to search again
            self._suspects.let_go()
        self._release(going.coming)

    def _current(self, run: Run) -> Part | None:
        """The partition of a run; None: its epoch is over."""
        part = self._parts.get(TopicPartition(run.topic, run.partition))
        return part if part is not None and part.epoch == run.epoch else None

    def _is_wanted(self, run: Run) -> bool:
        part = self._current(run)
        if part is None:
            return False
        if part.is_paused and part.skipped_from < 0:
            part.skipped_from = run.first_offset
        return not part.is_paused

    def _release(self, coming: Coming | None = None) -> None:
        """Give back what was read last; nothing yet, if `coming` is not the last part of it."""
        if coming is not None and not coming.is_last:
            return
        was_tight = self._ring.used_bytes() > self._ring.capacity_bytes // 2
        self._ring.release()
        if was_tight:
            self._side.pump_bell.ring()

    def _is_to_stop(self) -> bool:
        return self._is_stopping or self._row.get(Word.TARGET) == Target.STOP

    def _hear(self) -> None:
        until_ns = 0  # for all partitions that go at once
        while (notice := self._side.down.read()) is not None:
            message = frame.decode_down(notice)
            self._side.down.release()
            if isinstance(message, Revoke):
                seconds = self._spec.timing.revocation_timeout / 2
                until_ns = until_ns or self._clock.monotonic_ns() + int(seconds * 1e9)
                self._let_go(message, until_ns)
            elif isinstance(message, frame.CommitNow):
                self._flush_is_wanted = True

    def _let_go(self, message: Revoke, until_ns: int) -> None:
        """Flush, answer, close: the partitions go elsewhere."""
        gone = []
        for topic, partition, epoch in message.partitions:
            place = TopicPartition(topic, partition)
            self._gone[place] = epoch
            if (part := self._parts.get(place)) and part.epoch <= epoch:
                gone.append(place)
        if gone and (self.failure is not None or self._is_closed):
            self._outbox.say(Flushed([], -1))  # not flushed for this
        elif gone:
            if not message.is_lost:
                self._flush_until(until_ns, is_over=self._is_to_stop)
            self._row.set(Word.TASK_ACT, Act.CLOSE)
            self._task.close(gone)
            for place in gone:
                del self._parts[place]
            if self._retry is not None:
                self._forget_retry()
        self._outbox.say(Revoked(message.number))
        self._outbox.send()

    def _flush_until(self, until_ns: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Flush for the last time, when letters are there; again where that has failed, until then, or it is over."""
        self._patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, "of dead letters"))
        self.reporter.settle(max(0.0, (until_ns - self._clock.monotonic_ns()) / 1e9))
        self._patience.end(Cause.ACKNOWLEDGEMENTS)
        # Where the pump is gone nobody hears of it, and the supervisor waits for us.
        while not self._flush() and self._flush_at_ns < until_ns and self._row.get(Word.PUMP_PID) and not is_over():
            self.reporter.pause(self._flush_at_ns)

    def _forget_retry(self) -> None:
        """What waits to be put again may be of partitions that went; the frame is worked on anew, without them."""
        retry, self._retry = self._retry, None
        self._patience.end(Cause.PUT, Cause.ACKNOWLEDGEMENTS)
        if retry is not None:
            self.reporter.ends()
            self._incoming.put_back(retry.coming)

    def _flush(self) -> bool:
        """Make safe what was put, and send the positions; returns whether that did not fail for what may pass."""
        self._flush_is_wanted = False
        self._flush_at_ns = self._clock.monotonic_ns() + int(self._spec.timing.commit_interval * 1e9)
        put = self._put_done
        offsets, is_all_put = reached(self._parts, {} if self._letters is None else self._letters.out(self._parts))
        if not offsets:
            self._suspects.flushed(self._clock.monotonic_ns(), put)
            self._row.reach(Stage.FLUSH, put)
            self._patience.end(Cause.FLUSH)
            self._outbox.say(Flushed([], put, opens=self._opens))  # the pump may wait for an answer
            return True
        self._fence()
        self._row.set(Word.TASK_ACT, Act.FLUSH)
        self._suspects.flush_begins()
        try:
            safe = self._task.pre_commit(offsets)
        except RetriableError as error:
            self._suspects.lay_down()
            self._row.count(Stage.FLUSH, 0, errors=1)
            self._patience.note(Trouble(Cause.FLUSH, describe(error)))
            self._flush_at_ns = self._retry_at_ns()
            self._outbox.say(Flushed([], -1))
            return False
        self._suspects.flushed(self._clock.monotonic_ns(), put)
        self._patience.end(Cause.FLUSH)
        positions, is_all = flushed(self._parts, offsets, safe)
        is_all = is_all and is_all_put
        if is_all:
            self.reporter.flushed()
            self._row.reach(Stage.FLUSH, put)
        for message in messages_of(positions, put if is_all else -1, self._opens):
            self._outbox.say(message)
        return True

    def _retry_at_ns(self) -> int:
        """When a call that has failed is due again; what the task has asked for is for this once."""
        seconds, self._retry_backoff = self._retry_backoff, self._spec.timing.retry_backoff
        return self._clock.monotonic_ns() + int(seconds * 1e9)

    def _finish(self) -> None:
        """Flush what was put, close, and end; the rest of the ring is read again next time."""
        if not self._is_closed:  # else all is said, and waits for room
            self._flush_until(self._clock.monotonic_ns() + int(self._spec.timing.stop_timeout / 2 * 1e9))
            self._close()
            self._outbox.say(Revoked(-1))
            self._row.set(Word.TASK_PHASE, Phase.ENDED)
        self.is_over = self._outbox.send()

    def _close(self) -> None:
        self._is_closed = True
        if self._parts:
            self._row.set(Word.TASK_ACT, Act.CLOSE)
            self._task.close(list(self._parts))

    def _say_of(self, kind: type[Pause | Resume], partitions: Collection[TopicPartition]) -> None:
        told = [(place.topic, place.partition, self._part(place).epoch) for place in partitions]
        for begin in range(0, len(told), POSITIONS_MAX):
            self._outbox.say(kind(told[begin : begin + POSITIONS_MAX]))

    def _part(self, place: TopicPartition) -> Part:
        part = self._parts.get(TopicPartition(*place))
        if part is None:
            raise DataError(f"partition {place[1]} of topic {place[0]} is not assigned to {self._spec.title}")
        return part
