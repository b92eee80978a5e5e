"""A connector learns of its topics' partitions, and a sink gets no more tasks than can have one, if it is so wished."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.files import load
from engine.plan import Plan, PlanOptions, make_plan
from tests.harness import topics
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = pytest.mark.kafka

CURIOUS = "tests.unit.plugins.plugins_of_tests:Curious"


def planned(kafka: KafkaServer | UserKafka, folder: Path, **keys: object) -> Plan:
    """The plan of one sink."""
    file = folder / "pipeline.toml"
    connector = {"connector.class": "NullSink", **{key.replace("_", "."): value for key, value in keys.items()}}
    given = "".join(f'"{key}" = "{value}"\n' for key, value in connector.items())
    converters = '"key.converter" = "StringConverter"\n"value.converter" = "StringConverter"\n'
    file.write_text(f'[worker]\n"bootstrap.servers" = "{kafka.bootstrap}"\n{converters}[connectors.copy]\n{given}')
    return make_plan(load([file]), PlanOptions(worker_id="w1"))


def test_partitions_of_a_topic_that_is_there_are_told(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    plan = planned(kafka, tmp_path, connector_class=CURIOUS, topics=topic)
    assert plan.lines[0].task_config["counts"] == str({topic: 4})


@pytest.mark.parametrize(
    ("keys", "tasks"),
    [
        ({}, 9),
        ({"tasks_max_by_partitions": "true"}, 4),
        ({"tasks_max_by_partitions": "true", "tasks_max": 3}, 3),
        ({"tasks_max_by_partitions": "true", "consumer_override_partition_assignment_strategy": "roundrobin"}, 6),
        ({"tasks_max_by_partitions": "true", "topics": "", "topics_regex": "other-TOPIC"}, 2),
        ({"tasks_max_by_partitions": "true", "topics": "no-TOPIC"}, 1),
    ],
)
def test_a_sink_gets_as_many_tasks_as_can_have_a_partition(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path, keys: dict[str, object], tasks: int
) -> None:
    topics.create_topic(kafka.bootstrap, f"other-{topic}", partitions=2)
    try:
        asked = {"topics": f"{topic},other-{topic}", "tasks_max": 9, **keys}
        plan = planned(kafka, tmp_path, **{key: str(value).replace("TOPIC", topic) for key, value in asked.items()})
        assert len(plan.lines) == tasks
    finally:
        topics.delete_topic(kafka.bootstrap, f"other-{topic}")
