"""A connector that watches has one process, which comes back when it dies, and is followed only when it is gone.

The processes are real and idle; what they say, the test says.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from random import Random

import msgspec
import pytest

from engine.config.line import Restarts
from engine.exits import ExitCode
from engine.herder.watching import PortSpec, Watch, Watched, WatchSpec
from engine.shm.link import Link
from engine.supervisor.fork import WORDS_BEGIN, Child
from engine.supervisor.pacer import Pacer
from engine.supervisor.watchers import STOP_NS, Watchers
from tests.harness.banks import VirtualClock

ONE = ({"t": "0"},)


def spec(**more: str) -> WatchSpec:
    policy = Restarts(count_max=2, backoff_ms=1000, backoff_ms_max=1000)
    return WatchSpec(
        connector="a",
        path="x:X",
        properties=more,
        tasks_max=1,
        port=PortSpec("", {}, {}, 1.0),
        restarts=policy,
        secrets=("geheim",),
    )


class Port:
    """Watchers, and their processes."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.watchers = Watchers(self.fork, self.clock, Pacer(Random(1)))
        self.forked: list[WatchSpec] = []
        self.children: dict[int, Link] = {}
        self.cannot_fork = False
        self.words = b""  # the last ones of the processes that are forked from now on

    def fork(self, spec: WatchSpec, end: socket.socket) -> Child:
        if self.cannot_fork:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        reading, writing = os.pipe2(os.O_NONBLOCK)
        os.write(writing, WORDS_BEGIN + self.words)
        os.close(writing)
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        self.children[pid] = Link(socket.socket(fileno=os.dup(end.fileno())))
        self.forked.append(spec)
        return Child(pid, "watcher", reading)

    @property
    def pid(self) -> int:
        (pid,) = self.children
        return pid

    def again(self) -> None:
        """Another process of the same connector."""
        self.watchers.order(Watch("a", 7, spec(), is_again=True))
        self.has_ended()
        self.watchers.tick()

    def say(self, watched: Watched) -> list[Watched]:
        assert self.children[self.pid].send(msgspec.msgpack.encode(watched))
        return self.watchers.tick()

    def end(self, number: int = signal.SIGKILL) -> None:
        """Its process is gone, and the supervisor hears it: by this signal, or 0."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.children.pop(pid).close()
        self.watchers.reaped(pid, int(number))

    def stand_still(self) -> None:
        """It hears nothing but KILL from now on; until it stands still it would hear TERM first."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def has_ended(self) -> int:
        """By which signal, waited for."""
        pid = self.pid
        _, status = os.waitpid(pid, 0)
        self.children.pop(pid).close()
        self.watchers.reaped(pid, status)
        return os.WTERMSIG(status)

    def close(self) -> None:
        for pid, link in self.children.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            link.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    made.watchers.order(Watch("a", 7, spec()))
    assert made.watchers.tick() == []
    yield made
    made.close()


def test_what_it_says_is_told_with_the_attempt_that_asked_for_it(port: Port) -> None:
    assert port.say(Watched("a", task_configs=ONE)) == [Watched("a", 7, ONE)]
    assert port.watchers.tick() == []


def test_the_same_again_is_left_alone_and_told_again(port: Port) -> None:
    port.say(Watched("a", task_configs=ONE))
    port.watchers.order(Watch("a", 8, spec()))
    assert port.watchers.tick() == [Watched("a", 8, ONE)]
    assert len(port.forked) == 1


def test_another_one_begins_when_the_one_before_is_gone(port: Port) -> None:
    port.watchers.order(Watch("a", 8, spec(more="x")))
    port.say(Watched("a", task_configs=ONE))
    assert len(port.forked) == 1
    assert port.has_ended() == signal.SIGTERM
    assert port.watchers.tick() == []
    assert port.forked[-1] == spec(more="x")
    assert port.say(Watched("a", task_configs=ONE)) == [Watched("a", 8, ONE)]


def test_one_that_is_asked_for_anew_is_another_one(port: Port) -> None:
    port.watchers.order(Watch("a", 8, spec(), is_again=True))
    assert port.has_ended() == signal.SIGTERM
    port.watchers.tick()
    assert port.forked == [spec(), spec()]


