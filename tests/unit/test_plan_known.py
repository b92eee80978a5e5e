"""A plan knows of clients, files and topics what their tasks would only meet later, and tells what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.plan import PlanOptions, make_plan
from tests.unit.test_plan import OPTIONS, WORKER, complaints, pipeline


def test_a_workers_setting_that_cannot_be_read_is_told_once_whoever_has_such_a_client(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    source = '[connectors.in]\n"connector.class" = "Generator"\ntopic = "a"\n'
    sink = '[connectors.out]\n"connector.class" = "FileStreamSink"\ntopics = "a"\n'
    worker = WORKER + '"producer.linger.ms" = "x"\n"consumer.fetch.min.bytes" = "y"\n'
    for connectors in (source, sink, source + sink):
        with pytest.raises(ConfigError) as caught:
            make_plan(pipeline(tmp_path, connectors, worker), OPTIONS)
        assert sorted(line.split(": expected")[0] for line in complaints(caught)) == [
            f"{file}: Invalid value x for configuration producer.linger.ms",
            f"{file}: Invalid value y for configuration consumer.fetch.min.bytes",
        ]


def test_a_source_tells_where_its_records_go_unless_transforms_may_change_that(tmp_path: Path) -> None:
    text = """
        [connectors.numbers]
        "connector.class" = "Generator"
        topic = "numbers"
        [connectors.lines]
        "connector.class" = "FileStreamSource"
        topic = "lines"
        [connectors.routed]
        "connector.class" = "FileStreamSource"
        topic = "lines"
        transforms = "r"
        "transforms.r.type" = "RegexRouter"
        "transforms.r.regex" = "l(.*)"
        "transforms.r.replacement" = "L$1"
        [connectors.out]
        "connector.class" = "FileStreamSink"
        topics = "lines"
    """
    targets = {line.connector: line.targets for line in make_plan(pipeline(tmp_path, text), OPTIONS).lines}
    assert targets == {
        "numbers": (("topic", "numbers"),),
        "lines": (("topic", "lines"),),
        "routed": (),
        "out": (),
    }


def test_files_that_tasks_could_not_open_are_told_with_all_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "where").write_text(str(tmp_path / "hidden-folder"))
    worker = f"""{WORKER}
        "config.providers" = "d"
        "config.providers.d.class" = "DirectoryConfigProvider"
    """
    text = f"""
        [connectors.out]
        "connector.class" = "FileStreamSink"
        topics = "a"
        file = "{tmp_path}/gone/out.txt"
        [connectors.kept]
        "connector.class" = "FileStreamSink"
        topics = "a"
        file = "${{d:{tmp_path}:where}}/out.txt"
        [connectors.in]
        "connector.class" = "FileStreamSource"
        topic = "a"
        file = "{tmp_path}/in.txt"
    """
    files = pipeline(tmp_path, text, worker)
    with pytest.raises(ConfigError) as caught:
        make_plan(files, OPTIONS)
    where = f"{tmp_path}/pipeline.toml: connector"
    assert [problem.split("; expected")[0] for problem in complaints(caught)] == [
        f"{where} out: Invalid value {tmp_path}/gone/out.txt for configuration file: its folder does not exist",
        f"{where} kept: Invalid value [hidden]/out.txt for configuration file: its folder does not exist",
        f"{where} in: Invalid value {tmp_path}/in.txt for configuration file: there is no such file",
    ]
    assert len(make_plan(files, PlanOptions(worker_id="w1", is_bulk=False)).lines) == 3, "a worker goes on trying"
