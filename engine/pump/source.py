"""A source's pump: frames off the ring into Kafka, and offsets into the store once Kafka has the records.

    ring ──► Delivery ──► Kafka
      ▲ release              │ acknowledged prefix
      └──────────────────────┤
    store ◄── at the interval┘ ──► Stored ──► down ──► (task)

Invariant: stored <= acknowledged <= published. A frame stays in the ring until Kafka has it
and all before it, so the ring is the window of records in flight, and whoever is forked
after a crash finds them there or reads them again from the stored offset.

Used by: engine.pump.main.
Not here: how a frame is sent (delivery.py).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.ledger.source import PumpAccount
from engine.patience import Patience
from engine.pump.delivery import Delivery
from engine.pump.outside import MOVING, Outside
from engine.pump.used import UsedTopics
from engine.shm import frame
from engine.shm.acts import Act
from engine.shm.board import Measure, Phase, Row, Stage, Target, Word
from engine.shm.channel import PumpSide
from engine.shm.frame import End, SourceFrame
from engine.shm.lease import Lease
from engine.shm.waits import Cause, OutsideError, Trouble

__all__ = ["SourcePumpBank", "StorePort"]

logger = logging.getLogger("millrace.pump")

#: Records polled; of these, and of what was made of them: dropped, added, skipped.
Counts = tuple[int, int, int, int]
NOTHING: Counts = (0, 0, 0, 0)

#: While answers are awaited librdkafka must be asked for them; no bell rings for one.
IN_FLIGHT_SECONDS = 0.002
#: With nothing on its way: until what is acknowledged is to be stored, or librdkafka has said something of a broker.
IDLE_SECONDS = 0.5
#: While it waits for what is outside, or for room for what it tells, no bell and no answer is missed for longer.
HELD_SECONDS = 0.02
#: Records told of in one notice; it must fit the small ring.
ACKNOWLEDGED_MAX = 1000
#: A Kafka that acknowledges nothing for so long is waited for: a broker that hangs is no error to its client.
SILENCE_SECONDS = 5.0
#: While one of these is waited for, nothing more is sent.
HOLDING = (Cause.STORE, Cause.CREDENTIALS, Cause.DENIED, Cause.LEADER, Cause.BROKER)
#: These do not pass within the time to stop.
FOR_A_PERSON = (Cause.STORE, Cause.CREDENTIALS, Cause.DENIED)


class StorePort(Protocol):
    """Where offsets are kept (`engine.offsets.store.OffsetStore`)."""

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None: ...


class HoldPort(Protocol):
    """Says whether so many more bytes may be produced (`engine.pump.hold`)."""

    def may_send(self, size_bytes: int) -> bool: ...


class SourcePumpBank:
    """Steps a source's pump."""

    def __init__(
        self,
        spec: LineSpec,
        delivery: Delivery,
        store: StorePort,
        side: PumpSide,
        row: Row,
        clock: Clock,
        hold: HoldPort | None = None,
        account: PumpAccount | None = None,
    ) -> None:
        """account: None: the ledger is switched off."""
        self._spec = spec
        self._delivery = delivery
        self._store = store
        self._side = side
        self._ring = side.data_reader(is_checked=account is not None)
        self._row = row
        self._clock = clock
        self._hold = hold
        self._account = account
        self._fence = Lease(row, spec.timing.lease, clock).check
        self._next: SourceFrame | End | None = None
        self._offsets: dict[bytes, bytes] = {}  # acknowledged, not stored
        self._polled: Counts = NOTHING  # as of the last frame that was acknowledged
        self._polled_covered: Counts = NOTHING  # as of the last poll whose frames all were
        self._polled_stored = -1
        self._base = row.measured(Stage.PRODUCE, Measure.RECORDS)  # by earlier lives of this line
        self._acknowledged = 0  # by this one
        self._covered = 0  # of these, what the offsets to be stored cover: whole polls
        self._refused_before = row.get(Word.REFUSED)
        self._refused = 0  # by Kafka, of those; they count as acknowledged, as nothing more is to be done for them
        self._refused_covered = 0
        self._has_offsets = False  # the connector gives any
        self._unsent: deque[bytes] = deque()
        self._store_at_ns = clock.monotonic_ns() + self._interval_ns()
        self._end: End | None = None
        self._patience = Patience(row, Word.PUMP_WAIT, clock)
        self._outside = Outside(self._patience)
        self._is_refused = False  # something that may pass was refused by Kafka, and is to be sent again
        self._has_ended = False  # the task has said its last
        self._is_complete = False  # and that the connector has no more
        self._is_stopping = False
        self.used: UsedTopics | None = None  # to be set; None: nobody asks which topics are used
        self.failure: Exception | None = None
        self.is_over = False

    def start(self) -> None:
        """The clients are made; say so."""
        self._row.set(Word.PUMP_PHASE, Phase.READY)

    def ask_to_stop(self) -> None:
        """Deliver and store what is published, then end (TERM: the task process is gone)."""
        self._is_stopping = True

    def fail(self, error: Exception) -> None:
        """Store what was acknowledged, then end with this reason."""
        self.failure = error
        self._doubt()
        self._patience.note_error(error)
        if not self._keep():
            logger.warning("the offsets of what Kafka has are not stored; it will be sent again")
        self.is_over = True

    def stop(self) -> None:
        """Give the client back."""
        self._row.set(Word.PUMP_ACT, Act.STOP)
        self._delivery.close()

    def step(self) -> float:
        """Do a piece of work; returns how long (seconds) nothing but the bell can give it more."""
        now_ns = self._clock.monotonic_ns()
        self._row.set(Word.PUMP_BEAT_NS, now_ns)
        self._row.set(Word.PUMP_ACT, Act.PRODUCE)
        self._hear()
        self._acknowledge()
        if self.used is not None:
            self.used.tell()
        self._look_outside(now_ns)
        if self._delivery.refusal is not None:
            self._refuse(self._delivery.refusal, now_ns)
        if self._delivery.error is not None:
            self._mend()
        may_go_on = self._may_go_on()
        has_sent = may_go_on and self._send()
        self._row.set(Word.QUEUED, len(self._delivery))
        self._row.set(Word.RING_USED_BYTES, self._ring.used_bytes())
        if self._patience.cause == Cause.STORE:
            pass  # tried again when it is due
        elif self._delivery.is_idle and self._next is None and self._is_finished():
            self._finish()
        elif now_ns >= self._store_at_ns or self._is_asked_to_stop() or self._row.get(Word.PART_RECORDS):
            self._keep()
        self._notify()
        if has_sent:
            return 0.0
        if not may_go_on or self._unsent:
            return HELD_SECONDS
        if not self._delivery.is_idle or self._next is not None:
            return IN_FLIGHT_SECONDS
        to_store = self._offsets or self._polled_stored != self._polled_covered[0]
        return min(IDLE_SECONDS, max(0.0, (self._store_at_ns - now_ns) / 1e9)) if to_store else IDLE_SECONDS

    def _look_outside(self, now_ns: int) -> None:
        """Note what Kafka and the disk do not let it do, and try again what is due. Raises OutsideError."""
        self._outside.hear(self._delivery.producer, now_ns)
        silent_seconds = self._delivery.silent_seconds()
        if silent_seconds >= SILENCE_SECONDS:
            why = f"for {silent_seconds:.0f} s; {len(self._delivery)} records wait"
            self._patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, why))
        cause = self._patience.cause
        if cause == Cause.NOTHING:
            return
        if self._is_asked_to_stop() and cause in FOR_A_PERSON:
            raise OutsideError(f"stopped while it waited: {cause.sentence}", cause)
        if self._delivery.is_idle:
            self._patience.end(Cause.ACKNOWLEDGEMENTS, Cause.REPLICAS)
        if cause == Cause.STORE and self._patience.is_due(now_ns):
            self._keep()
        topics = self._delivery.topics()
        if isinstance(self._next, SourceFrame) and self._next.count:
            topics.add(self._next.topic)
        self._outside.ask(self._delivery.producer, topics, now_ns)

    def _may_go_on(self) -> bool:
        """Whether more may be sent: what waits is kept in the ring, whose writer waits when it is full."""
        return self._patience.cause not in HOLDING and not self._is_refused

    def _is_asked_to_stop(self) -> bool:
        return self._is_stopping or self._row.get(Word.TARGET) == Target.STOP

    def _send(self) -> bool:
        has_sent = False
        while self._end is None:
            if self._next is None:
                raw = self._ring.read()
                if raw is None:
                    break
                self._next = frame.decode_source(raw)
                if self._account is not None and isinstance(self._next, SourceFrame):
                    self._account.arrived(self._next)
            if isinstance(self._next, End):
                self._end, self._next = self._next, None
                break
            if not self._may_send(self._next) or not self._is_known(self._next):
                break
            self._fence()
            self._count_sent(self._next)
            self._delivery.send(self._next)
            self._next = None
            has_sent = True
            self._hear()
            if self._delivery.error is not None or self._delivery.refusal is not None:
                break
        return has_sent

    def _may_send(self, going: SourceFrame) -> bool:
        if self._hold is not None:
            may = self._hold.may_send(going.size_bytes)
            self._row.set(Word.HELD, int(not may))
            if not may:
                return False
        return self._delivery.has_room(going)

    def _is_known(self, going: SourceFrame) -> bool:
        """Whether all is known that is needed to send a frame; Kafka may not say so now."""
        try:
            self._delivery.learn(going)
        except (RetriableError, UnreachableError) as error:
            self._patience.bear(error)
            return False
        return True

    def _count_sent(self, going: SourceFrame) -> None:
        self._row.count(Stage.PRODUCE, going.counted, going.size_bytes * (not going.is_letter))
        if going.is_letter:
            self._row.set(Word.LETTERS, self._row.get(Word.LETTERS) + 1)

    def _acknowledge(self) -> None:
        released = 0
        while (sent := self._delivery.acknowledged()) is not None:
            released += 1
            done = sent.frame
            if self._account is not None:
                self._account.acknowledged(done, is_placed=sent.is_placed, skipped=sent.skipped)
            self._refused += sent.skipped * (not done.is_letter)
            self._row.count(Stage.ACKNOWLEDGE, done.counted, done.size_bytes * (not done.is_letter))
            self._cover(done)
            if self.used is not None and done.counted:
                self.used.use([done.topic])
            sent.places.sort()
            for begin in range(0, len(sent.places), ACKNOWLEDGED_MAX):
                places = sent.places[begin : begin + ACKNOWLEDGED_MAX]
                self._unsent.append(frame.encode(frame.Acknowledged(done.topic, places)))
        if released:
            self._patience.end(*MOVING)
            self._ring.release(released)
            self._side.task_bell.ring()

    def _hear(self) -> None:
        """Hear what Kafka answered. Whoever dies right after it has told what Kafka may have twice."""
        self._delivery.poll()
        self._doubt()

    def _doubt(self) -> None:
        if records := self._delivery.take_doubtful():
            self._row.set(Word.DOUBTFUL, self._row.get(Word.DOUBTFUL) + records)
            logger.warning(
                "kafka: the producer numbers its records anew after an error; of the %d on their way some may be there "
                "twice",
                records,
            )

    def _cover(self, done: SourceFrame) -> None:
        """Note what storing offsets now would make safe; those of a poll come with the last of its frames."""
        if done.polled != self._polled[0] and not self._has_offsets:
            self._cover_all()
        self._polled = _counts(done)
        self._acknowledged += done.counted
        if done.offsets:
            self._has_offsets = True
            self._offsets.update((offset.partition, offset.offset) for offset in done.offsets)
        if done.offsets and done.is_last:
            self._cover_all()
        if done.is_urgent:
            self._store_at_ns = 0

    def _cover_all(self) -> None:
        self._covered, self._refused_covered = self._acknowledged, self._refused
        self._polled_covered = self._polled

    def _mend(self) -> None:
        self._next = None
        self._end = None
        self._ring.rewind()
        if self._account is not None:
            self._account.rewound()
        self._delivery.mend()
        self._doubt()

    def _refuse(self, refusal: ConnectError, now_ns: int) -> None:
        """Wait and send it again, where that may help; else store what was acknowledged before, and end with it."""
        if not isinstance(refusal, RetriableError | UnreachableError):
            self._keep()
            raise refusal
        if not self._is_refused:
            self._is_refused = True
            self._patience.bear(refusal)
        elif self._patience.cause not in HOLDING and self._patience.is_due(now_ns):
            self._is_refused = False
            self._mend()

    def _is_finished(self) -> bool:
        return self._end is not None or ((self._has_ended or self._is_stopping) and self._ring.is_drained())

    def _finish(self) -> None:
        """Store what is left; ENDED only when the connector said so: whoever was told to stop comes back."""
        end, self._end = self._end, None
        if end is not None:
            if not end.is_failed:
                self._polled_covered = _counts(end)
            if not self._has_offsets and (not end.is_failed or end.polled != self._polled[0]):
                # Else the last poll is there in part, and is done again.
                self._covered, self._refused_covered = self._acknowledged, self._refused
            self._ring.release()
            self._has_ended = True
            self._is_complete = end.is_complete
        if not self._keep(is_end=True):
            return
        if self._is_complete:
            self._row.set(Word.PUMP_PHASE, Phase.ENDED)
        self._notify()
        self.is_over = not self._unsent

    def _keep(self, *, is_end: bool = False) -> bool:
        """Store the offsets of the acknowledged prefix; returns whether that could be done."""
        self._fence()
        self._store_at_ns = self._clock.monotonic_ns() + self._interval_ns()
        has_moved = bool(self._offsets) or self._polled_stored != self._polled_covered[0]
        if self._offsets:
            self._row.set(Word.PUMP_ACT, Act.STORE)
            try:
                self._store.write(self._spec.connector, self._offsets.items())
            except OutsideError as error:
                self._patience.bear(error)
                return False
            self._offsets = {}
        self._patience.end(Cause.STORE)
        if not has_moved and not is_end:
            return True
        self._polled_stored = self._polled_covered[0]
        total = self._stored_total()
        if self._account is not None:
            self._account.stored(*self._polled_covered, total)
        if self._refused_covered:
            self._row.set(Word.REFUSED, self._refused_before + self._refused_covered)
        self._row.count(Stage.STORE, total - self._row.measured(Stage.STORE, Measure.RECORDS))
        self._unsent.append(frame.encode(frame.Stored(self._polled_stored, is_end)))
        return True

    def _stored_total(self) -> int:
        # What earlier lives sent and did not store was written off at the restart, and stays a difference.
        return self._base + self._covered - self._row.get(Word.WRITTEN_OFF)

    def _notify(self) -> None:
        wrote = False
        while self._unsent and self._side.down.write(self._unsent[0]):
            self._unsent.popleft()
            wrote = True
        if wrote:
            self._side.task_bell.ring()

    def _interval_ns(self) -> int:
        return int(self._spec.timing.commit_interval * 1e9)


def _counts(message: SourceFrame | End) -> Counts:
    return message.polled, message.dropped, message.added, message.skipped
