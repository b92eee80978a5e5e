"""Stage processes live and die with their line: one that ends restarts the line, and none outlives its task."""

from __future__ import annotations

import os
import signal

from engine.api.errors import ConnectError
from engine.exits import ExitCode
from engine.shm.board import Phase, Row, StageWord, State, Target, Word
from engine.shm.stalls import Way, unpack
from tests.harness import wait
from tests.unit.supervisor.scripted import (
    Run,
    completes_when_drained,
    dies_once,
    ends,
    fails,
    is_stuck,
    sees_end,
    signal_when_ready,
    waits_for_stop,
    waits_for_term,
)


def works(_: Row) -> int:
    terms: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: terms.append(number))
    wait.until(lambda: bool(terms), "TERM", look_every_s=0.005)
    return ExitCode.OK


def test_stage_processes_are_forked_with_their_line_and_end_with_its_task(run: Run) -> None:
    source = run.staged_line("source", sees_end, ends, works, works)
    sink = run.staged_line("sink", completes_when_drained, completes_when_drained, works, connector="copy")
    assert run.supervise() == ExitCode.OK
    assert (source.state, sink.state) == (State.DONE, State.DONE)
    assert run.forked == ["pump", "task", "stage 0", "stage 1", "pump", "task", "stage 0"]
    assert [source.row.get(Word.RESTARTS), sink.row.get(Word.RESTARTS)] == [0, 0]
    assert [source.row.stage_get(number, StageWord.PID) for number in (0, 1)] == [0, 0]


def test_a_killed_stage_process_restarts_the_whole_line_and_is_named(run: Run) -> None:
    def ends_after_restart(row: Row) -> int:
        return ends(row) if row.get(Word.RESTARTS) else waits_for_term(row)

    def sees_end_after_restart(row: Row) -> int:
        return sees_end(row) if row.get(Word.RESTARTS) else waits_for_term(row)

    line = run.staged_line("source", sees_end_after_restart, ends_after_restart, works, dies_once(1, works))
    assert run.supervise() == ExitCode.OK
    assert line.row.get(Word.RESTARTS) == 1
    assert line.row.reason == "stage 1 process ended by SIGKILL"
    assert run.forked == ["pump", "task", "stage 0", "stage 1"] * 2


def test_a_stage_process_that_ends_by_itself_was_not_asked_to(run: Run) -> None:
    def ends_once(row: Row) -> int:
        return works(row) if row.get(Word.RESTARTS) else ExitCode.OK

    def goes_on(row: Row) -> int:
        return completes_when_drained(row) if row.get(Word.RESTARTS) else waits_for_term(row)

    line = run.staged_line("sink", goes_on, goes_on, ends_once)
    assert run.supervise() == ExitCode.OK
    assert line.row.get(Word.RESTARTS) == 1
    assert "without being asked" in line.row.reason


def test_what_the_task_fails_with_is_the_reason_whatever_its_stage_processes_do(run: Run) -> None:
    line = run.staged_line("source", fails, waits_for_term, works, works)
    assert run.supervise() == ExitCode.FAILED
    assert line.state == State.FAILED
    assert "stage" not in line.row.reason


def test_a_stage_process_that_hangs_at_the_end_is_killed_with_its_task_gone(run: Run) -> None:
    line = run.staged_line("source", waits_for_stop, waits_for_stop, is_stuck)
    signal_when_ready([line], signal.SIGINT)
    assert run.supervise() == ExitCode.INTERRUPTED
    assert line.state == State.STOPPED


def test_a_line_that_cannot_fork_a_stage_process_starts_again(run: Run) -> None:
    run.refusals = ["stage 0"]
    line = run.staged_line("source", sees_end, ends, works)
    assert run.supervise() == ExitCode.OK
    assert line.row.get(Word.RESTARTS) == 1
    assert "cannot fork" in line.row.reason


def test_a_stage_process_that_a_signal_holds_still_is_told_by_its_name(run: Run) -> None:
    def holds_its_breath(row: Row) -> int:
        if not row.get(Word.RESTARTS):
            os.kill(os.getpid(), signal.SIGSTOP)
        return works(row)

    def looks(row: Row) -> int:
        row.set(Word.TASK_PHASE, Phase.READY)
        stall = wait.until(lambda: unpack(row.get(Word.STALL)), "a stall", look_every_s=0.005)
        assert stall is not None
        os.kill(row.stage_get(0, StageWord.PID), signal.SIGCONT)
        if (stall.bank, stall.way) != ("stage 0", Way.HELD):
            raise ConnectError(f"{stall}")
        return completes_when_drained(row)

    def completes_later(row: Row) -> int:
        row.set(Word.PUMP_PHASE, Phase.READY)
        wait.until(lambda: row.get(Word.STALLS), "a stall", look_every_s=0.005)
        return completes_when_drained(row)

    line = run.staged_line("sink", looks, completes_later, holds_its_breath)
    assert run.supervise() == ExitCode.OK, line.row.reason
    assert line.row.get(Word.STALLS) == 1
    assert line.row.get(Word.TARGET) == Target.STOP
