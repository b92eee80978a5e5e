"""A connector's keys have Kafka Connect's defaults; what is not built is refused, and nothing is left out silently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from engine.api.errors import ConfigError
from engine.config.connector import ConnectorConfig, SinkKeys, connector_warnings, read_connector
from engine.config.line import Subscription
from engine.config.worker import WorkerConfig
from engine.shm.board import STAGE_PROCESSES_MAX

LEAST = {"name": "orders", "connector.class": "FileStreamSink"}
SINK = {**LEAST, "topics": "a"}
DEAD = "errors.deadletterqueue.topic.name"


def worker(**keys: Any) -> WorkerConfig:
    return WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="f", **keys)


def read(
    properties: Mapping[str, str],
    *,
    is_sink: bool = True,
    is_strict: bool = True,
    known: Collection[str] = (),
    of: WorkerConfig | None = None,
) -> ConnectorConfig:
    return read_connector(
        properties, of or worker(), is_sink=is_sink, file="c.toml", is_strict=is_strict, known_keys=known
    )


def problems_of(properties: Mapping[str, str], **how: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(properties, **how)
    return [str(problem) for problem in caught.value.problems]


def warnings_of(properties: Mapping[str, str], *, is_sink: bool = True, is_strict: bool = False) -> list[str]:
    return connector_warnings(properties, worker(), is_sink=is_sink, is_strict=is_strict, known_keys=())


def test_the_defaults_are_kafka_connects_and_what_is_ours_is_the_workers() -> None:
    config = read({**SINK, "ring.bytes": "100000"}, of=worker(task_processes=1, restart_max=9))
    assert config.tasks_max == 1
    assert config.is_tasks_max_enforced
    assert config.key_converter is None
    assert config.task_processes == 1
    assert config.restart_max == 9
    assert config.ring_bytes == 100_000


def test_restarts_and_limits_are_the_workers_where_the_connector_says_nothing() -> None:
    own = {"restart.policy": "none", "task.nice": "5"}
    config = read({**SINK, **own}, of=worker(restart_circuit_ms=7, task_nice=3, task_memory_max=1 << 30))
    assert (config.restart_policy, config.restart_circuit_ms, config.restart_max_window_ms) == ("none", 7, 600_000)
    assert (config.task_nice, config.task_memory_max, config.task_cpu_affinity) == (5, 1 << 30, "")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("restart.policy", "always", "auto, none"),
        ("task.nice", "20", "19"),
        ("task.cpu.affinity", "all", "expected numbers and ranges"),
        ("task.memory.max", "0", "1"),
    ],
)
def test_a_value_that_restarts_or_limits_cannot_have_is_told(key: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){key}.*{expected}|{expected}.*{key}"):
        read({**SINK, key: value})


def test_a_sink_reads_its_topics_each_once_or_a_pattern() -> None:
    assert read({**LEAST, "topics": "a, b,"}).subscription == Subscription(topics=("a", "b"))
    assert read({**LEAST, "topics.regex": r"(?<x>a)\.\p{Digit}+"}).subscription == Subscription(
        pattern=r"(?P<x>a)\.[0-9]+"
    )


@pytest.mark.parametrize(
    ("topics", "reasons"),
    [
        ({}, ["Must configure one of topics or topics.regex"] * 2),
        ({"topics": " ,"}, ["Configuration 'topics' values must not be duplicated."]),
        (
            {"topics": "a", "topics.regex": "b"},
            ["topics and topics.regex are mutually exclusive options, but both are set."] * 2,
        ),
        ({"topics": "a,b,a"}, ["Configuration 'topics' values must not be duplicated."]),
        ({"topics.regex": "a("}, ["it is no pattern"]),
    ],
)
def test_a_sink_has_exactly_one_of_topics_and_pattern(topics: dict[str, str], reasons: list[str]) -> None:
    problems = problems_of({**LEAST, **topics})
    assert len(problems) == len(reasons)
    assert all(reason in problem for reason, problem in zip(reasons, problems, strict=True))


def test_what_becomes_of_records_that_fail_is_read() -> None:
    keys = read({**SINK, "errors.tolerance": "all", "errors.retry.timeout": "-1", DEAD: "dead"})
    assert isinstance(keys, SinkKeys)
    assert (keys.errors_tolerance, keys.errors_retry_timeout, keys.dead_letter_topic) == ("all", -1, "dead")
    assert (keys.dead_letter_replication, keys.dead_letter_headers) == (3, False)


@pytest.mark.parametrize(
    ("topics", "problem"),
    [
        ({"topics": "a,dead"}, "may not be included in the list of topics ('topics=[a, dead]')"),
        ({"topics.regex": "de.*"}, "may not be matched by the regex for the topics ('topics.regex=de.*')"),
    ],
)
def test_a_sink_may_not_read_its_own_dead_letters(topics: dict[str, str], problem: str) -> None:
    (told,) = problems_of({**LEAST, **topics, DEAD: "dead"})
    assert problem in told


def test_the_defaults_of_what_is_not_built_are_accepted() -> None:
    assert read({**LEAST, "exactly.once.support": "REQUESTED"}, is_sink=False).name == "orders"


def test_exactly_once_and_topic_creation_are_refused_for_sources() -> None:
    creation = {"topic.creation.default.partitions": "3", "topic.creation.default.replication.factor": "3"}
    problems = problems_of({**LEAST, **creation, "exactly.once.support": "required"}, is_sink=False)
    assert len(problems) == 3
    assert "topic.creation.enable=false" in problems[0]


def test_topic_creation_is_let_through_when_the_worker_switches_it_off() -> None:
    properties = {**LEAST, "topic.creation.default.partitions": "3"}
    off = worker(topic_creation_enable=False)
    assert read(properties, is_sink=False, of=off).name == "orders"
    (warning,) = connector_warnings(properties, off, is_sink=False, is_strict=True, known_keys=())
    assert "the worker has topic.creation.enable=false" in warning


def test_every_problem_of_a_connector_is_told_together() -> None:
    problems = problems_of(
        {
            "name": "orders\n2",
            "topics": "a",
            "tasks.max": "0",
            "fil": "/tmp/x",
            "errors.tolerance": "some",
        },
        known=["file"],
    )
    texts = "\n".join(problems)
    for part in (
        'Missing required configuration "connector.class"',
        "Invalid value 0 for configuration tasks.max",
        'unknown key "fil"; did you mean "file"?',
        "Invalid value some for configuration errors.tolerance",
    ):
        assert part in texts
    assert len(problems) == 4


def test_aliases_and_pauses_are_checked() -> None:
    problems = problems_of({**SINK, "transforms": "t,t", "restart.backoff.max.ms": "1"})
    assert len(problems) == 2
    (problem,) = problems_of({**SINK, "task.processes": "4"})
    assert "Invalid value 4 for configuration task.processes" in problem


def test_under_a_declared_prefix_every_key_must_be_declared_and_under_another_none() -> None:
    properties = {
        **SINK,
        "key.converter": "K",
        "key.converter.anything": "1",
        "value.converter": "J",
        "value.converter.schema.enable": "1",
        "transforms": "t",
        "transforms.t.type": "T",
        "transforms.t.feild": "x",
        "transforms.u.type": "T",
        "consumer.override.fetch.min.bytes": "1",
        "connector.plugin.version": "1",
    }
    known = ["value.converter.schemas.enable", "transforms.t.field"]
    texts = problems_of(properties, known=known)
    assert [text.removeprefix("c.toml: connector orders: ") for text in texts] == [
        'unknown key "value.converter.schema.enable"; did you mean "value.converter.schemas.enable"?',
        'unknown key "transforms.t.feild"; did you mean "transforms.t.field"?',
        '"transforms.u.type" belongs to a transform that "transforms" does not name',
    ]


def test_in_files_of_kafka_connect_unknown_keys_are_warned_about() -> None:
    properties = {**SINK, "my.note": "x"}
    assert read(properties, is_strict=False).name == "orders"
    assert warnings_of(properties) == ['unknown key "my.note"; it has no effect']
    assert warnings_of(properties, is_strict=True) == []


def test_what_has_no_effect_is_warned_about() -> None:
    properties = {
        **SINK,
        "config.action.reload": "restart",
        "key.converter.schemas.enable": "false",
        "value.converter.plugin.version": "1.0",
    }
    warnings = warnings_of(properties, is_strict=True)
    assert [warning.split(" ")[0].rstrip(":") for warning in warnings] == [
        "key.converter.schemas.enable",
        "value.converter.plugin.version",
    ]


def test_stage_processes_are_none_unless_asked_for_and_at_most_what_the_board_takes() -> None:
    assert read(SINK).stage_processes == 0
    assert read({**SINK, "stage.processes": "3"}).stage_processes == 3
    assert read({**SINK, "stage.processes": str(STAGE_PROCESSES_MAX)}).stage_processes == STAGE_PROCESSES_MAX
    for value in ("-1", str(STAGE_PROCESSES_MAX + 1), "two"):
        (problem,) = problems_of({**SINK, "stage.processes": value})
        assert f"Invalid value {value} for configuration stage.processes" in problem


@pytest.mark.parametrize("of", [worker(task_processes=1), worker()])
def test_stage_processes_of_a_task_of_one_process_are_refused_with_what_to_do(of: WorkerConfig) -> None:
    own = {} if of.task_processes == 1 else {"task.processes": "1"}
    (problem,) = problems_of({**SINK, **own, "stage.processes": "2"}, of=of)
    assert problem.endswith(
        "Invalid value 2 for configuration stage.processes: a task of one process (task.processes=1) has no stage "
        "processes: set task.processes=2 for this connector, or stage.processes=0"
    )
    assert read({**SINK, "task.processes": "2", "stage.processes": "2"}, of=of).stage_processes == 2
