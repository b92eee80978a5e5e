"""Offsets of a group are listed, set and forgotten by who is no member, and not while there are members."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka import Consumer

from engine.api.errors import ConnectError
from engine.kafka.group_offsets import GroupInUseError, delete_group, forget_offsets, list_offsets, set_offsets
from tests.harness import wait
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = pytest.mark.kafka

SECONDS = 20.0
FIRST = (
    "import sys; from engine.kafka.group_offsets import list_offsets; "
    "print(list_offsets({'bootstrap.servers': sys.argv[1]}, 'none', 30.0))"
)


def settings(kafka: KafkaServer | UserKafka) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": kafka.bootstrap, "group.id": "another", "enable.partition.eof": True}


def test_offsets_are_set_listed_and_forgotten_one_by_one_and_all_together(
    kafka: KafkaServer | UserKafka, topic: str
) -> None:
    client, group = settings(kafka), f"group-{topic}"
    assert list_offsets(client, group, SECONDS) == {}
    set_offsets(client, group, {(topic, 0): 5, (topic, 1): 7, (topic, 2): 1}, SECONDS)
    forget_offsets(client, group, [(topic, 1), (topic, 2), (topic, 3)], SECONDS)
    assert list_offsets(client, group, SECONDS) == {(topic, 0): 5}
    delete_group(client, group, SECONDS)
    assert list_offsets(client, group, SECONDS) == {}
    delete_group(client, group, SECONDS)
    forget_offsets(client, group, [(topic, 0)], SECONDS)


def test_what_is_not_there_is_an_error(kafka: KafkaServer | UserKafka, topic: str) -> None:
    client, group = settings(kafka), f"group-{topic}"
    for place in ((f"no-{topic}", 0), (topic, 9)):
        with pytest.raises(ConnectError, match="UNKNOWN_TOPIC_OR_PART"):
            set_offsets(client, group, {place: 1}, SECONDS)
    with pytest.raises(ConnectError):
        list_offsets({"bootstrap.servers": "127.0.0.1:1"}, group, 1.0)


def test_offsets_of_a_group_with_members_stay(kafka: KafkaServer | UserKafka, topic: str) -> None:
    client, group = settings(kafka), f"group-{topic}"
    member = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
    member.subscribe([topic])

    def is_there() -> bool:
        member.poll(0.1)
        return bool(member.assignment())

    wait.until(is_there, "an assignment")
    try:
        with pytest.raises(GroupInUseError):
            set_offsets(client, group, {(topic, 0): 5}, SECONDS)
        with pytest.raises(GroupInUseError):
            forget_offsets(client, group, [(topic, 0)], SECONDS)
        with pytest.raises(GroupInUseError):
            delete_group(client, group, SECONDS)
    finally:
        member.close()


@pytest.mark.long
def test_a_cluster_that_has_never_had_a_group_has_no_offsets(broker: KafkaServer) -> None:
    """In a process of its own: librdkafka has been seen to end it."""
    done = subprocess.run([sys.executable, "-c", FIRST, broker.bootstrap], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "{}"), done.stderr
