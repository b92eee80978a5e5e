"""The loop that steps a bank."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from engine import bank
from engine.bank import Stopper, serve
from engine.exits import ExitCode
from engine.shm.channel import Bell
from tests.harness.banks import no_levels

#: A step that does not look at its parent.
STEP_SECONDS = 20.0


class NotedBell(Bell):
    """Notes which waits it has ended."""

    def __init__(self) -> None:
        super().__init__(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self.was_rung: list[bool] = []

    def wait(self, seconds: float) -> bool:
        self.was_rung.append(super().wait(seconds))
        return self.was_rung[-1]


class Idle:
    """Has nothing to do, and gets TERM when that has just been looked for."""

    failure = None
    is_over = False

    def start(self) -> None:
        pass

    def step(self) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 60.0

    def ask_to_stop(self) -> None:
        self.is_over = True

    def fail(self, error: Exception) -> None:
        raise error

    def stop(self) -> None:
        pass


class Leaving(Idle):
    """Its plugin calls exit."""

    is_stopped = False

    def step(self) -> float:
        sys.exit(3)

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def stopper() -> Iterator[Stopper]:
    before = signal.getsignal(signal.SIGTERM)
    yield Stopper(os.getppid())
    signal.signal(signal.SIGTERM, before)


def test_term_between_a_look_and_the_sleep_after_it_ends_that_sleep(stopper: Stopper) -> None:
    bell = NotedBell()
    assert serve(Idle, bell, stopper, lambda _: None, lambda: None, no_levels()) == ExitCode.OK
    assert bell.was_rung == [True]
    os.close(bell.descriptor)


def test_an_exit_of_a_plugin_is_a_crash_which_says_what_it_was(stopper: Stopper) -> None:
    bell, leaving = NotedBell(), Leaving()
    said: list[str] = []
    assert serve(lambda: leaving, bell, stopper, said.append, lambda: None, no_levels()) == ExitCode.CRASHED
    assert said == ["a plugin has called exit(3)"]
    assert not leaving.is_stopped
    os.close(bell.descriptor)


def test_a_process_whose_parent_is_gone_ends_in_the_middle_of_a_step_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bank, "ORPHAN_SECONDS", 1)
    pid = os.fork()
    if pid == 0:
        try:
            Stopper(parent=os.getpid())  # which nobody's parent is
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + STEP_SECONDS
            while time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGALRM
