"""How a source ends is told as it is: complete, stopped or failed; what went before a bad record is stored, once.

Each line is stepped with a kind Kafka, on a virtual clock; polls are written out.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from engine.api.batch import SourceBatch
from engine.api.errors import ConnectError, DataError, RecordTooLargeError, UnreachableError
from engine.api.record import SourceRecord
from engine.api.task import Polled, RecordMetadata, SourceTask
from engine.api.transform import AnyRecord, FlatMap, Transform
from engine.bank import Bank
from engine.config.line import Timing
from engine.pump.delivery import Delivery
from engine.shm.board import Measure, Phase, Stage, Target, Word
from engine.shm.frame import SourceFrame
from tests.harness.banks import SourceBanks, VirtualClock, line_spec
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer
from tests.simulation.accounts import reported

STEPS_MAX = 20_000
#: More than a frame of the rings here takes.
TOO_LARGE = b"x" * 40_000


class Store:
    """Keeps the last offset of each source partition."""

    def __init__(self) -> None:
        self.offsets: dict[str, Any] = {}

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        self.offsets.update(
            (json.loads(partition)["source"], json.loads(offset)["next"]) for partition, offset in offsets
        )


class Scripted(SourceTask):
    """Polls what it is given, then ends, or waits to be stopped."""

    def __init__(self, polls: Sequence[Polled], *, ends: bool) -> None:
        self._polls = list(polls)
        self._ends = ends
        self.commits = 0

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Polled:
        polled = self._polls.pop(0) if self._polls else None
        if not self._polls and self._ends:
            self.context.end()
        return polled

    def commit(self) -> None:
        self.commits += 1


class Complaining(Scripted):
    """Raises whenever it is told that something is done."""

    def __init__(self, polls: Sequence[Polled], *, ends: bool) -> None:
        super().__init__(polls, ends=ends)
        self.told: list[Any] = []

    def commit(self) -> None:
        super().commit()
        raise OSError("no room for the mark")

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        self.told.append((record.value, metadata is not None))
        raise OSError("no such session")


class Picky(Transform):
    """Drops what begins with `drop`; fails at what begins with `bad`."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if record.value.startswith(b"bad"):
            raise ValueError("not this one")
        return None if record.value.startswith(b"drop") else record


class Line:
    """A source line; its banks are stepped in turn."""

    def __init__(
        self,
        polls: Sequence[Polled],
        *,
        ends: bool = True,
        chain: Sequence[Transform] = (),
        task: type[Scripted] = Scripted,
        **more: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(0), self.clock)
        self.store = Store()
        self.task = task(polls, ends=ends)
        spec = line_spec("source", is_bulk=True, **{"timing": Timing(commit_interval=0.05), **more})
        delivery = partial(
            Delivery,
            partial(FakeProducer, self.kafka),
            {},
            wants_each=spec.wants_commit_record,
            timeout_seconds=1.0,
            now_ns=self.clock.monotonic_ns,
        )
        self.banks = SourceBanks(spec, delivery, self.store, lambda: self.task, self.clock, chain)
        self.banks.start()

    def step(self, times: int = 1, each: Callable[[], None] = lambda: None) -> None:
        for _ in range(times):
            self.clock.advance(0.001)
            banks: list[Bank] = [self.banks.task, self.banks.pump]
            for bank in banks:
                if not bank.is_over:
                    bank.step()
            each()

    def run(self, each: Callable[[], None] = lambda: None) -> Exception | None:
        """Step to the end; returns why the task failed."""
        for _ in range(STEPS_MAX):
            if self.banks.task.is_over and self.banks.pump.is_over:
                return self.banks.task.failure
            self.step(each=each)
        raise AssertionError(f"not over after {STEPS_MAX} steps")

    @property
    def phase(self) -> Phase:
        return Phase(self.banks.row.get(Word.PUMP_PHASE))

    @property
    def values(self) -> list[bytes]:
        return sorted(self.kafka.values())

    def count(self, stage: Stage) -> int:
        return self.banks.row.measured(stage, Measure.RECORDS)


def record(value: bytes, number: int, topic: str = "t", source: str = "s") -> SourceRecord:
    return SourceRecord(
        topic=topic, value=value, partition=0, source_partition={"source": source}, source_offset={"next": number + 1}
    )


def records(*values: Any) -> list[SourceRecord]:
    return [record(value, number) for number, value in enumerate(values)]


def test_a_source_whose_connector_has_no_more_is_ended() -> None:
    line = Line([records(b"0", b"1")])
    assert line.run() is None
    assert line.phase == Phase.ENDED
    assert line.store.offsets == {"s": 2}


