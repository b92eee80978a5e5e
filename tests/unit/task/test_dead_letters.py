"""Records that fail go to the dead letter topic as they were read, and hold back the offsets until Kafka has them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError

from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError, DataError, RecordTooLargeError
from engine.api.record import Header, SinkRecord, TopicPartition
from engine.api.task import Reported
from engine.api.transform import Transform
from engine.config.line import DeadLetterSpec, Errors, Subscription, Timing
from engine.kafka.consumer import Member
from engine.kafka.producer import Refused
from engine.pump.letters import DeadLetters, LetterPort
from engine.shm.board import Phase, Row, Target, Word
from tests.harness.banks import CollectingSink, LineMemory, SinkBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka, Queued
from tests.harness.fake_producer import FakeProducer
from tests.simulation.accounts import reported

SECRET = "s3cr3t-pass"
STEPS_MAX = 2_000
PLACE = ("one", 0)


def errors(*, tolerant: bool = True, has_context: bool = True, **more: Any) -> Errors:
    return Errors(
        is_tolerant=tolerant, dead_letters=DeadLetterSpec("dead", 1, has_context=has_context, kafka={}), **more
    )


class Held(FakeProducer):
    """A producer whose answers come when the test wants it."""

    is_open = False

    def poll(self) -> None:
        if self.is_open:
            super().poll()


class Bed:
    """A sink's two banks on a fake Kafka; some of its records are bad."""

    def __init__(
        self,
        values: list[bytes],
        bad: set[bytes],
        given: Errors,
        make_task: Callable[[], CollectingSink] | None = None,
        chain: Sequence[Transform] = (),
        **more: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.kafka = FakeKafka(random.Random(1), self.clock, partitions=1)
        for value in values:
            self.kafka.store(PLACE, value)
        self.kafka.columns_at = lambda place, offset: (b"k%d" % offset, [("h", b"%d" % offset)])
        self.letters: list[Queued] = []
        self.kafka.on_record = lambda place, queued: self.letters.append(queued)
        self.held: list[Held] = []
        self.put: list[tuple[str, int, int, bytes | None]] = []
        self.spec = line_spec(
            "sink",
            connector="orders",
            subscription=Subscription(topics=("one",)),
            timing=Timing(commit_interval=0.05),
            errors=given,
            is_bulk=True,
            secrets=(SECRET,),
            **{"ring_bytes": 1024 * 1024, **more},
        )
        memory = LineMemory(self.spec)
        memory.bad = bad
        make = make_task or (lambda: CollectingSink(self.put))
        self.banks = SinkBanks(self.spec, self._join, make, self.clock, chain=chain, memory=memory)
        self.banks.make_letters = self._letters
        self.banks.start()
        self.banks.task.reporter.sleep = self._wait
        memory.aim(Target.DRAIN)

    def _join(self, member: Member) -> FakeConsumer:
        consumer = FakeConsumer(self.kafka, member, ("one",))
        consumer.decide([PLACE])
        return consumer

    def _letters(self, row: Row) -> DeadLetters:
        def begin() -> LetterPort:
            self.held.append(Held(self.kafka, {"batch.num.messages": 1}))
            return self.held[-1]

        return DeadLetters("dead", begin, row)

    def _wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.banks.pump.hear()

    def let_go(self) -> None:
        for producer in self.held:
            producer.is_open = True

    def until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(STEPS_MAX):
            if is_so():
                return
            self.clock.advance(0.01)
            self.banks.step()
        raise AssertionError("not reached")

    def complete(self) -> None:
        self.let_go()
        self.until(lambda: self.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE)

    @property
    def committed(self) -> int:
        return self.kafka.group.get(PLACE, 0)

    def headers(self, index: int) -> dict[str, bytes | None]:
        return dict(self.letters[index].headers or ())


VALUES = [b"v%d" % number for number in range(20)]
BAD = {b"v3", b"v4", b"v11"}
GOOD = [value for value in VALUES if value not in BAD]


@pytest.mark.parametrize("stages", [0, 2])
def test_a_bad_record_goes_to_the_topic_as_it_was_read_and_the_others_are_put(stages: int) -> None:
    bed = Bed(VALUES, BAD, errors(), stage_processes=stages)
    bed.complete()
    assert [value for *_, value in bed.put] == GOOD
    assert [(one.value, one.key, one.timestamp) for one in bed.letters] == [
        (b"v3", b"k3", 1003),
        (b"v4", b"k4", 1004),
        (b"v11", b"k11", 1011),
    ]
    assert bed.committed == len(VALUES)
    told = reported(bed.banks.memory).ledger
    assert told is not None
    assert (told.records_in, told.records_out, told.skipped, told.dropped) == (20, 17, 3, 0)
    counts = (Word.SKIPPED, Word.FAILED, Word.LETTERS, Word.LETTERS_ACKNOWLEDGED, Word.LETTERS_FAILED)
    assert [bed.banks.row.get(word) for word in counts] == [3, 3, 3, 3, 0]


def test_headers_tell_what_happened_under_kafka_connects_names_behind_the_records_own() -> None:
    bed = Bed(VALUES, BAD, errors())
    bed.complete()
    assert [name for name, _ in bed.letters[0].headers or ()] == [
        "h",
        *(
            f"__connect.errors.{name}"
            for name in (
                *("topic", "partition", "offset", "connector.name", "task.id", "stage", "class.name"),
                *("exception.class.name", "exception.message", "exception.stacktrace"),
            )
        ),
        "__millrace.errors.code",
        "__millrace.errors.attempts",
    ]
    told = {name.removeprefix("__connect.errors."): text for name, text in bed.headers(0).items()}
    trace = told.pop("exception.stacktrace")
    assert told == {
        "h": b"3",
        "topic": b"one",
        "partition": b"0",
        "offset": b"3",
        "connector.name": b"orders",
        "task.id": b"0",
        "stage": b"VALUE_CONVERTER",
        "class.name": b"tests.harness.banks.Needy",
        "exception.class.name": b"engine.api.errors.DataError",
        "exception.message": b"a bad one",
        "__millrace.errors.code": b"record",
        "__millrace.errors.attempts": b"1",
    }
    assert trace is not None
    assert b"DataError: a bad one" in trace


def test_headers_tell_nothing_unless_that_is_wanted() -> None:
    bed = Bed(VALUES, BAD, errors(has_context=False))
    bed.complete()
    assert [one.headers for one in bed.letters] == [[("h", b"3")], [("h", b"4")], [("h", b"11")]]


def test_nothing_is_put_behind_a_bad_record_before_kafka_has_its_letter() -> None:
    bed = Bed(VALUES, BAD, errors())
    for _ in range(100):
        bed.clock.advance(0.05)
        bed.banks.step()
    assert (bed.put, bed.committed) == ([], 0)
    bed.complete()
    assert [value for *_, value in bed.put] == GOOD


def reporting_bed() -> Bed:
    """The sink itself reports what is bad, and goes on."""
    put: list[tuple[str, int, int, bytes | None]] = []
    bed = Bed(VALUES, set(), errors(), lambda: Reporting(put, lambda one: one.value in BAD, waits=False))
    bed.put = put
    bed.until(lambda: len(put) == len(VALUES))
    return bed


@pytest.mark.parametrize("when", ["put", "flush"])
def test_nothing_is_committed_past_a_letter_that_kafka_has_not(when: str) -> None:
    """when: the connector reports the record."""
    bed = reporting_bed() if when == "put" else Bed(VALUES, set(), errors(), ReportsAtTheEnd)
    bed.until(lambda: bed.banks.pump.letters.first(PLACE) == 3)
    for _ in range(100):
        bed.clock.advance(0.05)
        bed.banks.step()
    assert bed.committed == 3
    assert bed.banks.row.get(Word.PUMP_PHASE) != Phase.COMPLETE
    bed.complete()
    assert bed.committed == len(VALUES)


class ReportsAtTheEnd(CollectingSink):
    """Reports what is bad in a flush, which says all the same that all is safe."""

    def __init__(self) -> None:
        super().__init__([])
        self._bad: list[SinkRecord] = []

    def put(self, batch: SinkBatch) -> None:
        self._bad += [record for record in batch if record.value in BAD]

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        while self._bad:
            reporter.report(self._bad.pop(0), DataError("the table has no such column"))


def test_partitions_that_go_wait_for_their_letters_and_are_committed_as_far_as_these_are_there() -> None:
    for is_open, committed in ((False, 3), (True, len(VALUES))):
        bed = reporting_bed()
        if is_open:
            bed.let_go()
        bed.banks.memory.aim(Target.STOP)
        bed.banks.pump.ask_to_stop()
        bed.until(lambda bed=bed: bed.banks.pump.is_over and bed.banks.task.is_over)  # type: ignore[misc]
        assert bed.committed == committed


def test_a_letter_that_is_refused_keeps_no_task_from_its_last_flush() -> None:
    bed = reporting_bed()
    bed.kafka.poison = {b"v4"}
    bed.let_go()
    task = bed.banks.task
    task.ask_to_stop()
    bed.until(lambda: (task.step(), task.is_over)[1])
    assert task.failure is None
    bed.banks.pump.fail(ConnectError("the letter was refused"))
    bed.until(lambda: bed.banks.pump.is_over)
    assert bed.committed == 4


def test_a_letter_that_is_refused_ends_the_task_and_its_record_is_read_again() -> None:
    bed = Bed(VALUES, BAD, errors())
    bed.kafka.poison = {b"v4"}
    bed.let_go()
    with pytest.raises(RecordTooLargeError, match="cannot write the dead letter of one-0@4 to topic dead"):
        bed.complete()
    bed.banks.pump.fail(ConnectError("ends"))
    bed.until(lambda: bed.banks.pump.is_over)
    assert bed.committed == 0
    assert bed.banks.row.get(Word.LETTERS_FAILED) == 1


def test_a_full_queue_is_waited_for() -> None:
    class Full(Held):
        refusals = 3

        def send_each(self, *given: Any) -> None:
            self.refusals -= 1
            if self.refusals >= 0:
                raise Refused(KafkaError(KafkaError._QUEUE_FULL))
            super().send_each(*given)

    bed = Bed([b"v0"], {b"v0"}, errors())
    full = Full(bed.kafka, {})
    full.is_open = True
    bed.banks.pump.letters._producer = full
    bed.complete()
    assert (len(bed.letters), bed.committed) == (1, 1)


def test_without_tolerance_the_record_that_ends_the_task_has_a_letter_too() -> None:
    bed = Bed(VALUES, BAD, errors(tolerant=False))
    bed.let_go()
    bed.until(lambda: bed.banks.task.is_over and bed.banks.pump.is_over)
    assert isinstance(bed.banks.task.failure, DataError)
    assert [one.value for one in bed.letters] == [b"v3"]
    assert bed.committed == 3
    assert bed.banks.row.get(Word.SKIPPED) == 0


def test_a_letter_may_be_larger_than_the_small_ring() -> None:
    large = b"x" * 900_000
    bed = Bed([b"a", large, b"b"], {large}, errors(), ring_bytes=8 * 1024 * 1024)
    bed.complete()
    assert [one.value for one in bed.letters] == [large]


def test_no_secret_is_in_a_letter() -> None:
    bed = Bed([b"v0"], set(), errors(), lambda: Reporting(bed_put, lambda _: True, DataError(f"as {SECRET}")))
    bed.complete()
    assert bed.headers(0)["__connect.errors.exception.message"] == b"as [hidden]"
    assert SECRET.encode() not in (bed.headers(0)["__connect.errors.exception.stacktrace"] or b"")


bed_put: list[tuple[str, int, int, bytes | None]] = []


class Reporting(CollectingSink):
    """Reports some records, and waits for the answers within `put`, unless it does not."""

    def __init__(
        self,
        records: list[tuple[str, int, int, bytes | None]],
        is_bad: Callable[[SinkRecord], bool],
        error: Exception | None = None,
        *,
        waits: bool = True,
    ) -> None:
        super().__init__(records)
        self._is_bad = is_bad
        self._waits = waits
        self._error = error or DataError("the table has no such column")
        self.answers: list[Reported] = []

    def put(self, batch: SinkBatch) -> None:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        for record in filter(self._is_bad, batch):
            answer = reporter.report(record, self._error)
            if self._waits:
                answer.result(10.0)
                assert answer.done()
            self.answers.append(answer)
        super().put(batch)


def test_a_sink_reports_a_record_and_waits_for_it_within_put() -> None:
    put: list[tuple[str, int, int, bytes | None]] = []
    bed: Bed
    bed = Bed(VALUES, set(), errors(), lambda: Reporting(put, lambda record: record.offset % 7 == 6))
    bed.let_go()
    bed.complete()
    assert [(one.value, one.key, one.timestamp) for one in bed.letters] == [
        (b"v6", b"k6", 1006),
        (b"v13", b"k13", 1013),
    ]
    told = bed.headers(0)
    assert told["__connect.errors.stage"] == b"TASK_PUT"
    assert told["__connect.errors.class.name"] == b"tests.unit.task.test_dead_letters.Reporting"
    assert told["__connect.errors.exception.message"] == b"the table has no such column"
    assert bed.committed == len(VALUES)


class ReportsLate(CollectingSink):
    """Reports while it flushes, when the frames have gone back to the ring; and one record that it has made itself."""

    def __init__(self, records: list[tuple[str, int, int, bytes | None]]) -> None:
        super().__init__(records)
        self.has_reported = False

    def initialize(self, context: Any) -> None:
        super().initialize(context)
        assert context.errant_record_reporter() is not None

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        reporter = self.context.errant_record_reporter()
        if self.has_reported or len(self.records) < len(VALUES) or reporter is None:
            return
        self.has_reported = True
        last = self.batches[-1][len(self.batches[-1]) - 1]
        reporter.report(last, DataError("late"))
        made = SinkRecord(topic="other", partition=7, offset=9, value=b"made", headers=[Header("own", b"1")])
        reporter.report(made, DataError("made"))


def test_what_was_put_goes_as_it_was_read_also_later_and_what_was_made_as_it_is() -> None:
    put: list[tuple[str, int, int, bytes | None]] = []
    bed = Bed(VALUES, set(), errors(has_context=False), lambda: ReportsLate(put))
    bed.complete()
    assert [(one.value, one.key, one.headers) for one in bed.letters] == [
        (b"v19", b"k19", [("h", b"19")]),
        (b"made", None, [("own", b"1")]),
    ]


def test_a_report_is_an_error_where_nothing_is_tolerated_and_the_letter_is_written_all_the_same() -> None:
    put: list[tuple[str, int, int, bytes | None]] = []
    bed = Bed(VALUES, set(), errors(tolerant=False), lambda: Reporting(put, lambda record: record.offset == 2))
    bed.let_go()
    with pytest.raises(ConnectError, match="Tolerance exceeded in error handler: the table has no such column"):
        bed.complete()
    bed.banks.task.fail(ConnectError("ends"))
    bed.until(lambda: bed.banks.task.is_over and bed.banks.pump.is_over)
    assert [one.value for one in bed.letters] == [b"v2"]
    assert bed.committed <= 2


@pytest.mark.parametrize(
    ("given", "has_reporter"),
    [(Errors(), False), (Errors(is_tolerant=True), False), (Errors(are_logged=True), True), (errors(), True)],
    ids=["nothing is set", "tolerance alone", "a log", "a topic"],
)
def test_a_sink_has_a_reporter_where_somebody_hears_of_it(given: Errors, has_reporter: bool) -> None:
    bed = Bed([], set(), given)
    assert (bed.banks.task.errant_record_reporter() is not None) == has_reporter


def test_a_report_that_is_only_logged_is_done_at_once() -> None:
    put: list[tuple[str, int, int, bytes | None]] = []
    given = Errors(is_tolerant=True, are_logged=True)
    bed = Bed(VALUES, set(), given, lambda: Reporting(put, lambda record: record.offset == 2))
    bed.complete()
    assert bed.letters == []
    assert bed.banks.row.get(Word.ERRORS_LOGGED) == 1
    assert bed.banks.row.get(Word.FAILURES) == 1
