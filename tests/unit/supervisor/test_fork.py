"""A child has only what it was given, says why it ended, and dies with its parent."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
import warnings
from pathlib import Path

import pytest

from engine import logs
from engine.exits import ExitCode
from engine.supervisor.fork import Child, fork
from tests.harness import wait

NOBODY = 65534


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


def test_an_exception_is_last_words_and_a_bug() -> None:
    def main(say: object) -> int:
        raise ZeroDivisionError("by zero")

    child = fork("a child", main, ())
    assert ended(child) == ExitCode.BUG
    assert child.last_words() == "ZeroDivisionError: by zero"


@pytest.mark.parametrize("form", ["text", "json"])
def test_whatever_python_says_of_a_child_is_its_log_and_has_no_secrets(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What `main` lets through, what ends a thread, what a finalizer raises, and a warning."""
    secret = "correct horse"

    class Careless:
        def __del__(self) -> None:
            raise ValueError(f"finalized: {secret}")

    def refuse() -> None:
        raise ValueError(f"refused: {secret}")

    def main(say: object) -> int:
        logs.set_up(logs.LogSettings(form=form), process="task", connector="orders", task=3, secrets=[secret])
        thread = threading.Thread(target=refuse, name="reader")
        thread.start()
        thread.join()
        warnings.warn(f"warned: {secret}", stacklevel=1)
        Careless()
        raise KeyboardInterrupt(f"let through: {secret}")  # no `except Exception` takes it

    child = fork("a child", main, ())
    assert ended(child) == ExitCode.BUG
    child.last_words()
    said = capfd.readouterr().err
    assert secret not in said
    for words in ("refused", "warned", "finalized", "let through"):
        assert f"{words}: [hidden]" in said, said
    assert "thread reader has ended: ValueError" in said
    if form == "text":
        assert all("[orders|task-3|task] " in line for line in said.splitlines()), said
    else:
        lines = [json.loads(line) for line in said.splitlines()]
        assert {(line["connector"], line["task"], line["process"]) for line in lines} == {("orders", 3, "task")}
        assert sum("Traceback" in line.get("trace", "") for line in lines) == 3


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


def test_all_others_are_closed_however_many_there_are() -> None:
    kept, *lost = (os.eventfd(0) for _ in range(600))

    def main(say: object) -> int:
        os.fstat(kept)
        return ExitCode.FAILED if any(_is_open(descriptor) for descriptor in lost) else ExitCode.OK

    child = fork("a child", main, (kept,))
    assert ended(child) == ExitCode.OK
    assert child.last_words() == ""
    for descriptor in (kept, *lost):
        os.close(descriptor)


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


def test_a_child_hears_term_from_the_first_moment() -> None:
    """The handler that it inherits would take it, and nobody would be told."""

    def main(say: object) -> int:
        signal.pause()
        return ExitCode.OK

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        for _ in range(20):
            child = fork("a child", main, ())
            os.kill(child.pid, signal.SIGTERM)
            wait.until(lambda: not _lives(child.pid), "end of the child")  # noqa: B023  used before the next one is made
            assert ended(child) == -signal.SIGTERM
            child.last_words()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_child_that_cannot_be_forked_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")

    def limited(say: object) -> int:
        if os.getuid() == 0:
            os.setuid(NOBODY)  # who may do everything has no limit
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        held = os.listdir("/proc/self/fd")
        with pytest.raises(BlockingIOError):
            fork("a grandchild", lambda say: ExitCode.OK, ())
        assert os.listdir("/proc/self/fd") == held
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return ExitCode.OK

    child = fork("a child", limited, ())
    assert ended(child) == ExitCode.OK
    child.last_words()
    assert os.listdir("/proc/self/fd") == before


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
