"""The ledger names a record deleted or doubled at any border.

That it adds up over all seeds is claimed where the lines are (sink_world.py, source_world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.api.transform import Transform
from engine.bank import step
from engine.config.line import Subscription, Timing
from engine.kafka import parting
from engine.kafka.consumer import Member
from engine.ledger.errors import LedgerError
from engine.pump import delivery as pump_delivery
from engine.pump import framing
from engine.pump.delivery import Delivery
from engine.pump.partitions import Partitions
from engine.pump.sent import Sent
from engine.shm import frame
from engine.shm.board import Phase, State, Target, Word
from engine.shm.ring import RingWriter
from engine.stages import convert, outgoing, work
from engine.task import parts
from engine.task.framing import Framing
from tests.harness.banks import CollectingSink, SinkBanks, SourceBanks, VirtualClock, has_ledger, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import Delivered, FakeProducer
from tests.simulation.accounts import reported

pytestmark = pytest.mark.skipif(not has_ledger(), reason="MILLRACE_LEDGER=off")

RECORDS = 40
STEPS_MAX = 2_000
#: The frame that the ring loses or doubles: neither the first nor the last.
NUMBER = 17


# A record that is deleted or doubled

Patch = Callable[[pytest.MonkeyPatch], None]


def without(records: Sequence[Any]) -> list[Any]:
    middle = len(records) // 2
    return [*records[:middle], *records[middle + 1 :]]


def twice(records: Sequence[Any]) -> list[Any]:
    middle = len(records) // 2
    return [*records[: middle + 1], *records[middle:]]


def once(change: Callable[..., Any], otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """A function that goes wrong at its first call with something in it, and is right from then on."""
    left = [1]

    def call(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] = 0
            return change(*given, **named)
        return otherwise(*given, **named)

    return call


class Same(Transform):
    """Changes nothing; with it the records go the way through transforms."""

    def apply(self, record: Any) -> Any:
        return record


class SinkRig:
    """A sink of one partition with RECORDS records, all fetched at once."""

    def __init__(self, chain: Sequence[Transform] = ()) -> None:
        self.kafka = FakeKafka(random.Random(1), VirtualClock(), partitions=1)
        for number in range(RECORDS):
            self.kafka.store(("numbers", 0), b"%d" % number)
        spec = line_spec(
            "sink",
            subscription=Subscription(topics=("numbers",)),
            is_bulk=True,
            timing=Timing(commit_interval=0.01, retry_backoff=0.01, commit_timeout=0.5),
        )
        self.put: list[tuple[str, int, int, bytes | None]] = []
        self.banks = SinkBanks(spec, self._join, lambda: CollectingSink(self.put), self.kafka.clock, chain=chain)

    def _join(self, member: Member) -> FakeConsumer:
        consumer = FakeConsumer(self.kafka, member, ("numbers",))
        consumer.decide([("numbers", 0)])
        return consumer

    def run(self) -> Exception | None:
        """Until it is complete or has failed; returns why."""
        self.banks.start()
        self.banks.memory.aim(Target.DRAIN)
        for _ in range(STEPS_MAX):
            self.kafka.clock.advance(0.005)
            for bank in (Pump(self.banks), self.banks.task):
                if not bank.is_over:
                    step(bank)  # type: ignore[arg-type]  # the pump is stepped with patience
                if bank.failure is not None:
                    return bank.failure
            if self.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE:
                return None
        raise AssertionError("no end")


class Pump:
    """A sink's pump, stepped without patience."""

    def __init__(self, banks: SinkBanks) -> None:
        self._bank = banks.pump

    @property
    def is_over(self) -> bool:
        return self._bank.is_over

    @property
    def failure(self) -> Exception | None:
        return self._bank.failure

    def step(self) -> float:
        return self._bank.step(0.0)

    def fail(self, error: Exception) -> None:
        self._bank.fail(error)


def framing_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    """What is framed has other records than what was fetched."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = framing.encoded

        def wrong(whole: Any, limit_bytes: int) -> Any:
            for part in change([framing._cut(whole, index, index + 1) for index in range(len(whole.values))]):
                yield from right(part, limit_bytes)

        monkeypatch.setattr(framing, "encoded", once(wrong, right))

    return patch


def ring_goes_wrong(in_small_frames: Patch, write: Callable[..., bool]) -> Patch:
    """One frame is written as `write` does it."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        in_small_frames(monkeypatch)
        monkeypatch.setattr(RingWriter, "write", nth(NUMBER, write))

    return patch


def swallow(ring: RingWriter, frame: bytes, right: Callable[..., bool]) -> bool:
    return True


def double(ring: RingWriter, frame: bytes, right: Callable[..., bool]) -> bool:
    return right(ring, frame) and right(ring, frame)


