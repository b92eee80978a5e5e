"""What a pump believes of its commits is what the group has."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.api.errors import RetriableError
from engine.config.line import Timing
from engine.kafka.consumer import Start
from engine.patience import Patience
from engine.pump.commits import Commits
from engine.pump.partitions import Partitions
from engine.shm.board import Measure, Stage, Word
from engine.shm.frame import Flushed, Position, Seek
from tests.harness.banks import LineMemory, VirtualClock, line_spec

PLACE = ("t", 0)


class Port:
    """Takes commits, and answers nothing by itself."""

    def __init__(self) -> None:
        self.asked: list[dict[tuple[str, int], int]] = []

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.asked.append(dict(offsets))

    def commit_now(self, offsets: Mapping[tuple[str, int], int]) -> None:
        raise AssertionError("nobody waits here")


def commits_of(port: Port, parts: Partitions, memory: LineMemory, timing: Timing) -> Commits:
    patience = Patience(memory.row, Word.PUMP_WAIT, VirtualClock())
    return Commits(port, parts, memory.row, timing, patience, None, lambda: None, lambda _: -1)


def flushed(parts: Partitions, offset: int) -> Flushed:
    part = parts.get(PLACE)
    assert part is not None
    return Flushed([Position(*PLACE, part.epoch, offset)], offset)


def test_an_answer_of_an_assignment_that_is_over_counts_for_nothing() -> None:
    port, parts = Port(), Partitions()
    memory = LineMemory(line_spec("sink"))
    commits = commits_of(port, parts, memory, Timing())
    parts.assign({PLACE: Start(0, is_committed=True)})
    commits.heard(flushed(parts, 10))
    commits.step(0)
    commits.give_up([PLACE], is_flushed=True)
    parts.assign({PLACE: Start(3, is_committed=True)})  # others have gone back to there
    commits.answered(port.asked[0], None, 1)
    part = parts.get(PLACE)
    assert part is not None
    assert part.committed == 3
    commits.heard(flushed(parts, 10))
    commits.step(2)
    assert port.asked[1:] == [{PLACE: 10}]


def given_up(port: Port, parts: Partitions, memory: LineMemory) -> Commits:
    """A commit of 10 that was given up, and one of 20 that was asked for after it."""
    commits = commits_of(port, parts, memory, Timing(commit_timeout=1.0))
    parts.assign({PLACE: Start(0, is_committed=True)})
    commits.heard(flushed(parts, 10))
    commits.step(0)
    commits.heard(flushed(parts, 20))
    commits.step(2_000_000_000)
    commits.step(4_000_000_000)
    assert port.asked == [{PLACE: 10}, {PLACE: 20}]
    return commits


def test_a_late_answer_to_a_commit_that_was_given_up_is_not_taken_for_the_present_ones() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    commits.answered({PLACE: 10}, None, 4_000_000_001)
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 0
    commits.answered({PLACE: 20}, None, 4_000_000_002)
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 20


def test_a_commit_that_was_given_up_and_is_done_after_a_newer_one_makes_that_due_again() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    commits.answered({PLACE: 20}, None, 4_000_000_001)
    assert not commits.is_sure
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 0  # 20 are safe only once 10 cannot come any more
    commits.answered({PLACE: 10}, None, 4_000_000_002)
    commits.step(4_000_000_003)
    assert port.asked[2:] == [{PLACE: 20}]
    commits.answered({PLACE: 20}, None, 4_000_000_004)
    assert commits.is_sure
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 20


def test_a_commit_that_was_given_up_and_is_refused_may_be_done_in_part() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    commits.answered({PLACE: 20}, None, 4_000_000_001)
    commits.answered({PLACE: 10}, RetriableError("of one partition"), 4_000_000_002)
    commits.step(4_000_000_003)
    assert port.asked[2:] == [{PLACE: 20}]
    commits.answered({PLACE: 20}, None, 4_000_000_004)
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 20


def test_a_commit_that_was_given_up_counts_even_for_the_next_assignment() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    commits.answered({PLACE: 20}, None, 4_000_000_001)
    parts.assign({PLACE: Start(20, is_committed=True)})
    commits.answered({PLACE: 10}, None, 4_000_000_002)
    commits.step(4_000_000_003)
    assert port.asked[2:] == [{PLACE: 20}]


@pytest.mark.parametrize("has_newer", [False, True])
def test_a_partition_that_goes_while_a_commit_is_out_may_be_repeated(has_newer: bool) -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    if has_newer:
        commits.answered({PLACE: 20}, None, 4_000_000_001)
    commits.give_up([PLACE], is_flushed=True)
    assert memory.row.get(Word.GIVEN_UP) == (10 if has_newer else 20)


def test_a_partition_that_stays_is_committed_as_far_as_it_is_when_another_goes() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    parts.assign({("t", 1): Start(0, is_committed=True)})
    commits.give_up([("t", 1)], is_flushed=True)
    part = parts.get(PLACE)
    assert part is not None
    assert part.committed == 0


def test_a_commit_that_is_never_answered_may_be_done_after_five_minutes() -> None:
    port, parts, memory = Port(), Partitions(), LineMemory(line_spec("sink"))
    commits = given_up(port, parts, memory)
    commits.answered({PLACE: 20}, None, 4_000_000_001)
    commits.step(302_000_000_000)
    assert commits.is_sure
    assert port.asked[2:] == [{PLACE: 20}]


class Waited(Port):
    """Does at once what is waited for."""

    def commit_now(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.asked.append(dict(offsets))


def test_a_commit_that_is_out_when_a_newer_one_is_waited_for_may_be_done_after_it() -> None:
    port, parts, memory = Waited(), Partitions(), LineMemory(line_spec("sink"))
    commits = commits_of(port, parts, memory, Timing())
    parts.assign({PLACE: Start(0, is_committed=True)})
    commits.heard(flushed(parts, 10))
    commits.step(0)
    commits.heard(flushed(parts, 20))
    commits.commit_now()
    assert port.asked == [{PLACE: 10}, {PLACE: 20}]
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 0
    commits.answered({PLACE: 10}, None, 1)
    commits.step(2)
    assert port.asked[2:] == [{PLACE: 20}]


def test_what_was_flushed_before_a_seek_is_still_committed_and_counts_only_then() -> None:
    port, parts = Port(), Partitions()
    memory = LineMemory(line_spec("sink"))
    commits = commits_of(port, parts, memory, Timing(commit_timeout=1.0))
    parts.assign({PLACE: Start(0, is_committed=True)})
    part = parts.get(PLACE)
    assert part is not None
    part.position = 10
    commits.heard(flushed(parts, 10))
    parts.seek(Seek(*PLACE, part.epoch, 10))  # as after a pause: what came while it lasted is read anew
    commits.step(0)
    assert port.asked == [{PLACE: 10}]
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 0
    commits.answered({PLACE: 10}, None, 1)
    assert memory.row.measured(Stage.COMMIT, Measure.RECORDS) == 10


def test_what_was_flushed_beyond_a_seek_is_not_committed() -> None:
    port, parts = Port(), Partitions()
    memory = LineMemory(line_spec("sink"))
    commits = commits_of(port, parts, memory, Timing())
    parts.assign({PLACE: Start(0, is_committed=True)})
    part = parts.get(PLACE)
    assert part is not None
    part.position = 10
    commits.heard(flushed(parts, 10))
    parts.seek(Seek(*PLACE, part.epoch, 4))
    commits.step(0)
    assert port.asked == []
