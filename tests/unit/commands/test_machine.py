"""The doctor calls good what will do, and of everything else says what to do."""

from __future__ import annotations

import fcntl
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.commands import machine
from engine.commands.machine import Finding

NO_LIMIT = resource.RLIM_INFINITY
MB = 1_000_000
NOW_S = 1_780_000_000.0  # in 2026


@pytest.mark.parametrize(
    "finding",
    [
        machine.processor("linux", "x86_64"),
        machine.python((3, 11, 0), has_gil=True),
        machine.libraries("2.11.1", "2.11.1"),
        machine.libraries("2.15.0", "2.15.0-RC1"),
        machine.open_files(1024, 4096, 500),
        machine.open_files(256, 4096, 500),
        machine.open_files(256, NO_LIMIT, 500),
        machine.processes(NO_LIMIT, None, 5000),
        machine.processes(100, 100, 84),
        machine.room("store", "/data", 500 * MB, is_writable=True),
        machine.clock(NOW_S, is_synchronised=True),
        machine.clock(NOW_S, is_synchronised=None),
        machine.memory(400 * MB, 500 * MB, None),
        machine.memory(400 * MB, 500 * MB, 500 * MB),
    ],
    ids=lambda finding: f"{finding.check}: {finding.text}",
)
def test_what_will_do_is_good(finding: Finding) -> None:
    assert (finding.verdict, finding.advice) == ("good", "")


@pytest.mark.parametrize(
    ("finding", "verdict", "advice"),
    [
        (machine.processor("darwin", "arm64"), "bad", "Linux"),
        (machine.processor("linux", "aarch64"), "bad", "x86-64"),
        (machine.python((3, 10, 9), has_gil=True), "bad", "Python 3.11 or later"),
        (machine.python((3, 14, 0), has_gil=False), "warning", "usual build"),
        (machine.libraries("2.10.0", "2.10.0"), "bad", "pip install 'confluent-kafka>=2.11'"),
        (machine.libraries("2.14.0", "2.12.1"), "warning", "install the wheel"),
        (machine.open_files(256, 400, 500), "bad", "LimitNOFILE="),
        (machine.processes(100, None, 85), "bad", "ulimit -u"),
        (machine.processes(NO_LIMIT, 20, 5), "bad", "--pids-limit"),
        (machine.room("store", "/data", 500 * MB, is_writable=False), "bad", "let this user write it"),
        (machine.room("store", "/data", 99 * MB, is_writable=True), "warning", "100.0 MB"),
        (machine.clock(0.0, is_synchronised=True), "bad", "set it"),
        (machine.clock(NOW_S, is_synchronised=False), "warning", "chrony"),
        (machine.memory(400 * MB, 300 * MB, None), "warning", "worker.memory.max"),
        (machine.memory(400 * MB, 900 * MB, 300 * MB), "warning", "worker.memory.max"),
    ],
    ids=lambda value: f"{value.check}: {value.text}" if isinstance(value, Finding) else "",
)
def test_what_will_not_do_is_said_with_what_to_do(finding: Finding, verdict: str, advice: str) -> None:
    assert finding.verdict == verdict
    assert advice in finding.advice


def test_limits_of_a_cgroup_are_the_narrowest_of_all_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cgroup_number("memory.max", tmp_path) is None
    (tmp_path / "pids.max").write_text("300\n")
    assert machine.cgroup_number("pids.max", tmp_path) == 300


def test_a_lock_is_seen_while_somebody_holds_it_and_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "store.lock"
    assert not machine.is_locked(path)
    with path.open("wb") as file:
        assert not machine.is_locked(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert machine.is_locked(path)
    assert not machine.is_locked(path)


@pytest.mark.parametrize("read", [machine.is_synchronised, machine.available_bytes, time.time])
def test_this_machine_can_be_read(read: Callable[[], object]) -> None:
    read()
