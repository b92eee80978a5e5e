"""A worker makes cgroups where they are its own to make and nowhere else, and leaves none behind.

Most folders are made by the test. Those of the last tests are the machine's, with the kernel behind them.
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
from engine.supervisor.cgroups import CHANNEL_BYTES, Cgroups, Place, find_place
from engine.supervisor.fork import fork
from tests.harness import wait
from tests.harness.cgroup import place_or_skip
from tests.unit.supervisor.specs import spec

MIB = 1024 * 1024
LIMIT = 64 * MIB
GONE = 2**22 + 1  # no process has a number beyond the kernel's most


def limited() -> LineSpec:
    return replace(spec("source"), limits=Limits(memory_bytes=LIMIT))


def v2(folder: Path, *, has_type: bool = True, controllers: str = "cpu memory pids", pids: str = "") -> Path:
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


def v1(folder: Path, *, pids: str = "", hierarchy: str = "1", is_root: bool = False) -> Path:
    """A folder such as the kernel shows it to a process that stands in it beside others."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text(pids or f"1\n{os.getpid()}\n")
    (folder / "memory.use_hierarchy").write_text(f"{hierarchy}\n")
    if is_root:
        (folder / "release_agent").touch()
    return folder


def empty(folder: Path) -> None:
    """Take the files away, as the kernel does when a cgroup goes."""
    for file in folder.iterdir():
        file.unlink()


def test_all_of_the_v2_tree_that_a_container_sees_is_its_own(tmp_path: Path) -> None:
    assert find_place("0::/\n", v2(tmp_path)) == Place(tmp_path, 2)


def test_what_systemd_has_marked_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = v2(tmp_path / "system.slice" / "millrace.service")
    marks = {(str(folder), "user.delegate"): b"1"}

    def mark(path: Path, name: str) -> bytes:
        if (str(path), name) not in marks:
            raise OSError(61, "No data available")
        return marks[str(path), name]

    monkeypatch.setattr(os, "getxattr", mark)
    assert find_place("1:name=systemd:/x\n0::/system.slice/millrace.service\n", tmp_path) == Place(folder, 2)
    assert find_place("0::/system.slice\n", v2(tmp_path / "system.slice").parent) is None


@pytest.mark.parametrize(
    ("own", "more"),
    [
        ("0::/user.slice/session-1.scope\n", {}),  # not marked: whoever logs in has such a one
        ("0::/\n", {"has_type": False}),  # the root of the machine
        ("0::/\n", {"controllers": "cpu pids"}),
        ("0::/\n", {"pids": "1\n7\n"}),  # others stand there
        ("0::/absent\n", {}),
    ],
)
def test_a_v2_cgroup_that_is_not_its_own_is_not_divided(own: str, more: dict[str, str], tmp_path: Path) -> None:
    v2(tmp_path, **more)  # type: ignore[arg-type]
    v2(tmp_path / "user.slice" / "session-1.scope", **more)  # type: ignore[arg-type]
    assert find_place(own, tmp_path) is None


@pytest.mark.parametrize(
    ("own", "there"), [("4:cpu,memory:/jobs/7\n0::/\n", "memory/jobs/7"), ("4:memory:/docker/8\n", "memory")]
)
def test_a_v1_cgroup_may_have_more_below_it(own: str, there: str, tmp_path: Path) -> None:
    assert find_place(own, tmp_path) is None
    v1(tmp_path / there)
    assert find_place(own, tmp_path) == Place(tmp_path / there, 1)


@pytest.mark.parametrize(
    ("own", "there", "more"),
    [
        ("4:memory:/\n", "memory", {"is_root": True}),
        ("4:memory:/jobs/7\n", "memory/jobs/7", {"pids": "1\n"}),  # another one of that name
        ("4:memory:/jobs/7\n", "memory/jobs/7", {"hierarchy": "0"}),  # a way out of the limits above
        ("4:memory:/system.slice/millrace.service\n", "memory/system.slice/millrace.service", {}),
        ("4:cpu:/jobs/7\n", "memory/jobs/7", {}),
    ],
)
def test_a_v1_cgroup_that_is_another_ones_gets_none(own: str, there: str, more: dict[str, str], tmp_path: Path) -> None:
    v1(tmp_path / there, **more)  # type: ignore[arg-type]
    assert find_place(own, tmp_path) is None


def test_with_v2_the_worker_moves_down_and_up_again(tmp_path: Path) -> None:
    (v2(tmp_path) / "cgroup.procs").write_text("")
    made = Cgroups(Place(tmp_path, 2))
    leaf = tmp_path / "worker"
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    empty(leaf)
    made.close()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "-memory"
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())
    assert not leaf.exists()


