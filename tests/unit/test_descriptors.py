"""Descriptors are counted before anything starts; the limit is raised where it may be, and a word says what to do."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from engine.descriptors import BROKER, LINE, PROCESS, ROOMY, SUPERVISOR, needed, what_to_do

#: Limits are a process's own: what changes them runs in one of its own.
LIMITS = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))\n"
PROVIDES = f"""{LIMITS}
from engine.api.errors import ConfigError
from engine.descriptors import provide
try:
    provide(int(sys.argv[3]))
except ConfigError as error:
    print(error)
else:
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
USES_ALL_AND_STORES = f"""{LIMITS}
import os
from engine.api.errors import RetriableError
from engine.offsets.store import OffsetStore
store = OffsetStore(sys.argv[3])
store.close()
try:
    while True:
        os.dup(0)
except OSError:
    pass
try:
    OffsetStore(sys.argv[3])
except RetriableError as error:
    print(error)
"""


def printed(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_supervisor_needs_most_where_there_are_many_tasks() -> None:
    assert needed([2] * 300, brokers=1) == SUPERVISOR + 300 * (LINE + 2)
    assert needed([1] * 300, brokers=1) == SUPERVISOR + 300 * (LINE + 1)


def test_a_pump_needs_most_where_there_are_many_brokers() -> None:
    assert needed([2], brokers=200) == PROCESS + 201 * BROKER


@pytest.mark.slow
def test_a_limit_that_suffices_stays_as_it_is() -> None:
    assert printed(PROVIDES, 200, 4000, 200) == "200 4000"


@pytest.mark.slow
def test_a_limit_that_may_be_raised_is_raised() -> None:
    assert printed(PROVIDES, 200, 4000, 201) == "4000 4000"


@pytest.mark.slow
def test_a_limit_is_raised_no_farther_than_any_program_can_bear() -> None:
    hard = int(printed("import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[1])"))
    assert printed(PROVIDES, 200, hard, 201) == f"{hard if 0 <= hard < ROOMY else ROOMY} {hard}"


@pytest.mark.slow
def test_a_limit_that_is_too_low_is_told_with_both_numbers_and_what_to_do() -> None:
    told = printed(PROVIDES, 200, 250, 1300)
    assert "needs 1300 open files and may have 250 (ulimit -Hn)" in told
    assert "LimitNOFILE=" in told
    assert "fewer tasks" in told


@pytest.mark.slow
def test_a_store_that_cannot_be_opened_for_want_of_descriptors_says_so(tmp_path: Path) -> None:
    told = printed(USES_ALL_AND_STORES, 64, 64, tmp_path / "offsets.millrace.db")
    assert "all 64 open files" in told
    assert "ulimit -n" in told


def test_other_errors_get_no_such_word() -> None:
    assert what_to_do(OSError(errno.EACCES, "denied")) == ""
    assert what_to_do() == ""
    assert "fs.file-max" in what_to_do(OSError(errno.ENFILE, "no more"))
