"""A line that has failed says why, and its policy is carried out: it is started again, tried, or given up."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.api.errors import RetriableError
from engine.config.line import Limits, Restarts
from engine.exits import ExitCode
from engine.mending import Circuit, Kind
from engine.shm.acts import Act
from engine.shm.board import Identity, Phase, Row, Stage, State, Target, Word
from engine.supervisor.cgroups import Cgroups, Place
from engine.supervisor.oom import OomKills
from tests.harness import wait
from tests.unit.supervisor.scripted import (
    Run,
    completes_when_drained,
    ends,
    ends_ready,
    is_told_to_end_until,
    sees_end,
    signal_when,
    waits_for_stop,
    waits_for_term,
)


def test_an_exception_opens_the_circuit_and_a_trial_that_makes_progress_closes_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    restarts = Restarts(1, backoff_ms=1, backoff_ms_max=5, circuit_ms=20, error_max=1)
    told = run.board.add(Identity("told", 0, "sink", "none"))

    def fails_for_three_lives(row: Row) -> int:
        life = row.get(Word.RESTARTS)
        run.board.row(told).set(Word(Word.PARTITIONS + life), row.get(Word.CIRCUIT) + 1)
        if life < 3:
            return ExitCode.ERROR
        row.set(Word.TASK_PHASE, Phase.READY)
        row.count(Stage.STORE, 1)
        wait.until(lambda: row.get(Word.CIRCUIT) == Circuit.CLOSED, "CLOSED", look_every_s=0.005)
        return sees_end(row)

    line = run.line("source", fails_for_three_lives, is_told_to_end_until(3, ends_ready), restarts=restarts)
    assert run.supervise(is_bulk=False) == ExitCode.OK
    assert line.state == State.DONE
    circuits = [run.board.row(told).get(Word(Word.PARTITIONS + life)) - 1 for life in range(4)]
    assert circuits == [Circuit.CLOSED, Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.HALF_OPEN]
    assert caplog.text.count("its circuit is open, it is tried in") == 2


@pytest.mark.parametrize(("bank", "in_hand"), [("task", 14), ("pump", 0)])
def test_only_a_death_of_plugins_leaves_behind_what_was_in_hand(run: Run, bank: str, in_hand: int) -> None:
    """A pump works on no record of the task's: none is a suspect for its end."""
    told = run.board.add(Identity("told", 0, "sink", "none"))

    def dies(row: Row) -> int:
        if not row.get(Word.RESTARTS):
            row.set(Word.HAND_RECORDS, 14)
            os.kill(os.getpid(), signal.SIGKILL)
        run.board.row(told).set(Word.PARTITIONS, row.get(Word.HAND_RECORDS) + 1)
        return completes_when_drained(row)

    def stays(row: Row) -> int:
        return waits_for_term(row) if not row.get(Word.RESTARTS) else waits_for_stop(row)

    banks = (dies, stays) if bank == "task" else (stays, dies)
    run.line("sink", *banks, restarts=Restarts(1, backoff_ms=1, backoff_ms_max=5))
    run.supervise()
    assert run.board.row(told).get(Word.PARTITIONS) - 1 == in_hand


def test_a_line_that_waits_for_its_trial_is_failed_and_stays_so_when_the_run_ends(run: Run) -> None:
    restarts = Restarts(0, circuit_ms=3_600_000, error_max=0)
    line = run.line("sink", lambda row: ExitCode.ERROR, waits_for_term, restarts=restarts)
    other = run.line("sink", waits_for_stop, waits_for_stop, connector="copy")

    def is_waiting(row: Row) -> bool:
        return row.get(Word.STATE) == State.FAILED and row.get(Word.NEXT_START_NS) > 0

    signal_when(lambda: is_waiting(line.row) and other.row.get(Word.PUMP_PHASE) > 0, signal.SIGTERM)
    assert run.supervise(is_bulk=False) == ExitCode.OK
    assert (line.state, line.row.get(Word.ENDED_AS), line.row.get(Word.NEXT_START_NS)) == (State.FAILED, Kind.ERROR, 0)
    assert line.row.get(Word.TARGET) == Target.STOP


def test_a_stop_that_comes_while_a_failed_lines_pump_leaves_its_group_leaves_no_trial_behind(run: Run) -> None:
    other = run.line("sink", waits_for_stop, waits_for_stop, connector="copy")

    def lingers(row: Row) -> int:
        waits_for_term(row)
        row.set(Word.PARTITIONS, 1)
        wait.until(lambda: other.row.get(Word.TARGET) == Target.STOP, "the stop", look_every_s=0.005)
        return ExitCode.OK

    restarts = Restarts(0, circuit_ms=3_600_000, error_max=0)
    line = run.line("sink", lambda row: ExitCode.ERROR, lingers, restarts=restarts)
    signal_when(lambda: line.row.get(Word.PARTITIONS) > 0 and other.row.get(Word.PUMP_PHASE) > 0, signal.SIGTERM)
    assert run.supervise(is_bulk=False) == ExitCode.OK
    assert (line.state, line.row.get(Word.NEXT_START_NS)) == (State.FAILED, 0)


