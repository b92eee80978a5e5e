"""A line is stalled where it has work and does not go on by its own fault, and at no other time.

The judge sees rows that the test writes, at times that the test says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config.line import Stalls, Timing
from engine.shm import segment
from engine.shm.acts import Act
from engine.shm.board import (
    Board,
    HeaderWord,
    Identity,
    Phase,
    Row,
    Stage,
    StageWord,
    State,
    Target,
    Word,
    board_bytes,
)
from engine.shm.stalls import Stall, Way, pack, stall_of, unpack
from engine.shm.waits import Cause, Wait
from engine.shm.waits import pack as pack_wait
from engine.supervisor.stalls import Judge
from tests.unit.supervisor.specs import spec

SECOND_NS = 1_000_000_000
TIMEOUT_S = 4.0
BROKER_S = 15.0
LOOK_S = 0.25


class Line:
    """A line whose banks do what the test says, looked at four times a second."""

    def __init__(self, kind: str, **more: Any) -> None:
        descriptor = segment.create("board", board_bytes(1))
        board = Board(descriptor)
        board.begin(1)
        self.row: Row = board.row(board.add(Identity("orders", 0, kind, "none")))
        os.close(descriptor)
        self.header = board.header
        given = {"stalls": Stalls(TIMEOUT_S), "timing": Timing(broker_timeout=BROKER_S), **more}
        if kind == "sink":
            given.setdefault("kafka", {"isolation.level": "read_uncommitted"})
        self.judge = Judge(replace(spec(kind), **given), self.row)
        self.now_ns = 100 * SECOND_NS
        self.held: dict[str, int] = {}
        self.turning = {"task", "pump"}
        for pid in (Word.TASK_PID, Word.PUMP_PID):
            self.row.set(pid, 7)
        for phase in (Word.TASK_PHASE, Word.PUMP_PHASE):
            self.row.set(phase, Phase.READY)
        self.judge.begin(self.now_ns)

    def go(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> Stall | None:
        """Let time pass; returns the stall at its end."""
        stall = None
        for _ in range(round(seconds / LOOK_S)):
            self.now_ns += int(LOOK_S * SECOND_NS)
            for bank, beat in (("task", Word.TASK_BEAT_NS), ("pump", Word.PUMP_BEAT_NS)):
                if bank in self.turning:
                    self.row.set(beat, self.now_ns)
            meanwhile()
            stall = self.judge.look(self.now_ns, self.held)
        return stall

    def sticks(self, bank: str, act: Act) -> None:
        """This bank does not come back from a call."""
        self.turning.discard(bank)
        self.row.set(Word.TASK_ACT if bank == "task" else Word.PUMP_ACT, act)


@pytest.fixture(params=["source", "sink"])
def line(request: pytest.FixtureRequest) -> Line:
    return Line(request.param)


@pytest.mark.parametrize("act", [Act.START, Act.POLL, Act.TRANSFORM, Act.CONVERT, Act.PUT, Act.FLUSH, Act.STOP])
def test_a_call_that_has_not_returned_after_the_timeout_is_a_stall_and_not_before(act: Act, line: Line) -> None:
    line.go(10)
    since_ns = line.now_ns
    line.sticks("task", act)
    assert line.go(TIMEOUT_S) is None
    assert line.go(LOOK_S) == Stall(Way.CALL, "task", act, since_ns)
    line.turning.add("task")
    assert line.go(LOOK_S) is None


def test_a_pump_may_take_as_much_longer_as_it_may_wait_for_kafka(line: Line) -> None:
    line.sticks("pump", Act.FETCH)
    assert line.go(TIMEOUT_S + BROKER_S) is None
    stall = line.go(LOOK_S)
    assert stall is not None
    assert stall[:3] == (Way.CALL, "pump", Act.FETCH)


def test_a_quiet_source_is_not_stalled_however_long() -> None:
    assert Line("source").go(600) is None


def test_a_quiet_sink_is_not_stalled_however_long_whatever_lag_stays() -> None:
    line = Line("sink")
    line.row.set(Word.LAG, 3)  # what ends transactions counts, and nobody can read it
    assert line.go(600) is None


def test_a_poll_waits_as_long_as_it_has_declared_and_the_timeout_more() -> None:
    line = Line("source")
    line.row.set(Word.POLL_MS, 60_000)
    line.sticks("task", Act.POLL)
    assert line.go(60 + TIMEOUT_S) is None
    assert line.go(LOOK_S) is not None


def test_what_a_poll_has_declared_is_not_for_other_calls() -> None:
    line = Line("source")
    line.row.set(Word.POLL_MS, 60_000)
    line.sticks("task", Act.TRANSFORM)
    assert line.go(TIMEOUT_S + LOOK_S) is not None


@pytest.mark.parametrize("bank", ["task", "pump"])
def test_a_process_that_a_signal_has_stopped_is_a_stall_at_once(bank: str, line: Line) -> None:
    line.held[bank] = line.now_ns
    stall = line.go(LOOK_S)
    assert stall is not None
    assert stall[:2] == (Way.HELD, bank)


def test_a_line_that_was_asked_to_stop_is_not_judged(line: Line) -> None:
    line.row.set(Word.TARGET, Target.STOP)
    line.sticks("task", Act.PUT)
    assert line.go(300) is None


def test_a_paused_line_is_stalled_by_a_call_only(line: Line) -> None:
    line.row.set(Word.TARGET, Target.PAUSE)
    line.row.set(Word.RING_USED_BYTES, 1000)
    assert line.go(300) is None
    line.sticks("task", Act.PUT)
    assert line.go(TIMEOUT_S + LOOK_S) is not None


def test_a_life_begins_with_all_its_time(line: Line) -> None:
    line.sticks("task", Act.LOAD)
    line.go(TIMEOUT_S)
    line.judge.begin(line.now_ns)
    assert line.go(TIMEOUT_S) is None


def test_time_in_which_the_supervisor_stood_still_counts_for_nobody(line: Line) -> None:
    line.go(1)
    line.turning.clear()
    line.now_ns += 60 * SECOND_NS
    assert line.go(TIMEOUT_S) is None
    assert line.go(2 * LOOK_S) is not None


def test_a_process_that_is_gone_is_not_stalled(line: Line) -> None:
    line.turning.clear()
    for pid in (Word.TASK_PID, Word.PUMP_PID):
        line.row.set(pid, 0)
    assert line.go(300) is None


WORK = {
    Way.DELIVERY: ("source", Stage.ACKNOWLEDGE, Act.PRODUCE, "pump"),
    Way.TAKING: ("sink", Stage.PUT, Act.PUT, "task"),
}


@pytest.mark.parametrize("way", WORK)
def test_records_that_wait_in_the_ring_while_nothing_moves_are_a_stall(way: Way) -> None:
    kind, stage, act, bank = WORK[way]
    line = Line(kind)
    line.row.set(Word.RING_USED_BYTES, 1000)
    assert line.go(60, lambda: line.row.count(stage, 1)) is None
    assert line.go(15) is None
    stall = line.go(2 * LOOK_S)
    assert stall is not None
    assert stall[:3] == (way, bank, act)
    line.row.count(stage, 1)
    assert line.go(LOOK_S) is None


@pytest.mark.parametrize("way", WORK)
@pytest.mark.parametrize("word", [Word.TASK_WAIT, Word.PUMP_WAIT])
def test_a_wait_for_the_world_outside_is_no_stall_and_time_begins_anew_after_it(word: Word, way: Way) -> None:
    line = Line(WORK[way][0])
    line.row.set(Word.RING_USED_BYTES, 1000)
    line.row.set(word, pack_wait(Wait(Cause.BROKER, line.now_ns)))
    assert line.go(300) is None
    line.row.set(word, 0)
    assert line.go(15) is None
    assert line.go(1) is not None


def test_a_source_that_its_sink_holds_back_is_not_stalled() -> None:
    line = Line("source")
    line.row.set(Word.RING_USED_BYTES, 1000)
    line.row.set(Word.HELD, 1)
    assert line.go(300) is None


def test_a_lag_that_grows_while_nothing_is_fetched_is_a_stall() -> None:
    line = Line("sink")
    lag = iter(range(1, 1_000_000))

    def grows() -> None:
        line.row.set(Word.LAG, next(lag))

    def grows_and_is_read() -> None:
        grows()
        line.row.count(Stage.CONSUME, 1)

    assert line.go(60, grows_and_is_read) is None
    stall = line.go(16, grows)
    assert stall is not None
    assert stall[:3] == (Way.FETCHING, "pump", Act.FETCH)


@pytest.mark.parametrize("kafka", [{}, {"isolation.level": "read_committed"}])
def test_a_lag_that_may_be_of_an_open_transaction_is_no_stall(kafka: dict[str, str]) -> None:
    line = Line("sink", kafka=kafka)
    lag = iter(range(1, 1_000_000))
    assert line.go(600, lambda: line.row.set(Word.LAG, next(lag))) is None


def test_a_lag_of_partitions_that_the_connector_has_paused_is_no_stall() -> None:
    line = Line("sink")
    line.row.set(Word.PAUSED, 2)
    lag = iter(range(1, 1_000_000))
    assert line.go(600, lambda: line.row.set(Word.LAG, next(lag))) is None


@pytest.mark.parametrize(("bank", "act"), [("task", Act.PUT), ("pump", Act.FETCH)])
def test_of_two_banks_in_one_process_the_one_that_turned_last_is_stuck(bank: str, act: Act, line: Line) -> None:
    line = Line("sink", processes=1)
    line.sticks(bank, act)
    line.row.set(Word.TASK_BEAT_NS if bank == "task" else Word.PUMP_BEAT_NS, line.now_ns + SECOND_NS)
    line.turning.clear()
    stall = line.go(1 + TIMEOUT_S + (BROKER_S if bank == "pump" else 0) + LOOK_S)
    assert stall is not None
    assert stall[:3] == (Way.CALL, bank, act)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_start_may_take_as_long_as_a_pump_may_wait_for_kafka(processes: int) -> None:
    line = Line("source", processes=processes)
    line.sticks("task", Act.START)
    line.turning.clear()
    line.row.set(Word.TASK_PHASE, Phase.FORKED)
    assert line.go(TIMEOUT_S + BROKER_S) is None
    assert line.go(LOOK_S) is not None


@pytest.mark.parametrize("way", Way)
def test_a_stall_fits_its_word(way: Way) -> None:
    for bank, act, is_failed in (("task", Act.NOTHING, True), ("pump", Act.STORE, False)):
        stall = Stall(way, bank, act, 10**18 // 10**6 * 10**6, is_failed)
        assert unpack(pack(stall)) == stall
        assert stall.sentence
    assert unpack(pack(None)) is None


def test_a_stall_of_a_task_that_is_to_read_failed_says_so() -> None:
    line = Line("sink", stalls=Stalls(TIMEOUT_S, reports_failed=True))
    line.sticks("task", Act.PUT)
    stall = line.go(TIMEOUT_S + LOOK_S)
    assert stall is not None
    assert stall.is_failed


@pytest.mark.parametrize(("state", "is_told"), [(State.RUNNING, True), (State.RESTARTING, True), (State.DONE, False)])
def test_a_line_that_the_supervisor_does_not_look_after_is_told_as_such(state: State, is_told: bool) -> None:
    line = Line("sink")
    line.row.set(Word.STATE, state)
    line.header[HeaderWord.LEASE_NS] = line.now_ns
    assert stall_of(line.row, line.now_ns + 3 * SECOND_NS) is None
    stall = stall_of(line.row, line.now_ns + 5 * SECOND_NS)
    assert (stall is not None and stall.way == Way.UNWATCHED) == is_told


@pytest.mark.parametrize("number", [0, 15])
def test_a_stage_process_whose_loop_does_not_turn_is_stalled_by_its_name(number: int) -> None:
    line = Line("source", stage_processes=number + 1)
    line.row.stage_set(number, StageWord.PID, 8)
    line.row.stage_set(number, StageWord.ACT, Act.CONVERT)
    line.row.stage_set(number, StageWord.BEAT_NS, line.now_ns)
    assert line.go(TIMEOUT_S) is None
    stall = line.go(2 * LOOK_S)
    assert stall is not None
    assert (stall.bank, stall.way, stall.act) == (f"stage {number}", Way.CALL, Act.CONVERT)
    assert unpack(pack(stall)) == stall
    assert stall.sentence == "convert has not returned"


def test_a_stage_process_that_loads_its_plugins_has_the_time_of_a_start() -> None:
    line = Line("source", stage_processes=1)
    line.row.stage_set(0, StageWord.PID, 8)
    line.row.stage_set(0, StageWord.ACT, Act.LOAD)
    assert line.go(TIMEOUT_S + BROKER_S) is None
    assert line.go(2 * LOOK_S) is not None


def test_a_stage_process_that_is_gone_is_no_stall() -> None:
    line = Line("sink", stage_processes=1)
    line.row.stage_set(0, StageWord.BEAT_NS, line.now_ns)
    assert line.go(3 * TIMEOUT_S) is None
