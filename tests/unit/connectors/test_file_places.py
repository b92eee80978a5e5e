"""Whether a file can be read or written is told without opening it; what is wrong says what was expected."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.file.places import why_unreadable, why_unwritable
from connectors.file.sink import FileStreamSinkConnector
from connectors.file.source import FileStreamSourceConnector

NOBODY = 65_534


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that anybody may enter: that of a test is its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(ask: Callable[[], str]) -> str:
    """The answer of a user who may not do everything."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        os.write(write, ask().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        told = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return told


def test_a_file_that_is_there_can_be_read_and_one_that_is_not_is_told(tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    assert why_unreadable(str(file)).startswith("there is no such file; expected one that is there")
    file.touch()
    assert why_unreadable(str(file)) == ""


def test_a_file_can_be_written_where_it_is_or_can_be_made(tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    assert why_unwritable(str(file)) == ""
    assert not file.exists(), "nothing is made"
    file.touch()
    assert why_unwritable(str(file)) == ""
    assert why_unwritable(str(tmp_path / "gone" / "out.txt")).startswith("its folder does not exist; expected")


def test_a_link_counts_for_what_it_leads_to(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone" / "out.txt")
    assert why_unwritable(str(link)).startswith("its folder does not exist")
    (tmp_path / "gone").mkdir()
    assert why_unwritable(str(link)) == ""


@pytest.mark.parametrize("way", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link to a link"])
def test_standard_output_by_its_path_is_not_judged_by_what_the_asking_process_has(way: str, folder: Path) -> None:
    if way.startswith("link"):
        (folder / "first").symlink_to(folder / "second")
        (folder / "second").symlink_to("/dev/stdout")
        way = str(folder / "first")
    if not Path(way).is_symlink():
        pytest.skip(f"there is no {way} here")
    log = folder / "log"
    log.touch(mode=0o600)
    if os.geteuid() != 0:
        log.chmod(0)

    def ask() -> str:
        os.dup2(opened, 1)  # as the probe has the worker's standard error there
        return f"{why_unwritable(way)}{why_unreadable(way)}"

    opened = os.open("/dev/null" if os.geteuid() else log, os.O_WRONLY)
    assert as_nobody(ask) == ""
    os.close(opened)


def test_a_descriptor_that_the_asking_process_has_not_may_be_there_for_the_task() -> None:
    assert why_unwritable("/dev/fd/9999") == why_unreadable("/dev/fd/9999") == ""
    assert why_unwritable("/dev/fd-of-no-kind/1").startswith("its folder does not exist")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert why_unwritable(str(tmp_path / "a")).startswith("there can be no such file")


def test_a_pipe_is_neither_opened_nor_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert why_unwritable(str(pipe)) == ""
    assert why_unreadable(str(pipe)) == ""


def test_what_can_be_no_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for ask in (why_unwritable, why_unreadable):
        assert ask(str(tmp_path)).startswith("it is a folder")
        assert ask(str(tmp_path / "file" / "out.txt")).startswith("a part of its path is a file")
        assert ask("a\0b").startswith("there can be no such file (embedded null byte)")
        assert ask("n" * 300).startswith("there can be no such file (File name too long)")
    assert why_unwritable(f"{tmp_path}/gone/").startswith("it is a folder")
    assert why_unwritable("").startswith("it is empty; expected a file, or no such key for standard output")


def test_what_this_user_may_not_do_is_told(folder: Path) -> None:
    closed, file = folder / "closed", folder / "file"
    closed.mkdir(mode=0o700)
    file.touch(mode=0o600)
    (closed / "file").touch()
    if os.geteuid() != 0:
        closed.chmod(0)
        file.chmod(0)
    for path, words in (
        (file, "this user may not read and write it"),
        (folder / "new", "this user may not make files in its folder" if os.geteuid() == 0 else ""),
        (closed / "file", "a part of its path is a file, or cannot be entered by this user"),
    ):
        told = as_nobody(lambda path=path: why_unwritable(str(path)))  # type: ignore[misc]  # of this turn
        assert told.startswith(words), (path, told)
    told = as_nobody(lambda: why_unreadable(str(file)))
    assert told.startswith("this user may not read it")
    closed.chmod(0o700)


def test_connectors_tell_it_of_their_file_and_nothing_of_standard_input_and_output(tmp_path: Path) -> None:
    sink, source = FileStreamSinkConnector(), FileStreamSourceConnector()
    gone = str(tmp_path / "gone" / "file")
    assert sink.validate({"topics": "t", "file": gone}) == [], "a worker goes on trying"
    sink.is_bulk = True
    (problem,) = sink.validate({"topics": "t", "file": gone})
    assert problem.key == "file"
    assert problem.message.startswith(f"Invalid value {gone} for configuration file: its folder does not exist")
    assert source.validate({"topic": "t", "file": gone}) == []
    source.is_bulk = True
    (problem,) = source.validate({"topic": "t", "file": gone})
    assert problem.message.startswith(f"Invalid value {gone} for configuration file: there is no such file")
    assert sink.validate({"topics": "t"}) == []
    assert source.validate({"topic": "t"}) == source.validate({"topic": "t", "file": ""}) == []
    assert source.validate({"file": gone}) == [], "that topic is missing is told by its key"
