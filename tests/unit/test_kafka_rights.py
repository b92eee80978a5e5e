"""What a connector's user must be allowed follows from its line, as far as that tells."""

from __future__ import annotations

from engine.config.line import Subscription
from engine.kafka.rights import Right, needed
from tests.harness.banks import line_spec


def test_a_sink_reads_its_topics_and_its_group() -> None:
    line = line_spec("sink", subscription=Subscription(topics=("a", "b")), kafka={"group.id": "connect-x"})
    assert needed(line) == [
        Right("read", "topic", "a"),
        Right("read", "topic", "b"),
        Right("read", "group", "connect-x"),
    ]


def test_a_source_writes_the_topic_that_its_configuration_names() -> None:
    assert needed(line_spec("source", task_config={"topic": "a"})) == [Right("write", "topic", "a")]
    assert needed(line_spec("source")) == []


def test_a_right_is_said_to_people_and_to_kafka_acls() -> None:
    right = Right("write", "topic", "a")
    assert (str(right), right.option) == ("write the topic a", "--operation Write --topic a")
