"""A sink's consumer gets Kafka Connect's defaults, a static member id, and what Java users write, translated."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from confluent_kafka import Consumer

from engine.api.errors import ConfigError
from engine.config.clients import ClientSettings, consumer_settings, member_id
from engine.config.worker import WorkerConfig

WORKER = WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="offsets")


def settings_of(
    connector: Mapping[str, str] | None = None, worker: Mapping[str, str] | None = None, *, is_bulk: bool = False
) -> ClientSettings:
    return consumer_settings(
        {f"consumer.{key}": value for key, value in (worker or {}).items()},
        {f"consumer.override.{key}": value for key, value in (connector or {}).items()},
        worker_config=WORKER,
        name="orders",
        task=2,
        worker_id="millrace",
        file="orders.json",
        is_bulk=is_bulk,
    )


def problems_of(connector: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(connector)
    return [str(problem) for problem in caught.value.problems]


def is_taken_by_librdkafka(client: ClientSettings) -> bool:
    Consumer({**client.settings, "log_level": 0}).close()
    return True


def test_without_settings_a_lost_range_is_an_error_and_nothing_is_committed_by_itself() -> None:
    client = settings_of()
    expected = {
        "group.id": "connect-orders",
        "client.id": "connector-consumer-orders-2",
        "group.instance.id": "millrace-orders-2",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": "read_uncommitted",
        "fetch.queue.backoff.ms": 5,
        "partition.assignment.strategy": "range",
    }
    assert expected.items() <= client.settings.items()
    assert client.start_at == "earliest"
    assert client.fetch_max_records is None
    assert is_taken_by_librdkafka(client)


@pytest.mark.parametrize(
    ("reset", "start_at"), [("earliest", "earliest"), ("LATEST", "latest"), ("none", "none"), ("largest", "latest")]
)
def test_the_reset_decides_where_a_first_start_begins(reset: str, start_at: str) -> None:
    client = settings_of({"auto.offset.reset": reset})
    assert client.start_at == start_at
    assert client.settings["auto.offset.reset"] == "error"


def test_names_and_values_of_java_are_translated() -> None:
    client = settings_of(
        {
            "max.poll.records": "250",
            "fetch.max.wait.ms": "100",
            "fetch.max.bytes": "2147483647",
            "max.partition.fetch.bytes": "2097152",
            "request.timeout.ms": "30000",
            "isolation.level": "READ_COMMITTED",
            "connections.max.idle.ms": "-1",
            "key.deserializer": "org.apache.kafka.common.serialization.StringDeserializer",
            "partition.assignment.strategy": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
            "group.id": "mine",
            "enable.auto.commit": "false",
        }
    )
    expected = {
        "fetch.wait.max.ms": 100,
        "fetch.max.bytes": 2_147_483_135,
        "max.partition.fetch.bytes": 2_097_152,
        "socket.timeout.ms": 30_000,
        "isolation.level": "read_committed",
        "connections.max.idle.ms": 0,
        "partition.assignment.strategy": "cooperative-sticky",
        "group.id": "mine",
    }
    assert expected.items() <= client.settings.items()
    assert client.fetch_max_records == 250
    assert "max.poll.records" not in client.settings
    assert is_taken_by_librdkafka(client)


def test_of_eager_and_cooperative_assignors_together_the_eager_ones_stay() -> None:
    assignors = [f"org.apache.kafka.clients.consumer.{name}Assignor" for name in ("CooperativeSticky", "Range")]
    client = settings_of({"partition.assignment.strategy": ",".join(assignors)})
    assert client.settings["partition.assignment.strategy"] == "range"
    assert "no mixture" in client.warnings[0]


def test_times_that_are_not_given_make_way_for_those_that_are() -> None:
    client = settings_of({"max.poll.interval.ms": "30000"})
    assert client.settings["session.timeout.ms"] == 30_000
    assert settings_of({"session.timeout.ms": "2000"}).settings["heartbeat.interval.ms"] == 666
    assert is_taken_by_librdkafka(client)


def test_members_of_a_run_that_ends_hear_of_others_sooner() -> None:
    def heartbeat_of(**given: str) -> object:
        keys = {name.replace("_", "."): value for name, value in given.items()}
        return settings_of(keys, is_bulk=True).settings["heartbeat.interval.ms"]

    assert heartbeat_of() == 500
    assert heartbeat_of(session_timeout_ms="900") == 300
    assert heartbeat_of(heartbeat_interval_ms="2000") == 2_000
    assert settings_of().settings["heartbeat.interval.ms"] == 3_000


def test_javas_never_between_two_polls_is_the_longest_that_librdkafka_takes() -> None:
    client = settings_of({"max.poll.interval.ms": "2147483647"})
    assert client.settings["max.poll.interval.ms"] == 86_400_000
    (warning,) = client.warnings
    assert "max.poll.interval.ms=2147483647 is more than librdkafka takes; it is 86400000" in warning
    assert is_taken_by_librdkafka(client)


def test_times_that_contradict_each_other_are_refused() -> None:
    (problem,) = problems_of({"session.timeout.ms": "6000", "heartbeat.interval.ms": "6000"})
    assert "heartbeat.interval.ms: expected less than session.timeout.ms, 6000" in problem


def test_all_that_is_wrong_is_told_together() -> None:
    problems = problems_of(
        {
            "fetch.min.byte": "1",
            "auto.offset.reset": "by_duration:PT1H",
            "enable.auto.commit": "true",
            "group.protocol": "consumer",
            "partition.assignment.strategy": "org.apache.kafka.clients.consumer.StickyAssignor",
            "key.deserializer": "com.example.Mine",
            "enable.partition.eof": "false",
            "max.poll.records": "0",
            "group.id": "",
        }
    )
    texts = "\n".join(problems)
    assert len(problems) == 9
    for part in (
        'did you mean "fetch.min.bytes"?',
        "expected one of earliest, latest, none",
        "expected false, or leave it out",
        "the other group protocol is not built yet",
        "cooperative-sticky, range, roundrobin",
        "expected a whole number from 1 to",
        "expected the name of a group",
    ):
        assert part in texts


def test_every_worker_connector_and_task_is_another_member_by_a_name_that_kafka_takes() -> None:
    names = ("a", "a-1", "a b", "a_b", "é", "x" * 300, "x" * 301)
    ids = {member_id(worker, name, task) for worker in ("w", "v") for name in names for task in (0, 11)}
    assert len(ids) == 2 * len(names) * 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,249}", identity) for identity in ids)
    assert member_id("w", "a b", 0) == member_id("w", "a b", 0)


def test_a_member_id_of_the_users_still_differs_from_task_to_task() -> None:
    client = settings_of(worker={"group.instance.id": "host-7"})
    assert client.settings["group.instance.id"] == "host-7-orders-2"
    assert "group.instance.id" in client.warnings[0]