@pytest.mark.parametrize(
    ("version", "limit", "swap", "swap_bytes"),
    [(2, "memory.max", "memory.swap.max", 0), (1, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", None)],
)
def test_a_life_of_a_limited_line_gets_a_new_cgroup_with_room_for_its_rings(
    version: int, limit: str, swap: str, swap_bytes: int | None, tmp_path: Path
) -> None:
    made = Cgroups(Place(tmp_path, version))
    line = limited()
    first, second = made.make(line), made.make(line)
    assert first is not None and second is not None
    assert [one.folder.name for one in (first, second)] == [f"millrace-{os.getpid()}-{number}" for number in (0, 1)]
    size = LIMIT + line.ring_bytes + CHANNEL_BYTES
    assert (first.folder / limit).read_text() == str(size)
    assert (first.folder / swap).read_text() == str(size if swap_bytes is None else swap_bytes)
    empty(first.folder)
    first.remove()
    assert not first.folder.exists()
    second.remove()  # not empty: the kernel says so of one that holds a process
    empty(second.folder)
    made.close()
    assert not second.folder.exists()


@pytest.mark.parametrize(
    ("version", "files", "has_killed", "was_full"),
    [
        (2, {"memory.events": "oom 2\noom_kill 1\n"}, True, True),
        (2, {"memory.events": "oom 0\noom_kill 1\n"}, True, False),  # the machine was out of memory
        (2, {"memory.events": "oom 0\noom_kill 0\n"}, False, False),
        (1, {"memory.oom_control": "under_oom 0\noom_kill 1\n", "memory.max_usage_in_bytes": "68219000\n"}, True, True),
        (
            1,
            {"memory.oom_control": "under_oom 0\noom_kill 1\n", "memory.max_usage_in_bytes": "60000000\n"},
            True,
            False,
        ),
        (1, {}, False, False),
    ],
)
def test_a_kill_is_told_and_whether_it_was_for_the_limit(
    version: int, files: dict[str, str], has_killed: bool, was_full: bool, tmp_path: Path
) -> None:
    cgroup = Cgroups(Place(tmp_path, version)).make(limited())
    assert cgroup is not None
    for name, text in files.items():
        (cgroup.folder / name).write_text(text)
    assert (cgroup.has_killed, cgroup.was_full) == (has_killed, was_full)


def test_a_line_without_a_limit_and_a_worker_without_a_place_have_none(tmp_path: Path) -> None:
    assert Cgroups(Place(tmp_path, 1)).make(spec("source")) is None
    assert Cgroups(None).make(limited()) is None
    Cgroups(None).close()


def test_with_v2_what_the_kernel_refuses_is_told_once_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "worker" / "cgroup.procs").mkdir(parents=True)  # in the place of the file
    made = Cgroups(Place(tmp_path, 2))
    assert made.make(limited()) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"cgroups in {tmp_path} cannot be used (Is a directory); task.memory.max is kept by RLIMIT_DATA"
    ]


def test_with_v1_what_the_kernel_refuses_one_life_the_next_may_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"
    made = Cgroups(Place(gone, 1))
    assert [made.make(limited()) for _ in range(2)] == [None, None]
    why = "No such file or directory"
    told = f"cgroups in {gone} cannot be used ({why}); task.memory.max is kept by RLIMIT_DATA"
    assert [record.getMessage() for record in caplog.records] == [told, told]
    gone.mkdir()
    assert made.make(limited()) is not None


def test_what_a_killed_worker_has_left_the_next_removes_and_nothing_else(tmp_path: Path) -> None:
    left = [f"millrace-{GONE}-0", f"millrace-{GONE}-17", f"millrace-{os.getpid()}-3"]
    kept = [f"millrace-{os.getppid()}-0", f"millrace-{GONE}", "millrace-x-1", "other"]
    full = f"millrace-{GONE}-5"
    for name in (*left, *kept, full):
        (tmp_path / name).mkdir()
    (tmp_path / full / "process").touch()
    Cgroups(Place(tmp_path, 1))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted([*kept, full])


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


def test_a_process_without_plugins_stays_where_it_is(tmp_path: Path) -> None:
    def enters() -> str:
        limits.take(Limits(memory_bytes=LIMIT, cgroup=str(tmp_path)), has_plugins=False)
        return str(limits.memory_limit())

    assert in_child(enters) == ("None", 0)
    assert not list(tmp_path.iterdir())


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


def test_a_process_beyond_its_cgroup_is_killed_by_the_kernel_and_one_below_is_not() -> None:
    place = place_or_skip()
    made = Cgroups(place)
    line = limited()

    def takes(size_bytes: int) -> tuple[tuple[str, int], bool, bool]:
        cgroup = made.make(line)
        assert cgroup is not None

        def body() -> str:
            limits.take(replace(line.limits, cgroup=str(cgroup.folder)), has_plugins=True)
            return str(len(b"x" * size_bytes))

        ended = in_child(body)
        seen = (ended, cgroup.has_killed, cgroup.was_full)
        cgroup.remove()
        assert not cgroup.folder.exists()
        return seen

    assert takes(LIMIT // 2) == ((str(LIMIT // 2), 0), False, False)
    assert takes(LIMIT + line.ring_bytes + 2 * CHANNEL_BYTES) == (("", -signal.SIGKILL), True, True)
    made.close()


def test_the_kernel_keeps_a_cgroup_that_holds_a_process_and_gives_an_empty_one_back() -> None:
    place = place_or_skip()
    empty, held = (place.folder / f"millrace-{GONE}-{number}" for number in (0, 1))
    for folder in (empty, held):
        folder.mkdir()
    reading, writing = os.pipe()

    def main(say: Callable[[str], None]) -> ExitCode:
        (held / "cgroup.procs").write_text("0")
        say("in")
        os.read(reading, 1)  # until the other end is closed
        return ExitCode.OK

    child = fork("holds", main, (reading,))
    try:
        wait.until((held / "cgroup.procs").read_text, "the process in it", look_every_s=0.005)
        Cgroups(place)
        assert (empty.exists(), held.exists()) == (False, True)
    finally:
        os.close(writing)
        os.waitpid(child.pid, 0)
        os.close(reading)
        Cgroups(place)
        assert not held.exists()
        assert child.last_words() == "in"
