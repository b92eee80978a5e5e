"""A service manager is told what systemd's protocol says, when it says so, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.supervisor.manager import Manager

SECOND_NS = 1_000_000_000


class SteppedClock(SystemClock):
    """Goes on when the test says so."""

    def __init__(self) -> None:
        self.now_ns = SECOND_NS

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(str(tmp_path / "notify"))
        yield made


def messages(heard: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode())
        except BlockingIOError:
            return found


def test_it_hears_when_the_worker_is_ready_and_when_it_stops(heard: socket.socket) -> None:
    manager = Manager(heard.getsockname())
    manager.ready("3 tasks started")
    manager.stopping("stopping after SIGTERM")
    assert messages(heard) == ["READY=1\nSTATUS=3 tasks started", "STOPPING=1\nSTATUS=stopping after SIGTERM"]


def test_it_hears_twice_in_its_time_that_the_loop_turns(heard: socket.socket) -> None:
    clock = SteppedClock()
    manager = Manager(heard.getsockname(), 2 * SECOND_NS, clock)
    for _ in range(40):  # 4 s
        manager.alive()
        clock.now_ns += SECOND_NS // 10
    assert messages(heard) == ["WATCHDOG=1"] * 4


def test_one_that_does_not_watch_is_not_told_of_each_turn(heard: socket.socket) -> None:
    manager = Manager(heard.getsockname())
    manager.alive()
    assert messages(heard) == []


def test_one_in_the_abstract_namespace_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(f"\0millrace-test-{os.getpid()}")
        Manager(f"@millrace-test-{os.getpid()}").ready("good")
        assert messages(made) == ["READY=1\nSTATUS=good"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_is_waited_for(address: str) -> None:
    manager = Manager(address, SECOND_NS)
    manager.ready("good")
    manager.alive()


def test_a_full_queue_is_not_waited_for(heard: socket.socket) -> None:
    manager = Manager(heard.getsockname())
    for _ in range(10_000):
        manager.ready("good")
    assert messages(heard)


def test_the_variables_are_this_process_s_and_no_child_s(heard: socket.socket) -> None:
    environment = {
        "NOTIFY_SOCKET": heard.getsockname(),
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    Manager.of(environment).alive()
    assert messages(heard) == ["WATCHDOG=1"]
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("watchdog", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_of_another_process_is_not_answered(watchdog: dict[str, str], heard: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "1000000", **watchdog}
    Manager.of(environment).alive()
    assert messages(heard) == []


def test_a_socket_that_it_holds_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "rest"}
        manager = Manager.of(environment, os.dup(held.fileno()))
        found = manager.listener(port)
        assert found is not None
        with found:
            assert found.getsockname() == held.getsockname()
        assert manager.listener(port + 1) is None
        assert environment == {}


@pytest.mark.parametrize("listening", [{"LISTEN_PID": "1"}, {}, {"LISTEN_FDS": "x"}])
def test_sockets_of_another_process_are_not_taken(listening: dict[str, str]) -> None:
    environment = {"LISTEN_FDS": "1", **listening}
    assert Manager.of(environment, 0).listener(0) is None
    assert environment == {}
