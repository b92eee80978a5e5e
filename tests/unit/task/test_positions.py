"""A sink that keeps positions with its rows loses no bad record: its letter is in Kafka before a position passes it.

Such a sink leaves out what lies before its position, so that a record which was passed without a letter would never be
seen again. The line is ended at each moment of its work in turn, and all must be put or be a dead letter in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import DataError
from engine.api.record import SinkRecord, TopicPartition
from engine.mending import Kind
from engine.shm.board import Phase, Target, Word
from tests.harness.banks import CollectingSink
from tests.unit.task.test_dead_letters import PLACE, STEPS_MAX, VALUES, Bed, errors
from tests.unit.task.test_suspects import Died

#: Ends of a line: its worker is killed, which forgets what was looked for; a process of it dies; it is stopped.
ENDS = ("killed", "crash", "outside", "stopped")
#: Moments, in steps of both banks, after which nothing is left to be done wrong.
MOMENTS = 40


class System:
    """What the sink writes to: rows, and the position behind them."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.next = 0


class Keeping(CollectingSink):
    """Moves its position with each put, and with each flush past what was left out."""

    def __init__(self, system: System, deadly: Collection[bytes] = (), refused: Collection[bytes] = ()) -> None:
        super().__init__([])
        self._system = system
        self._deadly = deadly
        self._refused = refused

    def put(self, batch: SinkBatch) -> None:
        system = self._system
        new = [record for record in batch if record.offset >= system.next]
        if any(record.value in self._deadly for record in new):
            raise Died
        if any(record.value in self._refused for record in new):
            raise DataError("no note")
        system.rows += [record.value for record in new]
        system.next = max([system.next, *(record.offset + 1 for record in new)])

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        for offset in offsets.values():
            self._system.next = max(self._system.next, offset)
        return offsets


class Atomic(Keeping):
    put_is_atomic = True


def is_over(bed: Bed) -> bool:
    return bed.banks.row.get(Word.PUMP_PHASE) == Phase.COMPLETE


def step(bed: Bed) -> None:
    """Both banks go on; who has died of a record comes again."""
    bed.clock.advance(0.01)
    try:
        bed.banks.step()
    except Died:
        begin_again(bed, Kind.CRASH)


def begin_again(bed: Bed, kind: Kind, *, forgets: bool = False) -> None:
    bed.banks.crash()
    if forgets:
        bed.banks.row.begin()
    bed.banks.row.set(Word.ENDED_AS, kind)
    bed.banks.start()
    bed.banks.task.reporter.sleep = bed._wait


def end(bed: Bed, how: str) -> None:
    """End this life, and begin the next."""
    if how == "stopped":
        bed.banks.memory.aim(Target.STOP)
        bed.banks.pump.ask_to_stop()
        for _ in range(STEPS_MAX):
            if bed.banks.pump.is_over and bed.banks.task.is_over:
                break
            step(bed)
        bed.banks.memory.aim(Target.DRAIN)
    kind = {"crash": Kind.CRASH, "outside": Kind.OUTSIDE}.get(how, Kind.NOTHING)
    begin_again(bed, kind, forgets=how in {"killed", "stopped"})


def check(bed: Bed, system: System) -> None:
    """To the end; then nothing is missing, and nothing was put twice."""
    for _ in range(STEPS_MAX):
        if is_over(bed):
            break
        bed.let_go()
        step(bed)
    letters = [letter.value for letter in bed.letters]
    assert [value for value in VALUES if value not in {*system.rows, *letters}] == []
    assert len(system.rows) == len(set(system.rows))
    assert (bed.committed, system.next) == (len(VALUES), len(VALUES))


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("chain", ["converter", "put"])
def test_whenever_the_line_ends_what_failed_has_a_letter_or_comes_again(chain: str, how: str, *, is_open: bool) -> None:
    """is_open: whether letters are acknowledged in the first life."""
    for moment in range(MOMENTS):
        system, bad = System(), {b"v5", b"v13"}
        refused = bad if chain == "put" else set()
        bed = Bed(VALUES, bad - refused, errors(), lambda: Atomic(system, (), refused))  # noqa: B023
        for _ in range(moment):
            if is_open:
                bed.let_go()
            step(bed)
        bed.banks.memory.bad = set()  # what a converter could not do may have passed
        if not is_over(bed):
            end(bed, how)
        check(bed, system)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("is_open", [True, False])
def test_whenever_the_line_ends_what_kills_has_a_letter_or_is_found_again(how: str, *, is_open: bool) -> None:
    for moment in range(0, MOMENTS, 3):
        system = System()
        bed = Bed(VALUES, set(), errors(), lambda: Keeping(system, {b"v13"}))  # noqa: B023
        while not bed.banks.task._suspects.deaths:
            step(bed)
        for _ in range(moment):
            if is_open:
                bed.let_go()
            step(bed)
        if not is_over(bed):
            end(bed, how)
        check(bed, system)


