"""FileStreamSource reads files as Kafka Connect does, and ends at their end in a bulk run."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.file.source import FileStreamSourceConnector, FileStreamSourceTask
from engine.api.column import Utf8Column
from engine.api.errors import ConfigError, ConnectError
from engine.api.testing import FakeSourceContext, poll_all, records_of


def started(
    path: Path | str, *, is_bulk: bool = False, position: Any = None, batch_size: int = 2000
) -> FileStreamSourceTask:
    offsets = [] if position is None else [({"filename": str(path)}, {"position": position})]
    task = FileStreamSourceTask()
    task.initialize(FakeSourceContext(is_bulk=is_bulk, offsets=offsets))
    task.start({"topic": "lines", "file": str(path), "batch.size": str(batch_size)})
    return task


def texts(task: FileStreamSourceTask) -> list[str]:
    return [record.value for record in poll_all(task)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.txt"


def test_each_line_is_a_record_with_schema_partition_and_offset(path: Path) -> None:
    path.write_bytes(b"one\r\ntwo\n")
    first, second = poll_all(started(path, is_bulk=True))
    assert (first.topic, first.value, first.key, first.partition) == ("lines", "one", None, None)
    assert first.value_schema is not None and first.value_schema.type == "STRING"
    assert first.source_partition == {"filename": str(path)}
    assert (first.source_offset, second.source_offset) == ({"position": 5}, {"position": 9})


def test_a_batch_holds_at_most_batch_size_lines_and_is_still_bytes(path: Path) -> None:
    path.write_bytes(b"".join(b"%d\n" % number for number in range(7)))
    task = started(path, batch_size=3)
    batches = [task.poll(), task.poll(), task.poll()]
    assert [len(batch) for batch in batches if batch] == [3, 3, 1]
    assert isinstance(batches[0].values, Utf8Column)  # type: ignore[union-attr]
    assert task.poll() is None


def test_a_stored_position_is_where_reading_begins(path: Path) -> None:
    path.write_text("één\nzwei\n")
    after_first = poll_all(started(path))[0].source_offset
    assert after_first is not None
    assert texts(started(path, position=after_first["position"])) == ["zwei"]


def test_a_line_without_an_end_waits_for_it_while_running(path: Path) -> None:
    path.write_bytes(b"whole\nhal")
    task = started(path)
    assert texts(task) == ["whole"]
    assert task.poll() is None
    with path.open("ab") as file:
        file.write(b"f\nnext\n")
    assert texts(task) == ["half", "next"]


def test_a_bulk_run_ends_with_the_file_and_delivers_a_last_line_without_an_end(path: Path) -> None:
    path.write_bytes(b"whole\nhalf")
    task = started(path, is_bulk=True)
    assert texts(task) == ["whole", "half"]
    assert task.context.has_ended  # type: ignore[attr-defined]
    assert texts(started(path, is_bulk=True, position=10)) == []


def test_an_empty_file_ends_a_bulk_run_at_once(path: Path) -> None:
    path.touch()
    task = started(path, is_bulk=True)
    assert task.poll() is None
    assert task.context.has_ended  # type: ignore[attr-defined]


def test_a_missing_file_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = started(path)
    assert task.poll() is None
    assert task.poll() is None
    assert task.context.now_ns == 2_000_000_000  # type: ignore[attr-defined]
    assert len(caplog.records) == 1
    path.write_text("here\n")
    assert texts(task) == ["here"]


def test_a_missing_file_fails_a_bulk_run_by_key_and_name(path: Path) -> None:
    with pytest.raises(ConnectError, match=rf"no file {path} \(key file\)"):
        started(path, is_bulk=True).poll()


def test_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=rf"cannot read {tmp_path} \(key file\): Is a directory"):
        started(tmp_path).poll()


@pytest.mark.parametrize("position", ["5", -1, True, 2**63, 1.0])
def test_a_stored_position_that_is_none_is_an_error(path: Path, position: Any) -> None:
    path.write_text("a\n")
    with pytest.raises(ConnectError, match="not a whole number from 0 on"):
        started(path, position=position).poll()


def test_a_file_shorter_than_the_stored_position_is_read_when_it_has_grown(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("new\n")
    task = started(path, position=6)
    assert task.poll() is None
    assert "fewer than the stored position 6" in caplog.text
    with path.open("a") as file:
        file.write("x\nnext\n")
    assert texts(task) == ["next"]


def test_a_pipe_is_read_as_it_fills_and_does_not_block(path: Path) -> None:
    os.mkfifo(path)
    opened = threading.Thread(target=lambda: fds.append(os.open(path, os.O_WRONLY)))
    fds: list[int] = []
    opened.start()
    task = started(path)
    task.poll()
    opened.join()
    assert task.poll() is None
    os.write(fds[0], b"one\ntw")
    assert [record.value for record in records_of(task.poll())] == ["one"]
    assert task.poll() is None
    os.write(fds[0], b"o\n")
    assert [record.value for record in records_of(task.poll())] == ["two"]
    os.close(fds[0])
    task.stop()


def test_standard_input_has_no_position() -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"typed\n")
    os.close(write_fd)
    task = FileStreamSourceTask(stdin=read_fd)
    task.initialize(FakeSourceContext(is_bulk=True))
    task.start({"topic": "lines", "file": ""})
    records = poll_all(task)
    assert [(record.value, record.source_partition, record.source_offset) for record in records] == [
        ("typed", {"filename": None}, {"position": None})
    ]
    task.stop()
    os.close(read_fd)  # stop has left it open


def test_a_large_file_is_read_whole_in_bounded_batches(path: Path) -> None:
    lines = [f"{number} {'x' * (number % 300)}" for number in range(20_000)]
    path.write_text("\n".join(lines))
    task = started(path, is_bulk=True)
    records = poll_all(task)
    assert [record.value for record in records] == lines
    assert records[-1].source_offset == {"position": path.stat().st_size}


def test_a_missing_topic_and_a_bad_size_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        FileStreamSourceTask().start({"batch.size": "0"})
    assert {problem.key for problem in caught.value.problems} == {"topic", "batch.size"}


def test_there_is_one_task_whatever_is_allowed() -> None:
    connector = FileStreamSourceConnector()
    connector.start({"topic": "t", "file": "f"})
    assert connector.task_configs(10) == [{"topic": "t", "file": "f"}]


PARTITION = json.dumps({"filename": "f"})
NOT_LONG = "The value for the 'position' key in the offset is expected to be a Long value"


@pytest.mark.parametrize(
    "offsets",
    [
        {},
        {PARTITION: {"position": 0}},
        {PARTITION: None},
        {"[]": None},
        {json.dumps({"filename": "other"}): {"position": 7}},
    ],
)
def test_offsets_it_would_write_itself_may_be_stored(offsets: Mapping[str, Any]) -> None:
    assert FileStreamSourceConnector().alter_offsets({"topic": "t", "file": "f"}, offsets)


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ({PARTITION: {}}, "Offset objects should either be null or contain the key 'position'"),
        ({PARTITION: {"position": None}}, NOT_LONG),
        ({PARTITION: {"position": "1"}}, NOT_LONG),
        ({PARTITION: {"position": 1.0}}, NOT_LONG),
        ({PARTITION: {"position": True}}, NOT_LONG),
        ({PARTITION: {"position": 2**63}}, NOT_LONG),
        (
            {PARTITION: {"position": -1}},
            "The value for the 'position' key in the offset should be a non-negative value",
        ),
        ({json.dumps({"other": "f"}): {"position": 1}}, "Partition objects should contain the key 'filename'"),
        ({"null": {"position": 1}}, "Partition objects cannot be null"),
    ],
)
def test_other_offsets_are_refused_in_kafka_connects_words(offsets: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConnectError) as caught:
        FileStreamSourceConnector().alter_offsets({"topic": "t", "file": "f"}, offsets)
    assert str(caught.value) == words


@pytest.mark.parametrize("offsets", [{PARTITION: {"position": 1}}, {}])
def test_offsets_of_standard_input_cannot_be_altered(offsets: Mapping[str, Any]) -> None:
    with pytest.raises(ConnectError, match=r"^Offsets cannot be modified if the 'file' configuration is unspecified"):
        FileStreamSourceConnector().alter_offsets({"topic": "t"}, offsets)
