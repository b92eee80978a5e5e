"""FileStreamSink writes what Kafka Connect writes: the text of each value, and a newline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from connectors.file.sink import FileStreamSinkConnector, FileStreamSinkTask, block_of
from engine.api.column import Repeat, Utf8Column
from engine.api.errors import ConnectError
from engine.api.testing import FakeSinkContext, sink_batch


def started(path: Path, **keys: str) -> FileStreamSinkTask:
    task = FileStreamSinkTask()
    task.initialize(FakeSinkContext())
    task.start({"file": str(path), **keys})
    return task


def block(*values: Any) -> bytes:
    return block_of(values, Repeat(None, len(values)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


def test_values_are_written_as_java_prints_them() -> None:
    assert block("text", None, 7, True, {"a": 1, "b": None}, [1, "x"]) == (
        b"text\nnull\n7\ntrue\n{a=1, b=null}\n[1, x]\n"
    )


def test_text_that_came_as_bytes_is_written_as_it_came() -> None:
    values = Utf8Column(["é水\r".encode(), None, b""])
    assert block_of(values, Repeat(None, 3)) == "é水\r\nnull\n\n".encode()


def test_bytes_that_are_no_text_are_written_as_replacement_characters() -> None:
    values = Utf8Column([b"ok", b"a\xff", None, b"\xed\xa0\x80"])
    assert block_of(values, Repeat(None, 4)) == "ok\na\ufffd\nnull\n\ufffd\n".encode()


def test_a_put_is_in_the_file_when_it_returns(path: Path) -> None:
    task = started(path)
    task.put(sink_batch(["one", "two"]))
    assert path.read_bytes() == b"one\ntwo\n"
    task.put(sink_batch([]))
    task.put(sink_batch(["three"]))
    task.flush({})
    task.stop()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_line_torn_by_a_kill_is_cut_off_at_the_next_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"whole\nto")
    task = started(path)
    assert f"file {path} ended in a torn line: 2 bytes cut off its end" in caplog.text
    task.put(sink_batch(["torn before"]))
    assert path.read_bytes() == b"whole\ntorn before\n"


def test_a_flush_can_wait_for_the_disk(path: Path) -> None:
    task = started(path, **{"file.fsync": "true"})
    task.put(sink_batch(["safe"]))
    task.flush({})
    assert path.read_bytes() == b"safe\n"


def test_without_a_file_standard_output_is_written_and_left_open() -> None:
    read_fd, write_fd = os.pipe()
    task = FileStreamSinkTask(stdout=write_fd)
    task.start({"file.fsync": "true"})
    task.put(sink_batch(["shown"]))
    task.flush({})
    task.stop()
    os.close(write_fd)
    assert os.read(read_fd, 100) == b"shown\n"
    os.close(read_fd)


def test_a_file_that_cannot_be_made_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"\(key file\)"):
        started(tmp_path)
    with pytest.raises(ConnectError, match=r"\(key file\)"):
        FileStreamSinkTask().start({"file": ""})


def test_all_tasks_write_the_same_file() -> None:
    connector = FileStreamSinkConnector()
    connector.start({"file": "f"})
    assert connector.task_configs(2) == [{"file": "f"}] * 2
    assert connector.alter_offsets({"file": "f"}, {})