def test_while_no_letter_gets_through_nothing_goes_past_it_for_however_long() -> None:
    system = System()
    bed = Bed(VALUES, {b"v13"}, errors(), lambda: Keeping(system))
    for _ in range(STEPS_MAX):
        step(bed)
    assert (system.rows, system.next, bed.committed) == ([], 0, 0)
    assert bed.banks.row.get(Word.TASK_WAIT), "nobody takes it for a stall"
    check(bed, system)


def test_letters_of_one_batch_are_sent_together() -> None:
    system = System()
    bed = Bed(VALUES, {*VALUES[3:17]}, errors(), lambda: Keeping(system))
    bed.until(lambda: len(bed.held) > 0 and len(bed.held[0]) > 0)
    waiting = bed.banks.task._retry
    assert waiting is not None
    assert len(bed.held[0]) == len(waiting.skipped) > 1
    check(bed, system)


class ReportsOnly(Keeping):
    """Reports a record and does not wait; moves its position only when it is flushed."""

    def put(self, batch: SinkBatch) -> None:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        for record in batch:
            if record.value in self._refused:
                reporter.report(record, DataError("no note"))
            elif record.offset >= self._system.next and record.value not in self._system.rows:
                self._system.rows.append(record.value)


@pytest.mark.parametrize("how", ENDS)
def test_no_flush_tells_of_more_than_lies_before_a_letter_that_was_reported(how: str) -> None:
    for moment in range(MOMENTS):
        system, refused = System(), {b"v5", b"v13"}
        bed = Bed(VALUES, set(), errors(), lambda: ReportsOnly(system, (), refused))  # noqa: B023
        for _ in range(moment):
            step(bed)
        assert system.next <= 5
        end(bed, how)
        check(bed, system)


class LeavesOut(ReportsOnly):
    """Seeks past what it has reported."""

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        passed = [record.offset + 1 for record in batch if record.value in self._refused]
        if passed:
            self.context.seek({TopicPartition(*PLACE): passed[-1]})


@pytest.mark.parametrize("how", ENDS)
def test_a_seek_past_a_record_that_was_reported_is_no_position_before_its_letter_is_there(how: str) -> None:
    for moment in range(MOMENTS):
        system, refused = System(), {b"v5", b"v13"}
        bed = Bed(VALUES, set(), errors(), lambda: LeavesOut(system, (), refused))  # noqa: B023
        for _ in range(moment):
            step(bed)
        assert system.next <= 5
        end(bed, how)
        check(bed, system)


class ReportsLate(Keeping):
    """Reports its second record when it has its last one, by then all before that is safe; notes what it is told."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._second: SinkRecord | None = None
        self.told: list[int] = []

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        for record in batch:
            if record.value == VALUES[1]:
                self._second = record
            if record.value == VALUES[-1] and self._second is not None:
                reporter = self.context.errant_record_reporter()
                assert reporter is not None
                reporter.report(self._second, DataError("no note"))

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self.told += offsets.values()
        return super().pre_commit(offsets)


def test_a_record_that_is_reported_late_takes_no_position_back() -> None:
    system = System()
    tasks = []

    def make() -> ReportsLate:
        tasks.append(ReportsLate(system))
        return tasks[-1]

    bed = Bed(VALUES[:-1], set(), errors(), make)
    bed.until(lambda: bed.committed == len(VALUES) - 1)
    bed.kafka.store(PLACE, VALUES[-1])
    for _ in range(MOMENTS):
        step(bed)
    assert not bed.letters
    assert system.next == len(VALUES)
    bed.let_go()
    bed.until(lambda: bed.committed == len(VALUES))
    assert [letter.value for letter in bed.letters] == [VALUES[1]]
    assert tasks[0].told == sorted(tasks[0].told)


def test_partitions_that_go_are_flushed_to_their_end_once_the_letters_are_there() -> None:
    system = System()
    bed = Bed(VALUES, set(), errors(), lambda: ReportsOnly(system, (), {b"v5"}))
    while len(system.rows) < len(VALUES) - 1:
        step(bed)
    bed.let_go()
    bed.banks.pump.revoked([PLACE])
    assert (bed.committed, system.next) == (len(VALUES), len(VALUES))


def test_a_record_whose_letter_is_refused_is_refused_again_without_end() -> None:
    system = System()
    bed = Bed(VALUES, set(), errors(), lambda: Keeping(system, {b"v13"}))
    lives = 0
    while lives < 12:
        step(bed)
        assert bed.banks.task.failure is None
        if bed.banks.task._suspects.deaths:
            lives += 1
            for _ in range(5):
                step(bed)
            begin_again(bed, Kind.REFUSED)
    check(bed, system)