def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record in a frame of its own."""
    right = framing.encoded

    def each(whole: Any, limit_bytes: int) -> Any:
        for index in range(len(whole.values)):
            yield from right(framing._cut(whole, index, index + 1), limit_bytes)

    monkeypatch.setattr(framing, "encoded", each)


def nth(number: int, wrong: Callable[..., bool]) -> Callable[..., bool]:
    """`RingWriter.write`, wrong for one frame."""
    right = RingWriter.write
    seen = [0]

    def write(ring: RingWriter, frame: bytes) -> bool:
        seen[0] += 1
        return wrong(ring, frame, right) if seen[0] == number else right(ring, frame)

    return write


def conversion_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = convert.decode

        def wrong(*given: Any) -> Any:
            found = right(*given)
            found.batch.values = change(list(found.batch.values))
            return found

        monkeypatch.setattr(convert, "decode", once(wrong, right))

    return patch


def chain_changes(room: Any, change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = room.transform

        def wrong(*given: Any, **more: Any) -> Any:
            done = right(*given, **more)
            done.columns.values = change(done.columns.values)
            return done

        monkeypatch.setattr(room, "transform", once(wrong, right))

    return patch


def put_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = convert.TransformedBatch

        def wrong(columns: Columns) -> Any:
            return right(columns.picked(change(range(len(columns)))))

        monkeypatch.setattr(work, "TransformedBatch", once(wrong, right))

    return patch


def flush_goes_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    right = frame.Position

    def wrong(topic: str, partition: int, epoch: int, offset: int) -> Any:
        return right(topic, partition, epoch, offset + 1)

    monkeypatch.setattr(parts, "Position", wrong)


def commit_goes_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Partitions.due
    monkeypatch.setattr(Partitions, "due", lambda parts: {place: end + 1 for place, end in right(parts).items()})


SINK_FAULTS: Mapping[str, tuple[Patch, str, tuple[int, int]]] = {
    "deleted between fetched and consumed": (framing_changes(without), "between fetched and consumed", (1, 0)),
    "doubled between fetched and consumed": (framing_changes(twice), "between fetched and consumed", (0, 1)),
    "deleted in the ring": (ring_goes_wrong(in_pieces, swallow), "between consumed and put", (1, 0)),
    "doubled in the ring": (ring_goes_wrong(in_pieces, double), "between consumed and put", (0, 1)),
    "deleted by the converter": (conversion_changes(without), "between consumed and converted", (1, 0)),
    "doubled by the converter": (conversion_changes(twice), "between consumed and converted", (0, 1)),
    "deleted by the chain": (chain_changes(work, without), "between converted and transformed", (1, 0)),
    "doubled by the chain": (chain_changes(work, twice), "between converted and transformed", (0, 1)),
    "deleted before put": (put_changes(without), "between transformed and put", (1, 0)),
    "doubled before put": (put_changes(twice), "between transformed and put", (0, 1)),
    "flushed too far": (flush_goes_too_far, "between put and flushed", (0, 1)),
    "committed too far": (commit_goes_too_far, "between flushed and committed", (0, 1)),
}


@pytest.mark.parametrize("fault", SINK_FAULTS)
def test_a_record_deleted_or_doubled_at_any_border_of_a_sink_is_named(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, border, (missing, doubled) = SINK_FAULTS[fault]
    rig = SinkRig([Same()])
    patch(monkeypatch)
    assert_named(rig, border, missing, doubled, "topic numbers, partition 0")
    if border != "between flushed and committed":
        assert rig.kafka.group.get(("numbers", 0), 0) <= RECORDS - missing


def assert_named(rig: SinkRig | SourceRig, border: str, missing: int, doubled: int, place: str) -> None:
    """The rig fails by its ledger, which tells border and place; the report has the reason and counts."""
    failure = rig.run()
    assert isinstance(failure, LedgerError), failure
    assert border in str(failure)
    assert place in str(failure)
    rig.banks.row.set(Word.STATE, State.FAILED)
    rig.banks.row.reason = str(failure)
    told = reported(rig.banks.memory)
    assert told.ledger is not None
    assert (told.ledger.lost, told.ledger.doubled) == (missing, doubled)
    assert border in told.reason


class Numbers(SourceTask):
    """RECORDS records of one topic in one poll."""

    def start(self, config: object) -> None:
        self._is_over = False

    def poll(self) -> Any:
        if self._is_over:
            self.context.end()
            return None
        self._is_over = True
        return [
            SourceRecord(
                topic="numbers",
                value=b"%d" % number,
                partition=0,
                source_partition={"of": "numbers"},
                source_offset={"next": number + 1},
            )
            for number in range(RECORDS)
        ]


class SourceRig:
    """A source of RECORDS records for one partition."""

    def __init__(self, chain: Sequence[Transform] = ()) -> None:
        self.kafka = FakeKafka(random.Random(1), VirtualClock(), partitions=1)
        self.stored: dict[bytes, bytes] = {}
        make_delivery = partial(
            Delivery,
            partial(FakeProducer, self.kafka),
            {},
            wants_each=False,
            timeout_seconds=1.0,
            now_ns=self.kafka.clock.monotonic_ns,
        )
        spec = line_spec("source", is_bulk=True, timing=Timing(commit_interval=0.01))
        self.banks = SourceBanks(spec, make_delivery, self, Numbers, self.kafka.clock, chain)

    def write(self, connector: str, offsets: Any) -> None:
        self.stored.update(offsets)

    def run(self) -> Exception | None:
        """Until both banks are over, or one has failed; returns why."""
        self.banks.start()
        for _ in range(STEPS_MAX):
            self.kafka.clock.advance(0.005)
            for bank in (self.banks.task, self.banks.pump):
                if not bank.is_over:
                    step(bank)
                if bank.failure is not None:
                    return bank.failure
            if self.banks.task.is_over and self.banks.pump.is_over:
                return None
        raise AssertionError("no end")


def gathering_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = outgoing.gather

        def wrong(columns: Columns) -> Any:
            return right(columns.picked(change(range(len(columns)))))

        monkeypatch.setattr(outgoing, "gather", once(wrong, right))

    return patch


def encoding_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = convert.encode

        def wrong(*given: Any) -> Any:
            columns = right(*given)
            return columns._replace(values=change(columns.values))

        monkeypatch.setattr(convert, "encode", once(wrong, right))

    return patch


def splitting_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = Framing._split

        def wrong(framing: Any, columns: Any, *more: Any) -> int:
            changed = tuple(change(column) if isinstance(column, list) else column for column in columns)
            return right(framing, changed, *more)

        monkeypatch.setattr(Framing, "_split", once(wrong, right))

    return patch


def frames_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record in a frame of its own."""
    right = Framing._split

    def each(framing: Any, columns: Any, size: int, headers_size: int, offsets: Any) -> int:
        count = len(columns[1])
        for index in range(count):
            piece = tuple(part[index : index + 1] if isinstance(part, list) else part for part in columns)
            right(framing, piece, size // count, 0, offsets if index == count - 1 else [])
        return count

    monkeypatch.setattr(Framing, "_split", each)


def producing_changes(change: Callable[[Sequence[Any]], list[Any]]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        right = parting.heads_of

        def wrong(*columns: Any) -> Any:
            return right(
                *(column and change(column) for column in columns)
            )  # of each of them, as if it was never there

        monkeypatch.setattr(pump_delivery, "heads_of", once(wrong, right))

    return patch


def kafka_has_one_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka answers for all, and its offset grows by one less at the second frame."""
    frames_of_five(monkeypatch)
    right = Sent.group_arrived

    def wrong(sent: Sent, count: int, error: Any, message: Any) -> None:
        late = int(sent.frame.sequence > 0)
        lower: Any = Delivered(message.partition(), message.offset() - late)
        right(sent, count, error, lower)

    monkeypatch.setattr(Sent, "group_arrived", wrong)


def frames_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    right = outgoing.gather

    def gather(polled: Any) -> Any:
        (whole,) = right(polled)
        assert whole.partitions is not None
        return [
            replace(
                whole,
                first=begin,
                values=whole.values[begin : begin + 5],
                value_schemas=whole.value_schemas[begin : begin + 5],
                partitions=whole.partitions[begin : begin + 5],
            )
            for begin in range(0, len(whole.values), 5)
        ]

    monkeypatch.setattr(outgoing, "gather", gather)


def answers_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Sent.arrived

    def wrong(sent: Sent, error: Any, message: Any) -> None:
        right(sent, error, message)
        right(sent, error, message)

    monkeypatch.setattr(Sent, "arrived", wrong)


SOURCE_FAULTS: Mapping[str, tuple[Patch, str, tuple[int, int]]] = {
    "deleted by the chain": (chain_changes(work, without), "between polled and transformed", (1, 0)),
    "doubled by the chain": (chain_changes(work, twice), "between polled and transformed", (0, 1)),
    "deleted before the converter": (gathering_changes(without), "between transformed and converted", (1, 0)),
    "doubled before the converter": (gathering_changes(twice), "between transformed and converted", (0, 1)),
    "deleted by the converter": (encoding_changes(without), "between transformed and converted", (1, 0)),
    "doubled by the converter": (encoding_changes(twice), "between transformed and converted", (0, 1)),
    "deleted before the frames": (splitting_changes(without), "between converted and in frames", (1, 0)),
    "doubled before the frames": (splitting_changes(twice), "between converted and in frames", (0, 1)),
    "deleted in the ring": (ring_goes_wrong(frames_of_one, swallow), "between converted and produced", (1, 0)),
    "doubled in the ring": (ring_goes_wrong(frames_of_one, double), "between converted and produced", (0, 1)),
    "deleted before Kafka's client": (producing_changes(without), "between converted and produced", (1, 0)),
    "fewer in Kafka than acknowledged": (kafka_has_one_less, "between produced and acknowledged", (1, 0)),
    "acknowledged twice": (answers_come_twice, "between produced and acknowledged", (0, 1)),
}


@pytest.mark.parametrize("fault", SOURCE_FAULTS)
def test_a_record_deleted_or_doubled_at_any_border_of_a_source_is_named(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, border, (missing, doubled) = SOURCE_FAULTS[fault]
    rig = SourceRig([Same()])
    patch(monkeypatch)
    assert_named(rig, border, missing, doubled, "topic numbers")
