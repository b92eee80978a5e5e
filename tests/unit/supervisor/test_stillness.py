"""A line whose processes stand still beyond its lease is ended and started again, whoever stood still with them.

The children are real processes; what happens to them is scripted.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest

from engine.clock import SystemClock
from engine.exits import ExitCode
from engine.shm.board import HeaderWord, Row, State, Word
from engine.shm.lease import is_over
from engine.supervisor.line import Line
from tests.unit.supervisor.scripted import Run, Script, ends, sees_end

SECOND_NS = 1_000_000_000
LEASE_S = 0.1


class JumpingClock(SystemClock):
    """The machine's, and as much later as the test says."""

    def __init__(self) -> None:
        self.later_ns = 0
        self.jumps_when: Callable[[], bool] = lambda: False  # by 10 s, once

    def go_on(self, later_ns: int) -> None:
        self.later_ns += later_ns

    def monotonic_ns(self) -> int:
        if not self.later_ns and self.jumps_when():
            self.later_ns = 10 * SECOND_NS
        return super().monotonic_ns() + self.later_ns


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def run(clock: JumpingClock) -> Iterator[Run]:
    with Run(clock) as made:
        yield made


def source(run: Run, task: Script, pump: Script, lease_s: float = LEASE_S) -> Line:
    return run.line("source", task, pump, connector=f"orders-{len(run.lines)}", lease=lease_s)


def stands_still_once(then: Script) -> Script:
    def bank(row: Row) -> int:
        if not row.get(Word.RESTARTS):
            os.kill(os.getpid(), signal.SIGSTOP)
        return then(row)

    return bank


def is_stuck(row: Row) -> int:
    while True:
        signal.pause()


@pytest.mark.slow
@pytest.mark.parametrize("bank", ["task", "pump"])
def test_a_process_that_a_signal_holds_beyond_the_lease_is_killed_and_its_line_started_again(
    bank: str, run: Run
) -> None:
    still: dict[str, Script] = {"task": sees_end, "pump": ends}
    still[bank] = stands_still_once(still[bank])
    if bank == "task":
        still["pump"] = lambda row: ends(row) if row.get(Word.RESTARTS) else is_stuck(row)
    line = source(run, still["task"], still["pump"])
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.get(Word.RESTARTS) == 1
    assert re.search(rf"{bank} process stood still for 0\.\d s, the lease is 0\.1 s", line.row.reason)


def test_a_process_that_goes_on_within_the_lease_is_left_alone(run: Run, clock: JumpingClock) -> None:
    line = source(run, is_stuck, is_stuck)
    line.start()
    pid = next(iter(line.pids()))
    line.held(pid, is_held=True)
    clock.later_ns += int(0.8 * LEASE_S * SECOND_NS)
    line.held(pid, is_held=False)
    clock.later_ns += SECOND_NS
    line.tick()
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)


@pytest.mark.slow
def test_all_lines_that_stood_still_with_the_supervisor_beyond_their_lease_start_again(
    run: Run, clock: JumpingClock
) -> None:
    short = source(run, sees_end, lambda row: ends(row) if row.get(Word.RESTARTS) else is_stuck(row), lease_s=6.0)
    long = source(run, sees_end, ends, lease_s=60.0)
    clock.jumps_when = lambda: bool(run.board.header[HeaderWord.LEASE_NS] and short.pids())
    assert run.supervise() == ExitCode.OK
    assert (short.row.get(Word.RESTARTS), long.row.get(Word.RESTARTS)) == (1, 0)
    assert re.search(r"the whole worker stood still for 10\.\d s, the lease is 6 s", short.row.reason)


def test_a_start_of_many_lines_is_no_stillness(run: Run, clock: JumpingClock, caplog: pytest.LogCaptureFixture) -> None:
    lines = [source(run, sees_end, ends, lease_s=9.0) for _ in range(3)]
    run.on_fork = lambda: clock.go_on(4 * SECOND_NS)
    assert run.supervise() == ExitCode.OK
    assert [line.row.reason for line in lines] == ["", "", ""]
    assert "stood still" not in caplog.text


def test_the_lease_is_renewed_in_every_turn_of_the_loop(run: Run) -> None:
    before_ns = run.clock.monotonic_ns()
    source(run, sees_end, ends)
    assert run.supervise() == ExitCode.OK
    assert before_ns < run.board.header[HeaderWord.LEASE_NS] <= run.clock.monotonic_ns()


@pytest.mark.parametrize(
    ("renewed_ns", "now_ns", "length_ns", "is_it"),
    [(100, 150, 50, False), (100, 151, 50, True), (0, 10**12, 50, False)],
)
def test_a_lease_is_over_when_more_than_its_length_has_passed(
    renewed_ns: int, now_ns: int, length_ns: int, is_it: bool
) -> None:
    assert is_over(renewed_ns, now_ns, length_ns) == is_it
