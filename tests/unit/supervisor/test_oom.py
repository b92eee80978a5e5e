"""A process that the kernel killed for want of memory is known by the counter of its cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.supervisor.oom import OomKills, counters

V2 = "0::/system.slice/millrace.service\n"
V1 = "9:name=systemd:/\n4:memory,cpu:/jobs/7\n0::/\n"


def write(file: Path, kills: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"low 0\noom 9\noom_kill {kills}\noom_group_kill 5\n")
    return file


@pytest.mark.parametrize(
    ("cgroups", "there", "found"),
    [
        (V2, ["system.slice/millrace.service/memory.events"], ["system.slice/millrace.service/memory.events"]),
        (V2, ["memory.events"], ["memory.events"]),
        (V1, ["memory/jobs/7/memory.oom_control"], ["memory/jobs/7/memory.oom_control"]),
        (V1, ["memory/memory.oom_control"], ["memory/memory.oom_control"]),
        (V1, [], []),
    ],
)
def test_the_counter_is_found_by_what_the_process_says_of_its_cgroup(
    cgroups: str, there: list[str], found: list[str], tmp_path: Path
) -> None:
    for name in there:
        write(tmp_path / name, 0)
    assert [str(file.relative_to(tmp_path)) for file in counters(cgroups, tmp_path)] == found


def test_each_kill_is_taken_once_and_those_of_before_are_not(tmp_path: Path) -> None:
    file = write(tmp_path / "memory.events", 3)
    kills = OomKills([tmp_path / "is not there", file])
    assert not kills.take()
    write(file, 5)
    assert [kills.take() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("text", ["", "under_oom 0\n"])
def test_where_nothing_counts_nothing_is_said(text: str, tmp_path: Path) -> None:
    file = tmp_path / "memory.oom_control"
    file.write_text(text)
    assert not OomKills([file]).take()
    assert not OomKills([]).take()
