"""`millrace try` shows a record at each step, of sinks and of sources, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.exits import ExitCode
from tests.harness.command import run

CHAIN = {
    "transforms": "types,day,wrap",
    "transforms.types.type": "Cast$Value",
    "transforms.types.spec": "id:string",
    "transforms.day.type": "TimestampRouter",
    "transforms.wrap.type": "HoistField$Value",
    "transforms.wrap.field": "order",
}
WORKER = {
    "bootstrap.servers": "127.0.0.1:1",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
    "offset.storage.file.filename": "offsets.db",
}
SINK = {"name": "sink", "connector.class": "FileStreamSink", "topics": "orders", "file": "out.txt", **CHAIN}
SOURCE = {"name": "source", "connector.class": "FileStreamSource", "topic": "lines", "file": "in.txt"}
FILES = ("file", "offset.storage.file.filename")
Steps = list[dict[str, Any]]

pytestmark = pytest.mark.slow


def write(folder: Path, *connectors: dict[str, str], records: str) -> list[str]:
    """Files of a worker, its connectors and records; the command's arguments."""
    paths = []
    for number, properties in enumerate([WORKER, *connectors]):
        path = folder / ("worker.properties" if not number else f"{properties['name']}.properties")
        given = {key: str(folder / value) if key in FILES else value for key, value in properties.items()}
        path.write_text("".join(f"{key}={value}\n" for key, value in given.items()))
        paths.append(str(path))
    (folder / "records.jsonl").write_text(records)
    return [*paths, "--records", str(folder / "records.jsonl")]


def steps(folder: Path, connector: dict[str, str], records: str, code: ExitCode = ExitCode.OK) -> list[Steps]:
    done = run("try", *write(folder, connector, records=records), "--json")
    assert done.code == code, done.err
    return [one["steps"] for one in done.json]


def test_a_chain_of_three_transforms_is_shown_step_by_step(tmp_path: Path) -> None:
    line = '{"key": "k", "value": {"id": 7}, "timestamp": 1566570894346, "headers": {"trace": "x"}}\n'
    (found,) = steps(tmp_path, SINK, line)
    assert [(step["step"], step["record"]["topic"], step["record"]["value"]) for step in found] == [
        ("as in the topic", "orders", '{"id":7}'),
        ("converters", "orders", {"id": 7}),
        ("types", "orders", {"id": "7"}),
        ("day", "orders-20190823", {"id": "7"}),
        ("wrap", "orders-20190823", {"order": {"id": "7"}}),
    ]
    assert found[-1]["record"]["headers"] == [["trace", "x"]]
    assert found[-1]["record"]["key"] == "k"
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "offsets.db").exists()


def test_a_step_that_fails_is_the_last_of_its_record_and_named(tmp_path: Path) -> None:
    records = '{"value": {"id": 1}}\n{"value": "no json"}\n{"value": {"id": 2}, "timestamp": 0}\n'
    first, second, third = steps(tmp_path, SINK, records, ExitCode.FAILED)
    assert first[-1]["step"] == "day"
    assert first[-1]["error"]["type"] == "DataError"
    assert first[-1]["error"]["message"].startswith("Timestamp missing on record")
    assert second[-1]["step"] == "value.converter"
    assert third[-1]["record"]["topic"] == "orders-19700101"


def test_a_sources_records_end_as_bytes(tmp_path: Path) -> None:
    chain = {
        "transforms": "wrap",
        "transforms.wrap.type": "HoistField$Value",
        "transforms.wrap.field": "line",
    }
    schema = '{"type": "string", "optional": false}'
    records = f'{{"topic": "lines", "value": "a", "value_schema": {schema}}}\n'
    (found,) = steps(tmp_path, {**SOURCE, **chain}, records)
    assert [(step["step"], step["record"]["value"]) for step in found] == [
        ("as the task returns it", "a"),
        ("wrap", {"line": "a"}),
        ("converters", '{"line":"a"}'),
    ]
    assert found[1]["record"]["value_schema"] == "STRUCT(line:STRING)"


def test_people_see_a_table_in_which_only_what_changes_stands(tmp_path: Path) -> None:
    done = run("try", *write(tmp_path, SINK, records='{"value": {"id": 7}, "timestamp": 0}\n'))
    assert done.code == ExitCode.OK
    lines = done.lines
    assert lines[0] == "record 1"
    assert lines[1].split() == ["step", "topic", "partition", "timestamp", "value"]
    assert lines[4].split() == ["types", "=", "=", "=", '{"id":"7"}']
    assert lines[5].split() == ["day", "orders-19700101", "=", "=", "="]


def test_one_of_several_connectors_is_chosen_by_its_name(tmp_path: Path) -> None:
    arguments = write(tmp_path, SINK, SOURCE, records='{"value": "a"}\n')
    done = run("try", *arguments)
    assert done.code == ExitCode.USAGE
    assert "expected -c with one of sink, source" in done.err
    assert run("try", *arguments, "-c", "source").code == ExitCode.OK


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ("{", "line 1 is no JSON"),
        ('{"value": 1}\n[]', "line 2 is no object"),
        ('{"valeu": 1}', "line 1 has valeu; expected headers, key"),
        ('{"partition": "a"}', "line 1 has a partition that is no whole number"),
        ('{"headers": 3}', "line 1 has headers that are none"),
        ('{"key_base64": "?"}', "line 1 has a key_base64 that is none"),
    ],
)
def test_a_file_of_records_that_is_wrong_is_told_with_its_line(records: str, reason: str, tmp_path: Path) -> None:
    done = run("try", *write(tmp_path, SINK, records=records))
    assert done.code == ExitCode.USAGE
    assert json.dumps(reason)[1:-1] in json.dumps(done.err)


def test_records_come_from_one_place(tmp_path: Path) -> None:
    arguments = write(tmp_path, SINK, records="")
    done = run("try", *arguments, "--topic", "orders")
    assert done.code == ExitCode.USAGE
    assert "expected either --records FILE or --topic TOPIC" in done.err