def test_one_that_does_not_stop_is_killed(port: Port) -> None:
    port.stand_still()
    port.watchers.order(Watch("a", 8, None))
    port.watchers.tick()
    port.clock.now_ns += STOP_NS
    port.watchers.tick()
    assert port.has_ended() == signal.SIGKILL
    assert port.watchers.tick() == []
    assert port.watchers.is_over
    assert len(port.forked) == 1


def test_one_that_dies_comes_back_after_a_pause_and_fails_when_that_is_in_vain(port: Port) -> None:
    for count in (2, 3):
        port.end(signal.SIGSEGV)
        assert port.watchers.tick() == []
        assert len(port.forked) == count - 1
        port.clock.advance(1)
        port.watchers.tick()
        assert len(port.forked) == count
    port.end(signal.SIGSEGV)
    (told,) = port.watchers.tick()
    assert told.failure.startswith("its process ended by SIGSEGV (segmentation fault")
    assert told.failure.endswith("(after 2 restarts without progress)")
    port.clock.advance(100)
    port.watchers.tick()
    assert len(port.forked) == 3


def test_one_that_answers_in_between_comes_back_however_often(port: Port) -> None:
    for count in range(2, 8):
        port.say(Watched("a", task_configs=ONE))
        port.end(signal.SIGKILL)
        port.clock.advance(1)
        assert port.watchers.tick() == []
        assert len(port.forked) == count


def test_a_call_that_takes_too_long_is_told_as_that(port: Port) -> None:
    for _ in range(3):
        port.end(signal.SIGALRM)
        port.clock.advance(1)
        told = port.watchers.tick()
    assert told[0].failure.startswith("a call of it took longer than 30 s (probe.timeout.ms)")


def test_a_failure_is_told_and_a_configuration_that_is_wrong_is_not_tried_again_by_itself(port: Port) -> None:
    port.words = b"no such table: geheim"
    port.again()
    port.end(ExitCode.BAD_CONFIG << 8)
    assert port.watchers.tick() == [Watched("a", 7, (), "no such table: [hidden]")]
    port.clock.advance(1000)
    assert port.watchers.tick() == []
    assert len(port.forked) == 2
    port.watchers.order(Watch("a", 8, spec()))
    assert port.watchers.tick() == []
    assert len(port.forked) == 3


def test_the_world_outside_is_waited_for_without_end_and_told_each_time(port: Port) -> None:
    for count in range(2, 10):
        port.end(ExitCode.RETRY << 8)
        (told,) = port.watchers.tick()
        assert told.failure
        port.clock.advance(1)
        port.watchers.tick()
        assert len(port.forked) == count


def test_a_process_that_cannot_be_had_is_tried_again(port: Port) -> None:
    port.cannot_fork = True
    port.end()
    port.clock.advance(1)
    assert port.watchers.tick() == []
    port.cannot_fork = False
    port.clock.advance(1)
    port.watchers.tick()
    assert len(port.forked) == 2


def test_words_that_nobody_understands_end_it(port: Port) -> None:
    assert port.children[port.pid].send(b"\xc1 no message")
    assert port.watchers.tick() == []
    assert port.has_ended() == signal.SIGKILL


def test_a_control_that_comes_after_a_dead_one_hears_what_was_said_when_it_asks(port: Port) -> None:
    port.watchers.forget_control()
    assert port.say(Watched("a", task_configs=ONE)) == []
    port.watchers.order(Watch("a", 2, spec()))
    assert port.watchers.tick() == [Watched("a", 2, ONE)]


def test_the_end_of_a_run_ends_them_for_good(port: Port) -> None:
    port.watchers.stop()
    assert not port.watchers.is_over
    assert port.has_ended() == signal.SIGTERM
    port.watchers.tick()
    assert port.watchers.is_over
    assert len(port.forked) == 1


def test_a_second_signal_kills_them(port: Port) -> None:
    port.stand_still()
    port.watchers.kill()
    assert port.has_ended() == signal.SIGKILL
