"""A member of a group on a real broker: what its next assignment takes over from the last, and what not."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import pytest
from confluent_kafka import TopicPartition

from engine.api.errors import ConnectError
from engine.kafka.consumer import Found, GroupConsumer, Place, Start
from engine.shm.lease import RivalError
from tests.harness import topics, wait
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BROKER_S = 10.0
LOOK_S = 0.05


class Noting:
    """Keeps the places that are its own."""

    def __init__(self) -> None:
        self.places: set[Place] = set()

    def starts(self, found: Mapping[Place, Found]) -> Mapping[Place, Start]:
        return {place: Start(at.first, False) for place, at in found.items()}

    def assigned(self, starts: Mapping[Place, Start]) -> None:
        self.places |= set(starts)

    def revoked(self, places: Sequence[Place]) -> None:
        self.places -= set(places)

    def lost(self, places: Sequence[Place]) -> None:
        self.places -= set(places)

    def committed(self, offsets: Mapping[Place, int], error: ConnectError | None) -> None:
        pass


def joined(
    bootstrap: str, group: str, topic: str, strategy: str, wants: Mapping[str, bool] | None = None, **more: str
) -> tuple[GroupConsumer, Noting]:
    """A new member of the group. wants: columns. more: settings, with underscores for dots."""
    member = Noting()
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "heartbeat.interval.ms": 500,
        "partition.assignment.strategy": strategy,
        **{key.replace("_", "."): value for key, value in more.items()},
    }
    consumer = GroupConsumer(settings, member, "earliest", BROKER_S, **(wants or {}))
    consumer.subscribe([topic])
    return consumer, member


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("timestamps", [True, False])
def test_columns_that_nobody_wants_are_not_there(
    kafka: KafkaServer | UserKafka, topic: str, timestamps: bool, headers: bool
) -> None:
    topics.produce(kafka.bootstrap, topic, [b"x"], partitions=[0], timestamps_ms=[7], headers=[[("h", b"1")]])
    wants = {"wants_timestamps": timestamps, "wants_headers": headers}
    consumer, _ = joined(kafka.bootstrap, f"connect-{uuid.uuid4().hex[:8]}", topic, "range", wants)
    fetched = wait.until(lambda: consumer.fetch(LOOK_S, 10), "the record")
    consumer.leave(BROKER_S)
    assert fetched is not None
    assert fetched.values == [b"x"]
    assert fetched.timestamps == ([7] if timestamps else None)
    assert fetched.headers == ([[("h", b"1")]] if headers else None)


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_partitions_that_come_back_after_a_rebalance_are_not_paused(
    kafka: KafkaServer | UserKafka, topic: str, strategy: str
) -> None:
    topics.produce(kafka.bootstrap, topic, [b"x"] * 400, partitions=[number % 4 for number in range(400)])
    group = f"connect-{uuid.uuid4().hex[:8]}"
    first, own = joined(kafka.bootstrap, group, topic, strategy)
    wait.until(lambda: first.fetch(LOOK_S, 500) and len(own.places) == 4, "four partitions")
    first.pause(own.places)
    second, others = joined(kafka.bootstrap, group, topic, strategy)
    wait.until(lambda: (first.fetch(LOOK_S, 1), second.fetch(LOOK_S, 1)) and len(others.places) == 2, "two each")
    second.leave(BROKER_S)
    wait.until(lambda: (first.fetch(LOOK_S, 1), len(own.places) == 4)[1], "all four again")
    came: set[Place] = set()

    def look() -> bool:
        fetched = first.fetch(LOOK_S, 500)
        came.update((slice_.topic, slice_.partition) for slice_ in (fetched.slices if fetched else ()))
        # A cooperative member kept two of them all the while, paused as they were.
        return len(came) == (2 if strategy == "cooperative-sticky" else 4)

    wait.until(look, "records of the partitions that came back")
    first.close()


def test_who_is_given_all_anew_has_nothing_else_though_nothing_was_revoked(
    kafka: KafkaServer | UserKafka, topic: str
) -> None:
    # Seen with topics that came into being while two members joined; a bulk run waits for what it takes for its own.
    consumer, own = joined(kafka.bootstrap, f"connect-{uuid.uuid4().hex[:8]}", topic, "range")
    wait.until(lambda: consumer.fetch(LOOK_S, 1) or len(own.places) == 4, "four partitions")
    consumer._on_assign(consumer._client, [TopicPartition(topic, number) for number in (1, 2)])
    assert own.places == {(topic, 1), (topic, 2)}
    consumer.close()


def test_a_member_that_another_of_its_name_has_fenced_may_come_back(kafka: KafkaServer | UserKafka, topic: str) -> None:
    # What a killed pump has still on its way to the broker can reach it after the pump of the next life has joined.
    group = f"connect-{uuid.uuid4().hex[:8]}"
    first, own = joined(kafka.bootstrap, group, topic, "range", group_instance_id="one")
    wait.until(lambda: first.fetch(LOOK_S, 1) or own.places, "partitions")
    second, others = joined(kafka.bootstrap, group, topic, "range", group_instance_id="one")
    wait.until(lambda: second.fetch(LOOK_S, 1) or others.places, "partitions of the second")
    with pytest.raises(RivalError, match="another process has joined with the same group.instance.id"):
        wait.until(lambda: first.fetch(LOOK_S, 1), "the end of the first")
    first.close()
    second.leave(BROKER_S)