@pytest.mark.parametrize("asked", ["task", "pump", "both"])
def test_a_source_that_a_signal_stopped_is_not_ended(asked: str) -> None:
    line = Line([records(b"0", b"1")], ends=False)
    line.step(20)
    if asked != "pump":
        line.banks.task.ask_to_stop()
    if asked != "task":
        line.banks.pump.ask_to_stop()
    line.run()
    assert line.phase == Phase.READY
    assert line.store.offsets == {"s": 2}


def test_a_source_that_was_told_to_stop_is_not_ended() -> None:
    line = Line([records(b"0", b"1")], ends=False)
    line.step(20)
    line.banks.memory.aim(Target.STOP)
    assert line.run() is None
    assert line.phase == Phase.READY
    assert line.store.offsets == {"s": 2}


def test_a_source_that_failed_is_not_ended() -> None:
    line = Line([records(b"0", 1)])
    assert isinstance(line.run(), DataError)
    assert line.phase == Phase.READY


def test_what_a_connector_raises_when_it_is_told_of_what_is_done_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line([records(b"0", b"drop", b"1", b"2")], chain=[Picky()], task=Complaining, wants_commit_record=True)
    with caplog.at_level(logging.WARNING, "millrace.task"):
        assert line.run() is None
    assert isinstance(line.task, Complaining)
    assert sorted(line.task.told) == [(b"0", True), (b"1", True), (b"2", True), (b"drop", False)]
    assert line.task.commits
    assert line.phase == Phase.ENDED
    assert [entry.getMessage() for entry in caplog.records] == [
        "numbers/0: commit_record failed, going on: OSError: no such session",
        "numbers/0: commit failed, going on: OSError: no room for the mark",
    ]


class Pieces(FlatMap):
    """Makes of `a.b.c` the records `a`, `b` and `c`; of what is empty none."""

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        return [replace(record, value=piece) for piece in record.value.split(b".") if piece]


class Told(Scripted):
    """Notes which records it is told are done."""

    def __init__(self, polls: Sequence[Polled], *, ends: bool) -> None:
        super().__init__(polls, ends=ends)
        self.told: list[Any] = []

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        self.told.append((record.value, metadata and metadata.offset))


def test_a_record_of_which_several_were_made_is_done_with_the_last_of_them() -> None:
    line = Line([records(b"0", b"1.2.3", b"", b"4.5")], chain=[Pieces()], task=Told, wants_commit_record=True)
    assert line.run() is None
    assert isinstance(line.task, Told)
    assert line.values == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert sorted(line.task.told) == [(b"", None), (b"0", 0), (b"1.2.3", 3), (b"4.5", 5)]
    assert line.store.offsets == {"s": 4}
    told = reported(line.banks.memory).ledger
    if told is not None:
        assert (told.records_in, told.added, told.dropped, told.records_out) == (4, 3, 1, 6)


def test_a_poll_of_which_nothing_is_left_is_done() -> None:
    line = Line([records(b"drop", b"drop")], chain=[Picky()], task=Told, wants_commit_record=True)
    assert line.run() is None
    assert isinstance(line.task, Told)
    assert line.task.told == [(b"drop", None)] * 2
    assert line.store.offsets == {"s": 2}


def test_an_offset_without_a_record_is_stored_at_once_and_behind_what_was_given_before() -> None:
    looked = SourceBatch(topic="", values=[], source_partition={"source": "s"}, source_offsets=[{"next": 9}])
    polls: list[Polled] = [records(b"0", b"1"), looked]
    line = Line(polls, ends=False, chain=[Picky()], timing=Timing(commit_interval=1000.0))
    while not line.store.offsets:
        assert line.task.commits == 0
        line.step()
    assert line.store.offsets == {"s": 9}
    assert line.values == [b"0", b"1"]
    assert line.clock.monotonic_ns() < 500e9
    line.step(5)
    assert line.task.commits == 1
    line.banks.row.set(Word.TARGET, Target.STOP)
    assert line.run() is None
    assert (line.count(Stage.POLL), line.count(Stage.STORE)) == (2, 2)


def test_offsets_stay_before_a_record_that_failed_in_part() -> None:
    line = Line([records(b"0", b"1.2", b"3." + TOO_LARGE + b".4", b"5")], chain=[Pieces()])
    assert isinstance(line.run(), RecordTooLargeError)
    assert line.values == [b"0", b"1", b"2", b"3"]
    assert line.store.offsets == {"s": 2}


