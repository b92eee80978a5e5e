"""Whatever plugin code does in a probe costs an answer at most, never the process that asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import logs
from engine.api.errors import ConfigError, Problem
from engine.plugins.probe import FOLLOWING_SECONDS, ProbeError, Question, Tell, in_probe, in_probes

SECONDS = 10.0


def test_an_answer_of_any_size_comes_back() -> None:
    assert in_probe(lambda tell: b"", timeout_seconds=SECONDS) == b""
    assert in_probe(lambda tell: b"x" * 5_000_000, timeout_seconds=SECONDS) == b"x" * 5_000_000


def test_a_question_that_hangs_is_ended_and_names_its_last_step() -> None:
    def hang(tell: Tell) -> bytes:
        tell("connector orders: start")
        tell("connector orders: task_configs", 0.05)
        while True:
            time.sleep(60)

    with pytest.raises(
        ProbeError, match=r"connector orders: task_configs: no answer within 0.05 s \(probe.timeout.ms\)"
    ):
        in_probe(hang, timeout_seconds=SECONDS)


def test_a_child_that_ignores_signals_is_ended_as_well() -> None:
    def stubborn(tell: Tell) -> bytes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)

    with pytest.raises(ProbeError):
        in_probe(stubborn, timeout_seconds=0.05)


def test_whoever_waits_for_the_asker_hears_of_each_step_and_is_to_wait_longer() -> None:
    heard: list[tuple[str, float]] = []

    def question(tell: Tell) -> bytes:
        tell("connector orders: start")
        tell("asking brokers", 2.0)
        return b""

    in_probe(question, timeout_seconds=SECONDS, follow=lambda title, seconds: heard.append((title, seconds)))
    later = FOLLOWING_SECONDS
    assert heard == [("connector orders: start", SECONDS + later), ("asking brokers", 2.0 + later)]


@pytest.mark.slow
def test_each_step_may_have_its_own_time() -> None:
    def patient(tell: Tell) -> bytes:
        tell("asking brokers", SECONDS)
        os.waitid(os.P_PID, os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "0.7"), os.WEXITED)
        return b"found"

    assert in_probe(patient, timeout_seconds=0.5) == b"found"


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (lambda: os._exit(0), "left with exit code 0 instead of answering"),
        (lambda: sys.exit(3), "left with exit code"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"crashed with signal 11 \(SIGSEGV\)"),
        (lambda: os._exit(90), "instead of answering"),
    ],
)
def test_a_child_that_leaves_is_told_with_its_step(body: object, ending: str) -> None:
    assert callable(body)

    def leave(tell: Tell) -> bytes:
        tell("connector orders: start")
        body()
        return b"never"

    with pytest.raises(ProbeError, match=f"connector orders: start: its process {ending}|{ending}"):
        in_probe(leave, timeout_seconds=SECONDS)


def test_what_ends_a_question_is_in_the_log_without_what_it_says(capfd: pytest.CaptureFixture[str]) -> None:
    """Which secrets it may have in it nobody knows yet."""
    secret = "correct horse"

    def leave(tell: Tell) -> bytes:
        logs.set_up(logs.LogSettings(form="json"), process="supervisor")
        raise KeyboardInterrupt(secret)

    with pytest.raises(ProbeError, match="left with exit code 1"):
        in_probe(leave, timeout_seconds=SECONDS)
    (line,) = capfd.readouterr().err.splitlines()
    assert "has ended in KeyboardInterrupt" in json.loads(line)["message"]
    assert "in leave" in line and secret not in line


def test_questions_that_share_a_child_cost_only_themselves() -> None:
    def where(tell: Tell) -> bytes:
        return str(os.getpid()).encode()

    def refuse(tell: Tell) -> bytes:
        raise ConfigError([Problem("topic", "no topic")])

    def hang(tell: Tell) -> bytes:
        tell("connector stuck: start", 0.05)
        while True:
            time.sleep(60)

    def leave(tell: Tell) -> bytes:
        os._exit(90)

    questions: list[Question] = [where, refuse, where, hang, where, leave]
    first, refused, second, hung, third, left = in_probes(questions, timeout_seconds=SECONDS)
    assert first == second != third
    assert isinstance(refused, ConfigError)
    assert not isinstance(refused, ProbeError)
    assert isinstance(hung, ProbeError)
    assert "connector stuck: start: no answer within 0.05 s" in str(hung)
    assert isinstance(left, ProbeError)


def test_problems_come_back_as_they_were() -> None:
    problems = [Problem("topic", "no topic", "orders", "a.toml"), Problem("x", "no x")]

    def refuse(tell: Tell) -> bytes:
        raise ConfigError(problems)

    with pytest.raises(ConfigError) as caught:
        in_probe(refuse, timeout_seconds=SECONDS)
    assert list(caught.value.problems) == problems


def test_a_mistake_of_ours_comes_back_with_its_traceback() -> None:
    def stumble(tell: Tell) -> bytes:
        tell("connector orders: keys")
        known: dict[str, bytes] = {}
        return known["missing"]

    with pytest.raises(RuntimeError, match=r"(?s)connector orders: keys:.*in stumble.*KeyError"):
        in_probe(stumble, timeout_seconds=SECONDS)


def test_eating_memory_ends_as_an_error() -> None:
    def eat(tell: Tell) -> bytes:
        return b"x" * (4 * 1024**3)

    with pytest.raises(RuntimeError, match="MemoryError"):
        in_probe(eat, timeout_seconds=SECONDS)


def test_what_plugins_print_goes_to_standard_error() -> None:
    script = (
        "import os, sys\n"
        "from engine.plugins.probe import in_probe\n"
        "def chat(tell):\n"
        "    print('printed'); os.write(1, b'raw\\n'); sys.__stdout__.write('old\\n'); sys.__stdout__.flush()\n"
        "    os.system('echo shell')\n"
        "    return b'answer'\n"
        "sys.stdout.write('before ')\n"
        "print(in_probe(chat, timeout_seconds=10).decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "before answer\n"
    assert sorted(done.stderr.split()) == ["old", "printed", "raw", "shell"]


def test_nothing_is_left_open_or_running() -> None:
    def start_another(tell: Tell) -> bytes:
        return str(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")).encode()

    before = sorted(os.listdir("/proc/self/fd"))
    grandchild = int(in_probe(start_another, timeout_seconds=SECONDS))
    assert sorted(os.listdir("/proc/self/fd")) == before
    deadline = time.monotonic() + SECONDS
    while _lives(grandchild):
        assert time.monotonic() < deadline, f"process {grandchild} still runs"
        os.sched_yield()


def test_the_child_has_no_descriptors_but_its_own() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        names = in_probe(lambda tell: ",".join(os.listdir("/proc/self/fd")).encode(), timeout_seconds=SECONDS)
    finally:
        os.close(reading)
        os.close(writing)
    # The sixth is the listing's own.
    assert sorted(map(int, names.decode().split(","))) == [0, 1, 2, 3, 4, 5]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
