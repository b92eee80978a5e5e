"""What cannot be read of a client's settings is told though nobody has such a client; what only Java reads is not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.config.clients_idle import idle_problems, worker_problems
from engine.config.worker import WorkerConfig

WORKER = WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="offsets")


def of_worker(**given: str) -> list[str]:
    properties = {key.replace("_", "."): value for key, value in given.items()}
    return list(
        map(str, worker_problems(properties, worker_config=WORKER, file="w.properties", secrets={"kept-quiet"}))
    )


def of_sink(properties: Mapping[str, str], config: WorkerConfig = WORKER) -> list[str]:
    return [
        str(problem)
        for problem in idle_problems(
            properties, {"consumer"}, worker_config=config, name="copy", file="copy.json", secrets=()
        )
    ]


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
        "producer.acks",
        "producer.linger.ms",
        "consumer.auto.offset.reset",
        "consumer.session.timeout.ms",
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


@pytest.mark.parametrize("policy", ["All", "None"])
def test_a_connectors_overrides_for_clients_that_it_has_not_are_read_too(policy: str) -> None:
    config = WorkerConfig(
        key_converter="K", value_converter="V", offset_storage_file_filename="f", override_policy=policy
    )
    given = {"producer.override.linger.ms": "x", "admin.override.foo": "x", "consumer.override.fetch.min.bytes": "x"}
    (problem,) = of_sink(given, config)
    assert problem.startswith(
        "copy.json: connector copy: Invalid value x for configuration producer.override.linger.ms"
    )
