"""A line restarts as a whole, gives up where a restart would not help, and stops by a ladder that ends in KILL.

The banks are real processes that follow a script; the rest is the real supervisor.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.api.errors import ConnectError
from engine.exits import ExitCode
from engine.shm.board import Phase, Row, State, Word
from engine.shm.channel import Channel
from engine.supervisor.fork import fork
from tests.harness import wait
from tests.unit.supervisor.scripted import (
    Run,
    completes_when_drained,
    dies_once,
    ends,
    fails,
    is_stuck,
    sees_end,
    sees_end_and_is_stuck,
    sees_end_slowly,
    signal_when_ready,
    waits_for_stop,
    waits_for_term,
)

PR_SET_CHILD_SUBREAPER = 36


def test_a_bulk_run_ends_when_its_sources_have_ended_and_its_sinks_are_complete(run: Run) -> None:
    source = run.line("source", sees_end, ends)
    sink = run.line("sink", completes_when_drained, completes_when_drained, connector="copy")
    assert run.supervise() == ExitCode.OK
    assert (source.state, sink.state) == (State.DONE, State.DONE)


def test_a_killed_bank_restarts_its_whole_line(run: Run) -> None:
    line = run.line("source", sees_end, dies_once(2, ends))
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.get(Word.RESTARTS) == 2
    assert run.forked == ["pump", "task"] * 3
    assert "SIGKILL" in line.row.reason


def test_restarts_without_progress_come_to_an_end(run: Run) -> None:
    line = run.line("source", sees_end, dies_once(100, ends), restarts=2)
    assert run.supervise() == ExitCode.FAILED
    assert line.row.get(Word.RESTARTS) == 2
    assert "2 restarts without progress" in line.row.reason


def test_a_failure_that_a_restart_would_not_mend_is_final_and_leaves_the_others_alone(run: Run) -> None:
    bad = run.line("source", fails, waits_for_stop)
    good = run.line("sink", completes_when_drained, completes_when_drained, connector="copy")
    assert run.supervise() == ExitCode.FAILED
    assert (bad.state, good.state) == (State.FAILED, State.DONE)
    assert bad.row.get(Word.RESTARTS) == 0


def test_a_source_that_ended_without_being_asked_to_starts_again(run: Run) -> None:
    def is_told_to_end(row: Row) -> int:
        return sees_end(row) if row.get(Word.RESTARTS) else ExitCode.OK

    def keeps_what_is_there(row: Row) -> int:
        return ends(row) if row.get(Word.RESTARTS) else waits_for_term(row)

    line = run.line("source", is_told_to_end, keeps_what_is_there)
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.get(Word.RESTARTS) == 1
    assert line.row.reason == "ended without being asked to"


@pytest.mark.slow
def test_a_task_that_is_slow_to_stop_after_its_end_has_the_time_to_stop(run: Run) -> None:
    line = run.line("source", sees_end_slowly, ends, stop_timeout=10.0)
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.reason == ""
    assert line.row.get(Word.RESTARTS) == 0


@pytest.mark.slow
def test_a_task_that_is_killed_after_all_was_done_costs_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    line = run.line("source", sees_end_and_is_stuck, ends)
    assert run.supervise() == ExitCode.OK
    assert line.state == State.DONE
    assert line.row.get(Word.RESTARTS) == 0
    assert "task process ended by SIGKILL after 0.2 s of waiting for it to stop; all it had" in caplog.text


def test_why_a_line_failed_is_told_without_secrets(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    def tells_all(row: Row) -> int:
        raise ConnectError("no user of this name: jdbc://me:hunter22@db")

    line = run.line("source", tells_all, waits_for_stop, secrets=("hunter22", "x"))
    assert run.supervise() == ExitCode.FAILED
    assert line.row.reason == "no user of this name: jdbc://me:[hidden]@db"
    assert "hunter22" not in caplog.text


@pytest.mark.parametrize("refused", ["pump", "task"])
def test_a_line_that_cannot_be_forked_is_tried_again_and_costs_the_others_nothing(refused: str, run: Run) -> None:
    run.refusals = [refused] * 2
    line = run.line("source", sees_end, ends)
    other = run.line("sink", completes_when_drained, completes_when_drained, connector="copy")
    assert run.supervise() == ExitCode.OK
    assert (line.state, other.state) == (State.DONE, State.DONE)
    assert line.row.get(Word.RESTARTS) + other.row.get(Word.RESTARTS) == 2
    assert line.row.reason == "cannot fork: Resource temporarily unavailable"


def test_a_line_that_can_never_be_forked_fails(run: Run) -> None:
    run.refusals = ["pump"] * 4
    line = run.line("source", sees_end, ends)
    assert run.supervise() == ExitCode.FAILED
    assert line.row.reason.startswith("cannot fork: ")
    assert not run.forked


@pytest.mark.parametrize("left", range(3))
def test_a_channel_for_which_too_few_descriptors_are_left_takes_none(left: int) -> None:
    def limited(say: object) -> int:
        names = list(map(int, os.listdir("/proc/self/fd")))
        highest = max(names)
        for free in set(range(highest)).difference(names):
            os.dup2(0, free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + left, highest + left))
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                Channel.create("line", 65536)
        for _ in range(left):
            os.dup(0)
        return ExitCode.OK

    child = fork("a child", limited, ())
    _, status = os.waitpid(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == ExitCode.OK, child.last_words()


@pytest.mark.parametrize(
    ("is_bulk", "code"),
    [
        pytest.param(True, ExitCode.TERMINATED, id="a-job-has-work-left"),
        pytest.param(False, ExitCode.OK, id="a-worker-has-done-all-that-was-asked"),
    ],
)
def test_a_signal_stops_all_lines_in_order(run: Run, is_bulk: bool, code: ExitCode) -> None:
    lines = [run.line("source", waits_for_stop, waits_for_stop), run.line("sink", waits_for_stop, waits_for_stop)]
    signal_when_ready(lines, signal.SIGTERM)
    assert run.supervise(is_bulk=is_bulk) == code
    assert [line.state for line in lines] == [State.STOPPED, State.STOPPED]


def test_a_stuck_task_process_is_killed_after_its_deadline(run: Run) -> None:
    line = run.line("sink", is_stuck, waits_for_stop)
    line.row.set(Word.TASK_PHASE, Phase.READY)
    signal_when_ready([line], signal.SIGINT)
    assert run.supervise(is_bulk=False) == ExitCode.INTERRUPTED
    assert line.state == State.STOPPED
    assert "SIGKILL" in line.row.reason


def test_a_process_whose_parent_has_ended_is_not_left_a_zombie_by_the_first_process_of_a_container(
    run: Run, tmp_path: Path
) -> None:
    noted = tmp_path / "orphan"

    def leaves_an_orphan(row: Row) -> int:
        own = os.getpid()
        pid = os.fork()
        if not pid:
            wait.until(lambda: os.getppid() != own, "its parent's end", look_every_s=0.005)
            os._exit(0)
        noted.write_text(str(pid))
        return ends(row)

    def sees_it_gone(row: Row) -> int:
        wait.until(noted.exists, "the orphan", look_every_s=0.005)
        wait.until(lambda: not Path(f"/proc/{noted.read_text()}").exists(), "its end", look_every_s=0.005)
        return ends(row)

    run.line("source", sees_end, leaves_an_orphan)
    run.line("source", sees_end, sees_it_gone, connector="others")
    with _adopting():
        assert run.supervise() == ExitCode.OK


@contextmanager
def _adopting() -> Iterator[None]:
    """This process gets orphans of its descendants, as process 1 gets all."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