def test_a_line_that_pauses_before_a_restart_is_stopped_by_a_stop_and_has_not_failed(run: Run) -> None:
    restarts = Restarts(3, backoff_ms=3_600_000, backoff_ms_max=3_600_000, error_max=3)
    line = run.line("source", lambda row: ExitCode.ERROR, waits_for_term, restarts=restarts)
    signal_when(lambda: line.row.get(Word.STATE) == State.RESTARTING, signal.SIGTERM)
    assert run.supervise(is_bulk=False) == ExitCode.OK
    assert line.state == State.STOPPED


def test_a_signal_is_told_with_its_meaning_and_the_call_in_which_it_came(run: Run) -> None:
    def touches_what_is_not_its_own(row: Row) -> int:
        row.set(Word.TASK_ACT, Act.PUT)
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
        return ExitCode.OK

    line = run.line("sink", touches_what_is_not_its_own, waits_for_term, restarts=0)
    assert run.supervise() == ExitCode.FAILED
    assert line.row.reason == (
        "task process ended by SIGSEGV (segmentation fault: it touched memory that is not its own, last in put)"
    )


def test_a_kill_by_the_kernel_is_told_as_out_of_memory_and_one_by_a_user_is_not(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    run.oom_kills = OomKills([counter])

    def is_killed(row: Row) -> int:
        row.set(Word.TASK_ACT, Act.POLL)
        if not row.get(Word.RESTARTS):
            counter.write_text("oom_kill 1\n")
        os.kill(os.getpid(), signal.SIGKILL)
        return ExitCode.OK

    line = run.line("sink", is_killed, waits_for_term, restarts=1)
    assert run.supervise() == ExitCode.FAILED
    assert "task process ended by SIGKILL (out of memory: the kernel has killed it, last in poll)" in caplog.text
    assert line.row.reason == "task process ended by SIGKILL (after 1 restarts without progress)"


def test_a_kill_in_its_own_cgroup_is_told_with_the_limit_if_that_was_reached(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run.cgroups = Cgroups(Place(tmp_path, 2))
    run.limits = Limits(memory_bytes=1 << 30)

    def is_killed(row: Row) -> int:
        row.set(Word.TASK_ACT, Act.PUT)
        life = row.get(Word.RESTARTS)
        own = tmp_path / f"millrace-{os.getppid()}-{life}"
        (own / "memory.events").write_text(f"oom {1 - life}\noom_kill 1\n")
        os.kill(os.getpid(), signal.SIGKILL)
        return ExitCode.OK

    line = run.line("sink", is_killed, waits_for_term, restarts=1)
    assert run.supervise() == ExitCode.FAILED
    oom = "task process ended by SIGKILL (out of memory: the kernel has killed it"
    assert f"{oom}, task.memory.max=1073741824, last in put); starting it again" in caplog.text
    assert line.row.reason == f"{oom}, last in put) (after 1 restarts without progress)"


def test_a_sink_without_restarts_left_is_told_to_leave_its_group(run: Run) -> None:
    told = run.board.add(Identity("told", 0, "sink", "none"))

    def crashes(row: Row) -> int:
        wait.until(lambda: row.get(Word.PUMP_PHASE) == Phase.READY, "the pump", look_every_s=0.005)
        return ExitCode.BUG

    def notes_what_it_is_told(row: Row) -> int:
        waits_for_term(row)
        life = row.get(Word.RESTARTS)
        run.board.row(told).set(Word(Word.PARTITIONS + life), row.get(Word.TARGET) + 1)
        assert row.get(Word.FRUITLESS) == life, "by which a pump that fails itself knows it"
        return ExitCode.OK

    line = run.line("sink", crashes, notes_what_it_is_told, restarts=2)
    assert run.supervise(is_bulk=False) == ExitCode.FAILED
    assert line.row.reason == "task process ended with exit code 70 (after 2 restarts without progress)"
    targets = [run.board.row(told).get(Word(Word.PARTITIONS + life)) - 1 for life in range(3)]
    assert targets == [Target.RUN, Target.RUN, Target.STOP]


@pytest.mark.parametrize("kind", ["source", "sink"])
def test_what_is_away_outside_uses_up_no_restarts(kind: str, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    def retries(row: Row) -> int:
        if row.get(Word.RESTARTS) < 12:
            raise RetriableError("the database is away")
        return sees_end(row) if kind == "source" else completes_when_drained(row)

    pump = ends if kind == "source" else completes_when_drained
    line = run.line(kind, retries, is_told_to_end_until(12, pump), restarts=2)
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.get(Word.RESTARTS) == 12
    assert caplog.text.count("the database is away") == 1, "an outage is told once a minute"


def test_deaths_are_counted_though_an_outage_lies_between_them(run: Run) -> None:
    def retries_or_dies(row: Row) -> int:
        if row.get(Word.RESTARTS) % 2:
            raise RetriableError("the database is away")
        os.kill(os.getpid(), signal.SIGKILL)
        return ExitCode.OK

    line = run.line("source", retries_or_dies, waits_for_term, restarts=2)
    assert run.supervise() == ExitCode.FAILED
    assert line.row.get(Word.RESTARTS) == 4
    assert "2 restarts without progress" in line.row.reason
