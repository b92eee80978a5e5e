"""A child has only what it was given, says why it ended, and dies with its parent."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from engine.exits import ExitCode
from engine.supervisor.fork import Child, fork
from tests.harness import wait


def ended(child: Child) -> int:
    _, status = os.waitpid(child.pid, 0)
    return os.waitstatus_to_exitcode(status)


def test_the_code_of_main_is_the_code_of_the_process() -> None:
    child = fork("a child", lambda say: ExitCode.FAILED, ())
    assert ended(child) == ExitCode.FAILED
    assert child.last_words() == ""


def test_last_words_come_back() -> None:
    def main(say: object) -> int:
        assert callable(say)
        say("the disk is full")
        return ExitCode.FAILED

    child = fork("a child", main, ())
    assert ended(child) == ExitCode.FAILED
    assert child.last_words() == "the disk is full"


def test_an_exception_is_last_words_and_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    def main(say: object) -> int:
        raise ZeroDivisionError("by zero")

    child = fork("a child", main, ())
    assert ended(child) == ExitCode.BUG
    assert child.last_words() == "ZeroDivisionError: by zero"
    assert "Traceback" in capfd.readouterr().err


def test_descriptors_that_are_not_on_the_list_are_closed(tmp_path: Path) -> None:
    kept, lost = socket.socketpair()

    def main(say: object) -> int:
        os.fstat(kept.fileno())
        try:
            os.fstat(lost.fileno())
        except OSError:
            return ExitCode.OK
        return ExitCode.FAILED

    child = fork("a child", main, (kept.fileno(),))
    assert ended(child) == ExitCode.OK
    assert child.last_words() == ""
    kept.close()
    lost.close()


def test_a_child_ignores_ctrl_c_and_has_its_title() -> None:
    reading, writing = os.pipe()

    def main(say: object) -> int:
        os.write(writing, b"x")
        signal.pause()
        return ExitCode.OK

    child = fork("orders/0 task", main, (writing,))
    os.read(reading, 1)
    title = Path(f"/proc/{child.pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
    assert title == b"millrace: orders/0 task"
    os.kill(child.pid, signal.SIGINT)
    os.kill(child.pid, signal.SIGTERM)
    assert ended(child) == -signal.SIGTERM
    child.last_words()
    os.close(reading)
    os.close(writing)


def test_a_child_dies_with_its_parent() -> None:
    reading, writing = os.pipe()

    def grandchild(say: object) -> int:
        os.write(writing, str(os.getpid()).encode())
        signal.pause()
        return ExitCode.OK

    def parent(say: object) -> int:
        fork("grandchild", grandchild, (writing,))
        signal.pause()
        return ExitCode.OK

    child = fork("parent", parent, (writing,))
    pid = int(os.read(reading, 20))
    os.kill(child.pid, signal.SIGKILL)
    ended(child)
    child.last_words()
    wait.until(lambda: not _lives(pid), "end of the grandchild")
    os.close(reading)
    os.close(writing)


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
