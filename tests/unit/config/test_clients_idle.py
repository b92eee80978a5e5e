"""What cannot be read of a client's settings is told though nobody has such a client; what only Java reads is not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.config.clients_idle import idle_problems, worker_problems


def of_worker(**given: str) -> list[str]:
    properties = {key.replace("_", "."): value for key, value in given.items()}
    return list(map(str, worker_problems(properties, file="w.properties", secrets={"kept-quiet"})))


def of_sink(properties: Mapping[str, str]) -> list[str]:
    found = idle_problems(properties, {"consumer"}, name="copy", file="copy.json", secrets=())
    return [str(problem) for problem in found]


def test_each_value_of_the_workers_that_cannot_be_read_is_told_whatever_the_client() -> None:
    told = of_worker(
        producer_linger_ms="x",
        producer_acks="most",
        consumer_session_timeout_ms="soon",
        consumer_auto_offset_reset="middle",
        admin_request_timeout_ms="late",
        admin_bootstrap_servers="nowhere",
    )
    assert all(problem.startswith("w.properties: Invalid value ") for problem in told)
    assert [problem.split(" for configuration ")[1].split(":")[0] for problem in told] == [
        "producer.linger.ms",
        "producer.acks",
        "consumer.session.timeout.ms",
        "consumer.auto.offset.reset",
        "admin.bootstrap.servers",
        "admin.request.timeout.ms",
    ]


def test_a_value_of_a_provider_is_hidden() -> None:
    (problem,) = of_worker(producer_linger_ms="kept-quiet")
    assert problem.startswith("w.properties: Invalid value [hidden] for configuration producer.linger.ms")


def test_good_values_and_what_java_alone_reads_are_no_problem() -> None:
    assert (
        of_worker(
            producer_acks="all",
            producer_buffer_memory="33554432",
            producer_compression_type="zstd",
            producer_partitioner_class="com.example.Mine",
            producer_interceptor_classes="com.example.Stamping",
            producer_key_serializer="com.example.Serializer",
            producer_ssl_truststore_location="trust.jks",
            producer_foo="x",
            consumer_isolation_level="READ_COMMITTED",
            consumer_partition_assignment_strategy="com.example.Assignor",
            admin_listeners="http://:8084",
            linger_ms="x",
        )
        == []
    )


@pytest.mark.parametrize(
    "given",
    [
        {"consumer_max_poll_interval_ms": "2147483647"},
        {"consumer_enable_auto_commit": "true"},
        {"consumer_group_protocol": "consumer"},
        {"consumer_auto_offset_reset": "by_duration:PT1H"},
        {"consumer_session_timeout_ms": "600000"},
        {"consumer_heartbeat_interval_ms": "60000"},
        {"consumer_enable_auto_offset_store": "true"},
        {"consumer_exclude_internal_topics": "false"},
        {"consumer_transactional_id": "x"},
        {"consumer_acks": "most"},
        {"producer_acks": "1", "producer_enable_idempotence": "true"},
        {"producer_statistics_interval_ms": "5000"},
        {"producer_transaction_timeout_ms": "soon"},
        {"producer_linger_ms": "2147483647"},
        {"producer_max_in_flight_requests_per_connection": "2147483647"},
        {"admin_retry_backoff_ms": "0"},
        {"admin_ssl_endpoint_identification_algorithm": ""},
    ],
    ids="-".join,
)
def test_a_value_that_can_be_read_is_no_problem_before_such_a_client_is_made(given: Mapping[str, str]) -> None:
    """Bounds of librdkafka's, settings that are the engine's, one against another: the client would tell them."""
    assert of_worker(**given) == []
    overrides = {f"{client}.override.{name}": value for (client, name), value in map(_parted, given.items())}
    assert idle_problems(overrides, (), name="copy", file="", secrets=()) == []


def _parted(one: tuple[str, str]) -> tuple[tuple[str, str], str]:
    client, _, name = one[0].partition("_")
    return (client, name.replace("_", ".")), one[1]


def test_a_connectors_overrides_for_clients_that_it_has_not_are_read_too() -> None:
    given = {"producer.override.linger.ms": "x", "admin.override.foo": "x", "consumer.override.fetch.min.bytes": "x"}
    (problem,) = of_sink(given)
    assert problem.startswith(
        "copy.json: connector copy: Invalid value x for configuration producer.override.linger.ms"
    )
