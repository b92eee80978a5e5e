"""A named step kills the process that reaches it, once for each number, and a step that is gone is an error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import setproctitle

from tests.matrix import launched
from tests.matrix.launched import Strike, wrapped
from tests.matrix.points import POINTS, resolve


@pytest.mark.parametrize("name", POINTS)
def test_every_named_step_is_there(name: str) -> None:
    owner, method, _ = resolve(POINTS[name].target)
    assert callable(getattr(owner, method))


@pytest.mark.parametrize(
    "target", ["engine.pump.delivery:Delivery.sent", "engine.pump.delivery:Delivered.send", "engine.pump.gone:X.y"]
)
def test_a_step_that_is_not_there_any_more_is_an_error(target: str) -> None:
    with pytest.raises((LookupError, ImportError)):
        resolve(target)


def lives(strike: Strike, *, is_after: bool, calls: int, done: Path, title: str = "millrace: numbers/0 pump") -> int:
    """A process that makes so many calls; returns its wait status. Each call that was done leaves a byte."""

    def step() -> None:
        with done.open("a") as file:
            file.write("x")

    pid = os.fork()
    if not pid:
        setproctitle.setproctitle(title)
        struck = wrapped(step, strike, is_after=is_after)
        for _ in range(calls):
            struck()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("is_after", [False, True])
def test_each_life_is_struck_at_its_own_call_and_the_last_one_lives(is_after: bool, tmp_path: Path) -> None:
    marks, done = tmp_path / "marks", tmp_path / "done"
    marks.mkdir()
    strike = Strike("pump", [3, 2], marks)
    ends = [os.waitstatus_to_exitcode(lives(strike, is_after=is_after, calls=5, done=done)) for _ in range(3)]
    assert ends == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert launched.marks(marks) == 2
    assert len(done.read_text()) == (3 + 2 if is_after else 2 + 1) + 5


def test_a_process_of_the_other_bank_is_left_alone(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    title = "millrace: numbers/0 task"
    assert lives(Strike("pump", [1], marks), is_after=False, calls=5, done=tmp_path / "done", title=title) == 0
    assert launched.marks(marks) == 0


def test_a_strike_that_another_task_has_had_is_not_made_again(tmp_path: Path) -> None:
    marks, done = tmp_path / "marks", tmp_path / "done"
    marks.mkdir()
    strike = Strike("pump", [2], marks)
    strike._pid, strike._is_of_bank = os.getpid(), True  # this process is such a task, and began before the mark
    strike.count()
    assert lives(strike, is_after=False, calls=2, done=done) != 0
    strike.count()
    assert launched.marks(marks) == 1
