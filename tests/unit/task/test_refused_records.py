"""What a sink refuses is skipped and never out: each record counts once and has one letter, whoever ends meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError, DataError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.task import ErrantRecordReporter
from engine.config.line import Errors
from engine.kafka.consumer import Member
from engine.mending import Kind
from engine.shm.board import Phase, Target, Word
from tests.harness.banks import CollectingSink
from tests.harness.fake_consumer import FakeConsumer
from tests.simulation.accounts import reported
from tests.unit.task.test_dead_letters import PLACE, STEPS_MAX, VALUES, Bed, ReportsAtTheEnd, errors
from tests.unit.task.test_positions import ENDS, MOMENTS, begin_again, end, is_over
from tests.unit.task.test_suspects import Died

Put = list[tuple[str, int, int, bytes | None]]
BAD = {b"v5", b"v13"}
LOGGED = Errors(is_tolerant=True, are_logged=True)


class Refusing(CollectingSink):
    """Reports what is bad, and goes on."""

    def __init__(self, records: Put, bad: Collection[bytes] = tuple(BAD)) -> None:
        super().__init__(records)
        self._bad = bad

    def put(self, batch: SinkBatch) -> None:
        bad = [record for record in batch if record.value in self._bad]
        for record in bad:
            self.refuse(record)
        super().put(batch)
        if bad:
            self.refused()

    def refuse(self, record: SinkRecord) -> None:
        self.reporter().report(record, DataError("no note"))

    def refused(self) -> None:
        """Everything bad of a batch is reported."""

    def reporter(self) -> ErrantRecordReporter:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        return reporter


class IntoTwoTables(Refusing):
    """Neither of which takes it."""

    def refuse(self, record: SinkRecord) -> None:
        super().refuse(record)
        super().refuse(record)


class CalledAgain(Refusing):
    """Is called three times for a batch of which it has reported something."""

    calls = 0

    def refused(self) -> None:
        self.calls += 1
        if self.calls % 3:
            self.context.retry_after(60)  # longer than from one flush to the next
            raise RetriableError("away")


class Backwards(Refusing):
    """The last one first."""

    def put(self, batch: SinkBatch) -> None:
        for record in reversed([record for record in batch if record.value in self._bad]):
            self.refuse(record)


class Both(Refusing):
    """Reports one itself, and has the engine look for the other."""

    put_is_atomic = True

    def put(self, batch: SinkBatch) -> None:
        for record in batch:
            if record.value == b"v5":
                self.refuse(record)
        if b"v13" in batch.values:
            raise DataError("all or nothing")
        CollectingSink.put(self, batch)


def counted(bed: Bed) -> tuple[int, int, int, int]:
    told = reported(bed.banks.memory).ledger
    assert told is not None
    return told.records_in, told.records_out, told.skipped, told.dropped


ALL = (len(VALUES), len(VALUES) - len(BAD), len(BAD), 0)


@pytest.mark.parametrize("kind", [Refusing, IntoTwoTables, CalledAgain, Backwards, Both])
@pytest.mark.parametrize("stages", [0, 2])
def test_what_a_sink_refuses_is_skipped_once_with_one_letter(kind: type[Refusing], stages: int) -> None:
    bed = Bed(VALUES, set(), errors(), lambda: kind([]), stage_processes=stages)
    bed.complete()
    assert counted(bed) == ALL
    assert {letter.value for letter in bed.letters} == BAD
    assert len(bed.letters) == len(BAD)
    assert bed.banks.row.get(Word.SKIPPED) == len(BAD)
    assert bed.committed == len(VALUES)


def test_also_where_it_is_only_logged_or_refused_when_it_is_flushed() -> None:
    logged = Bed(VALUES, set(), LOGGED, lambda: Refusing([]))
    logged.complete()
    assert counted(logged) == ALL
    late = Bed(VALUES, set(), errors(), ReportsAtTheEnd)
    late.complete()
    assert counted(late) == (len(VALUES), len(VALUES) - 3, 3, 0)


def test_what_ends_the_task_is_not_skipped() -> None:
    bed = Bed(VALUES, set(), errors(tolerant=False), lambda: Refusing([]))
    bed.let_go()
    with pytest.raises(ConnectError, match="Tolerance exceeded in error handler: no note"):
        bed.complete()
    assert counted(bed)[2] == bed.banks.row.get(Word.SKIPPED) == 0


BESIDE = ("one", 1)
COUNT = 900  # so many that some frame is of both, however fetches fall


class Beside(Bed):
    """With a second partition, so that a frame may be of both."""

    def _join(self, member: Member) -> FakeConsumer:
        for number in range(COUNT):
            self.kafka.store(BESIDE, b"w%d" % number)
        self.consumer = FakeConsumer(self.kafka, member, ("one",), is_cooperative=True)
        self.consumer.decide([PLACE, BESIDE])
        return self.consumer


class SeeksBeside(Refusing):
    """Refuses a record of a frame of two partitions, seeks in the other one, and wants the frame once more."""

    refusals = 0
    place = 0, 0  # of that record

    def put(self, batch: SinkBatch) -> None:
        firsts = {place: batch.offsets[batch.partitions.index(place)] for place in {*batch.partitions}}
        first = next(iter(batch))
        if self.refusals and (first.partition, first.offset) == self.place:
            self.refusals += 1
            self.refuse(first)
        elif len(firsts) == 2 and not self.refusals:
            first = next(record for record in batch if record.partition == 0)
            self.place = first.partition, first.offset
            self.refusals = 1
            self.refuse(first)
            self.context.seek({TopicPartition(*BESIDE): firsts[1]})
            raise RetriableError("once more")
        CollectingSink.put(self, batch)


def test_a_record_of_a_frame_that_was_put_back_has_one_letter_whatever_is_flushed_meanwhile() -> None:
    task = SeeksBeside([])
    patient = errors(retry_ms=-1, retry_pause_ms_max=300)
    bed = Beside([b"v%d" % number for number in range(COUNT)], set(), patient, lambda: task)
    bed.let_go()
    bed.until(lambda: task.refusals == 1)
    away = {True}
    for name in ("key", "value"):
        getattr(bed.banks.task._stages.converters, name)._is_away = lambda: bool(away)
    steps = iter(range(200))
    bed.until(lambda: next(steps) == 100)  # the letter is there, and all that was put is flushed
    assert len(bed.letters) == 1
    away.clear()
    bed.complete()
    assert task.refusals == 2
    assert len(bed.letters) == bed.banks.row.get(Word.SKIPPED) == 1
    assert counted(bed) == (2 * COUNT, 2 * COUNT - 1, 1, 0)


class NeverAllSafe(Refusing):
    """Keeps the last record that it was given, as one does that writes files."""

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        return {place: max(0, offset - 1) for place, offset in offsets.items()}


class SeeksBack(NeverAllSafe):
    """Wants everything once more, when somebody asks for that."""

    wants = False

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        if self.wants:
            self.wants = False
            self.context.seek({TopicPartition(*PLACE): 0})
            return {}
        return super().pre_commit(offsets)


@pytest.mark.parametrize("way", ["opened", "sought"])
def test_what_comes_anew_is_told_anew(way: str) -> None:
    put: Put = []
    task = SeeksBack(put)
    bed = Beside(VALUES, set(), errors(), lambda: task)
    bed.banks.memory.aim(Target.RUN)
    bed.let_go()
    bed.until(lambda: len(put) == len(VALUES) + COUNT and len(bed.letters) == len(BAD))
    put.clear()
    if way == "sought":
        task.wants = True
    else:
        bed.consumer.decide([BESIDE])
        bed.until(lambda: not bed.consumer.is_deciding)
        # The topic is made anew, with bad records at the same offsets as before.
        bed.kafka.logs[PLACE] = [(offset, value + b"x") for offset, value in enumerate(VALUES)]
        task._bad = {value + b"x" for value in BAD}
        bed.kafka.group[PLACE] = 0
        bed.consumer.decide([PLACE, BESIDE])
    bed.until(lambda: len(put) == len(VALUES) and len(bed.letters) == 2 * len(BAD))
    assert {letter.value for letter in bed.letters[len(BAD) :]} == {*task._bad}


class Made(Refusing):
    """Reports a record of its own instead."""

    def refuse(self, record: SinkRecord) -> None:
        for value in (b"one", b"two"):
            made = SinkRecord(topic="made", partition=record.partition, offset=0, value=value)
            self.reporter().report(made, DataError("no note"))


def test_records_that_a_sink_has_made_have_a_letter_each_and_none_that_came_is_skipped_for_them() -> None:
    bed = Bed(VALUES, set(), errors(has_context=False), lambda: Made([]))
    bed.complete()
    bed.until(lambda: not bed.banks.pump.letters.are_out())  # they hold no offset back
    assert [letter.value for letter in bed.letters] == [b"one", b"two"] * len(BAD)
    assert counted(bed) == (len(VALUES), len(VALUES), 0, 0)


class ReportsWhenFlushed(Refusing):
    """Keeps what is bad until then, and is flushed twice."""

    def __init__(self, records: Put) -> None:
        super().__init__(records)
        self._kept: list[SinkRecord] = []
        self._flushes = 0

    def refuse(self, record: SinkRecord) -> None:
        self._kept.append(record)

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        for record in self._kept:
            super().refuse(record)
        self._flushes += bool(self._kept)
        if self._flushes % 2:
            raise RetriableError("away")
        self._kept.clear()
        return offsets


class DiesBefore(Refusing):
    """Its process ends between what it was given and what it says of it, the first few times."""

    lives = 0

    def refuse(self, record: SinkRecord) -> None:
        DiesBefore.lives += 1
        if DiesBefore.lives % 3:
            raise Died
        super().refuse(record)


class DiesBehind(Refusing):
    """And behind that."""

    lives = 0

    def refuse(self, record: SinkRecord) -> None:
        super().refuse(record)
        DiesBehind.lives += 1
        if DiesBehind.lives % 3:
            raise Died


def finish(bed: Bed) -> None:
    """To the end, over all lives."""
    for _ in range(STEPS_MAX):
        if is_over(bed):
            return
        bed.let_go()
        bed.clock.advance(0.01)
        try:
            bed.banks.step()
        except Died:
            begin_again(bed, Kind.NOTHING)
    raise AssertionError("no end")


@pytest.mark.parametrize("make", [lambda: DiesBefore([]), lambda: DiesBehind([])], ids=["before", "behind"])
def test_it_counts_once_where_the_process_ends_beside_the_report(make: Callable[[], Refusing]) -> None:
    bed = Bed(VALUES, set(), errors(), make)
    finish(bed)
    assert counted(bed) == ALL
    assert {letter.value for letter in bed.letters} == BAD


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("kind", [Refusing, ReportsWhenFlushed, CalledAgain, Both])
def test_it_counts_once_whenever_the_line_ends(kind: type[Refusing], how: str) -> None:
    for moment in range(0, MOMENTS, 2):
        bed = Bed(VALUES, set(), errors(), lambda: kind([]))
        for _ in range(moment):
            bed.let_go()
            bed.clock.advance(0.01)
            bed.banks.step()
        if bed.banks.row.get(Word.PUMP_PHASE) != Phase.COMPLETE:
            end(bed, how)
        finish(bed)
        assert counted(bed) == ALL, f"ended at step {moment}"
        assert {letter.value for letter in bed.letters} == BAD
