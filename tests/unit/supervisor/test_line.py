"""A line restarts as a whole, gives up where a restart would not help, and stops by a ladder that ends in KILL.

The banks are real processes that follow a script; the rest is the real supervisor.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from engine.api.errors import ConnectError, RetriableError
from engine.clock import SystemClock
from engine.config.line import LineSpec, Restarts, Timing
from engine.exits import ExitCode
from engine.mending import Circuit, Kind
from engine.shm import segment
from engine.shm.acts import Act
from engine.shm.board import Board, Identity, Phase, Row, Stage, State, Target, Word, board_bytes
from engine.shm.channel import Channel
from engine.supervisor.fork import Child, fork
from engine.supervisor.line import Line
from engine.supervisor.loop import Supervisor
from engine.supervisor.pacer import Pacer
from tests.harness import wait
from tests.unit.supervisor.specs import spec

PR_SET_CHILD_SUBREAPER = 36

Script = Callable[[Row], int]


class Run:
    """A supervisor over lines whose banks follow scripts, stepped by the test."""

    def __init__(self) -> None:
        self.descriptor = segment.create("board", board_bytes(8))
        self.board = Board(self.descriptor)
        self.board.begin(1)
        self.pacer = Pacer(Random(1))
        self.lines: list[Line] = []
        self.forked: list[str] = []
        self.refusals: list[str] = []  # banks that cannot be forked, each once

    def line(
        self,
        kind: str,
        task: Script,
        pump: Script,
        *,
        connector: str = "orders",
        restarts: int | Restarts = 3,
        stop_timeout: float = 0.2,
        secrets: tuple[str, ...] = (),
    ) -> Line:
        scripts = {"task": task, "pump": pump}
        index = self.board.add(Identity(connector, 0, kind, "none"))
        row = self.board.row(index)

        def fork_bank(spec: LineSpec, index: int, channel: Channel, bank: str) -> Child:
            if self.refusals and bank == self.refusals[0]:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), self.refusals.pop(0))
            self.forked.append(bank)
            return fork(bank, lambda say: self.play(scripts[bank], row, say), [self.descriptor, *channel.descriptors()])

        restarting = replace(
            spec(kind, connector),
            restarts=Restarts(restarts, backoff_ms=1, backoff_ms_max=5) if isinstance(restarts, int) else restarts,
            timing=Timing(stop_timeout=stop_timeout),
            secrets=secrets,
        )
        line = Line(restarting, index, row, fork_bank, SystemClock(), self.pacer)
        self.lines.append(line)
        return line

    @staticmethod
    def play(script: Script, row: Row, say: Callable[[str], None]) -> int:
        try:
            return script(row)
        except ConnectError as error:
            say(str(error))
            return ExitCode.RETRY if isinstance(error, RetriableError) else ExitCode.FAILED

    def supervise(self, *, is_bulk: bool = True) -> ExitCode:
        return Supervisor(self.board, self, (), SystemClock(), is_bulk=is_bulk).run()


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    for line in made.lines:
        for pid in line.pids():
            os.kill(pid, signal.SIGKILL)
    os.close(made.descriptor)


def ends(row: Row) -> int:
    """A source's pump, when all is stored."""
    row.set(Word.PUMP_PHASE, Phase.ENDED)
    return ExitCode.OK


def sees_end(row: Row) -> int:
    """A source's task, which is told of it."""
    row.set(Word.TASK_PHASE, Phase.ENDED)
    wait.until(lambda: row.get(Word.PUMP_PHASE) == Phase.ENDED, "ENDED", look_every_s=0.005)
    return ExitCode.OK


def ends_ready(row: Row) -> int:
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TASK_PHASE) == Phase.ENDED, "ENDED", look_every_s=0.005)
    return ends(row)


def sees_end_slowly(row: Row) -> int:
    signal.signal(signal.SIGTERM, lambda *_: None)
    sees_end(row)
    time.sleep(2.3)  # slower than the time a task process has after TERM
    return ExitCode.OK


def sees_end_and_is_stuck(row: Row) -> int:
    sees_end(row)
    return is_stuck(row)


def waits_for_stop(row: Row) -> int:
    row.set(Word.TASK_PHASE, Phase.READY)
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TARGET) == Target.STOP, "STOP", look_every_s=0.005)
    return ExitCode.OK


