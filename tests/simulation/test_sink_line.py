"""A sink's two banks lose nothing and commit nothing too early, whatever the group does and whoever dies when.

Another member of the group takes partitions over at any time, works, and gives them back. Each seed is a schedule. A
failing seed is repeated by MILLRACE_SEEDS=SEED-SEED.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError, RetriableError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask
from engine.bank import Bank
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import Member
from engine.shm.board import Measure, Phase, Stage, Target, Word
from tests.harness.banks import SinkBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import Crash, FakeKafka, Unkindness
from tests.simulation.seeds import seeds

PARTITIONS = 3
TOPICS = ("one", "two")
STEPS_MAX = 60_000

Place = tuple[str, int]
Where = tuple[str, int, int]  # topic, partition, offset


class Outside:
    """The system that the sink writes to, and what of it is safe; it outlives every task."""

    def __init__(self) -> None:
        self.put: list[Where] = []
        self.safe: set[Where] = set()


class Sink(SinkTask):
    """Keeps what is put until it is flushed, and is as difficult as its seed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._rng = line.rng
        self._kept: dict[Place, list[Where]] = {}
        self._paused: set[TopicPartition] = set()
        self._open: set[TopicPartition] = set()

    def start(self, config: object) -> None:
        pass

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self._line.kafka.crash_perhaps()
        for place in partitions:
            self._kept[place] = []
            self._paused.discard(place)
            self._open.add(place)

    def put(self, batch: SinkBatch) -> None:
        self._line.kafka.crash_perhaps()
        if self._rng.random() < self._line.retries:
            self.context.retry_after(self._rng.choice((0, 30)))
            raise RetriableError("later")
        for topic, partition, offset, value in zip(
            batch.topics, batch.partitions, batch.offsets, batch.values, strict=True
        ):
            assert value == self._line.value_at(topic, partition, offset)
            assert TopicPartition(topic, partition) in self._open
            assert TopicPartition(topic, partition) not in self._paused
            where = topic, partition, offset
            self._kept[topic, partition].append(where)
            self._line.outside.put.append(where)
        self._line.kafka.crash_perhaps()
        if self._line.is_difficult:
            self._ask_for_something()

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self._line.kafka.crash_perhaps()
        if self._rng.random() < self._line.retries:
            raise RetriableError("cannot flush now")
        holds_back = self._rng.random() < 0.2 and self._line.is_difficult
        safe: dict[TopicPartition, int] = {}
        for place, offset in offsets.items():
            kept = self._kept[place]
            assert all(where[2] < offset for where in kept)
            if holds_back and kept:
                safe[place] = kept[len(kept) // 2][2]
            else:
                safe[place] = offset
            self._line.outside.safe.update(where for where in kept if where[2] < safe[place])
            self._kept[place] = [where for where in kept if where[2] >= safe[place]]
        self._line.kafka.crash_perhaps()
        return safe

    def close(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            assert place in self._open
            self._open.remove(place)
            self._paused.discard(place)
            del self._kept[place]

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


class Line:
    """A sink line with everything around it, run on one seed."""

    def __init__(self, seed: int, unkind: Unkindness | None = None) -> None:
        self.rng = rng = random.Random(seed)
        self.clock = VirtualClock()
        self.kafka = FakeKafka(rng, self.clock, partitions=PARTITIONS)
        self.outside = Outside()
        self.places = [(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)]
        for place in self.places:
            self._fill(place, rng.choice((0, 0, 1, 100)))
        self.retries = rng.choice((0.0, 0.0, 0.05))
        self.is_difficult = rng.random() < 0.4
        self.seeks = rng.random() < 0.5
        self.has_sought = False
        self.others = 0  # records that the other member has done
        self.ours: set[Place] = set()  # as the group has decided
        self.consumer: FakeConsumer | None = None
        self.failure: Exception | None = None
        self.ends = 0.005  # how often something ends the line
        self.diligence = 0.7  # how often the task gets on while a revocation waits for it
        self.kafka.on_commit = self._look_at_commit
        self.kafka.unkind = unkind or Unkindness(
            crash=rng.choice((0.0, 0.001, 0.005)),
            refuse=rng.choice((0.0, 0.1)),
            lose=rng.choice((0.0, 0.1)),
            rebalance=rng.choice((0.0, 0.01, 0.05)),
            torn=0.4,
        )
        spec = line_spec(
            "sink",
            subscription=Subscription(topics=TOPICS),
            is_bulk=True,
            ring_bytes=rng.choice((8, 64)) * 1024,
            timing=Timing(commit_interval=0.05, retry_backoff=0.02, commit_timeout=0.2, revocation_timeout=0.5),
        )
        self.banks = SinkBanks(spec, self._join, lambda: Sink(self), self.clock, self._wait)

    def value_at(self, topic: str, partition: int, offset: int) -> bytes:
        """What lies at an offset."""
        return b"%s %d %d" % (topic.encode(), partition, offset)

    def run(self) -> None:
        """All lives of the line, until it has drained and ended in order."""
        self.ours = set(self.places)
        self._start()
        quiet_after = self.rng.randint(10, 700)
        for step in range(STEPS_MAX):
            self.clock.advance(self.rng.choice((0.0, 0.0, 0.001, 0.02)))
            if step == quiet_after:
                self._calm()
            if step > quiet_after and self.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE:
                break
            try:
                if step < quiet_after and self.rng.random() < 0.2:
                    self._fill(self.rng.choice(self.places), self.rng.randint(1, 15))
                self._let_others_work()
                self._rebalance_perhaps(step < quiet_after)
                self._step()
                if step < quiet_after and self.rng.random() < self.ends:
                    self._end_somehow()
                    self._start()
                elif self.banks.pump.is_over or self.banks.task.is_over:
                    assert self.failure is not None, "over without being asked to"
                    self._die()
                    self._start()
            except Crash:
                self._die()
                self._start()
            self.check()
        else:
            raise AssertionError(f"not at the end after {STEPS_MAX} steps")
        self.check_end()

    # The world around

    def _fill(self, place: Place, count: int) -> None:
        for _ in range(count):
            while self.rng.random() < 0.1:
                self.kafka.skip(place)
            self.kafka.store(place, self.value_at(*place, self.kafka.ends.get(place, 0)))
        if self.rng.random() < 0.3:
            self.kafka.skip(place)

    def _look_at_commit(self, place: Place, begin: int, end: int) -> None:
        for offset, _ in self.kafka.logs.get(place, ()):
            if begin <= offset < end:
                assert (*place, offset) in self.outside.safe, f"{place} committed to {end}, {offset} is not safe"

    def _join(self, member: Member) -> FakeConsumer:
        self.consumer = FakeConsumer(self.kafka, member, TOPICS)
        self.consumer.decide(self.ours)
        return self.consumer

    def _rebalance_perhaps(self, is_allowed: bool) -> None:
        assert self.consumer is not None
        if is_allowed and self.kafka.chance(self.kafka.unkind.rebalance):
            self.ours = {place for place in self.places if self.rng.random() < 0.5}
            self.consumer.decide(self.ours, is_loss=self.kafka.chance(self.kafka.unkind.rebalance_is_loss))

    def _let_others_work(self) -> None:
        """The other member reads, writes and commits a little of what it has."""
        assert self.consumer is not None
        theirs = set(self.places) - self.ours - self.consumer.assignment
        if self.consumer.is_deciding or not theirs or self.rng.random() < 0.5:
            return
        place = self.rng.choice(sorted(theirs))
        begin = self.kafka.group.get(place, 0)
        offsets = [offset for offset, _ in self.kafka.logs.get(place, ()) if offset >= begin][: self.rng.randint(1, 30)]
        self.others += len(offsets)
        self.outside.put += [(*place, offset) for offset in offsets]
        self.outside.safe.update((*place, offset) for offset in offsets)
        is_end = not offsets or offsets[-1] == self.kafka.logs[place][-1][0]
        end = self.kafka.ends.get(place, 0) if is_end else offsets[-1] + 1
        if end > begin:
            self.kafka.commit({place: end})

    def _calm(self) -> None:
        """From now on all goes well, and the end is wanted."""
        self.kafka.unkind = Unkindness()
        self.is_difficult = False
        self.retries = 0.0
        self.banks.memory.aim(Target.DRAIN)
        task = self.banks.task._task
        assert isinstance(task, Sink)
        task.calm()

    # The supervisor's part

    def _start(self) -> None:
        if self.banks.row.get(Word.TARGET) == Target.STOP:
            self.banks.memory.aim(Target.RUN)
        while True:
            try:
                self.banks.start()
                return
            except Crash:
                self._die()

    def _step(self) -> None:
        banks: list[Bank] = [self.banks.task, Pump(self)]
        for bank in self.rng.sample(banks, self.rng.randint(1, 2)):
            self._tend(bank)

    def _tend(self, bank: Bank) -> None:
        if bank.is_over:
            return
        try:
            bank.step()
        except ConnectError as error:
            if bank.failure is not None:
                raise
            bank.fail(error)
            self.failure = error

    def _wait(self, seconds: float) -> None:
        """What the task does while a revocation waits for it: perhaps nothing."""
        self.clock.advance(seconds)
        if self.rng.random() < self.diligence:
            self._tend(self.banks.task)

    def _end_somehow(self) -> None:
        way = self.rng.choice(("kill both", "kill the task process", "kill the pump", "stop"))
        if way == "kill the task process":
            self.banks.row.set(Word.TASK_PID, 0)
            self.banks.pump.ask_to_stop()
            self._step_until_over(Pump(self))
            self.banks.pump.stop(leave=False)
        elif way == "kill the pump":
            self.banks.row.set(Word.PUMP_PID, 0)
            self.banks.task.ask_to_stop()
            self._step_until_over(self.banks.task)
        elif way == "stop":
            self.banks.memory.aim(Target.STOP)
            self._step_until_over(self.banks.task, Pump(self))
            self.banks.task.stop()
            self.banks.pump.stop(leave=False)
        self._die()

    def _step_until_over(self, *banks: Bank) -> None:
        for _ in range(STEPS_MAX):
            if all(bank.is_over for bank in banks):
                return
            self.clock.advance(0.001)
            for bank in banks:
                self._tend(bank)
        raise AssertionError(f"not over after {STEPS_MAX} steps")

    def _die(self) -> None:
        self.banks.crash()
        self.failure = None

    # What is true

    def check(self) -> None:
        """What holds after every step."""
        row = self.banks.row
        committed, put, consumed = (
            row.measured(stage, Measure.RECORDS) for stage in (Stage.COMMIT, Stage.PUT, Stage.CONSUME)
        )
        assert committed <= put <= consumed
        assert row.measured(Stage.FLUSH, Measure.RECORDS) <= put
        for place, part in self.banks.pump._parts.items():
            assert part.committed <= max(part.flushed, part.start) or part.flushed < 0, place

    def check_end(self) -> None:
        """What holds once it is complete."""
        wanted = {(*place, offset) for place in self.places for offset, _ in self.kafka.logs.get(place, ())}
        assert self.outside.safe == wanted
        for place, end in self.kafka.ends.items():
            assert self.kafka.group.get(place, 0) == end
        repeats = sum(count - 1 for count in Counter(self.outside.put).values())
        if not self.has_sought:
            assert repeats <= self.banks.row.may_be_repeated()
        for place in self.places:
            offsets = [offset for *where, offset in self.outside.put if tuple(where) == place]
            firsts = list(dict.fromkeys(offsets))
            assert firsts == sorted(firsts), f"first occurrences of {place} are out of order"


class Pump:
    """The pump's bank, with the patience that its process gives it."""

    def __init__(self, line: Line) -> None:
        self._bank = line.banks.pump
        self._rng = line.rng

    @property
    def failure(self) -> Exception | None:
        return self._bank.failure

    @property
    def is_over(self) -> bool:
        return self._bank.is_over

    def start(self) -> None:
        self._bank.start()

    def step(self) -> float:
        return self._bank.step(self._rng.choice((0.0, 0.01)))

    def ask_to_stop(self) -> None:
        self._bank.ask_to_stop()

    def fail(self, error: Exception) -> None:
        self._bank.fail(error)

    def stop(self) -> None:
        self._bank.stop(leave=False)


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost_and_nothing_committed_too_early_whoever_dies(seed: int) -> None:
    Line(seed).run()


@pytest.mark.parametrize("seed", seeds()[:40])
def test_partitions_that_move_while_nothing_fails_have_nothing_done_twice(seed: int) -> None:
    line = Line(seed, Unkindness(rebalance=0.05, rebalance_is_loss=0.0, torn=0.4))
    line.is_difficult = False
    line.retries = 0.0
    line.ends = 0.0
    line.diligence = 1.0
    line.run()
    assert len(line.outside.put) == len(set(line.outside.put))
