"""A process has no more of the machine than its limits; what cannot be given is told by the key that asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from engine import limits
from engine.api.errors import ConfigError
from engine.bank import describe
from engine.config.cpus import read_cpus
from engine.config.line import Limits
from engine.exits import ExitCode
from engine.supervisor.fork import fork

MIB = 1024 * 1024


def in_child(body: Callable[[], str]) -> str:
    """What a body says in a process of its own."""

    def main(say: Callable[[str], None]) -> ExitCode:
        say(body())
        return ExitCode.OK

    child = fork("limited", main, ())
    os.waitpid(child.pid, 0)
    return child.last_words()


def test_an_allocation_beyond_task_memory_max_is_a_memory_error_that_names_the_key() -> None:
    # More than a process has that runs all tests.
    def allocates() -> str:
        limits.take(Limits(memory_bytes=4096 * MIB), has_plugins=True)
        try:
            bytearray(4200 * MIB)
        except MemoryError as error:
            return describe(error)
        return "it got more than its limit"

    said = in_child(allocates)
    assert said == "out of memory (MemoryError), task.memory.max lets its process have 4294967296 bytes"


def test_a_process_without_plugins_has_no_limit_of_memory() -> None:
    def allocates() -> str:
        limits.take(Limits(memory_bytes=512 * MIB), has_plugins=False)
        return f"{limits.memory_limit()} {len(bytearray(600 * MIB)) // MIB}"

    assert in_child(allocates) == "None 600"


def test_a_limit_below_what_a_process_has_already_is_told_with_the_least_that_is_enough() -> None:
    def begins() -> str:
        try:
            limits.take(Limits(memory_bytes=MIB), has_plugins=True)
        except ConfigError as error:
            return str(error)
        return "nothing"

    said = in_child(begins)
    assert said.startswith("task.memory.max=1048576: a task process has ")
    assert "expected at least " in said


def test_nice_and_cpus_hold_for_the_process() -> None:
    one = min(os.sched_getaffinity(0))
    before = os.getpriority(os.PRIO_PROCESS, 0)

    def begins() -> str:
        limits.take(Limits(nice=19, cpus=(one,)), has_plugins=False)
        return f"{os.getpriority(os.PRIO_PROCESS, 0)} {sorted(os.sched_getaffinity(0))}"

    assert in_child(begins) == f"19 [{one}]"
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_cpus_that_have_gone_are_told_by_their_key() -> None:
    def begins() -> str:
        try:
            limits.take(Limits(cpus=(4095,)), has_plugins=False)
        except ConfigError as error:
            return str(error)
        return "nothing"

    assert in_child(begins) == ("task.cpu.affinity=4095: this machine does not give these CPUs (Invalid argument)")


@pytest.mark.parametrize(
    ("text", "cpus"), [("", ()), ("0", (0,)), ("2, 0", (0, 2)), ("0-2", (0, 1, 2)), ("0,2-3,2", (0, 2, 3))]
)
def test_cpus_are_numbers_and_ranges(text: str, cpus: tuple[int, ...]) -> None:
    assert read_cpus(text, range(4)) == cpus


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("first", "'first' is no CPU; expected numbers and ranges, e.g. 0,2-3"),
        ("-1", "'-1' is no CPU; expected numbers and ranges, e.g. 0,2-3"),
        ("3-1", "'3-1' is no range of CPUs; expected numbers and ranges, e.g. 0,2-3"),
        ("0-99999999999", "'0-99999999999' is no range of CPUs; expected numbers and ranges, e.g. 0,2-3"),
        ("1,7", "CPU 7 is not there for this process; expected some of 0,1,2,3"),
    ],
)
def test_what_is_no_cpu_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="no CPU|no range|not there") as told:
        read_cpus(text, range(4))
    assert str(told.value) == why
