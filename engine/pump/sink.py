"""A sink's pump: records out of Kafka into frames, and consumer offsets into the group once the task has flushed.

    Kafka ──► fetch ──► frames ──► ring ──► (task)          Assigned, Tail: in band
      ▲                                       │
      └── commit ◄── positions ◄── up ◄───────┘             Revoke, CommitNow: down, beside the ring

Invariant: committed <= flushed <= put. Partitions that are revoked go when the task has flushed them, at the deadline
without a commit; what it says of them later is not heard, because their epoch is over.

While the ring has no room the pump keeps what one fetch returned and waits; if room does not come soon its partitions
are paused, so that it goes on polling and stays in the group.

Used by: engine.pump.main.
Not here: frames (framing.py), epochs and offsets (partitions.py), the end of a bulk run (drain.py).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from engine.api.errors import ConnectError
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.kafka.consumer import Found, Member, Start
from engine.kafka.fetched import Fetched
from engine.ledger.sink import PumpAccount
from engine.patience import Patience
from engine.pump import framing
from engine.pump.commits import Commits
from engine.pump.consumer_port import ConsumerPort
from engine.pump.drain import Drain, DrainStart
from engine.pump.letters import DeadLetters
from engine.pump.lost import LostRanges, Notes
from engine.pump.outside import MOVING, Outside
from engine.pump.partitions import Partitions
from engine.pump.subscription import Subscriber
from engine.pump.used import UsedTopics
from engine.shm import frame
from engine.shm.acts import Act
from engine.shm.board import Phase, Row, Stage, Target, Word
from engine.shm.channel import PumpSide
from engine.shm.frame import Assigned, CommitNow, Flushed, LetterPiece, Revoke, Revoked, Seek, Tail
from engine.shm.lease import Lease
from engine.shm.waits import Cause

__all__ = ["SinkPumpBank"]

logger = logging.getLogger("millrace.pump")

Place = tuple[str, int]  # topic, partition

#: A fetch asks for about so many bytes, judged by the last one; so frames have a good size and the ring holds many.
FETCH_BYTES_AIM = 512 * 1024
FETCH_RECORDS_FIRST = 500
FETCH_RECORDS_MAX = 10_000
#: So long a full ring is waited for before partitions are paused, which throws away what librdkafka has fetched.
ROOM_NS = 1_000_000_000
#: A wait for something the bell announces.
BELL_SECONDS = 0.01
#: While records come, what is neither hearing nor reading waits so long, unless the task says something: it costs as
#: much as they do where they come one by one. With the client's patience and that of gathering it may be 20 ms.
CHORES_NS = 5_000_000
#: How often the lag is looked up.
LAG_NS = 500_000_000
#: How often it is looked whether a topic is still the same one.
REMADE_NS = 10_000_000_000
#: What is over when records come. A commit's answer may still be missing then (commits.py).
READING = tuple(cause for cause in MOVING if cause != Cause.ACKNOWLEDGEMENTS)
#: Partitions in one message of a small ring, which takes 64 KiB with topic names of up to 249 bytes.
PLACES_MAX = 200


class SinkPumpBank:
    """Steps a sink's pump; also the `Member` that the consumer calls.

    wait: called with seconds while a revocation waits for the task; where both banks share a process it steps the task.
    """

    def __init__(
        self,
        spec: LineSpec,
        make_consumer: Callable[[Member], ConsumerPort],
        side: PumpSide,
        row: Row,
        clock: Clock,
        wait: Callable[[float], object] | None = None,
        account: PumpAccount | None = None,
        notes: Notes | None = None,
    ) -> None:
        """account: None: the ledger is switched off."""
        self._spec = spec
        self._side = side
        self.ring = side.data_writer(is_checked=account is not None)
        self._row = row
        self._clock = clock
        self._wait = wait or side.bell.wait
        self._parts = Partitions()
        self._consumer = make_consumer(self)
        self._lost = LostRanges(str(spec.kafka.get("group.id", "")), row, notes, passes=spec.passes_lost_ranges)
        self._look_at_ns = clock.monotonic_ns() + REMADE_NS
        self._patience = Patience(row, Word.PUMP_WAIT, clock)
        self._outside = Outside(self._patience)
        self._subscriber = Subscriber(spec, self._consumer, self._patience.note_error)
        self._account = account
        self._fence = Lease(row, spec.timing.lease, clock).check
        self.letters = DeadLetters("", None, row)  # to be set, where somebody wants them
        fence, held = self._fence, self._first_letter
        self._commits = Commits(self._consumer, self._parts, row, spec.timing, self._patience, account, fence, held)
        self._held: deque[bytes] = deque()  # frames that wait for room, in order
        self._held_since_ns = 0
        self._opens = 0  # `Assigned` among them so far
        self._notices: deque[bytes] = deque()
        self._records_limit = min(FETCH_RECORDS_MAX, spec.fetch_records_max or FETCH_RECORDS_MAX)
        self._records_max = min(FETCH_RECORDS_FIRST, self._records_limit)
        self._paused: set[Place] = set()  # at the client
        self._revocation = 0  # number of the last one
        self._revocation_done = 0  # answered
        self._drain: Drain | None = None
        self._drain_start = DrainStart(spec, self._consumer, self._parts, self._subscriber, self._patience)
        self._chores_at_ns = self._lag_at_ns = 0  # 0: at once
        self._task_is_over = False
        self._is_ending = False
        self._end_at_ns = 0  # wait no longer for the task; 0: it has all the time
        self._flushes_at_end = 0  # how many must have been heard; a failed pump waits for one
        self._is_closed = False
        self.used: UsedTopics | None = None  # to be set; None: nobody asks which topics are used
        self.failure: Exception | None = None
        self.is_over = False

    def start(self) -> None:
        """Join the group. Raises ConnectError."""
        self._row.set(Word.PUMP_ACT, Act.START)
        with self._patience.leaving():
            self.letters.start()
            self._subscriber.start(self._clock.monotonic_ns())
        self._row.set(Word.PUMP_PHASE, Phase.READY)

    def ask_to_stop(self, *, task_is_gone: bool = False) -> None:
        """Commit what the task still flushes within the time to stop, or has flushed if it is gone, then end (TERM)."""
        self._begin_end(0.0 if task_is_gone else self._spec.timing.stop_timeout)

    def fail(self, error: Exception) -> None:
        """Commit what the task can flush, then end with this reason."""
        self.failure = error
        self._patience.note_error(error)
        self._say(CommitNow())
        self._flushes_at_end = self._commits.flushes + 1
        self._begin_end(self._spec.timing.commit_timeout)

    def stop(self, *, leave: bool) -> None:
        """Give the client back; once.

        leave: other members get the partitions at once. Else a static member's place is kept for its next life.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._row.set(Word.PUMP_ACT, Act.STOP)
        self._give_up(list(self._parts), is_flushed=False)
        if leave:
            self._consumer.leave(self._spec.timing.broker_timeout)
        else:
            self._consumer.close()
        self.letters.close()

    def step(self, patience: float) -> float:
        """Do a piece of work; returns how long (seconds) nothing but the bell can give it more.

        patience: seconds that may be slept inside the client, which no bell wakes.
        """
        now_ns = self._clock.monotonic_ns()
        self._row.set(Word.PUMP_BEAT_NS, now_ns)
        self._hear()
        self._notify()
        if self.is_over:
            return 0.0
        if self.letters.refusal is not None and self.failure is None:
            raise self.letters.refusal
        if self._is_ending or self._task_is_over or self._row.get(Word.TARGET) == Target.STOP:
            return self._finish(now_ns)
        self._seek()
        idle = self._turn(now_ns, patience)
        if now_ns >= self._chores_at_ns:
            self._chores_at_ns = now_ns + CHORES_NS  # before them: what is heard in one makes them due again
            self._see_to_chores(now_ns)
        return idle

    def _see_to_chores(self, now_ns: int) -> None:
        """What a record that comes alone every millisecond need not wait for."""
        self._row.set(Word.PUMP_ACT, Act.COMMIT)
        self._commits.step(now_ns)
        self._drain_step(now_ns)
        self._look_for_remade(now_ns)
        self._report(now_ns)
        self._outside.hear(self._consumer, now_ns)
        self._outside.ask(self._consumer, self._subscriber.topics, now_ns)

    # What the consumer calls, within `fetch`, `leave` and `close`.

    def starts(self, found: Mapping[Place, Found]) -> Mapping[Place, Start]:
        return self._lost.starts(found)

    def assigned(self, starts: Mapping[Place, Start]) -> None:
        for place, start in starts.items():
            if (
                self._spec.is_embedded
                and not start.is_committed
                and start.offset > 0
                and self._spec.start_at != "latest"
            ):
                raise ConnectError(
                    f"topic {place[0]} partition {place[1]} begins at offset {start.offset}: the embedded Kafka has "
                    "dropped records before they were read; it keeps 5 MiB or 100,000 batches a partition"
                )
        self._paused.difference_update(starts)
        if self._account is not None:
            self._account.assigned({place: start.offset for place, start in starts.items()})
        told = self._parts.assign(starts)
        for begin in range(0, len(told), PLACES_MAX):
            self._hold(Assigned(told[begin : begin + PLACES_MAX]))
        if self._drain is not None:
            self._drain.flush_soon()

    def revoked(self, places: Sequence[Place]) -> None:
        self._take_back(places)

    def _take_back(self, places: Sequence[Place]) -> bool:
        """Returns whether the task has let go of the partitions, which are given up in any case."""
        epochs = self._parts.last_epochs(places)
        if not epochs:
            return True
        has_let_go = self._ask_back(epochs)
        if has_let_go:
            self._commits.commit_now()
        else:
            logger.warning(
                "the task did not let go of %d partitions within %g s; they are given up without a commit",
                len(epochs),
                self._spec.timing.revocation_timeout,
            )
        self._give_up(places, is_flushed=has_let_go)
        return has_let_go

    def lost(self, places: Sequence[Place]) -> None:
        epochs = self._parts.last_epochs(places)
        if epochs:
            logger.warning(
                "%d partitions were taken away by the group; what is not committed is done again", len(epochs)
            )
            self._revoke(epochs, is_lost=True)
            self._notify()
            self._give_up(places, is_flushed=False)

    def _first_letter(self, place: Place) -> int:
        return self.letters.first(place)

    def committed(self, offsets: Mapping[Place, int], error: ConnectError | None) -> None:
        self._commits.answered(offsets, error, self._clock.monotonic_ns())

    # Reading

    def _turn(self, now_ns: int, patience: float) -> float:
        """Write what waits, then fetch; returns how long only the bell can help."""
        self._write()
        is_full = bool(self._held) or self.letters.is_full
        self._held_since_ns = (self._held_since_ns or now_ns) if is_full else 0
        is_too_long = is_full and now_ns - self._held_since_ns >= ROOM_NS
        if is_full and not is_too_long:
            return BELL_SECONDS
        is_held = self._row.get(Word.TARGET) == Target.PAUSE
        self._pause_as_needed(is_all=is_too_long or is_held)
        self._row.set(Word.PUMP_ACT, Act.FETCH)
        fetched = self._consumer.fetch(0.0 if is_full else patience, self._records_max)
        if fetched is None or fetched.is_torn:
            self._chores_at_ns = 0
        if fetched is not None and fetched.is_torn:
            self._parts.read_again()
        elif fetched is not None:
            self._patience.end(*READING)
            self._frame(fetched)
        self._parts.end(self._consumer.take_ends())
        if gone := self._consumer.take_gone():
            self._go_on(gone)
        self._write()
        return BELL_SECONDS if is_full else 0.0

    def _frame(self, fetched: Fetched) -> None:
        is_more = self._drain is not None and not self._drain.is_at_end()
        size = 0
        for whole in framing.frames_of(fetched, self._parts, self._account):
            size += whole.size_bytes
            for raw, part in framing.encoded(whole, self.ring.frame_bytes_max):
                self._row.count(Stage.CONSUME, len(part.values), part.size_bytes)
                if self._account is not None:
                    self._account.framed(part.runs, len(part.values))
                self._held.append(raw)
        if self._account is not None:
            self._account.settle()
        if self.used is not None:
            self.used.use(slice_.topic for slice_ in fetched.slices)
        if is_more and self._drain is not None:
            self._drain.flush_soon()
        if size:
            record_bytes = max(1, size // len(fetched.values))
            self._records_max = max(1, min(self._records_limit, FETCH_BYTES_AIM // record_bytes))

    def _pause_as_needed(self, *, is_all: bool) -> None:
        wanted = {place for place, part in self._parts.items() if is_all or part.is_paused}
        if wanted == self._paused:
            return
        if wanted - self._paused:
            self._consumer.pause(wanted - self._paused)
        if self._paused - wanted:
            self._consumer.resume(self._paused - wanted)
        self._paused = wanted

    def _seek(self) -> None:
        for place, part in self._parts.items():
            if part.seek_to >= 0 and self._consumer.seek(place, part.seek_to):
                part.seek_to = -1

    # Records that are gone

    def _look_for_remade(self, now_ns: int) -> None:
        """A topic that was made anew and has grown beyond the position is fetched as if nothing had happened."""
        if now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + REMADE_NS
            self._consumer.ask_topic_ids(self._lost.topics)
        ids = self._consumer.take_topic_ids().items()
        remade = {topic for topic, topic_id in ids if self._lost.is_remade(topic, topic_id)}
        if remade:
            self._go_on({place: part.position for place, part in self._parts.items() if place[0] in remade})

    def _go_on(self, gone: Mapping[Place, int]) -> None:
        """Partitions that cannot be read from here: the task lets go of them, and gets them where they go on.

        Raises ConnectError where that must not be.
        """
        mine = {place: offset for place, offset in gone.items() if place in self._parts}
        if not mine:
            return
        offsets = self._lost.go_on(self._consumer.find(mine))
        # What was put before is flushed and committed first; a task that does not let go commits it by its next flush.
        has_let_go = self._take_back(list(offsets))
        self.assigned({place: Start(offset, is_committed=not has_let_go) for place, offset in offsets.items()})
        self._consumer.place(list(offsets), {place: part.position for place, part in self._parts.items()})
        self._paused.clear()

    # What the task says

    def hear(self, _seconds: float = 0.0) -> None:
        """Hear it, and see to dead letters: nothing that a put in the same process may wait for needs more.

        Raises what has refused a letter: who waits for it would wait for ever.
        """
        self._hear()
        if self.letters.refusal is not None:
            raise self.letters.refusal

    def _hear(self) -> None:
        while self.letters.may_hear and (notice := self._side.up.read()) is not None:
            message = frame.decode_up(notice)
            self._side.up.release()
            self._chores_at_ns = 0
            if isinstance(message, Flushed):
                self._commits.heard(message)
            elif isinstance(message, Revoked):
                self._task_is_over = self._task_is_over or message.number < 0
                self._revocation_done = max(self._revocation_done, message.number)
            elif isinstance(message, Seek):
                self._parts.seek(message)
            elif isinstance(message, LetterPiece):
                self.letters.hear(message)
            else:
                self._parts.set_paused(message)
        self.letters.poll(self._fence)
        if self.letters.are_out():
            self._outside.hear(self.letters.client, self._clock.monotonic_ns())

    # Giving up partitions

    def _ask_back(self, epochs: list[tuple[str, int, int]]) -> bool:
        """Ask the task to let go of partitions; returns whether it has, within the time for that.

        Their dead letters are waited for as well.
        """
        places = [(topic, partition) for topic, partition, _ in epochs]
        deadline_ns = self._clock.monotonic_ns() + int(self._spec.timing.revocation_timeout * 1e9)
        self._revoke(epochs, is_lost=False)
        while not self._has_let_go() or self.letters.are_awaited(places):
            now_ns = self._clock.monotonic_ns()
            if now_ns >= deadline_ns or not (self._has_let_go() or self._row.get(Word.TASK_PID)):
                return self._has_let_go()
            self._row.set(Word.PUMP_BEAT_NS, now_ns)
            self._notify()
            self._write()
            self._wait(BELL_SECONDS)
            self._hear()
        return True

    def _has_let_go(self) -> bool:
        return self._task_is_over or self._revocation_done >= self._revocation

    def _revoke(self, epochs: list[tuple[str, int, int]], *, is_lost: bool) -> None:
        for begin in range(0, len(epochs), PLACES_MAX):
            self._revocation += 1
            self._say(Revoke(self._revocation, epochs[begin : begin + PLACES_MAX], is_lost))

    def _give_up(self, places: Sequence[Place], *, is_flushed: bool) -> None:
        self._lost.give_up(self._parts, places)
        self._commits.give_up(places, is_flushed=is_flushed)
        if is_flushed and self._account is not None:
            self._account.let_go(places)
        self._paused.difference_update(places)

    # Ends

    def _drain_step(self, now_ns: int) -> None:
        if self._row.get(Word.TARGET) != Target.DRAIN:
            return
        if self._drain is None:
            self._drain = self._drain_start.look(now_ns)
        if self._drain is None:
            return
        # Who has opened a partition may seek back in it: only a flush after that tells that there is no more to read.
        is_open = self._commits.opens >= self._opens
        if self._drain.is_at_end() and not self._held and self._drain.wants_flush(now_ns, is_open=is_open):
            self._hold(Tail())
            self._write()
        self._drain.settle()
        if self._row.get(Word.PUMP_PHASE) == Phase.COMPLETE:
            return
        if is_open and self._commits.is_sure and self._drain.is_complete(now_ns):
            self._row.set(Word.PUMP_PHASE, Phase.COMPLETE)
        else:
            self._drain.look(now_ns)

    def _begin_end(self, seconds: float) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._end_at_ns = self._clock.monotonic_ns() + int(seconds * 1e9)

    def _finish(self, now_ns: int) -> float:
        """Wait until the task has said its last, commit that, and end."""
        is_told = self._task_is_over or 0 < self._flushes_at_end <= self._commits.flushes
        is_late = 0 < self._end_at_ns <= now_ns
        if not is_told and not is_late and self._row.get(Word.TASK_PID):
            return BELL_SECONDS
        self._hear()  # what a task said before it was gone
        if not is_late and self.letters.are_awaited():
            return BELL_SECONDS
        if not is_late and self._commits.hear(self._consumer.fetch, now_ns):
            return 0.0
        self._commits.commit_now()
        self._lag_at_ns = 0
        self._report(now_ns)  # what readers see of a line that is over is its last state
        self._give_up(list(self._parts), is_flushed=self._task_is_over)
        if self._row.get(Word.PUMP_PHASE) != Phase.COMPLETE:
            self._row.set(Word.PUMP_PHASE, Phase.ENDED)
        self.is_over = True
        return 0.0

    def _report(self, now_ns: int) -> None:
        self._row.set(Word.RING_USED_BYTES, self.ring.used_bytes())
        self._row.set(Word.PARTITIONS, len(self._parts))
        if self.used is not None:
            self.used.tell()
        if now_ns >= self._lag_at_ns:
            self._lag_at_ns = now_ns + LAG_NS
            self._row.set(Word.PAUSED, sum(part.is_paused for _, part in self._parts.items()))
            self._row.set(Word.LAG, self._consumer.lag({place: part.reached for place, part in self._parts.items()}))
            self._subscriber.tick(now_ns)
            self._lost.note(self._parts, now_ns)

    # Writing

    def _hold(self, message: Assigned | Tail) -> None:
        self._opens += isinstance(message, Assigned)
        self._held.append(frame.encode(message))

    def _write(self) -> None:
        wrote = False
        while self._held and self.ring.write(self._held[0]):
            self._held.popleft()
            wrote = True
        if wrote:
            self._side.task_bell.ring()

    def _say(self, message: Revoke | CommitNow) -> None:
        self._notices.append(frame.encode(message))

    def _notify(self) -> None:
        wrote = False
        while self._notices and self._side.down.write(self._notices[0]):
            self._notices.popleft()
            wrote = True
        if wrote:
            self._side.task_bell.ring()
