"""What every source connector keeps, whatever it reads.

S1  task_configs gives at most tasks_max configurations, all of them text, and the same when asked again.
S2  Every record has a source partition and offset that survive JSON.
S3  A task started with the offset of any of its records gives exactly the records after it.
S4  A task stopped in the middle and started again loses nothing and doubles nothing.
S5  A bounded source ends in a bulk run, and gives nothing after its end.
S6  A task can be stopped before it was polled.
S7  The configuration is declared: every key has a name of its own and a description, and bad text is told by key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from millrace_folders.source import FolderSourceConnector

from connectors.file.source import FileStreamSourceConnector
from connectors.generator.source import GeneratorSourceConnector
from engine.api.config import keys_of
from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from tests.harness.contexts import FakeSourceContext, poll_all

RECORDS = 60


class Case(NamedTuple):
    """A connector, and how to have it give RECORDS records in all."""

    connector: type[SourceConnector]
    prepare: Callable[[Path], dict[str, str]]
    bad_key: tuple[str, str]


def file_of_lines(folder: Path) -> dict[str, str]:
    path = folder / "lines.txt"
    path.write_text(
        "".join(f"Zeile für {number}{end}" for number, end in zip(range(RECORDS), ["\n", "\r\n"] * 30, strict=True))
    )
    return {"topic": "t", "file": str(path), "batch.size": "7"}


def folder_of_files(folder: Path) -> dict[str, str]:
    (folder / "inbox").mkdir()
    for number in range(RECORDS):
        (folder / "inbox" / f"{number:04}.txt").write_text(f"file {number}")
    return {"topic": "t", "folder": str(folder / "inbox"), "batch.files": "7"}


def numbers(folder: Path) -> dict[str, str]:
    return {"topic": "t", "records": str(RECORDS), "batch.size": "7", "key": "sequence"}


CASES = [
    pytest.param(Case(FileStreamSourceConnector, file_of_lines, ("batch.size", "many")), id="FileStreamSource"),
    pytest.param(Case(GeneratorSourceConnector, numbers, ("format", "none such")), id="Generator"),
    pytest.param(Case(FolderSourceConnector, folder_of_files, ("batch.files", "0")), id="FolderSource (example)"),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    given: Case = request.param
    return given


@pytest.fixture(params=[1, 3])
def configs(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> list[Mapping[str, str]]:
    """The configuration of each task, with one or several allowed."""
    connector = case.connector()
    connector.start(case.prepare(tmp_path))
    return list(connector.task_configs(request.param))


def start(case: Case, config: Mapping[str, str], last: SourceRecord | None = None) -> SourceTask:
    offsets = []
    if last is not None:
        stored = json.loads(json.dumps([last.source_partition, last.source_offset]))
        offsets = [(stored[0], stored[1])]
    task = case.connector.task()
    task.initialize(FakeSourceContext(is_bulk=True, offsets=offsets))
    task.start(config)
    return task


def content(records: list[SourceRecord]) -> list[tuple[object, object]]:
    return [(record.key, record.value) for record in records]


def test_s1_task_configs_are_text_and_as_many_as_allowed(case: Case, tmp_path: Path) -> None:
    connector = case.connector()
    connector.start(case.prepare(tmp_path))
    for tasks_max in (1, 2, 5):
        configs = connector.task_configs(tasks_max)
        assert len(configs) <= tasks_max
        assert all(isinstance(text, str) for config in configs for pair in config.items() for text in pair)
        assert list(connector.task_configs(tasks_max)) == list(configs)
    connector.stop()


def test_s2_partitions_and_offsets_survive_json(case: Case, configs: list[Mapping[str, str]]) -> None:
    for config in configs:
        for record in poll_all(start(case, config)):
            stored = [record.source_partition, record.source_offset]
            assert None not in stored
            assert json.loads(json.dumps(stored)) == stored


def test_s3_a_task_goes_on_after_any_record(case: Case, configs: list[Mapping[str, str]]) -> None:
    total = 0
    for config in configs:
        records = poll_all(start(case, config))
        total += len(records)
        for index in range(len(records)):
            assert content(poll_all(start(case, config, records[index]))) == content(records[index + 1 :])
    assert total == RECORDS


@pytest.mark.parametrize("count", [1, 10, 30])
def test_s4_a_stop_in_the_middle_loses_and_doubles_nothing(
    case: Case, configs: list[Mapping[str, str]], count: int
) -> None:
    for config in configs:
        whole = content(poll_all(start(case, config)))
        task = start(case, config)
        first = poll_all(task, count=count)
        task.stop()
        rest = poll_all(start(case, config, first[-1]))
        assert content(first) + content(rest) == whole


def test_s5_a_bulk_run_ends_and_nothing_follows(case: Case, configs: list[Mapping[str, str]]) -> None:
    for config in configs:
        task = start(case, config)
        poll_all(task)
        assert isinstance(task.context, FakeSourceContext)
        assert task.context.has_ended
        assert not task.poll()
        task.stop()


def test_s6_a_task_can_be_stopped_before_it_is_polled(case: Case, configs: list[Mapping[str, str]]) -> None:
    for config in configs:
        start(case, config).stop()


def test_s7_the_configuration_is_declared(case: Case, tmp_path: Path) -> None:
    keys = keys_of(case.connector.config)
    assert len({key.name for key in keys}) == len(keys)
    assert all(key.description for key in keys)
    properties = case.prepare(tmp_path)
    assert case.connector().validate(properties) == []
    name, text = case.bad_key
    with pytest.raises(ConfigError, match=name):
        case.connector.config.parse({**properties, name: text})