BAD = [
    pytest.param(records(b"0", b"1", 2, b"3"), (), DataError, id="a value that does not convert"),
    pytest.param(records(b"0", b"1", TOO_LARGE, b"3"), (), RecordTooLargeError, id="a record that is too large"),
    pytest.param(
        [record(b"0", 0), record(b"1", 1), record(2, 2, "u"), record(b"3", 3, "u")],  # type: ignore[arg-type]
        (),
        DataError,
        id="the first of a second topic",
    ),
    pytest.param(
        SourceBatch(
            topic="t",
            values=[b"0", b"1", TOO_LARGE, b"3"],
            source_partition={"source": "s"},
            source_offsets=[{"next": number + 1} for number in range(4)],
        ),
        (),
        RecordTooLargeError,
        id="a column",
    ),
    pytest.param(records(b"0", b"1", b"bad", b"3"), [Picky()], DataError, id="a transform"),
    pytest.param(records(b"0", b"1", TOO_LARGE, b"3"), [Picky()], RecordTooLargeError, id="too large behind a chain"),
]


@pytest.mark.parametrize(("poll", "chain", "error"), BAD)
def test_what_stands_before_a_bad_record_is_stored_and_not_repeated(
    poll: Polled, chain: Sequence[Transform], error: type[Exception]
) -> None:
    line = Line([poll], chain=chain)
    assert isinstance(line.run(), error)
    assert line.values == [b"0", b"1"]
    assert line.store.offsets == {"s": 2}
    assert line.banks.row.may_be_repeated() == 0


def test_dropped_records_count_for_the_place_of_a_bad_one_behind_a_chain() -> None:
    line = Line([records(b"0", b"drop", b"drop", TOO_LARGE, b"4")], chain=[Picky()])
    assert isinstance(line.run(), RecordTooLargeError)
    assert line.values == [b"0"]
    assert line.store.offsets == {"s": 3}


def test_a_bad_record_of_a_connector_without_offsets_leaves_what_stands_before_it_to_be_repeated() -> None:
    bare = [SourceRecord(topic="t", value=value) for value in (b"0", b"1", 2)]
    line = Line([bare])
    assert isinstance(line.run(), DataError)
    assert line.values == [b"0", b"1"]
    assert line.banks.row.may_be_repeated() == 2


def test_the_first_bad_record_of_a_connector_without_offsets_leaves_the_polls_before_it_done() -> None:
    line = Line([[SourceRecord(topic="t", value=b"0")], [SourceRecord(topic="t", value=1)]])
    assert isinstance(line.run(), DataError)
    assert line.banks.row.may_be_repeated() == 0


def test_a_poll_with_more_offsets_than_a_frame_takes_is_stored_whole_and_only_behind_its_records() -> None:
    count = 2_000
    poll = [record(b"%d" % number, number, source=f"partition {number}") for number in range(count)]
    line = Line([poll], timing=Timing(commit_interval=0.0))

    def look() -> None:
        assert line.count(Stage.STORE) == 0 or len(line.store.offsets) == line.count(Stage.STORE) == count
        if line.store.offsets:
            assert len(line.kafka.values()) == count

    assert line.run(look) is None
    assert len(line.values) == count
    assert line.store.offsets == {f"partition {number}": number + 1 for number in range(count)}
    assert line.count(Stage.STORE) == count


class Unreachable(FakeProducer):
    """Knows nothing of any topic, until it is told that it does."""

    is_reachable = False
    asked = 0

    def partition_count(self, topic: str, timeout_seconds: float) -> int:
        type(self).asked += 1
        if not self.is_reachable:
            raise UnreachableError("no broker answers")
        return super().partition_count(topic, timeout_seconds)


def unreachable() -> tuple[type[Unreachable], Delivery, FakeKafka]:
    clock = VirtualClock()
    kafka = FakeKafka(random.Random(0), clock)
    kind = type("Unreachable", (Unreachable,), {})
    delivery = Delivery(partial(kind, kafka), {}, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns)
    return kind, delivery, kafka


FRAME = SourceFrame("t", 1, 1, 1, [b"0"])


def test_a_frame_whose_topic_cannot_be_asked_for_was_never_sent() -> None:
    kind, delivery, kafka = unreachable()
    with pytest.raises(ConnectError):
        delivery.send(FRAME)
    assert delivery.is_idle
    assert delivery.acknowledged() is None
    kind.is_reachable = True
    delivery.send(FRAME)
    while delivery.acknowledged() is None:
        kafka.clock.advance(0.001)
        delivery.poll()
    assert kafka.values() == [b"0"]


def test_after_an_error_partitions_are_counted_anew() -> None:
    kind, delivery, kafka = unreachable()
    kind.is_reachable = True
    kafka.poison = {b"0"}
    delivery.send(FRAME)
    while delivery.error is None:
        kafka.clock.advance(0.001)
        delivery.poll()
    delivery.mend()
    delivery.send(FRAME)
    assert kind.asked == 2
