"""A block is in the file whole or not at all, also when the disk is full or a writer was killed."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.file import appender
from connectors.file.appender import Appender
from engine.api.errors import ConnectError

#: Large enough for whatever else the tests write meanwhile.
SMALL_BYTES = 8 * 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


@pytest.fixture
def small_files() -> Iterator[int]:
    """The system refuses to let a file grow beyond so many bytes, after writing what fits."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, limits[1]))
    yield SMALL_BYTES
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_blocks_follow_what_is_there(path: Path) -> None:
    path.write_bytes(b"before\n")
    file = Appender.open(str(path))
    assert file.mend() == 0
    file.append(b"one\ntwo\n")
    file.append(b"three\n")
    file.close()
    assert path.read_bytes() == b"before\none\ntwo\nthree\n"


def test_a_block_that_does_not_fit_leaves_the_file_as_it_was(path: Path, small_files: int) -> None:
    file = Appender.open(str(path))
    file.append(b"fits\n")
    with pytest.raises(
        ConnectError, match=rf"cannot write {2 * SMALL_BYTES} bytes to {path} \(key file\): File too large"
    ):
        file.append(b"x" * 2 * small_files)
    assert path.read_bytes() == b"fits\n"
    file.append(b"goes on\n")
    assert path.read_bytes() == b"fits\ngoes on\n"


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"", b""),
        (b"torn", b""),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\nb\ntorn", b"a\nb\n"),
        (b"a\n" + b"t" * 200_000, b"a\n"),
        (b"\n", b"\n"),
    ],
)
def test_mending_cuts_what_follows_the_last_newline(path: Path, content: bytes, whole: bytes) -> None:
    path.write_bytes(content)
    assert Appender.open(str(path)).mend() == len(content) - len(whole)
    assert path.read_bytes() == whole


@settings(max_examples=30)
@given(st.integers(0, 3 * appender.BLOCK_BYTES), st.integers(0, 3 * appender.BLOCK_BYTES))
def test_mending_finds_the_last_newline_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory, before: int, after: int
) -> None:
    path = tmp_path_factory.mktemp("mend") / "out.txt"
    path.write_bytes(b"x" * before + b"\n" + b"y" * after)
    assert Appender.open(str(path)).mend() == after


def test_a_file_without_newlines_is_no_torn_line_and_is_left_alone(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(appender.TORN_BYTES_MAX + 1)
    with pytest.raises(ConnectError, match="does not end with a newline"):
        Appender.open(str(path)).mend()
    assert path.stat().st_size == appender.TORN_BYTES_MAX + 1


def test_a_block_another_task_is_writing_is_not_taken_for_a_torn_one(path: Path) -> None:
    path.write_bytes(b"whole\nhalf of a blo")
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.flock(writer, fcntl.LOCK_EX)  # as a task does while it writes
    cut: list[int] = []
    mending = threading.Thread(target=lambda: cut.append(Appender.open(str(path)).mend()))
    mending.start()
    os.write(writer, b"ck\n")
    fcntl.flock(writer, fcntl.LOCK_UN)
    mending.join(timeout=5)
    os.close(writer)
    assert cut == [0]
    assert path.read_bytes() == b"whole\nhalf of a block\n"


def test_what_a_killed_sibling_left_is_cut_off_before_the_next_block(path: Path) -> None:
    file = Appender.open(str(path))
    file.mend()
    file.append(b"one\n")
    with path.open("ab") as sibling:
        sibling.write(b"half of a blo")
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_block_that_does_not_fit_behind_a_torn_one_is_cut_back_to_whole_lines(path: Path, small_files: int) -> None:
    path.write_bytes(b"whole\ntorn")
    file = Appender.open(str(path))
    with pytest.raises(ConnectError, match="File too large"):
        file.append(b"x" * 2 * small_files)
    assert path.read_bytes() == b"whole\n"


def test_a_named_pipe_is_opened_for_writing_only(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    output = Appender.open(str(path))
    output.append(b"one\n")
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    with pytest.raises(ConnectError, match="Broken pipe"):
        output.append(b"two\n")
    output.close()


def test_several_tasks_may_append_and_mend_at_once(path: Path) -> None:
    def write(name: bytes) -> None:
        for _ in range(50):
            file = Appender.open(str(path))
            file.mend()
            file.append(name * 5000 + b"\n")
            file.close()

    tasks = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b")]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(timeout=10)
    lines = path.read_bytes().splitlines()
    assert sorted(lines) == [b"a" * 5000] * 50 + [b"b" * 5000] * 50


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"cannot open or make .*nowhere/out\.txt \(key file\)"):
        Appender.open(str(tmp_path / "nowhere" / "out.txt"))


def test_a_pipe_is_written_without_lock_and_never_cut() -> None:
    read_fd, write_fd = os.pipe()
    output = Appender(write_fd, "standard output")
    assert output.mend() == 0
    output.append(b"one\n")
    assert os.read(read_fd, 100) == b"one\n"
    os.close(read_fd)
    with pytest.raises(ConnectError, match="cannot write 4 bytes to standard output"):
        output.append(b"two\n")
    output.close()


KILLS_MAX = 100  # three that tear are enough; on a busy machine few do
WRITER = """
import sys
from connectors.file.appender import Appender
file = Appender.open(sys.argv[1])
file.mend()
print("mended", flush=True)
number = 0
while True:
    file.append(b"".join(b"%012d " % (number + index) + b"x" * 5000 + b"\\n" for index in range(1000)))
    number += 1000
"""


@pytest.mark.faults
@pytest.mark.slow
def test_after_kills_in_the_middle_of_writes_the_next_start_finds_whole_lines(path: Path) -> None:
    torn = 0
    for attempt in range(KILLS_MAX):
        _kill_a_writer_after(path, delay_ms=10 + 13 * attempt % 50)
        torn += Appender.open(str(path)).mend() > 0
        lines = path.read_bytes().splitlines(keepends=True)
        assert {len(line) for line in lines} <= {5014}
        assert [int(line[:12]) for line in lines] == list(range(len(lines)))
        path.write_bytes(b"")
        if torn == 3:
            return
    raise AssertionError(f"only {torn} of {KILLS_MAX} kills tore a line")


def _kill_a_writer_after(path: Path, delay_ms: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(appender.__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"mended\n"
        time.sleep(delay_ms / 1000)  # not a wait for something: the moment of the kill is to differ
        writer.kill()
