"""A worker divides its cgroup where that is its own, and nobody else's; the folders are made by the test.

The last test uses the machine's, and does not run where that has none to give.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine import limits
from engine.config.line import Limits, LineSpec
from engine.exits import ExitCode
from engine.supervisor import cgroups
from engine.supervisor.cgroups import CHANNEL_BYTES, Cgroups, delegated
from engine.supervisor.fork import fork
from engine.supervisor.oom import OomKills
from tests.unit.supervisor.specs import spec

MIB = 1024 * 1024
LIMIT = 64 * MIB


def limited() -> LineSpec:
    return replace(spec("source"), limits=Limits(memory_bytes=LIMIT))


def cgroup(folder: Path, *, has_type: bool = True, controllers: str = "cpu memory pids", pids: str = "") -> Path:
    """A folder such as the kernel shows it to a process that is alone in it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "cgroup.controllers": f"{controllers}\n",
        "cgroup.procs": pids or f"{os.getpid()}\n",
        "cgroup.subtree_control": "",
        **({"cgroup.type": "domain\n"} if has_type else {}),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def leaf(folder: Path) -> Path:
    """The worker's place below it, whose files the kernel makes with it."""
    (folder / "worker").mkdir()
    (folder / "worker" / "cgroup.procs").touch()
    return folder


def test_all_of_a_containers_tree_is_its_own(tmp_path: Path) -> None:
    assert delegated("0::/\n", cgroup(tmp_path)) == tmp_path


def test_what_systemd_has_marked_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cgroup(tmp_path / "system.slice" / "millrace.service")
    marks = {(str(folder), "user.delegate"): b"1"}

    def mark(path: Path, name: str) -> bytes:
        if (str(path), name) not in marks:
            raise OSError(61, "No data available")
        return marks[str(path), name]

    monkeypatch.setattr(cgroups.os, "getxattr", mark)
    assert delegated("1:name=systemd:/x\n0::/system.slice/millrace.service\n", tmp_path) == folder
    assert delegated("0::/system.slice\n", cgroup(tmp_path / "system.slice").parent) is None


@pytest.mark.parametrize(
    ("cgroups", "more"),
    [
        ("4:memory:/x\n", {}),  # v1 alone
        ("0::/user.slice/session-1.scope\n", {}),  # not marked: whoever logs in has such a one
        ("0::/\n", {"has_type": False}),  # the root of the machine
        ("0::/\n", {"controllers": "cpu pids"}),
        ("0::/\n", {"pids": "1\n7\n"}),  # others stand there
        ("0::/absent\n", {}),
    ],
)
def test_what_is_not_its_own_is_not_divided(cgroups: str, more: dict[str, str], tmp_path: Path) -> None:
    cgroup(tmp_path, **more)  # type: ignore[arg-type]
    cgroup(tmp_path / "user.slice" / "session-1.scope", **more)  # type: ignore[arg-type]
    assert delegated(cgroups, tmp_path) is None


def test_the_worker_moves_down_and_a_limited_line_gets_a_cgroup_with_room_for_its_rings(tmp_path: Path) -> None:
    made = Cgroups(leaf(cgroup(tmp_path)))
    assert (tmp_path / "worker" / "cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    line = made.limited(limited(), 7)
    folder = tmp_path / "line-7"
    assert line.limits.cgroup == str(folder)
    assert (folder / "memory.max").read_text() == str(LIMIT + line.ring_bytes + CHANNEL_BYTES)
    assert (folder / "memory.swap.max").read_text() == "0"
    for file in folder.iterdir():  # as the kernel does when a cgroup goes
        file.unlink()
    made.forget(7)
    assert not folder.exists()


def test_a_line_without_a_limit_and_a_worker_without_a_cgroup_stay_as_they_are(tmp_path: Path) -> None:
    assert Cgroups(leaf(cgroup(tmp_path))).limited(spec("source"), 7) == spec("source")
    assert Cgroups(None).limited(limited(), 7) == limited()


def test_what_the_kernel_refuses_is_told_once_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = cgroup(tmp_path)  # the file of its leaf is missing, a folder stands in its place
    (folder / "worker" / "cgroup.procs").mkdir(parents=True)
    made = Cgroups(folder)
    assert made.limited(limited(), 7) == limited()
    assert [record.getMessage() for record in caplog.records] == [
        f"cgroups in {folder} cannot be used (Is a directory); task.memory.max is kept by RLIMIT_DATA"
    ]


def in_child(body: Callable[[], str]) -> tuple[str, int]:
    """What a body says in a process of its own, and how that ended."""

    def main(say: Callable[[str], None]) -> ExitCode:
        say(body())
        return ExitCode.OK

    child = fork("limited", main, ())
    _, status = os.waitpid(child.pid, 0)
    return child.last_words(), os.waitstatus_to_exitcode(status)


def test_the_process_of_plugins_enters_its_cgroup_and_has_no_other_limit(tmp_path: Path) -> None:
    def enters() -> str:
        limits.take(Limits(memory_bytes=LIMIT, cgroup=str(tmp_path)), has_plugins=True)
        return str(limits.memory_limit())

    assert in_child(enters) == ("None", 0)
    assert (tmp_path / "cgroup.procs").read_text() == "0"


def test_where_it_cannot_enter_its_memory_is_limited_all_the_same(tmp_path: Path) -> None:
    size = 2048 * MIB

    def enters() -> str:
        limits.take(Limits(memory_bytes=size, cgroup=str(tmp_path / "gone")), has_plugins=True)
        return str(limits.memory_limit())

    assert in_child(enters) == (str(size), 0)


def test_a_limit_in_which_nothing_can_be_loaded_is_told(tmp_path: Path) -> None:
    def enters() -> str:
        limits.take(Limits(memory_bytes=MIB, cgroup=str(tmp_path)), has_plugins=True)
        return "entered"

    said, code = in_child(enters)
    assert "task.memory.max=1048576: no plugin can be loaded with it; expected at least 16777216" in said
    assert code == ExitCode.BUG  # in a task it is the error of its bank


def test_a_process_beyond_its_cgroup_is_killed_and_counted() -> None:
    folder = delegated(Path("/proc/self/cgroup").read_text())
    if folder is None:
        pytest.skip(
            "no cgroup v2 with the memory controller is delegated to this process: run it in a unit with "
            "Delegate=yes, or first in a container that may write its cgroups"
        )
    made = Cgroups(folder)
    line = made.limited(limited(), 7)
    kills = OomKills([Path(line.limits.cgroup) / "memory.events"])

    def eats() -> str:
        limits.take(line.limits, has_plugins=True)
        return str(len(bytearray(LIMIT + line.ring_bytes + 2 * CHANNEL_BYTES)))

    assert in_child(eats) == ("", -signal.SIGKILL)
    assert kills.take()
    made.close()
