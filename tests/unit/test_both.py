"""Two banks in one process end as two processes would: by the failure of the one that failed, leaving the group."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pytest

from engine.api.errors import ConnectError, DataError, RetriableError, UnreachableError
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.bank import Stopper, serve
from engine.both import Pair
from engine.config.line import LineSpec, Restarts, Timing
from engine.exits import ExitCode
from engine.kafka.consumer import Member
from engine.pump.delivery import Delivery
from engine.pump.main import PatientSinkPump
from engine.shm.board import Measure, Row, Stage, Target, Word
from engine.shm.channel import PumpSide
from engine.shm.lease import RivalError
from tests.harness.banks import CollectingSink, SinkBanks, SourceBanks, VirtualClock, line_spec, no_levels
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer

TOPICS = ["numbers"]


class Leaving(FakeConsumer):
    """Remembers whether it left its group or only closed."""

    has_left = False

    def leave(self, timeout_seconds: float) -> None:
        self.has_left = True
        super().leave(timeout_seconds)


class Numbers(SourceTask):
    """Polls one record after the other."""

    def __init__(self) -> None:
        self.polled = 0
        self.stopped = 0

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Sequence[SourceRecord]:
        self.polled += 1
        return [
            SourceRecord(
                topic="numbers",
                value=b"%d" % self.polled,
                partition=0,
                source_partition={"of": "numbers"},
                source_offset={"at": self.polled},
            )
        ]

    def stop(self) -> None:
        self.stopped += 1


class FailingStore:
    """Takes nothing, once."""

    def __init__(self, error: ConnectError) -> None:
        self._errors = [error]
        self.stored: dict[bytes, bytes] = {}

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        if self._errors:
            raise self._errors.pop()
        self.stored.update(offsets)


class FailingSink(CollectingSink):
    """Starts and puts as it is told."""

    def __init__(self, *, at_start: Exception | None = None, at_put: Exception | None = None) -> None:
        super().__init__([])
        self._at_start, self._at_put = at_start, at_put

    def start(self, config: object) -> None:
        if self._at_start is not None:
            raise self._at_start

    def put(self, batch: object) -> None:
        if self._at_put is not None:
            raise self._at_put


@pytest.fixture
def stopper() -> Iterator[Stopper]:
    before = signal.getsignal(signal.SIGTERM)
    yield Stopper(os.getppid())
    signal.signal(signal.SIGTERM, before)


#: A sink whose pump waits for nobody's verdict.
SPEC = line_spec("sink", timing=Timing(stop_timeout=0.0), restarts=Restarts(2))


class SinkPair:
    """A sink's two banks as one, on a fake Kafka."""

    def __init__(self, task: FailingSink, stopper: Stopper, spec: LineSpec = SPEC) -> None:
        self.kafka = FakeKafka(random.Random(1), VirtualClock())
        for number in range(10):
            self.kafka.store(("numbers", 0), b"%d" % number)
        self.banks = SinkBanks(spec, self._join, lambda: task, self.kafka.clock)
        self._stopper = stopper
        self.words: list[str] = []

    def _join(self, member: Member) -> Leaving:
        self.consumer = Leaving(self.kafka, member, TOPICS)
        self.consumer.decide([("numbers", 0)])
        return self.consumer

    def serve(self) -> ExitCode:
        """One life, until it ends."""
        self.banks.make()
        channel = self.banks.memory.channel
        assert channel is not None
        side = PumpSide(channel)
        pump = PatientSinkPump(self.banks.pump, side, self.banks.row, self.kafka.clock, self._stopper, SPEC)
        return serve(
            lambda: Pair(self.banks.task, pump), side.bell, self._stopper, self.words.append, lambda: None, no_levels()
        )


@pytest.mark.parametrize("place", ["at_start", "at_put"])
@pytest.mark.parametrize(
    ("error", "code", "leaves"),
    [
        (DataError("a bad value"), ExitCode.BAD_RECORD, True),
        (ZeroDivisionError("by zero"), ExitCode.ERROR, True),
        (UnreachableError("no server there"), ExitCode.RETRY, False),
    ],
)
def test_a_sink_leaves_its_group_when_it_does_not_come_back(
    place: str, error: Exception, code: ExitCode, leaves: bool, stopper: Stopper
) -> None:
    pair = SinkPair(FailingSink(**{place: error}), stopper)
    assert pair.serve() == code
    assert pair.consumer.is_closed
    assert pair.consumer.has_left == leaves
    assert str(error) in pair.words[0]