def waits_for_term(row: Row) -> int:
    terms: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: terms.append(number))
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: bool(terms), "TERM", look_every_s=0.005)
    return ExitCode.OK


def completes_when_drained(row: Row) -> int:
    row.set(Word.TASK_PHASE, Phase.READY)
    row.set(Word.PUMP_PHASE, Phase.READY)
    wait.until(lambda: row.get(Word.TARGET) != Target.RUN, "DRAIN", look_every_s=0.005)
    row.set(Word.PUMP_PHASE, Phase.COMPLETE)
    wait.until(lambda: row.get(Word.TARGET) == Target.STOP, "STOP", look_every_s=0.005)
    return ExitCode.OK


def fails(row: Row) -> int:
    return ExitCode.FAILED


def is_stuck(row: Row) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def is_told_to_end_until(restarts: int, then: Script) -> Script:
    return lambda row: (then if row.get(Word.RESTARTS) >= restarts else waits_for_term)(row)


def dies_once(counter: int, then: Script) -> Script:
    def bank(row: Row) -> int:
        if row.get(Word.RESTARTS) < counter:
            os.kill(os.getpid(), signal.SIGKILL)
        return then(row)

    return bank


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


def test_a_line_that_waits_for_its_trial_is_failed_and_stays_so_when_the_run_ends(run: Run) -> None:
    restarts = Restarts(0, circuit_ms=3_600_000, error_max=0)
    line = run.line("sink", lambda row: ExitCode.ERROR, waits_for_term, restarts=restarts)
    other = run.line("sink", waits_for_stop, waits_for_stop, connector="copy")

    def is_waiting(row: Row) -> bool:
        return row.get(Word.STATE) == State.FAILED and row.get(Word.NEXT_START_NS) > 0

    _signal_when(lambda: is_waiting(line.row) and other.row.get(Word.PUMP_PHASE) > 0, signal.SIGTERM)
    assert run.supervise(is_bulk=False) == ExitCode.OK
    assert (line.state, line.row.get(Word.ENDED_AS), line.row.get(Word.NEXT_START_NS)) == (State.FAILED, Kind.ERROR, 0)
    assert line.row.get(Word.TARGET) == Target.STOP


def test_a_line_that_pauses_before_a_restart_is_stopped_by_a_stop_and_has_not_failed(run: Run) -> None:
    restarts = Restarts(3, backoff_ms=3_600_000, backoff_ms_max=3_600_000, error_max=3)
    line = run.line("source", lambda row: ExitCode.ERROR, waits_for_term, restarts=restarts)
    _signal_when(lambda: line.row.get(Word.STATE) == State.RESTARTING, signal.SIGTERM)
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


@pytest.mark.parametrize(
    ("is_bulk", "code"),
    [
        pytest.param(True, ExitCode.TERMINATED, id="a-job-has-work-left"),
        pytest.param(False, ExitCode.OK, id="a-worker-has-done-all-that-was-asked"),
    ],
)
def test_a_signal_stops_all_lines_in_order(run: Run, is_bulk: bool, code: ExitCode) -> None:
    lines = [run.line("source", waits_for_stop, waits_for_stop), run.line("sink", waits_for_stop, waits_for_stop)]
    _signal_when_ready(lines, signal.SIGTERM)
    assert run.supervise(is_bulk=is_bulk) == code
    assert [line.state for line in lines] == [State.STOPPED, State.STOPPED]


def test_a_stuck_task_process_is_killed_after_its_deadline(run: Run) -> None:
    line = run.line("sink", is_stuck, waits_for_stop)
    line.row.set(Word.TASK_PHASE, Phase.READY)
    _signal_when_ready([line], signal.SIGINT)
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


def _signal_when_ready(lines: list[Line], number: signal.Signals) -> None:
    """A child that signals this process once all lines are up, as a user would."""
    _signal_when(lambda: all(line.row.get(Word.PUMP_PHASE) for line in lines), number)


def _signal_when(is_time: Callable[[], bool], number: signal.Signals) -> None:
    parent = os.getpid()

    def main(say: object) -> int:
        wait.until(is_time, "the time for a signal", look_every_s=0.005)
        os.kill(parent, number)
        return ExitCode.OK

    fork("a user", main, _descriptors())


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]
