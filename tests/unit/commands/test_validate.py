"""`millrace validate` tells what `run` would, or with --forever what a worker that goes on would."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.exits import ExitCode
from tests.harness import command
from tests.harness.engine import pipeline_toml

pytestmark = pytest.mark.slow

WORKER = {"key.converter": "String", "value.converter": "String"}


def write(folder: Path, connector: dict[str, object]) -> str:
    path = folder / "pipeline.toml"
    path.write_text(pipeline_toml(WORKER, {"lines": connector}))
    return str(path)


def test_a_sources_missing_file_is_an_error_for_a_run_that_ends_and_none_for_one_that_waits(tmp_path: Path) -> None:
    missing = tmp_path / "in.txt"
    path = write(tmp_path, {"connector.class": "FileStreamSource", "topic": "lines", "file": missing})
    done = command.run("validate", path)
    assert done.code == ExitCode.USAGE
    assert f"{path}: connector lines: Invalid value {missing} for configuration file: there is no such file" in done.err
    waiting = command.run("validate", "--forever", path)
    assert (waiting.code, waiting.lines[0]) == (ExitCode.OK, "good: 1 connectors, 1 tasks")


def test_a_sinks_file_that_cannot_be_made_is_an_error_for_a_run_that_ends(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "out.txt"
    path = write(tmp_path, {"connector.class": "FileStreamSink", "topics": "lines", "file": gone})
    done = command.run("validate", path)
    assert done.code == ExitCode.USAGE
    assert f"Invalid value {gone} for configuration file: its folder does not exist" in done.err
    assert command.run("validate", "--forever", path).code == ExitCode.OK
    gone.parent.mkdir()
    assert command.run("validate", path).code == ExitCode.OK
    assert not gone.exists()


def test_files_of_kafka_connects_are_good_for_standalone_and_warned_of_for_a_run_that_ends(tmp_path: Path) -> None:
    """Its own connect-file-source.properties name a file that is made later."""
    worker, source, sink = (tmp_path / f"{name}.properties" for name in ("worker", "source", "sink"))
    (tmp_path / "kept").write_text(f"where={tmp_path}/gone\n")
    worker.write_text(
        "key.converter=org.apache.kafka.connect.storage.StringConverter\n"
        "value.converter=org.apache.kafka.connect.storage.StringConverter\n"
        f"offset.storage.file.filename={tmp_path}/offsets\n"
        "config.providers=f\n"
        "config.providers.f.class=org.apache.kafka.common.config.provider.FileConfigProvider\n"
    )
    source.write_text("name=in\nconnector.class=FileStreamSource\nfile=test.txt\ntopic=connect-test\n")
    sink.write_text(
        f"name=out\nconnector.class=FileStreamSink\nfile=${{f:{tmp_path}/kept:where}}/out.txt\ntopics=connect-test\n"
    )
    done = command.run("validate", *map(str, (worker, source, sink)))
    assert (done.code, done.lines[0]) == (ExitCode.OK, "good: 2 connectors, 2 tasks"), done.err
    warnings = [line for line in done.err.splitlines() if "would refuse it" in line]
    hidden = "[hidden]/out.txt"
    why = "a run that ends would refuse it, `--forever` and `standalone` do not"
    assert [warning.split("; expected")[0] for warning in warnings] == [
        f"warning: connector in: {why}: Invalid value test.txt for configuration file: there is no such file",
        f"warning: connector out: {why}: Invalid value {hidden} for configuration file: its folder does not exist",
    ]
    waiting = command.run("validate", "--forever", *map(str, (worker, source, sink)))
    assert (waiting.code, "would refuse it" in waiting.err) == (ExitCode.OK, False)
