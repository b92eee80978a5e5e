"""A sink line with everything around it, run on one seed: what is there to read, what is put, what must be true.

Another member of the group takes partitions over at any time, works, and gives them back. Where some records are bad,
each of them goes to a topic of dead letters.

Used by: tests.simulation.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping

from engine.api.batch import SinkBatch
from engine.api.errors import DataError, RetriableError, UnreachableError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask
from engine.config.line import DeadLetterSpec, Errors, LineSpec, Subscription, Timing
from engine.kafka.consumer import Member
from engine.pump.letters import DeadLetters
from engine.shm.board import Measure, Phase, Stage, Target, Word
from tests.harness.banks import LineMemory, SinkBanks, VirtualClock, line_spec
from tests.harness.claims import Wrong, claim
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka, Unkindness
from tests.harness.fake_producer import FakeProducer
from tests.harness.lives import BOTH, Lives
from tests.harness.steps import Crash, Steps
from tests.simulation.accounts import reported

__all__ = ["SinkLine"]

PARTITIONS = 3
TOPICS = ("one", "two")
STEPS_MAX = 60_000
REVOCATION_S = 0.5
#: Within a revocation the pump looks at its clock so often, and the last commit may wait for a broker.
REVOCATION_SLACK_S = 0.02
TIMING = Timing(commit_interval=0.05, retry_backoff=0.02, commit_timeout=0.2, revocation_timeout=REVOCATION_S)

DEAD = "dead"
#: What may pass is waited for without end, so that nothing good is taken for bad.
TOLERANT = Errors(
    is_tolerant=True,
    retry_ms=-1,
    retry_pause_ms_max=50,
    dead_letters=DeadLetterSpec(DEAD, 1, has_context=True, kafka={}),
)

Place = tuple[str, int]
Where = tuple[str, int, int]  # topic, partition, offset


class Outside:
    """The system that the sink writes to, and what of it is safe; it outlives every task."""

    def __init__(self) -> None:
        self.put: list[Where] = []
        self.safe: set[Where] = set()


class Sink(SinkTask):
    """Keeps what is put until it is flushed, and is as difficult as its seed."""

    def __init__(self, line: SinkLine) -> None:
        self._line = line
        self._rng = line.rng
        self._kept: dict[Place, list[Where]] = {}
        self._paused: set[TopicPartition] = set()
        self._open: set[TopicPartition] = set()

    def start(self, config: object) -> None:
        pass

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self._line.steps.at("open")
        for place in partitions:
            claim(place not in self._open, f"{place} is opened twice")
            self._kept[place] = []
            self._paused.discard(place)
            self._open.add(place)

    def put(self, batch: SinkBatch) -> None:
        self._line.steps.at("before put")
        if not self._line.reports and self._line.kills_in != "flush":  # else what kills may be put, and kill later
            for topic, partition, offset in zip(batch.topics, batch.partitions, batch.offsets, strict=True):
                self._line.look_at_letters((topic, partition), offset, {*batch.values})
        if self._rng.random() < self._line.retries:
            self._line.has_retried = True
            self.context.retry_after(self._rng.choice((0, 30)))
            raise RetriableError("later")
        if self._line.reports:
            self._report(batch)
        for topic, partition, offset, value in zip(
            batch.topics, batch.partitions, batch.offsets, batch.values, strict=True
        ):
            where = topic, partition, offset
            self._die_perhaps("put", where)
            is_refused = value in self._line.bad and not self._line.kills_in and not self._line.reports
            if value != self._line.value_at(*where) or is_refused:
                raise Wrong(f"{value!r} is put as {where}")
            if (topic, partition) not in self._open or (topic, partition) in self._paused:
                raise Wrong(f"put of {where}, whose partition is not open, or paused")
            if self._line.reports and value in self._line.bad:
                continue  # it was reported
            self._kept[topic, partition].append(where)
            if not self._line.is_bad(where):
                self._line.outside.put.append(where)
        self._line.steps.at("after put")
        if self._line.is_difficult:
            self._ask_for_something()

    def _report(self, batch: SinkBatch) -> None:
        reporter = self.context.errant_record_reporter()
        claim(reporter is not None, "there is a topic for them")
        for record in batch:
            if record.value in self._line.bad and reporter is not None:
                self._line.steps.at("before a report")
                reporter.report(record, DataError("refused"))
        self._line.steps.at("after reports")
        if self._rng.random() < self._line.retries:
            self._line.has_retried = True
            raise RetriableError("once more, with all that was reported")

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self._line.steps.at("before flush")
        if self._rng.random() < self._line.retries:
            raise RetriableError("cannot flush now")
        holds_back = self._rng.random() < 0.2 and self._line.is_difficult
        safe: dict[TopicPartition, int] = {}
        for place, offset in offsets.items():
            kept = self._kept[place]
            for where in kept:
                self._die_perhaps("flush", where)
            if not self._line.reports:  # else no offset is told beyond a letter that Kafka does not have yet
                claim(all(where[2] < offset for where in kept), f"{place} to be flushed to {offset}, more was put")
            self._line.look_at_letters(place, offset)
            if holds_back and kept:
                safe[place] = kept[len(kept) // 2][2]
            else:
                safe[place] = offset
            self._line.outside.safe.update(where for where in kept if where[2] < safe[place])
            self._kept[place] = [where for where in kept if where[2] >= safe[place]]
        self._line.steps.at("after flush")
        return safe

    def close(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            claim(place in self._open, f"{place} is closed, and not open")
            self._open.remove(place)
            self._paused.discard(place)
            del self._kept[place]

    def _die_perhaps(self, act: str, where: Where) -> None:
        if self._line.kills_in == act and self._line.is_bad(where):
            raise Crash(f"a deadly one in {act}")

    def calm(self) -> None:
        """Want nothing special any more."""
        if self._paused:
            self.context.resume(list(self._paused))
            self._paused.clear()

    def _ask_for_something(self) -> None:
        place = self._rng.choice(sorted(self._open))
        wish = self._rng.random()
        if wish < 0.05 and place not in self._paused:
            self.context.pause([place])
            self._paused.add(place)
        elif wish < 0.2 and self._paused:
            self.calm()
        elif wish < 0.25:
            self.context.request_commit()
        elif wish < 0.3 and self._line.seeks and self._kept[place]:
            back = self._kept[place][0][2]
            self._kept[place].clear()
            self.context.seek({place: back})
            self._line.has_sought = True


class SinkLine:
    """A sink line with everything around it."""

    reports = False  # whether the sink has bad ones, and reports them
    has_sought = False
    _is_pump_waiting = False  # for the task, in a revocation

    def __init__(self, seed: int, *, records: int = 100, stages: int = 0, bad: float = 0.0, kills_in: str = "") -> None:
        """records: in a partition to begin with, at most. stages: stage processes. bad: how many are, of all.

        kills_in: where bad ones end the process, "convert", "put" or "flush"; empty: a converter refuses them.
        """
        self.kills_in = kills_in
        self.rng = rng = random.Random(seed)
        self.clock = VirtualClock()
        self.steps = Steps(rng)
        self.kafka = FakeKafka(rng, self.clock, partitions=PARTITIONS, steps=self.steps)
        self.outside = Outside()
        self.bad: set[bytes] = set()
        self._badness = bad
        self._is_bad = random.Random(f"bad {seed}")
        self.others_dead: set[bytes] = set()  # bad ones that the other member has seen to
        self._looked_at: dict[Place, int] = {}  # as far as letters are known to be there
        self.places = [(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)]
        for place in self.places:
            self.fill(place, rng.choice((0, 0, 1, records)))
        self.retries = rng.choice((0.0, 0.0, 0.05))
        self.is_difficult = rng.random() < 0.4
        self.seeks = rng.random() < 0.5
        self.has_retried = False  # what waits to be put again may be read and counted again
        self.others = 0  # records that the other member has done
        self.ours: set[Place] = set(self.places)  # as the group has decided
        self.is_cooperative = rng.random() < 0.3
        self.consumer: FakeConsumer
        self.ends = 0.005  # how often something ends the line
        self.diligence = 0.7  # how often the task gets on while a revocation waits for it
        self.quiet_after = rng.randint(10, 400)  # from then on nothing goes wrong, and the end is wanted
        self.kafka.on_commit = self._look_at_commit
        spec = line_spec(
            "sink",
            subscription=Subscription(topics=TOPICS),
            is_bulk=True,
            ring_bytes=rng.choice((8, 64)) * 1024,
            stage_processes=stages,
            timing=TIMING,
            errors=TOLERANT if bad else Errors(),
        )
        self.is_calm = False
        self._memory = self._make_memory(spec, random.Random(f"converters {seed}"))
        self.banks = SinkBanks(spec, self._join, lambda: Sink(self), self.clock, self._wait, memory=self._memory)
        self.producers: list[FakeProducer] = []
        if bad:
            self.banks.make_letters = lambda row: DeadLetters(DEAD, self._producer, row)
        self.lives = Lives(self.banks, self.steps, rng, self.clock)
        self.lives.on_death = self._bury_producers
        self.banks.may_hear = lambda: self._is_pump_waiting or self.lives.is_free("pump")
        self.lives.may_be_late = lambda: self.kafka.unkind.outage > 0

    def have_bad_ones_reported(self) -> None:
        """The converter takes them, and the sink reports them."""
        self.reports = True
        self._memory.bad = set()

    def _make_memory(self, spec: LineSpec, chance: random.Random) -> LineMemory:
        memory = LineMemory(spec, self.steps, is_in_ledger=self.rng.random() < 0.8)
        memory.is_away = lambda: not self.is_calm and chance.random() < 0.03
        if self.kills_in == "convert":
            memory.deadly = self.bad
        elif not self.kills_in:
            memory.bad = self.bad
        return memory

    def value_at(self, topic: str, partition: int, offset: int) -> bytes:
        """What lies at an offset."""
        return b"%s %d %d" % (topic.encode(), partition, offset)

    def is_bad(self, where: Where) -> bool:
        """Whether what lies there is bad."""
        return self.value_at(*where) in self.bad

    def run(self) -> None:
        """All lives of the line, until it has drained and ended in order."""
        self.steps.draw()
        self.lives.start()
        for step in range(STEPS_MAX):
            self.clock.advance(self.rng.choice((0.0, 0.0, 0.001, 0.02)))
            self.is_calm = is_calm = step >= self.quiet_after
            if step == self.quiet_after:
                self._calm()
            if is_calm and self.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE:
                break
            if not is_calm and self.rng.random() < 0.2:
                self.fill(self.rng.choice(self.places), self.rng.randint(1, 15))
            self._let_others_work()
            self._rebalance_perhaps(is_calm)
            self.lives.turn()
            if not is_calm and self.rng.random() < self.ends:
                self.lives.end_somehow()
                self._start_again()
            elif self.lives.see():
                self._start_again()
            elif any(map(self.lives.is_over, BOTH)):
                raise AssertionError("over without being asked to")
            self.check()
        else:
            raise AssertionError(f"not at the end after {STEPS_MAX} steps")
        self.check_end()

    # The world around

    def fill(self, place: Place, count: int) -> None:
        """More records, with gaps now and then."""
        for _ in range(count):
            while self.rng.random() < 0.1:
                self.kafka.skip(place)
            value = self.value_at(*place, self.kafka.ends.get(place, 0))
            if self._badness and self._is_bad.random() < self._badness:
                self.bad.add(value)
            self.kafka.store(place, value)
        if self.rng.random() < 0.3:
            self.kafka.skip(place)

    def _look_at_commit(self, place: Place, begin: int, end: int) -> None:
        log = self.kafka.logs.get(place, [])
        dead = self._dead() if self.bad else ()
        for offset, value in log[bisect_left(log, (begin, b"")) : bisect_left(log, (end, b""))]:
            if (*place, offset) not in self.outside.safe and value not in dead:
                raise Wrong(f"{place} committed to {end}, {offset} is not safe")

    def look_at_letters(self, place: Place, offset: int, put: Collection[bytes | None] = ()) -> None:
        """A sink may store this offset with its rows, and never take again what lies before it. put: at once."""
        begin = self._looked_at.get(place, 0)
        if not self.bad or offset <= begin:
            return
        log = self.kafka.logs.get(place, [])
        passed = log[bisect_left(log, (begin, b"")) : bisect_left(log, (offset, b""))]
        bad = {value for _, value in passed if value in self.bad}
        missing = bad.difference(put).difference(self._dead()) if bad else bad
        claim(not missing, f"{place} goes to {offset}, these have no dead letter: {sorted(missing)[:10]}")
        if bad.isdisjoint(put):
            self._looked_at[place] = offset

    def _dead(self) -> set[bytes]:
        """Bad records whose dead letters are in Kafka."""
        return self.others_dead.union(self._letters())

    def _letters(self) -> list[bytes]:
        return [value for place, log in self.kafka.logs.items() if place[0] == DEAD for _, value in log]

    def _producer(self) -> FakeProducer:
        self.producers.append(FakeProducer(self.kafka, {"enable.idempotence": True}))
        return self.producers[-1]

    def _bury_producers(self, name: str) -> None:
        if name == "pump":
            for producer in self.producers:
                producer.die()
            self.producers.clear()

    def _join(self, member: Member) -> FakeConsumer:
        self.consumer = FakeConsumer(
            self.kafka,
            member,
            TOPICS,
            is_cooperative=self.is_cooperative,
            revocation_seconds=REVOCATION_S + REVOCATION_SLACK_S,
        )
        self.consumer.decide(self.ours)
        return self.consumer

    def _rebalance_perhaps(self, is_calm: bool) -> None:
        if not is_calm and self.kafka.chance(self.kafka.unkind.rebalance):
            self.ours = {place for place in self.places if self.rng.random() < 0.5}
            self.consumer.decide(self.ours, is_loss=self.kafka.chance(self.kafka.unkind.rebalance_is_loss))

    def _let_others_work(self) -> None:
        """The other member reads, writes and commits a little of what it has."""
        theirs = set(self.places) - self.ours - self.consumer.assignment
        if self.consumer.is_deciding or not theirs or self.rng.random() < 0.5 or self.kafka.is_down:
            return
        place = self.rng.choice(sorted(theirs))
        begin = self.kafka.group.get(place, 0)
        offsets = [offset for offset, _ in self.kafka.logs.get(place, ()) if offset >= begin][: self.rng.randint(1, 30)]
        self.others += len(offsets)
        good = [offset for offset in offsets if self.value_at(*place, offset) not in self.bad]
        self.others_dead.update(self.value_at(*place, offset) for offset in set(offsets).difference(good))
        self.outside.put += [(*place, offset) for offset in good]
        self.outside.safe.update((*place, offset) for offset in good)
        is_end = not offsets or offsets[-1] == self.kafka.logs[place][-1][0]
        end = self.kafka.ends.get(place, 0) if is_end else offsets[-1] + 1
        if end > begin:
            self.kafka.commit({place: end})

    def _calm(self) -> None:
        """From now on all goes well, and the end is wanted."""
        self.kafka.unkind = Unkindness()
        self.steps.calm()
        self.is_difficult = False
        self.retries = 0.0
        self.banks.memory.aim(Target.DRAIN)
        task = self.banks.task._task
        assert isinstance(task, Sink)
        task.calm()

    def _start_again(self) -> None:
        failure, self.lives.failure = self.lives.failure, None
        is_letter = "the dead letter" in str(failure)
        claim(failure is None or is_letter or isinstance(failure, RetriableError | UnreachableError), failure)
        self.lives.start()

    def _wait(self, seconds: float) -> None:
        """What the task does while a revocation waits for it: perhaps nothing."""
        self.clock.advance(seconds)
        self.consumer.check_revocation()
        if self.rng.random() < self.diligence:
            self._is_pump_waiting = True
            self.lives.tend("task")
            self._is_pump_waiting = False
        if "task" in self.lives.dead and self.rng.random() < 0.3:
            self.lives.reap("task")

    # What is true

    def check(self) -> None:
        """What holds after every step; what holds at every store stands in tests/harness/watched.py."""
        put, consumed = (self.banks.row.measured(stage, Measure.RECORDS) for stage in (Stage.PUT, Stage.CONSUME))
        claim(put <= consumed or self.has_retried, f"{put} records were put, {consumed} consumed")
        if self.lives.is_over("pump"):
            return
        for place, part in self.banks.pump._parts.items():
            if part.committed > max(part.flushed, part.start) and part.flushed >= 0:
                raise Wrong(f"{place} counts as committed to {part.committed}, flushed is {part.flushed}")
            if self.banks.pump._commits.is_sure and part.committed > self.kafka.group.get(place, 0):
                raise Wrong(f"{place} counts as committed to {part.committed}, the group has {self.kafka.group}")

    def check_end(self) -> None:
        """What holds once it is complete."""
        wanted = {
            (*place, offset)
            for place in self.places
            for offset, value in self.kafka.logs.get(place, ())
            if value not in self.bad
        }
        claim(self._dead() == self.bad, f"no dead letter: {sorted(self.bad - self._dead())[:10]}")
        claim(self.outside.safe == wanted, f"not safe: {sorted(wanted - self.outside.safe)[:10]}")
        for place in self.places:
            end = self.kafka.ends.get(place, 0)
            committed = self.kafka.group.get(place, 0)
            claim(committed == end, f"{place} is committed to {committed}, it ends at {end}")
        repeats = sum(count - 1 for count in Counter(self.outside.put).values())
        bound = self.banks.row.may_be_repeated()
        claim(self.has_sought or repeats <= bound, f"{repeats} repeats, at most {bound} were told")
        for place in self.places:
            offsets = [offset for *where, offset in self.outside.put if tuple(where) == place]
            firsts = list(dict.fromkeys(offsets))
            claim(firsts == sorted(firsts), f"first occurrences of {place} are out of order")
        self._check_ledger(repeats, bound)

    def _check_ledger(self, repeats: int, bound: int) -> None:
        told = reported(self.banks.memory).ledger
        if told is None:
            return
        claim((told.lost, told.doubled) == (0, 0), told)
        claim(told.records_out + told.dropped + told.repeated >= len(self.outside.put) - self.others, told)
        if not self.others and not self.has_sought:
            claim(told.records_in == told.records_out + told.dropped + told.skipped, told)
            claim(told.skipped <= len(self.bad), told)
            if not self.lives.deaths or self.reports:
                claim(told.skipped == len(self.bad), told)
            claim(repeats <= told.repeated <= bound, f"{repeats} repeats, at most {bound} were told: {told}")
