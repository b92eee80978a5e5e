"""A connector that watches lives in a process of its own: it says its tasks when they change, and why it fails."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from engine import logs
from engine.clock import SystemClock
from engine.config.line import Restarts
from engine.herder.watching import PortSpec, Watch, Watched, WatchSpec
from engine.supervisor.fork import Child, fork
from engine.supervisor.pacer import Pacer
from engine.supervisor.watchers import Watchers
from engine.watcher.main import run
from tests.harness import wait

pytestmark = pytest.mark.slow

CONNECTORS = "tests.unit.watcher.connectors_of_tests"


class Place:
    """The supervisor of one connector, and the folder that it watches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "watched"
        self.folder.mkdir()
        self.watchers = Watchers(self.fork, SystemClock(), Pacer(Random(1)))
        self.heard: list[Watched] = []
        self.forks = 0

    def fork(self, spec: WatchSpec, end: socket.socket) -> Child:
        self.forks += 1
        return fork("a watcher", lambda say: run(spec, end, logs.LogSettings(), say), [end.fileno()])

    def start(self, name: str, *, call_s: float = 30.0, restarts: int = 0) -> None:
        spec = WatchSpec(
            connector="a",
            path=f"{CONNECTORS}:{name}",
            properties={"folder": str(self.folder)},
            tasks_max=3,
            port=PortSpec(str(self.folder / "none.db"), {"bootstrap.servers": "localhost:1"}, {}, 1.0),
            call_seconds=call_s,
            restarts=Restarts(restarts, backoff_ms=1, backoff_ms_max=1, error_max=restarts),
            secrets=("geheim",),
        )
        self.watchers.order(Watch("a", 1, spec))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        def look() -> bool:
            self.heard += self.watchers.tick()
            for pid in self.watchers.pids():
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self.watchers.reaped(pid, status)
            return condition()

        wait.until(look, f"it; heard so far: {self.heard}", look_every_s=0.01)

    def tasks(self) -> list[str]:
        """Of the last answer."""
        return [config["file"] for config in self.heard[-1].task_configs]

    def end(self) -> None:
        self.watchers.stop()
        self.wait_for(lambda: self.watchers.is_over)

    def close(self) -> None:
        self.watchers.kill()
        for pid in self.watchers.pids():
            os.waitpid(pid, 0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_it_says_its_tasks_at_once_and_whenever_they_change(place: Place) -> None:
    (place.folder / "a").touch()
    place.start("Folder")
    place.wait_for(lambda: bool(place.heard))
    assert place.tasks() == ["a"]
    (place.folder / "b").touch()
    place.wait_for(lambda: place.tasks() == ["a", "b"])
    (place.folder / "a").unlink()
    place.wait_for(lambda: place.tasks() == ["b"])
    assert len(place.heard) == 3
    place.end()
    assert (place.folder.parent / "stopped").exists()


def test_one_that_asks_all_the_time_is_asked_some_times_and_heard_once(place: Place) -> None:
    place.start("Asking")
    count = place.folder.parent / "count"
    place.wait_for(lambda: count.exists() and count.read_text() == "4")
    assert len(place.heard) == 1


def test_an_error_that_it_raises_is_told_and_it_is_stopped(place: Place) -> None:
    place.start("Folder")
    place.wait_for(lambda: bool(place.heard))
    (place.folder / "fail").touch()
    place.wait_for(lambda: bool(place.heard[-1].failure))
    assert place.heard[-1].failure == "ConnectError: there is a file that should not be"
    assert (place.folder.parent / "stopped").exists()


def test_one_that_fails_comes_back_as_its_policy_says_and_is_heard_again(place: Place) -> None:
    place.start("Folder", restarts=1)
    place.wait_for(lambda: bool(place.heard))
    (place.folder / "fail").touch()
    place.wait_for(lambda: bool(place.heard[-1].failure))
    (place.folder / "fail").unlink()
    place.wait_for(lambda: not place.heard[-1].failure)
    assert place.forks == 2


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("Failing", "start: OSError: no such table: [hidden] (at "),
        ("Wrong", "start: table: expected one that is there"),
        ("NotText", "task_configs: task_configs: of task 0, 'file' is int; expected text"),
        ("Absent", "making it: NotFoundError"),
    ],
)
def test_what_a_call_fails_with_is_told_with_the_call(place: Place, name: str, failure: str) -> None:
    place.start(name)
    place.wait_for(lambda: bool(place.heard))
    assert failure.partition(": NotFoundError")[0] in place.heard[-1].failure


def test_a_call_that_hangs_outside_of_python_ends_its_process(place: Place) -> None:
    place.start("Stuck", call_s=0.2)
    place.wait_for(lambda: bool(place.heard))
    told = place.heard[-1].failure
    assert "a call of it took longer than 0.2 s (probe.timeout.ms)" in told
    assert "connectors_of_tests.py" in told
    assert "in task_configs" in told


def test_a_stop_that_fails_is_no_failure_of_the_connector(place: Place) -> None:
    place.start("Unstoppable")
    place.wait_for(lambda: bool(place.heard))
    place.end()
    assert not place.heard[-1].failure


def test_one_that_is_killed_comes_back_and_says_its_tasks_again(place: Place) -> None:
    place.start("Folder", restarts=1)
    place.wait_for(lambda: bool(place.heard))
    (pid,) = place.watchers.pids()
    os.kill(pid, signal.SIGKILL)
    place.wait_for(lambda: len(place.heard) == 2)
    assert not place.heard[-1].failure
