"""What every sink connector keeps, whatever it writes.

K1  task_configs gives at most tasks_max configurations, all of them text, and the same when asked again.
K2  A task lives through open, put, flush, close and stop, and takes an empty batch.
K3  What pre_commit answers is never above what was put.
K4  A task started again goes on where the first one stopped: what was flushed stays, what comes is added.
K5  A task can be stopped before anything was put.
K6  Values of all kinds are taken: null, text, bytes, numbers, maps, lists.
K7  The configuration is declared: every key has a name of its own and a description, and bad text is told by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from millrace_folders.sink import FolderSinkConnector

from connectors.file.sink import FileStreamSinkConnector
from connectors.null import NullSinkConnector
from engine.api.column import Utf8Column
from engine.api.config import keys_of
from engine.api.connector import SinkConnector
from engine.api.errors import ConfigError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask
from tests.harness.contexts import FakeSinkContext, sink_batch

PLACE = TopicPartition("topic", 0)


class Case(NamedTuple):
    """A connector, its configuration, and what it has written as a list of texts; None: it keeps nothing."""

    connector: type[SinkConnector]
    prepare: Callable[[Path], dict[str, str]]
    written: Callable[[Path], list[str]] | None
    bad_key: tuple[str, str]


def files_by_offset(folder: Path) -> list[str]:
    files = sorted((folder / "outbox").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    return [path.read_text() for path in files]


CASES = [
    pytest.param(
        Case(
            FileStreamSinkConnector,
            lambda folder: {"file": str(folder / "out.txt")},
            lambda folder: (folder / "out.txt").read_text().splitlines(),
            ("file.fsync", "perhaps"),
        ),
        id="FileStreamSink",
    ),
    pytest.param(Case(NullSinkConnector, lambda folder: {}, None, ("delay.ms", "-1")), id="NullSink"),
    pytest.param(
        Case(
            FolderSinkConnector,
            lambda folder: {"folder": str(folder / "outbox")},
            files_by_offset,
            ("folder", ""),
        ),
        id="FolderSink (example)",
    ),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    given: Case = request.param
    return given


def start(case: Case, config: Mapping[str, str]) -> SinkTask:
    task = case.connector.task()
    task.initialize(FakeSinkContext(partitions=[PLACE]))
    task.start(config)
    task.open([PLACE])
    return task


def end(task: SinkTask, next_offset: int) -> None:
    assert task.pre_commit({PLACE: next_offset}).get(PLACE, 0) <= next_offset
    task.close([PLACE])
    task.stop()


def test_k1_task_configs_are_text_and_as_many_as_allowed(case: Case, tmp_path: Path) -> None:
    connector = case.connector()
    connector.start(case.prepare(tmp_path))
    for tasks_max in (1, 2, 5):
        configs = connector.task_configs(tasks_max)
        assert len(configs) <= tasks_max
        assert all(isinstance(text, str) for config in configs for pair in config.items() for text in pair)
        assert list(connector.task_configs(tasks_max)) == list(configs)
    connector.stop()


def test_k2_and_k3_a_task_lives_through_its_calls(case: Case, tmp_path: Path) -> None:
    task = start(case, case.prepare(tmp_path))
    task.put(sink_batch(["one", "two"]))
    task.put(sink_batch([]))
    task.put(sink_batch(Utf8Column([b"three"]), first_offset=2))
    end(task, 3)
    if case.written:
        assert case.written(tmp_path) == ["one", "two", "three"]


def test_k4_a_task_started_again_adds_to_what_is_there(case: Case, tmp_path: Path) -> None:
    for number in range(3):
        task = start(case, case.prepare(tmp_path))
        task.put(sink_batch([f"value {number}"], first_offset=number))
        end(task, number + 1)
    if case.written:
        assert case.written(tmp_path) == ["value 0", "value 1", "value 2"]


def test_k5_a_task_can_be_stopped_before_anything_is_put(case: Case, tmp_path: Path) -> None:
    end(start(case, case.prepare(tmp_path)), 0)


def test_k6_values_of_all_kinds_are_taken(case: Case, tmp_path: Path) -> None:
    values = [None, "text", b"bytes", 1, 2.5, True, {"a": [1, None]}, ["x"]]
    task = start(case, case.prepare(tmp_path))
    task.put(sink_batch(values))
    end(task, len(values))
    if case.written:
        assert len(case.written(tmp_path)) == len(values)


def test_k7_the_configuration_is_declared(case: Case, tmp_path: Path) -> None:
    keys = keys_of(case.connector.config)
    assert len({key.name for key in keys}) == len(keys)
    assert all(key.description for key in keys)
    properties = case.prepare(tmp_path)
    assert case.connector().validate(properties) == []
    name, text = case.bad_key
    with pytest.raises(ConfigError, match=name):
        case.connector.config.parse({**properties, name: text})
