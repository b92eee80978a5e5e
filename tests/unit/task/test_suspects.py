"""A record that kills its process is found by halving, and fails; nothing else is lost or taken for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from engine.api.batch import Run, SinkBatch
from engine.api.errors import DataError, RetriableError
from engine.api.record import TopicPartition
from engine.api.transform import AnyRecord, Transform
from engine.config.line import Errors
from engine.mending import Kind
from engine.shm.board import Phase, Word
from engine.task.sink_suspects import SinkSuspects
from engine.task.suspects import BLAMED_MAX, DEATHS_MAX
from tests.harness.banks import CollectingSink
from tests.simulation.accounts import reported
from tests.unit.task.test_dead_letters import STEPS_MAX, VALUES, Bed, errors

Put = list[tuple[str, int, int, bytes | None]]


class Died(BaseException):
    """The process is gone; no handler of errors sees it."""


class Deadly(CollectingSink):
    """Dies of some values, before it has taken any of their batch."""

    def __init__(self, records: Put, deadly: Collection[bytes]) -> None:
        super().__init__(records)
        self._deadly = deadly

    def put(self, batch: SinkBatch) -> None:
        if any(value in self._deadly for value in batch.values):
            raise Died
        super().put(batch)


class DeadlyWhenFlushed(CollectingSink):
    """Dies of some values when they are flushed; nothing is there before that."""

    def __init__(self, records: Put, deadly: Collection[bytes]) -> None:
        super().__init__(records)
        self._deadly = deadly
        self._kept: list[SinkBatch] = []

    def put(self, batch: SinkBatch) -> None:
        self._kept.append(batch)

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        if any(value in self._deadly for batch in self._kept for value in batch.values):
            raise Died
        for batch in self._kept:
            super().put(batch)
        self._kept.clear()
        return offsets


class DeadlyToTransform(Transform):
    """Dies of some values."""

    def __init__(self, deadly: Collection[bytes]) -> None:
        self._deadly = deadly

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if record.value in self._deadly:
            raise Died
        return record


def run(bed: Bed) -> int:
    """To the end, over all lives; returns how many have died."""
    deaths = 0
    bed.let_go()
    for _ in range(STEPS_MAX):
        if bed.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE:
            return deaths
        if is_last_step(bed):
            deaths += 1
            die(bed)
    raise AssertionError("no end")


def is_last_step(bed: Bed) -> bool:
    """Take a step; whether this life has died of it."""
    bed.clock.advance(0.01)
    try:
        bed.banks.step()
    except Died:
        return True
    return False


def die(bed: Bed, kind: Kind = Kind.CRASH) -> None:
    if bed.banks.stages and not bed.banks.row.get(Word.PART_RECORDS):  # one of them died; the task ends in order
        bed.banks.task.ask_to_stop()
        for _ in range(STEPS_MAX):
            if bed.banks.task.is_over:
                break
            bed.clock.advance(0.01)
            bed.banks.task.step()
            bed.banks.pump.step(0.0)
        bed.banks.task.stop()
    bed.banks.crash()
    bed.banks.row.set(Word.ENDED_AS, kind)
    bed.banks.start()
    bed.banks.task.reporter.sleep = bed._wait
    bed.let_go()


def bed_of(deadly: Collection[bytes], given: Errors | None = None) -> tuple[Bed, Put]:
    put: Put = []
    return Bed(VALUES, set(), given or errors(), lambda: Deadly(put, deadly)), put


def values_of(put: Put) -> list[bytes]:
    """What was put, each once, in the order of its first time."""
    return list(dict.fromkeys(value for *_, value in put if value is not None))


def test_the_record_becomes_a_dead_letter_and_all_others_are_put() -> None:
    bed, put = bed_of({b"v13"})
    deaths = run(bed)
    assert values_of(put) == [value for value in VALUES if value != b"v13"]
    assert [letter.value for letter in bed.letters] == [b"v13"]
    message = bed.headers(0)["__connect.errors.exception.message"]
    assert message == b"3 processes have died with this record alone in hand"
    assert bed.committed == len(VALUES)
    told = reported(bed.banks.memory).ledger
    assert told is not None
    assert (told.records_in, told.records_out, told.skipped) == (len(VALUES), len(VALUES) - 1, 1)
    assert deaths <= len(VALUES).bit_length() + DEATHS_MAX


def test_its_letter_tells_that_it_was_a_crash_and_how_many_have_tried() -> None:
    bed, _ = bed_of({b"v13"})
    run(bed)
    headers = bed.headers(0)
    assert (headers["__millrace.errors.code"], headers["__millrace.errors.attempts"]) == (b"crash", b"3")


@pytest.mark.parametrize("deadly", [{b"v13"}, {b"v2", b"v3", b"v19"}])
def test_one_that_kills_when_it_is_flushed_is_found_among_all_that_were_put(deadly: set[bytes]) -> None:
    put: Put = []
    bed = Bed(VALUES, set(), errors(), lambda: DeadlyWhenFlushed(put, deadly))
    deaths = run(bed)
    assert values_of(put) == [value for value in VALUES if value not in deadly]
    assert [letter.value for letter in bed.letters] == sorted(deadly, key=VALUES.index)
    assert bed.committed == len(VALUES)
    assert deaths <= len(deadly) * (len(VALUES).bit_length() + DEATHS_MAX)


def test_when_every_flush_kills_it_is_no_fault_of_records() -> None:
    put: Put = []
    bed = Bed(VALUES, set(), errors(), lambda: DeadlyWhenFlushed(put, VALUES))
    for _ in range(STEPS_MAX):
        bed.let_go()
        if is_last_step(bed):
            die(bed)
        if bed.banks.task.failure is not None:
            break
    assert "offset 5 could not be put: 3 processes have died" in str(bed.banks.task.failure)


@pytest.mark.parametrize("deadly", [{b"v13"}, {b"v2", b"v3", b"v19"}])
def test_one_that_kills_a_stage_process_is_found_beside_the_connector(deadly: set[bytes]) -> None:
    put: Put = []
    chain = [DeadlyToTransform(deadly)]
    bed = Bed(VALUES, set(), errors(), lambda: CollectingSink(put), chain, stage_processes=2)
    run(bed)
    assert values_of(put) == [value for value in VALUES if value not in deadly]
    assert [letter.value for letter in bed.letters] == sorted(deadly, key=VALUES.index)
    assert bed.committed == len(VALUES)
    words = (Word.PART_RECORDS, Word.LONE_DEATHS, Word.HAND_RECORDS)
    assert [bed.banks.row.get(word) for word in words] == [0, 0, 0]


def test_who_dies_of_too_little_memory_is_remembered_though_it_ends_in_order() -> None:
    bed, put = bed_of(())
    bed.banks.task._task.put = lambda batch: taken()  # type: ignore[method-assign]  # the first life's
    for _ in range(STEPS_MAX):
        bed.clock.advance(0.01)
        try:
            bed.banks.step()
        except MemoryError as error:
            bed.banks.task.fail(error)
        if bed.banks.task.is_over:
            break
    bed.banks.task.stop()
    assert bed.banks.row.get(Word.HAND_RECORDS) > 1
    die(bed)
    assert bed.banks.row.get(Word.PART_RECORDS) > 0
    run(bed)
    assert values_of(put) == VALUES


def taken() -> None:
    raise MemoryError


def test_one_that_is_refused_by_two_lives_counts_once() -> None:
    bed, put = bed_of({b"v13"})
    for _ in range(STEPS_MAX):
        if is_last_step(bed):
            die(bed)
        if bed.banks.task._suspects.deaths:
            break
    die(bed)  # somebody has killed it before anything was committed
    run(bed)
    assert values_of(put) == [value for value in VALUES if value != b"v13"]
    assert {letter.value for letter in bed.letters} == {b"v13"}
    told = reported(bed.banks.memory).ledger
    assert told is not None
    assert (told.records_in, told.records_out, told.skipped) == (len(VALUES), len(VALUES) - 1, 1)


def test_several_are_found_one_after_the_other() -> None:
    deadly = {b"v2", b"v3", b"v19"}
    bed, put = bed_of(deadly)
    run(bed)
    assert values_of(put) == [value for value in VALUES if value not in deadly]
    assert [letter.value for letter in bed.letters] == sorted(deadly, key=VALUES.index)


def test_without_tolerance_it_is_named_and_nothing_is_put_past_it() -> None:
    bed, put = bed_of({b"v13"}, errors(tolerant=False))
    for _ in range(STEPS_MAX):
        if is_last_step(bed):
            die(bed)
        if bed.banks.task.failure is not None:
            break
    assert isinstance(bed.banks.task.failure, DataError)
    assert "the record at topic one, partition 0, offset 13" in str(bed.banks.task.failure)
    assert "3 processes have died with this record alone in hand" in str(bed.banks.task.failure)
    assert values_of(put) == VALUES[:13]


def test_parts_end_with_the_suspects() -> None:
    bed, _ = bed_of({b"v3"})
    run(bed)
    row = bed.banks.row
    assert (row.get(Word.PART_RECORDS), row.get(Word.LONE_DEATHS), row.get(Word.HAND_RECORDS)) == (0, 0, 0)


@pytest.mark.parametrize("kind", [Kind.OUTSIDE, Kind.ERROR, Kind.FENCED, Kind.NOTHING])
def test_another_end_makes_nobody_careful(kind: Kind) -> None:
    deadly = {b"v13"}
    bed, put = bed_of(deadly)
    for _ in range(STEPS_MAX):
        if is_last_step(bed):
            break
    deadly.clear()
    die(bed, kind)
    assert bed.banks.row.get(Word.PART_RECORDS) == 0
    assert run(bed) == 0
    assert values_of(put) == VALUES


def test_a_record_that_was_in_hand_when_somebody_killed_its_process_is_put() -> None:
    deadly = {b"v13"}
    bed, put = bed_of(deadly)
    deaths = 0
    while bed.banks.row.get(Word.LONE_DEATHS) < DEATHS_MAX - 1:
        if is_last_step(bed):
            deaths += 1
            die(bed)
        assert deaths < STEPS_MAX
    deadly.clear()
    run(bed)
    assert values_of(put) == VALUES
    assert not bed.letters


def test_when_all_records_kill_it_is_no_fault_of_records() -> None:
    bed, put = bed_of({*VALUES})
    for _ in range(STEPS_MAX):
        bed.let_go()
        if is_last_step(bed):
            die(bed)
        if bed.banks.task.failure is not None:
            break
    assert "offset 5 could not be put: 3 processes have died" in str(bed.banks.task.failure)
    assert not put
    assert len(bed.letters) <= BLAMED_MAX + 1  # the one that ends the task has a letter as well


def run_of(partition: int, first: int, count: int = 10) -> Run:
    return Run("one", partition, 0, count, first, first + count - 1)


def flush(suspects: SinkSuspects, run: Run) -> None:
    suspects.take([run])
    suspects.put_has_returned()
    suspects.let_go()
    suspects.flushed(0, 0)
    assert not suspects.waits(0)


def test_suspects_of_several_partitions_have_not_all_passed_with_the_last_of_them() -> None:
    row = bed_of(())[0].banks.row
    row.set(Word.ENDED_AS, Kind.CRASH)
    SinkSuspects(row).take([run_of(0, 0), run_of(9, 0)])
    second = SinkSuspects(row)
    for first in range(0, 100, 10):  # what waits in one partition comes first
        flush(second, run_of(9, first))
    assert second.part_records == 10
    second.take([run_of(0, 0)])
    third = SinkSuspects(row)
    assert third.part_records == 5
    flush(third, run_of(0, 0, 5))
    assert third.part_records == 5
    flush(third, run_of(0, 5, 5))
    assert third.part_records == 0


def test_what_was_put_and_what_stage_processes_have_may_be_of_two_partitions() -> None:
    row = bed_of(())[0].banks.row
    row.set(Word.ENDED_AS, Kind.CRASH)
    first = SinkSuspects(row)
    first.deal([run_of(9, 0)])
    first.take([run_of(0, 0)])
    assert row.get(Word.HAND_RECORDS) == 20
    second = SinkSuspects(row)
    flush(second, run_of(9, 0))
    flush(second, run_of(9, 10))
    assert second.part_records == 10


def test_who_dies_while_a_put_waits_to_be_called_again_does_not_die_of_its_record() -> None:
    bed, put = bed_of(())
    bed.banks.task._task.put = lambda batch: again()  # type: ignore[method-assign]  # the first life's
    for _ in range(STEPS_MAX):
        bed.clock.advance(0.01)
        bed.banks.step()
        if bed.banks.task._retry is not None:
            break
    assert bed.banks.row.get(Word.HAND_RECORDS) == 0
    die(bed)
    assert bed.banks.row.get(Word.PART_RECORDS) == 0
    run(bed)
    assert values_of(put) == VALUES


def again() -> None:
    raise RetriableError("not now")


def test_a_record_that_has_ended_its_task_is_refused_at_once_by_the_next_life() -> None:
    bed, _ = bed_of({b"v13"}, errors(tolerant=False))
    lives: list[int] = []
    deaths = 0
    for _ in range(STEPS_MAX):
        if is_last_step(bed):
            deaths += 1
            die(bed)
        if bed.banks.task.failure is not None:
            lives.append(deaths)
            if len(lives) == 3:
                break
            die(bed, Kind.RECORD)
    assert lives[0] == lives[-1]
    assert len(lives) == 3