@pytest.mark.parametrize(
    ("fruitless", "commits", "leaves"), [(0, 0, False), (1, 0, False), (2, 0, True), (2, 5, False)]
)
def test_a_sink_whose_member_was_fenced_leaves_its_group_when_its_restarts_are_used_up(
    fruitless: int, commits: int, leaves: bool, stopper: Stopper
) -> None:
    class Progressing(FailingSink):
        def put(self, batch: object) -> None:
            row.count(Stage.COMMIT, commits)
            super().put(batch)

    pair = SinkPair(Progressing(at_put=RivalError("another process has joined as this one")), stopper)
    row = pair.banks.row
    row.set(Word.FRUITLESS, fruitless)
    assert pair.serve() == ExitCode.FENCED
    assert pair.consumer.has_left == leaves


@pytest.mark.parametrize(
    ("error", "code"), [(ConnectError("the disk is full"), ExitCode.ERROR), (RetriableError("busy"), ExitCode.RETRY)]
)
def test_a_pump_that_fails_stores_what_it_can_and_ends_the_pair(
    error: ConnectError, code: ExitCode, stopper: Stopper
) -> None:
    kafka = FakeKafka(random.Random(1), VirtualClock())
    store, task = FailingStore(error), Numbers()
    spec = line_spec("source", timing=Timing(commit_interval=0.0))

    def delivery() -> Delivery:
        return Delivery(
            partial(FakeProducer, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=kafka.clock.monotonic_ns
        )

    banks = SourceBanks(spec, delivery, store, lambda: task, kafka.clock)
    banks.make()
    words: list[str] = []
    channel = banks.memory.channel
    assert channel is not None
    bell = PumpSide(channel).bell
    assert serve(lambda: Pair(banks.task, banks.pump), bell, stopper, words.append, lambda: None, no_levels()) == code
    assert words == [str(error)]
    assert banks.pump.is_over
    assert list(store.stored.values()) == [b'{"at":%d}' % banks.row.measured(Stage.STORE, Measure.RECORDS)]
    assert task.stopped == 1


class Verdict(Stopper):
    """What the supervisor does a while after the task has ended: it may aim at STOP, then it sends TERM."""

    def __init__(self, row: Row, target: Target) -> None:
        self._row, self._target = row, target
        self._looks = 0
        self.is_orphan = False

    def look(self) -> bool:
        self._looks += 1
        if self._looks > 2:
            self._row.set(Word.TARGET, self._target)
        return self._looks > 2


@pytest.mark.parametrize(
    ("target", "is_followed", "leaves"),
    [(Target.STOP, False, True), (Target.RUN, False, False), (Target.STOP, True, False)],
)
def test_a_pump_whose_task_has_ended_hears_first_whether_its_line_comes_back(
    target: Target, is_followed: bool, leaves: bool, stopper: Stopper
) -> None:
    pair = SinkPair(FailingSink(), stopper)
    pair.banks.make()
    channel, row = pair.banks.memory.channel, pair.banks.row
    assert channel is not None
    row.set(Word.IS_FOLLOWED, is_followed)
    pump = PatientSinkPump(
        pair.banks.pump, PumpSide(channel), row, pair.kafka.clock, Verdict(row, target), line_spec("sink")
    )
    pump.stop()
    assert pair.consumer.is_closed
    assert pair.consumer.has_left == leaves


@pytest.mark.parametrize(
    ("is_orphan", "has_own_task", "waits"),
    [
        pytest.param(True, True, False, id="its-task-was-killed-with-the-supervisor"),
        pytest.param(True, False, True, id="its-task-is-in-this-process"),
        pytest.param(False, True, True, id="its-supervisor-lives"),
    ],
)
def test_a_pump_that_is_told_to_end_waits_for_its_task_unless_that_is_gone(
    is_orphan: bool, has_own_task: bool, waits: bool, stopper: Stopper
) -> None:
    spec = line_spec("sink")
    pair = SinkPair(FailingSink(), stopper, spec)
    pair.banks.make()
    channel, row = pair.banks.memory.channel, pair.banks.row
    assert channel is not None
    row.set(Word.TASK_PID, 1)
    row.set(Word.PUMP_PID, 2 if has_own_task else 1)
    verdict = Verdict(row, Target.RUN)
    verdict.is_orphan = is_orphan
    pump = PatientSinkPump(pair.banks.pump, PumpSide(channel), row, pair.kafka.clock, verdict, spec)
    pump.ask_to_stop()
    pump.step()
    assert pump.is_over is not waits
