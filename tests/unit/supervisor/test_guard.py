"""A line that is stuck tells where, whatever it is stuck in; after a time it is ended, and comes back.

The processes are real, and what they are stuck in too; they stand for a sink's task in a put.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest
from msgspec.structs import replace

from engine.clock import SystemClock
from engine.config.line import LineSpec, Restarts, Stalls
from engine.exits import ExitCode
from engine.shm import segment
from engine.shm.acts import Act
from engine.shm.board import Board, Identity, Phase, Row, State, Word, board_bytes
from engine.shm.channel import Channel
from engine.shm.stalls import Way, unpack
from engine.supervisor.fork import Child, fork
from engine.supervisor.guard import innermost
from engine.supervisor.line import Line
from engine.supervisor.pacer import Pacer
from tests.harness import wait
from tests.unit.supervisor.specs import spec

pytestmark = pytest.mark.slow

Script = Callable[[], object]
TIMEOUT_S = 0.3
KILL_S = 1.0
EXPONENTIAL = "a" * 60


def spins() -> None:
    while True:
        pass


def waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def waits_for_a_socket() -> None:
    ours, _theirs = socket.socketpair()
    ours.recv(1)


def sleeps_in_c() -> None:
    while True:
        ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock; a signal ends it, as it says in its manual


def matches_for_ever() -> None:
    re.match("(a+)+$", EXPONENTIAL + "b")


def masks_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.sigwait([signal.SIGTERM])


STUCK = [
    spins,
    sleeps_in_c,
    matches_for_ever,
    pytest.param(waits_for_a_lock, marks=pytest.mark.long),
    pytest.param(waits_for_a_socket, marks=pytest.mark.long),
]


class Run:
    """A supervisor's line, ticked by the test, and its scripts."""

    def __init__(self) -> None:
        self.descriptor = segment.create("board", board_bytes(1))
        self.board = Board(self.descriptor)
        self.board.begin(1)
        self.row: Row = self.board.row(self.board.add(Identity("orders", 0, "sink", "none")))
        self.line: Line

    def start(self, script: Script, *, kill_s: float = 0.0, keep: Sequence[int] = ()) -> Line:
        def fork_bank(_: LineSpec, index: int, channel: Channel, bank: str) -> Child:
            return fork(bank, lambda _: self.play(bank, script), [self.descriptor, *channel.descriptors(), *keep])

        one = replace(spec("sink"), restarts=Restarts(3, 1, 5), stalls=Stalls(TIMEOUT_S, kill_s))
        self.line = Line(one, 0, self.row, fork_bank, SystemClock(), Pacer(Random(1)))
        self.line.start()
        return self.line

    def play(self, bank: str, script: Script) -> int:
        self.row.set(Word.TASK_PHASE if bank == "task" else Word.PUMP_PHASE, Phase.READY)
        if bank == "task":
            self.row.set(Word.TASK_ACT, Act.PUT)
            script()
            return ExitCode.OK
        signal.pause()  # a pump has more time than this test
        return ExitCode.OK

    def tick(self) -> None:
        """As the supervisor's loop does."""
        for pid in self.line.pids():
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.line.reaped(pid, status)
        self.line.tick()

    def until(self, condition: Callable[[], object], what: str) -> None:
        def look() -> object:
            self.tick()
            return condition()

        wait.until(look, what)


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    for pid in made.line.pids():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    made.line.close()
    os.close(made.descriptor)


@pytest.mark.parametrize("script", STUCK, ids=lambda one: one.__name__)
def test_the_board_has_the_stack_of_who_is_stuck(script: Script, run: Run) -> None:
    line = run.start(script)
    run.until(lambda: script.__name__ in run.row.stack, "the stack")
    stall = unpack(run.row.get(Word.STALL))
    assert stall is not None
    assert stall[:3] == (Way.CALL, "task", Act.PUT)
    assert line.state == State.RUNNING
    assert run.row.get(Word.STALLS) == 1
    assert "test_guard.py" in innermost(run.row.stack) or script is matches_for_ever


def test_the_log_has_it_once_and_tells_when_the_line_goes_on(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "millrace.supervisor")
    ours, theirs = socket.socketpair()

    def waits_and_goes_on() -> None:
        theirs.recv(1)
        while True:
            run.row.set(Word.TASK_BEAT_NS, SystemClock().monotonic_ns())
            signal.sigtimedwait([signal.SIGTERM], 0.01)

    run.start(waits_and_goes_on, keep=[theirs.fileno()])
    run.until(lambda: "is stalled" in caplog.text, "the log")
    assert "orders/0 is stalled: put has not returned for " in caplog.text
    assert "waits_and_goes_on" in caplog.text
    ours.send(b"x")
    run.until(lambda: unpack(run.row.get(Word.STALL)) is None, "its end")
    assert "orders/0 goes on after " in caplog.text
    assert caplog.text.count("is stalled") == 1
    assert not run.row.stack
    ours.close()
    theirs.close()


def test_who_cannot_tell_its_stack_is_told_without_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.start(masks_all_signals)
    run.until(lambda: "is stalled" in caplog.text, "the log")
    assert not run.row.stack


def test_who_dies_while_its_stack_is_awaited_is_not_asked_any_more(run: Run) -> None:
    run.start(masks_all_signals)
    run.until(lambda: run.row.get(Word.STALLS), "a stall")
    os.kill(run.row.get(Word.TASK_PID), signal.SIGKILL)
    run.until(lambda: run.row.get(Word.RESTARTS), "a restart")
    assert "SIGKILL" in run.row.reason


def test_a_stall_that_lasts_is_ended_and_the_line_starts_again(run: Run) -> None:
    line = run.start(spins, kill_s=KILL_S)
    run.until(lambda: run.row.get(Word.RESTARTS), "a restart")
    told = r"put has not returned for 1 s \(at File .*test_guard\.py\", line \d+ in spins\); task\.stall\.kill\.ms=1000"
    assert re.match(told, run.row.reason), run.row.reason
    run.until(lambda: line.state == State.RUNNING, "its next life")
    assert unpack(run.row.get(Word.STALL)) is None


def test_a_crash_leaves_its_stack_in_the_log(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    def crashes() -> None:
        ctypes.string_at(0)

    run.start(crashes)
    run.until(lambda: run.row.get(Word.RESTARTS), "a restart")
    assert "orders/0: its task process has crashed here:" in caplog.text
    assert "Segmentation fault" in caplog.text
    assert "crashes" in caplog.text
    assert "SIGSEGV" in run.row.reason
