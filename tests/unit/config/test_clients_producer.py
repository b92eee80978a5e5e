"""A source's producer gets Connect's defaults, the worker's settings and the connector's, in librdkafka's words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from confluent_kafka import KafkaException, Producer

from engine.api.errors import ConfigError
from engine.config.clients import ClientSettings, producer_settings
from engine.config.clients_layers import idle_overrides
from engine.config.clients_producer import own_settings
from engine.config.worker import WorkerConfig

WORKER = WorkerConfig(
    key_converter="K", value_converter="V", offset_storage_file_filename="offsets", bootstrap_servers=["127.0.0.1:1"]
)

MONITORING = "io.confluent.monitoring.clients.interceptor.MonitoringProducerInterceptor"


def settings_of(
    connector: Mapping[str, str] | None = None, worker: Mapping[str, str] | None = None, config: WorkerConfig = WORKER
) -> ClientSettings:
    overrides = {f"producer.override.{key}": value for key, value in (connector or {}).items()}
    for_all = {f"producer.{key}": value for key, value in (worker or {}).items()}
    return producer_settings(
        for_all, overrides, worker_config=config, name="orders", task=1, file="orders.json", worker_file="w.properties"
    )


def problems_of(connector: Mapping[str, str], config: WorkerConfig = WORKER) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(connector, config=config)
    return [str(problem) for problem in caught.value.problems]


def is_taken_by_librdkafka(settings: ClientSettings) -> bool:
    Producer({**settings.settings, "enable.gapless.guarantee": settings.settings["enable.idempotence"], "log_level": 0})
    return True


def test_without_settings_order_and_keys_are_as_in_java_and_nothing_times_out() -> None:
    client = settings_of()
    assert client.settings["bootstrap.servers"] == "127.0.0.1:1"
    assert client.settings["client.id"] == "connector-producer-orders-1"
    assert client.settings["partitioner"] == "murmur2_random"
    assert client.settings["enable.idempotence"] is True
    assert client.settings["acks"] == -1
    assert client.settings["message.timeout.ms"] == 0
    assert client.record_bytes_max == 1_048_576
    assert not client.warnings
    assert is_taken_by_librdkafka(client)


def test_the_connectors_setting_wins_over_the_workers_also_under_another_name() -> None:
    worker = {"linger.ms": "7", "compression.type": "zstd"}
    assert settings_of(worker=worker).settings["linger.ms"] == 7
    assert settings_of({"queue.buffering.max.ms": "0.5"}, worker).settings["linger.ms"] == 0.5
    assert settings_of({"linger.ms": "0"}, worker).settings["compression.type"] == "zstd"


def test_names_and_values_of_java_are_translated() -> None:
    client = settings_of(
        {
            "max.request.size": "2097152",
            "buffer.memory": "67108864",
            "send.buffer.bytes": "-1",
            "receive.buffer.bytes": "65536",
            "batch.size": "0",
            "acks": "all",
            "metadata.max.age.ms": "60000",
            "compression.type": "gzip",
            "compression.gzip.level": "9",
            "security.protocol": "PLAINTEXT",
            "delivery.timeout.ms": "2147483647",
            "key.serializer": "org.apache.kafka.common.serialization.ByteArraySerializer",
        }
    )
    expected = {
        "message.max.bytes": 2_097_152,
        "queue.buffering.max.kbytes": 65_536,
        "socket.send.buffer.bytes": 0,
        "socket.receive.buffer.bytes": 65_536,
        "batch.size": 1,
        "acks": -1,
        "topic.metadata.refresh.interval.ms": 60_000,
        "compression.type": "gzip",
        "compression.level": 9,
        "security.protocol": "plaintext",
        "message.timeout.ms": 0,
    }
    assert expected.items() <= client.settings.items()
    assert client.record_bytes_max == 2_097_152
    assert "key.serializer" not in client.settings
    assert not client.warnings
    assert is_taken_by_librdkafka(client)


@pytest.mark.parametrize("acks", ["0", "1"])
def test_weaker_acks_switch_idempotence_off_and_keep_order_with_one_request(acks: str) -> None:
    client = settings_of({"acks": acks})
    assert client.settings["enable.idempotence"] is False
    assert client.settings["max.in.flight.requests.per.connection"] == 1
    assert any("lost" in warning for warning in client.warnings)
    assert is_taken_by_librdkafka(client)


@pytest.mark.parametrize(
    "setting", [{"acks": "1"}, {"retries": "0"}, {"max.in.flight.requests.per.connection": "6"}], ids=str
)
def test_what_idempotence_cannot_have_is_refused_when_both_are_asked_for(setting: dict[str, str]) -> None:
    (problem,) = problems_of({"enable.idempotence": "true", **setting})
    assert problem.startswith("orders.json: connector orders: Invalid value")
    assert "producer.override.enable.idempotence=true needs" in problem


def test_every_mix_of_order_settings_that_is_accepted_is_accepted_by_librdkafka() -> None:
    choices = {
        "acks": ("", "all", "1"),
        "retries": ("", "0", "3"),
        "max.in.flight": ("", "1", "5", "9"),
        "enable.idempotence": ("", "true", "false"),
    }
    accepted = {}
    for values in itertools.product(*choices.values()):
        given = {key: value for key, value in zip(choices, values, strict=True) if value}
        try:
            client = settings_of(given)
        except ConfigError:
            assert given.get("enable.idempotence") == "true"
            continue
        order = ("enable.idempotence", "acks", "retries", "max.in.flight.requests.per.connection")
        accepted[tuple(client.settings.get(name) for name in order)] = client
    assert len(accepted) > 12
    assert all(map(is_taken_by_librdkafka, accepted.values()))


def test_a_delivery_timeout_counts_only_where_each_record_is_answered_for() -> None:
    timeout = {"delivery.timeout.ms": "120000"}
    client = settings_of(timeout)
    assert client.settings["message.timeout.ms"] == 0
    assert "delivery.timeout.ms has no effect" in client.warnings[0]
    assert settings_of({**timeout, "enable.idempotence": "false"}).settings["message.timeout.ms"] == 120_000


def test_the_queue_never_holds_less_than_delivery_hands_over() -> None:
    client = settings_of({"buffer.memory": "4096", "queue.buffering.max.messages": "10"})
    assert client.settings["queue.buffering.max.messages"] == 100_000
    assert client.settings["queue.buffering.max.kbytes"] == 4096  # two frames of a ring of 8 MiB
    assert len(client.warnings) == 2
    large = settings_of({"max.request.size": "104857600"})
    assert int(large.settings["queue.buffering.max.kbytes"]) * 1024 >= 2 * 104_857_600


def test_all_that_is_wrong_is_told_together_with_file_connector_value_and_what_was_expected() -> None:
    problems = problems_of(
        {
            "linger.ms": "soon",
            "batchsize": "1",
            "acks": "some",
            "compression.type": "rar",
            "value.serializer": "com.example.AvroSerializer",
            "partitioner.class": "org.apache.kafka.clients.producer.RoundRobinPartitioner",
            "transactional.id": "t",
            "error_cb": "x",
            "bootstrap.servers": "kafka",
            "ssl.engine.factory.class": "com.example.Factory",
        }
    )
    texts = "\n".join(problems)
    assert len(problems) == 10
    assert all(problem.startswith("orders.json: connector orders: ") for problem in problems)
    for part in (
        "Invalid value soon for configuration producer.override.linger.ms: expected a number from 0 to 900000",
        'no Kafka client knows "batchsize"; did you mean "batch.size"?',
        "expected one of all, -1, 0, 1",
        "expected one of none, gzip, snappy, lz4, zstd",
        "ByteArray(De)serializer",
        "murmur2_random",
        "exactly-once is not built yet",
        "kafka: expected HOST:PORT",
    ):
        assert part in texts


def test_what_changes_nothing_here_is_warned_about_and_not_passed_on() -> None:
    client = settings_of(
        {"max.block.ms": "60000", "transaction.timeout.ms": "1000", "max.poll.records": "5"},
        {"interceptor.classes": MONITORING, "confluent.monitoring.interceptor.bootstrap.servers": "other:9092"},
    )
    assert [warning.split(" ")[0] for warning in client.warnings] == [
        "producer.interceptor.classes",
        "producer.confluent.monitoring.interceptor.bootstrap.servers",
        "producer.override.max.block.ms",
        "producer.override.transaction.timeout.ms",
        "producer.override.max.poll.records",
    ]
    assert is_taken_by_librdkafka(client)


@pytest.mark.parametrize("classes", ["com.example.Stamping", f"{MONITORING}, com.example.Stamping"])
def test_an_interceptor_that_may_change_records_is_refused_and_one_that_watches_is_not(classes: str) -> None:
    (problem,) = problems_of({"interceptor.classes": classes})
    assert f"Invalid value {classes} for configuration producer.override.interceptor.classes: " in problem
    assert "let a transform do the work" in problem
    watched = settings_of({"interceptor.classes": MONITORING})
    assert "Control Center will not see this client" in watched.warnings[0]
    assert settings_of({"interceptor.classes": ""}).warnings == ()


@pytest.mark.parametrize(
    "classes",
    [
        "brave.kafka.interceptor.TracingProducerInterceptor",
        "brave.kafka.interceptor.TracingConsumerInterceptor",
        "io.opentelemetry.instrumentation.kafkaclients.TracingProducerInterceptor",
        "io.opentelemetry.instrumentation.kafkaclients.v2_6.TracingConsumerInterceptor",
    ],
)
def test_an_interceptor_that_traces_is_left_out_and_what_will_be_missing_is_told(classes: str) -> None:
    (warning,) = settings_of({"interceptor.classes": classes}).warnings
    assert warning.startswith("producer.override.interceptor.classes has no effect: ")
    assert warning.endswith("there will be no spans of this client, and its records get no trace headers")
    both = settings_of({"interceptor.classes": f"{classes},{MONITORING}", "zipkin.sender.type": "KAFKA"})
    assert [warning.partition(": ")[2].partition(": ")[2][:10] for warning in both.warnings] == [
        "there will",
        "Confluent'",
        "there will",
    ]
    (problem,) = problems_of({"interceptor.classes": f"{classes}, com.example.Stamping"})
    assert "let a transform do the work" in problem


def test_a_client_that_sends_no_records_takes_no_offence_at_what_would_change_them() -> None:
    given = {"producer.interceptor.classes": "com.example.Stamping", "producer.partitioner.class": "com.example.Mine"}
    assert own_settings(given, (), worker_config=WORKER)["client.id"] == "connector-producer-worker-0"


def test_settings_of_clients_that_the_connector_has_not_are_warned_about() -> None:
    given = {"consumer.override.fetch.min.bytes": "1", "producer.override.acks": "all", "admin.override.retries": "3"}
    assert idle_overrides(given, {"producer", "admin"}) == [
        "consumer.override.fetch.min.bytes has no effect: this connector has no consumer"
    ]
    assert idle_overrides(given, {"consumer", "producer", "admin"}) == []


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ("All", 0),
        ("Principal", 1),
        ("None", 2),
        ("org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy", 2),
    ],
)
def test_the_workers_policy_says_what_a_connector_may_override(policy: str, refused: int) -> None:
    config = WorkerConfig(
        key_converter="K", value_converter="V", offset_storage_file_filename="f", override_policy=policy
    )
    overrides = {"linger.ms": "1", "security.protocol": "PLAINTEXT"}
    if not refused:
        assert settings_of(overrides, config=config).settings["linger.ms"] == 1
        return
    assert len(problems_of(overrides, config)) == refused


def test_an_unknown_policy_is_told_with_the_known_ones() -> None:
    config = WorkerConfig(
        key_converter="K", value_converter="V", offset_storage_file_filename="f", override_policy="com.example.Mine"
    )
    assert "expected one of All, None, Principal" in problems_of({}, config)[0]


def test_librdkafka_itself_still_refuses_what_the_tables_let_through() -> None:
    client = settings_of({"ssl.ca.location": "/nowhere/ca.pem", "security.protocol": "SSL"})
    with pytest.raises(KafkaException, match=r"ssl\.ca\.location"):
        is_taken_by_librdkafka(client)


@pytest.mark.parametrize(
    ("given", "first_ms", "last_ms"),
    [
        ({}, 300, 1000),
        ({"reconnect.backoff.max.ms": "400"}, 300, 400),
        ({"reconnect.backoff.max.ms": "100"}, 100, 100),
        ({"reconnect.backoff.ms": "50"}, 50, 1000),
        ({"reconnect.backoff.ms": "5000"}, 5000, 5000),
        ({"reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "20000"}, 50, 20_000),
    ],
)
def test_attempts_at_a_broker_have_a_pause_that_librdkafka_takes(
    given: Mapping[str, str], first_ms: int, last_ms: int
) -> None:
    client = settings_of(given)
    assert client.settings["reconnect.backoff.ms"] == first_ms
    assert client.settings["reconnect.backoff.max.ms"] == last_ms
    assert is_taken_by_librdkafka(client)
