"""The worker's keys have Kafka Connect's defaults, and all that is wrong with them is told at once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.api.errors import ConfigError
from engine.config.worker import WorkerConfig, read_worker, ring_bytes, worker_warnings

LEAST = {"key.converter": "K", "value.converter": "V"}


def read(properties: Mapping[str, str], *, is_strict: bool = True, secrets: tuple[str, ...] = ()) -> WorkerConfig:
    return read_worker(
        {**LEAST, **properties}, file="w.toml", is_strict=is_strict, offsets_file="/here/offsets", secrets=secrets
    )


def problems_of(properties: Mapping[str, str], secrets: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(properties, secrets=secrets)
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_are_kafka_connects_and_ours() -> None:
    worker = read({})
    assert worker.bootstrap_servers == ["localhost:9092"]
    assert worker.offset_flush_interval_ms == 60_000
    assert worker.task_shutdown_graceful_timeout_ms == 5_000
    assert worker.tasks_max == 256
    assert worker.task_processes == 2
    assert worker.ring_bytes == 8_388_608
    assert worker.metrics_port is None
    assert worker.offset_storage_file_filename == "/here/offsets"


def test_times_become_seconds_for_the_lines() -> None:
    timing = read({"offset.flush.interval.ms": "1500", "startup.timeout.ms": "250"}).timing
    assert timing.commit_interval == 1.5
    assert timing.broker_timeout == 0.25


def test_without_a_default_the_offsets_file_is_required_as_in_kafka_connect() -> None:
    with pytest.raises(ConfigError, match=r'Missing required configuration "offset\.storage\.file\.filename"'):
        read_worker(LEAST, file="w.properties", is_strict=False)


def test_every_problem_is_told_with_file_key_value_and_what_was_expected() -> None:
    problems = problems_of(
        {
            "bootstrap.servers": "kafka:9092, kafka, [::1]:70000",
            "task.processes": "3",
            "ring.bytes": "1000",
            "metrics.port": "99999",
            "offset.flush.interval.ms": "1s",
            "topic.creation.enable": "yes",
            "worker.task.max": "4",
            "zebra": "1",
        }
    )
    texts = "\n".join(problems)
    assert all(problem.startswith("w.toml: ") for problem in problems)
    for part in (
        "Invalid value kafka for configuration bootstrap.servers: expected HOST:PORT",
        "its port is 70000; expected 1 to 65535",
        "Invalid value 3 for configuration task.processes",
        "Invalid value 99999 for configuration metrics.port",
        "Invalid value 1000 for configuration ring.bytes",
        "Invalid value 1s for configuration offset.flush.interval.ms: Not a number of type",
        "Expected value to be either true or false",
        'unknown key "worker.task.max"; did you mean "worker.tasks.max"?',
        'unknown key "zebra"',
    ):
        assert part in texts


def test_values_that_contradict_each_other_are_refused() -> None:
    problems = problems_of(
        {
            "restart.backoff.ms": "500",
            "restart.backoff.max.ms": "100",
            "config.providers": "a,b,a",
        }
    )
    assert len(problems) == 2


def test_a_value_that_came_from_a_provider_is_not_shown() -> None:
    (problem,) = problems_of({"ring.bytes": "hunter2"}, secrets=("hunter2",))
    assert "Invalid value [hidden] for" in problem
    (short,) = problems_of({"ring.bytes": "x"}, secrets=("x",))
    assert "Invalid value [hidden] for" in short


def test_keys_of_others_are_let_through() -> None:
    others = {
        "key.converter.schemas.enable": "false",
        "producer.linger.ms": "1",
        "consumer.anything": "1",
        "config.providers.vault.class": "C",
        "security.protocol": "SSL",
        "ssl.truststore.location": "/t.pem",
        "listeners": "http://:8083",
    }
    assert read(others).key_converter == "K"


def test_an_unmodified_distributed_workers_file_runs_with_warnings() -> None:
    properties = {
        **LEAST,
        "bootstrap.servers": "localhost:9092",
        "group.id": "connect-cluster",
        "offset.storage.topic": "connect-offsets",
        "offset.storage.replication.factor": "1",
        "config.storage.topic": "connect-configs",
        "status.storage.topic": "connect-status",
        "exactly.once.source.support": "enabled",
        "plugin.discovery": "only_scan",
        "my.own.note": "x",
    }
    read_worker(properties, file="w.properties", is_strict=False, offsets_file="o")
    warnings = worker_warnings(properties, is_strict=False)
    assert "offset.storage.replication.factor, offset.storage.topic" in warnings[0]
    assert "deliver at least once" in warnings[1]
    assert any(warning.startswith("plugin.discovery has no effect") for warning in warnings)
    assert 'unknown key "my.own.note"; it has no effect' in warnings
    assert len(warnings) == 4


def test_defaults_written_out_are_not_warned_about() -> None:
    properties = {**LEAST, "plugin.discovery": "hybrid_warn", "listeners": "http://:8083", "metrics.num.samples": "2"}
    assert worker_warnings(properties, is_strict=True) == []


def test_settings_that_reach_no_client_are_warned_about_with_the_prefix_they_need() -> None:
    (warning,) = worker_warnings({**LEAST, "security.protocol": "SSL"}, is_strict=True)
    assert "producer.security.protocol" in warning


@pytest.mark.parametrize(("wanted", "rounded"), [(65_536, 65_536), (65_537, 65_544), (65_543, 65_544)])
def test_a_ring_is_a_multiple_of_eight_bytes(wanted: int, rounded: int) -> None:
    assert ring_bytes(wanted) == rounded


PREFIX = "listeners.https.ssl.keystore"


def test_keys_of_https_listeners_are_known_by_name_and_have_effect_where_there_is_one() -> None:
    given = {
        "listeners": "http://:1,https://:2",
        "admin.listeners": "http://:3",
        "listeners.https.ssl.keystore.location": "a.pem",
        "listeners.https.ssl.keystore.type": "PEM",
        "listeners.https.ssl.keystore.lokation": "a.pem",
        "admin.listeners.https.ssl.keystore.location": "a.pem",
    }
    warnings = worker_warnings(given, is_strict=False)
    assert warnings == [
        "admin.listeners.https.ssl.keystore.location has no effect: there is no https listener",
        "listeners.https.ssl.keystore.type has no effect: what a store is, its content says",
        f'unknown key "{PREFIX}.lokation"; did you mean "{PREFIX}.location"?; it has no effect',
    ]
