"""What a sink refuses is skipped and never out: each record counts once and has one letter, whoever ends meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError, DataError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.task import ErrantRecordReporter
from engine.config.line import Errors
from engine.mending import Kind
from engine.shm.board import Phase, Word
from tests.harness.banks import CollectingSink
from tests.simulation.accounts import reported
from tests.unit.task.test_dead_letters import STEPS_MAX, VALUES, Bed, ReportsAtTheEnd, errors
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


class Made(Refusing):
    """Reports a record of its own instead."""

    def refuse(self, record: SinkRecord) -> None:
        for value in (b"one", b"two"):
            made = SinkRecord(topic="made", partition=record.partition, offset=0, value=value)
            self.reporter().report(made, DataError("no note"))


def test_records_that_a_sink_has_made_have_a_letter_each_and_none_that_came_is_skipped_for_them() -> None:
    bed = Bed(VALUES, set(), errors(has_context=False), lambda: Made([]))
    bed.complete()
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
